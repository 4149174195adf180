/** Pitfall 16: a member whose files are damaged does not vote, does not guess: it begins anew and gets everything from the others. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { openStore } from '../../src/cluster/store.ts'
import { agree, expectWhole, leftBehind, rows } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

const deep = process.env.DEEP === '1'

function three(seed: number, checkpointBytes = 64 * 1024): { world: World; all: Host[]; victim: Host; others: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3, undefined, { checkpointBytes })
  for (const host of all) expect(host.join()).toBeUndefined()
  for (let i = 0; i < 60; i++) expect(all[i % 3]!.put(`key ${i}`, `value ${i}`.repeat(5))).toBe('ok')
  expect(world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === 3), 30_000)).toBe(
    true,
  )
  const victim = all[seed % 3]!
  return { world, all, victim, others: all.filter(host => host !== victim) }
}

const file = (host: Host, name: string) => host.process.disk.contents().find(one => one.name === name)!

function expectBegunAnew(world: World, all: readonly Host[], victim: Host, old: string): void {
  expect(victim.told.some(text => text.includes('begins anew'))).toBe(true)
  expect(victim.peer.id).not.toBe(old)
  expect(victim.status.raft.configuration.voters).not.toContain(victim.peer.id)
  // Nothing is shown before the first catch-up (pitfall 29).
  expect(victim.peer.clients.localReady).toBe(false)
  expect(victim.join()).toBeUndefined()
  expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
  for (let i = 0; i < 60; i++) expect(victim.get(`key ${i}`)).toBe(`value ${i}`.repeat(5))
}

describe('pitfall 16: a member whose store is damaged', () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`seed ${seed}: a log that is bad in its middle: it begins anew beside the damaged files, and is given its old seat`, () => {
      const { world, all, victim, others } = three(seed)
      const { id } = victim.peer
      victim.crash('kept')
      const { start, end } = file(victim, 'log')
      victim.process.disk.rot('log', start + Math.floor((end - start) / 3), 3)
      expect(world.runUntil(() => others.some(host => host.status.raft.role === 'leader'), 10_000)).toBe(true)
      victim.restart()
      expectBegunAnew(world, all, victim, id)
      expect(file(victim, 'log').end).toBe(end)
      const seated = (): boolean => {
        const { voters } = others[0]!.status.raft.configuration
        return voters.includes(victim.peer.id) && !voters.includes(id)
      }
      expect(world.runUntil(seated, 120_000)).toBe(true)
      // And a second time: what was put aside before makes room. (Syncs that come later prove that it is damage, and no torn end.)
      for (let i = 0; i < 60; i++) expect(others[0]!.put(`key ${i}`, `value ${i}`.repeat(5))).toBe('ok')
      expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
      const second = victim.peer.id
      victim.crash('kept')
      const log = file(victim, 'log-2')
      victim.process.disk.rot('log-2', log.start + Math.floor((log.end - log.start) / 3), 3)
      victim.restart()
      expectBegunAnew(world, all, victim, second)
      expect(
        victim.process.disk
          .contents()
          .map(({ name }) => name)
          .sort(),
      ).toEqual(['log-2', 'log-3', 'pages-2', 'pages-3'])
      // A start finds the newest.
      const third = victim.peer.id
      victim.crash('lost')
      victim.restart()
      expect(victim.peer.id).toBe(third)
      expect(victim.join()).toBeUndefined()
      expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
    })
  }

  it('pages that rot while it runs: it stops serving, begins anew in the same room, and says so', () => {
    const { world, all, victim } = three(5, 4096)
    const { id } = victim.peer
    for (let i = 0; i < 400; i++) expect(all[0]!.put(`more ${i}`, `${i} `.repeat(60))).toBe('ok')
    world.run(5000)
    const { end } = file(victim, 'pages')
    for (let at = 16 * 1024; at < end; at += 512) victim.process.disk.rot('pages', at + 100, at % 8)
    for (let i = 0; i < 400 && victim.peer.id === id; i++) victim.get(`more ${i}`, 'local')
    expect(victim.told).toContain('paused CORRUPT')
    expect(world.runUntil(() => victim.peer.id !== id && agree(all), 60_000)).toBe(true)
    expect(victim.told.some(text => text.includes('begins anew'))).toBe(true)
    for (let i = 0; i < 400; i += 7) expect(victim.get(`more ${i}`)).toBe(`${i} `.repeat(60))
    expect(victim.status.room).toBe('r')
  })

  it('of a leader that has to give its state to another, and of which nobody reads: another one leads and gives it', () => {
    const { world, all } = leftBehind(9)
    const leader = all.find(({ status }) => status.raft.role === 'leader')!
    world.run(5000)
    const { end } = file(leader, 'pages')
    for (let at = 16 * 1024; at < end; at += 512) leader.process.disk.rot('pages', at + 100, at % 8)
    world.network.heal()
    expectWhole(world, all, rows)
    expect(leader.told).toContain('paused CORRUPT')
    expect(all[2]!.snapshots).toBeGreaterThan(0)
  })

  it('the power may go at any write and sync of beginning anew: it begins anew again, or goes on', () => {
    const broken = () => {
      const found = three(6)
      found.victim.crash('kept')
      const { start, end } = file(found.victim, 'log')
      found.victim.process.disk.rot('log', start + Math.floor((end - start) / 2), 1)
      return found
    }
    const { victim: counted } = broken()
    const before = counted.process.disk.operations
    counted.restart()
    const count = counted.process.disk.operations - before
    expect(count).toBeGreaterThan(8)
    for (let place = 1; place <= count; place += deep ? 1 : 3) {
      const { world, all, victim } = broken()
      victim.process.disk.strike(place, 'powerLoss')
      try {
        victim.restart()
      } catch {
        // It never opened.
      }
      victim.crash('lost')
      victim.restart()
      expect(victim.join(), `place ${place}`).toBeUndefined()
      expect(
        world.runUntil(() => agree(all), 60_000),
        `place ${place}`,
      ).toBe(true)
      expect(victim.get('key 7'), `place ${place}`).toBe('value 7'.repeat(5))
    }
  })

  it('a tool that only looks at it changes nothing: CORRUPT', () => {
    const { victim } = three(8)
    victim.crash('kept')
    const { start, end } = file(victim, 'log')
    victim.process.disk.rot('log', start + Math.floor((end - start) / 3), 3)
    const before = victim.process.disk.contents()
    victim.process.restart()
    const { platform, directory } = victim.process
    let code: string | undefined
    openStore({ directory, platform, cacheBytes: 65_536, refuseDamaged: true }, store => {
      code = store.ok ? 'opened' : store.error.code
    })
    expect(victim.world.runUntil(() => code !== undefined, 5000)).toBe(true)
    expect(code).toBe('CORRUPT')
    expect(victim.process.disk.contents()).toEqual(before)
  })

  it('who is alone begins nothing anew: CORRUPT, and everything stays as it is', () => {
    const world = new World(7)
    const [host] = hosts(world, 1) as [Host]
    for (let i = 0; i < 60; i++) expect(host.put(`key ${i}`, `value ${i}`)).toBe('ok')
    host.crash('kept')
    host.process.disk.rot('log', 400, 2)
    const before = host.process.disk.contents()
    expect(() => host.restart()).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    expect(host.process.disk.contents()).toEqual(before)
  })
})
