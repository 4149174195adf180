/**
 * Would the simulation find a bug in transactions? They are built with a mistake in them and run, seed by seed, until a promise is broken. By default a few mistakes;
 * `DEEP=1` tries all of them.
 */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, describe, expect, it } from 'vitest'
import type * as Runs from '../../platform/simulation/workloads/run.ts'
import { mutatingTransactions, type TransactionMutation, transactionMutations } from './transaction-mutations.ts'

const root = join(import.meta.dirname, '../..')
const folder = join(root, 'node_modules/.cache', `transaction-mutations-${process.pid}`)
const deep = process.env.DEEP === '1'
const seedsMax = deep ? 500 : 30
/** Found by the first seeds. */
const usual = [
  'ranges that were read are not validated',
  'the first committer does not win',
  'gets do not see own writes',
]

afterAll(() => rm(folder, { recursive: true, force: true }))

async function built(mutation: TransactionMutation, at: number): Promise<typeof Runs> {
  await mkdir(folder, { recursive: true })
  const outfile = join(folder, `${at}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: ['platform/simulation/workloads/run.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outfile,
    plugins: [mutatingTransactions(mutation)],
  })
  return (await import(outfile)) as typeof Runs
}

describe('mistakes in transactions', () => {
  it.each(transactionMutations)('$name: still applies', ({ file, edits }) => {
    const text = readFileSync(join(root, 'src', file), 'utf8')
    for (const [from] of edits) expect(text.split(from), from).toHaveLength(2)
  })

  const tried = transactionMutations.filter(({ name }) => deep || usual.includes(name))
  it.each(tried)('$name: found', { timeout: 1_800_000 }, async mutation => {
    const { runWorkload, drawWorkloadPlan } = await built(mutation, transactionMutations.indexOf(mutation))
    const { workload, isolation } = mutation
    let seed = 0
    let what: string | undefined
    while (what === undefined && seed < seedsMax) {
      seed++
      try {
        what = (await runWorkload(drawWorkloadPlan(seed), workload, isolation)).violations[0]
      } catch (error) {
        what = `stopped: ${String(error)}`
      }
    }
    if (deep) console.log(`${mutation.name}: seed ${seed}, ${what?.slice(0, 200)}`)
    expect(what, `not within ${seedsMax} seeds`).toBeDefined()
  })
})
