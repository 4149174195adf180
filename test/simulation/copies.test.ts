/** Pitfall 25, without a lock to prevent it: a store is copied while its peer runs, and both are started. Who is there already, and answers, stays; the copy stops before it has said anything. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { agree } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

function three(seed: number): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3)
  for (const host of all) expect(host.join()).toBeUndefined()
  for (let i = 0; i < 20; i++) expect(all[i % 3]!.put(`key ${i}`, `value ${i}`)).toBe('ok')
  expect(world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === 3), 30_000)).toBe(
    true,
  )
  return { world, all }
}

/** A second process, with what the first one's disk held at this moment. */
function copyOf(host: Host): Host {
  const copy = host.sibling('copy')
  copy.process.disk.copyFrom(host.process.disk)
  return copy
}

describe('a copied store', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`seed ${seed}: started beside the original it stops, LOCKED; nobody else notices`, () => {
      const { world, all } = three(seed)
      const original = all[seed % 3]!
      const copy = copyOf(original)
      // What the copy does not know.
      for (let i = 0; i < 20; i++) expect(all[i % 3]!.put(`key ${i}`, `newer ${i}`)).toBe('ok')
      const terms = all.map(({ status }) => status.raft.term)
      copy.open().startJoin()
      expect(world.runUntil(() => copy.told.includes('error LOCKED'), 20_000)).toBe(true)
      world.run(5000)
      expect(all.map(({ status }) => status.raft.term)).toEqual(terms)
      expect(original.status.health).toBe('ok')
      expect(original.told).toEqual([])
      expect(copy.put('key 0', 'from the copy')).toMatchObject({ code: 'LOCKED' })
      expect(all[0]!.put('key 1', 'after')).toBe('ok')
      expect(world.runUntil(() => agree(all), 20_000)).toBe(true)
      expect(all[2]!.get('key 0')).toBe('newer 0')
    })
  }

  it('the original that does not answer is taken for dead; when it wakes up, it is the one that stops', () => {
    const { world, all } = three(7)
    const original = all.find(({ status }) => status.raft.role === 'follower')!
    const others = all.filter(host => host !== original)
    const copy = copyOf(original)
    original.process.freeze()
    expect(copy.open().join()).toBeUndefined()
    expect(others[0]!.put('key 0', 'x')).toBe('ok')
    original.process.thaw()
    expect(world.runUntil(() => original.told.includes('error LOCKED'), 60_000)).toBe(true)
    expect(world.runUntil(() => agree([...others, copy]), 20_000)).toBe(true)
    expect(copy.told).toEqual([])
  })

  it('a peer that crashed and starts again is none, however fast it is', () => {
    for (let seed = 11; seed <= 20; seed++) {
      const { world, all } = three(seed)
      const host = all[seed % 3]!
      host.crash()
      world.run(seed * 20)
      host.restart()
      expect(host.join()).toBeUndefined()
      expect(world.runUntil(() => agree(all), 20_000)).toBe(true)
      for (const { told } of all) expect(told.filter(text => text.startsWith('error'))).toEqual([])
    }
  })
})
