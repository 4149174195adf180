/**
 * Would the simulation find a bug? Consensus with a mistake in it is built and run, seed by seed, until a promise is broken (or an assertion
 * of its own is). By default a few mistakes; `DEEP=1` tries all of them, with up to 500 seeds each.
 */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, describe, expect, it } from 'vitest'
import type { ClusterRun } from '../../platform/simulation/runs/run.ts'
import { elusive, type Mutation, mutating, mutations } from './mutations.ts'

const root = join(import.meta.dirname, '../..')
const folder = join(root, 'node_modules/.cache', `mutations-${process.pid}`)
const deep = process.env.DEEP === '1'
const seedsMax = deep ? 500 : 60
/** Found by the first seeds. */
const usual = ['votes for everybody who asks', 'a minority elects']

afterAll(() => rm(folder, { recursive: true, force: true }))

async function runnerOf(mutation: Mutation, at: number): Promise<(seed: number) => ClusterRun> {
  await mkdir(folder, { recursive: true })
  const outfile = join(folder, `${at}.mjs`)
  await build({
    absWorkingDir: root,
    entryPoints: ['platform/simulation/runs/run.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outfile,
    plugins: [mutating(mutation)],
  })
  const { runCluster } = (await import(outfile)) as { runCluster: (seed: number) => ClusterRun }
  return runCluster
}

/** What gave the mistake away, or undefined. */
function found(run: (seed: number) => ClusterRun, seed: number): string | undefined {
  try {
    return run(seed).violations[0]
  } catch (error) {
    return `stopped: ${String(error)}`
  }
}

async function search(mutation: Mutation): Promise<{ readonly what: string | undefined; readonly seed: number }> {
  const run = await runnerOf(mutation, [...mutations, ...elusive].indexOf(mutation))
  let what: string | undefined
  let seed = 0
  while (what === undefined && seed < seedsMax) what = found(run, ++seed)
  return { what, seed }
}

describe('mistakes in consensus', () => {
  it.each([...mutations, ...elusive])('$name: still applies', ({ file, edits }) => {
    const text = readFileSync(join(root, 'src', file), 'utf8')
    for (const [from] of edits) expect(text.split(from), from).toHaveLength(2)
  })

  const tried = mutations.filter(({ name }) => deep || usual.includes(name))
  it.each(tried)('$name: found', { timeout: 1_800_000 }, async mutation => {
    const { what, seed } = await search(mutation)
    if (deep) console.log(`${mutation.name}: seed ${seed}, ${what}`)
    expect(what, `not within ${seedsMax} seeds`).toBeDefined()
  })
  it.runIf(deep).each(elusive)('$name: looked for', { timeout: 1_800_000 }, async mutation => {
    const { what, seed } = await search(mutation)
    console.log(`${mutation.name}: ${what === undefined ? `not in ${seed} seeds` : `seed ${seed}, ${what}`}`)
  })
})
