/** Pitfall 17: a disk without space stops no database for good: it can be read, the others go on, and it comes back by itself. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { agree, leftBehind } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

const leaderOf = (all: readonly Host[]): Host | undefined => all.find(host => host.status.raft.role === 'leader')

function three(seed: number): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3, undefined, { checkpointBytes: 16 * 1024 })
  for (const host of all) expect(host.join()).toBeUndefined()
  for (let i = 0; i < 30; i++) expect(all[i % 3]!.put(`key ${i}`, `value ${i}`)).toBe('ok')
  world.run(2000)
  return { world, all }
}

/** Until its peer has met the full disk. */
function fillUp(host: Host): void {
  host.process.disk.full = true
  expect(host.world.runUntil(() => host.told.includes('paused QUOTA'), 30_000)).toBe(true)
  expect(host.world.runUntil(() => host.status.paused !== undefined, 5000)).toBe(true)
}

describe('pitfall 17: a full disk', () => {
  it('of the leader: it hands leadership over, goes on serving what it has, and follows again when there is space', () => {
    for (let seed = 1; seed <= 3; seed++) {
      const { world, all } = three(seed)
      const full = leaderOf(all)!
      const others = all.filter(host => host !== full)
      full.process.disk.full = true
      // Unanswered, or refused: what is acknowledged is on the others.
      const began = world.nowMs
      others[0]!.put('key 0', 'while the disk was full')
      expect(world.runUntil(() => leaderOf(others) !== undefined, 30_000)).toBe(true)
      // Handed over, and not found out by silence, which takes 600 ms and more.
      expect(world.nowMs - began).toBeLessThan(500)
      expect(others[1]!.put('key 1', 'other')).toBe('ok')
      expect(world.runUntil(() => full.status.paused !== undefined, 5000)).toBe(true)
      expect(full.get('key 7', 'local')).toBe('value 7')
      expect(full.put('key 7', 'x')).toMatchObject({ code: 'QUOTA', maybeCommitted: false })
      expect(full.get('key 7')).toMatchObject({ code: 'QUOTA' })
      world.run(20_000)
      expect(full.get('key 7', 'local')).toBe('value 7')
      full.process.disk.full = false
      expect(world.runUntil(() => full.status.paused === undefined && agree(all), 60_000)).toBe(true)
      expect(full.get('key 1')).toBe('other')
      expect(full.put('key 2', 'again')).toBe('ok')
      expect(full.told).toEqual(['paused QUOTA', 'repaired: there is space again: this peer goes on'])
    }
  })

  it('of a follower: the others do not notice', () => {
    for (let seed = 11; seed <= 12; seed++) {
      const { world, all } = three(seed)
      const full = all.find(host => host !== leaderOf(all))!
      const others = all.filter(host => host !== full)
      const { term } = others[0]!.status.raft
      full.process.disk.full = true
      for (let i = 0; i < 100; i++) expect(others[i % 2]!.put(`more ${i % 10}`, `${i} `.repeat(100))).toBe('ok')
      expect(full.status.paused?.code).toBe('QUOTA')
      expect(others[0]!.status.raft.term).toBe(term)
      full.process.disk.full = false
      // What it missed is no longer in the others' logs.
      expect(world.runUntil(() => agree(all), 90_000)).toBe(true)
      expect(full.get('more 9')).toBe('99 '.repeat(100))
    }
  })

  it('of a peer alone: everything acknowledged can be read at once, and written again when there is space', () => {
    for (let seed = 21; seed <= 24; seed++) {
      const world = new World(seed)
      const [host] = hosts(world, 1, undefined, { checkpointBytes: 16 * 1024 }) as [Host]
      expect(world.runUntil(() => host.status.raft.role === 'leader', 5000)).toBe(true)
      let written = 0
      const random = world.random('full disk')
      host.process.disk.strike(random.between(10, 200), 'full')
      for (; written < 200; written++) if (host.put(`key ${written}`, `value ${written} `.repeat(20)) !== 'ok') break
      expect(written).toBeLessThan(200)
      expect(world.runUntil(() => host.status.paused !== undefined, 5000)).toBe(true)
      for (let i = 0; i < written; i++) expect(host.get(`key ${i}`, 'local')).toBe(`value ${i} `.repeat(20))
      expect(host.put('one more', 'x')).toMatchObject({ code: 'QUOTA' })
      world.run(random.between(100, 20_000))
      expect(host.put('one more', 'x')).toMatchObject({ code: 'QUOTA' })
      host.process.disk.full = false
      expect(world.runUntil(() => host.status.raft.role === 'leader', 60_000)).toBe(true)
      expect(host.put('one more', 'x')).toBe('ok')
      for (let i = 0; i < written; i++) expect(host.get(`key ${i}`)).toBe(`value ${i} `.repeat(20))
      host.close()
      host.crash('lost')
      host.restart()
      expect(host.get('one more')).toBe('x')
    }
  })

  it('of a peer that has received a state, or is about to: what it received is not in the way of its next life', () => {
    for (let seed = 51; seed <= 58; seed++) {
      const { world, all } = leftBehind(seed)
      const full = all[2]!
      world.network.heal()
      const met = seed % 2 === 0 ? () => full.status.receivedBytes !== undefined : () => full.snapshots > 0
      expect(world.runUntil(met, 90_000)).toBe(true)
      full.process.disk.full = true
      all[0]!.put('key 0', 'x')
      expect(
        world.runUntil(() => full.told.includes('paused QUOTA'), 30_000),
        `seed ${seed}`,
      ).toBe(true)
      full.process.disk.full = false
      expect(
        world.runUntil(() => full.status.paused === undefined && agree(all), 60_000),
        `seed ${seed}`,
      ).toBe(true)
    }
  })

  it('who meets it while it leaves is answered', () => {
    const { world, all } = three(41)
    const full = leaderOf(all)!
    full.process.disk.full = true
    let left = false
    full.lives.leave(() => {
      left = true
    })
    expect(world.runUntil(() => left, 30_000)).toBe(true)
    full.process.disk.full = false
    full.close()
  })

  it('it can be closed while it is full, while it looks for space, and opened again', () => {
    for (let seed = 31; seed <= 34; seed++) {
      const { world, all } = three(seed)
      const full = all[seed % 3]!
      full.process.disk.full = true
      all[0]!.put('key 0', 'x')
      if (seed % 2 === 0) fillUp(full)
      else expect(world.runUntil(() => full.told.includes('paused QUOTA'), 30_000)).toBe(true)
      world.run(seed * 30)
      full.close()
      full.process.disk.full = false
      full.crash('kept')
      full.restart()
      expect(full.join()).toBeUndefined()
      expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
    }
  })
})
