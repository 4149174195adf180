/**
 * Would the simulation find a bug? Consensus with a mistake in it is built and run, seed by seed, until a promise is broken (or an assertion
 * of its own is). By default a few mistakes; `DEEP=1` tries all of them, with up to 500 seeds each.
 */
import { afterAll, describe, expect, it } from 'vitest'
import type * as Runs from '../../platform/simulation/runs/run.ts'
import { bundle, expectToApply, removeBundles } from '../mutated-bundle.ts'
import { elusive, mutations, type NamedMutation } from './mutations.ts'
import { firstBroken } from './seeds.ts'

const deep = process.env.DEEP === '1'
const seedsMax = deep ? 500 : 60
/** Found by the first seeds. */
const usual = ['votes for everybody who asks', 'a minority elects']

afterAll(removeBundles)

async function search(mutation: NamedMutation): ReturnType<typeof firstBroken> {
  const { runCluster } = (await import(await bundle('platform/simulation/runs/run.ts', mutation))) as typeof Runs
  return firstBroken(seedsMax, seed => runCluster(seed).violations)
}

describe('mistakes in consensus', () => {
  it.each([...mutations, ...elusive])('$name: still applies', expectToApply)

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
