/**
 * Would a simulation find a bug? Consensus with a mistake in it is built and run, seed by seed, until a promise is broken (or an assertion
 * of its own is). By default all those of the consensus core, and of whole clusters a few; `DEEP=1` tries all of them.
 */
import { afterAll, describe, expect, it } from 'vitest'
import type * as Runs from '../../platform/simulation/runs/run.ts'
import { bundle, expectToApply, removeBundles } from '../mutated-bundle.ts'
import type * as Network from '../unit/raft/network-run.ts'
import { elusive, type NamedMutation, ofClusters, ofConsensus } from './mutations.ts'
import { firstBroken } from './seeds.ts'

const deep = process.env.DEEP === '1'
const seedsMax = 500
/** Found by the first seeds. */
const usual = ['terms and votes are not written']

afterAll(removeBundles)

async function inConsensus(mutation: NamedMutation): ReturnType<typeof firstBroken> {
  const { runNetwork } = (await import(await bundle('test/unit/raft/network-run.ts', mutation))) as typeof Network
  return firstBroken(seedsMax, seed => {
    runNetwork(seed)
    return []
  })
}

async function inClusters(mutation: NamedMutation): ReturnType<typeof firstBroken> {
  const { runCluster } = (await import(await bundle('platform/simulation/runs/run.ts', mutation))) as typeof Runs
  return firstBroken(seedsMax, seed => runCluster(seed).violations)
}

function expectFound(mutation: NamedMutation, { what, seed }: Awaited<ReturnType<typeof firstBroken>>): void {
  if (deep) console.log(`${mutation.name}: seed ${seed}, ${what}`)
  expect(what, `not within ${seedsMax} seeds`).toBeDefined()
}

describe('mistakes in consensus', () => {
  it.each([...ofConsensus, ...ofClusters, ...elusive])('$name: still applies', expectToApply)

  it.each(ofConsensus)('$name: found', { timeout: 300_000 }, async mutation => {
    expectFound(mutation, await inConsensus(mutation))
  })

  const tried = ofClusters.filter(({ name }) => deep || usual.includes(name))
  it.each(tried)('$name: found by clusters', { timeout: 3_600_000 }, async mutation => {
    expectFound(mutation, await inClusters(mutation))
  })

  it.runIf(deep).each(elusive)('$name: looked for', { timeout: 3_600_000 }, async mutation => {
    for (const [where, search] of Object.entries({ inConsensus, inClusters })) {
      const { what, seed } = await search(mutation)
      console.log(`${mutation.name}: ${where} ${what === undefined ? `not in ${seed} seeds` : `seed ${seed}, ${what}`}`)
    }
  })
})
