/**
 * Would the simulation find a bug in transactions? They are built with a mistake in them and run, seed by seed, until a promise is broken. By default a few mistakes;
 * `DEEP=1` tries all of them.
 */
import { afterAll, describe, expect, it } from 'vitest'
import type * as Runs from '../../platform/simulation/workloads/run.ts'
import { bundle, expectToApply, removeBundles } from '../mutated-bundle.ts'
import { firstBroken } from './seeds.ts'
import { transactionMutations } from './transaction-mutations.ts'

const deep = process.env.DEEP === '1'
const seedsMax = deep ? 500 : 30
/** Found by the first seeds. */
const usual = [
  'ranges that were read are not validated',
  'the first committer does not win',
  'gets do not see own writes',
  'a write does not look at what is prepared',
  'prepared transactions have no end of their time',
]

afterAll(removeBundles)

describe('mistakes in transactions', () => {
  it.each(transactionMutations)('$name: still applies', expectToApply)

  const tried = transactionMutations.filter(({ name }) => deep || usual.includes(name))
  it.each(tried)('$name: found', { timeout: 1_800_000 }, async mutation => {
    const { workload, isolation } = mutation
    const script = await bundle('platform/simulation/workloads/run.ts', mutation)
    const { runWorkload, drawWorkloadPlan } = (await import(script)) as typeof Runs
    const { what, seed } = await firstBroken(
      seedsMax,
      async one => (await runWorkload(drawWorkloadPlan(one), workload, isolation)).violations,
    )
    if (deep) console.log(`${mutation.name}: seed ${seed}, ${what?.slice(0, 200)}`)
    expect(what, `not within ${seedsMax} seeds`).toBeDefined()
  })
})
