/** Exactly once: repeated writes meet the replicated memory of what was done, through leader changes, restarts, power failures and snapshots. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import type { HarmonyError } from '../../src/base/errors.ts'
import { encodeText } from '../../src/base/text.ts'
import type { Outcome } from '../../src/shard/sessions.ts'
import { agree, expectWhole, fill, leftBehind, options, rows } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

const leaderOf = (all: readonly Host[]): Host => all.find(host => host.status.raft.role === 'leader')!

describe('pitfall 27: exactly once', () => {
  it('a write with an idempotency key is done once, whoever sends it again: other clients, other leaders, after restarts', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const world = new World(seed)
      const all = hosts(world, 3)
      for (const host of all) expect(host.join()).toBeUndefined()
      const first = all[0]!.putOnce('seat', 'ada', 'order-1')
      expect(first).toMatchObject({ type: 'committed' })
      expect(all[1]!.putOnce('seat', 'bob', 'order-1')).toEqual(first)
      const leader = leaderOf(all)
      leader.crash()
      const other = all.find(host => host !== leader)!
      expect(world.runUntil(() => other.status.health === 'ok', 30_000)).toBe(true)
      expect(other.putOnce('seat', 'eve', 'order-1')).toEqual(first)
      leader.restart()
      expect(leader.join()).toBeUndefined()
      // The power fails for all at once: nothing is left but what is on the disks.
      for (const host of all) host.crash()
      for (const host of all) host.restart()
      for (const host of all) host.startJoin()
      expect(world.runUntil(() => all.every(host => host.joinError === undefined), 60_000)).toBe(true)
      expect(leader.putOnce('seat', 'mallory', 'order-1')).toEqual(first)
      expect(leader.get('seat')).toBe('ada')
      expect(leader.putOnce('seat', 'bob', 'order-2')).not.toEqual(first)
      expect(other.get('seat')).toBe('bob')
    }
  })

  it('a peer that got the whole state knows the keys of writes that it never saw', () => {
    const { world, all } = leftBehind(21)
    const first = all[0]!.putOnce('seat', 'ada', 'order-1')
    fill(all[0]!, 0, 100)
    world.network.heal()
    expectWhole(world, all, rows)
    expect(all[2]!.snapshots).toBe(1)
    let moved: HarmonyError | undefined | 'pending' = 'pending'
    leaderOf(all).peer.transferLeadership(all[2]!.peer.id, error => {
      moved = error
    })
    expect(world.runUntil(() => moved !== 'pending', 30_000)).toBe(true)
    expect(all[2]!.status.raft.role).toBe('leader')
    expect(all[1]!.putOnce('seat', 'bob', 'order-1')).toEqual(first)
    expect(all[2]!.get('seat')).toBe('ada')
  })

  it('a session outlives a leader change and a snapshot: a write whose answer was lost is answered, and done once', () => {
    const world = new World(22)
    const patient = { ...options, timing: { noQuorumAfterMs: 120_000 } }
    const all = hosts(world, 3, undefined, patient)
    for (const host of all) expect(host.join()).toBeUndefined()
    fill(all[0]!, 0, 40)
    const author = all.find(host => host.status.raft.role === 'follower')!
    const others = all.filter(host => host !== author)
    expect(author.put('warm', 'up')).toBe('ok')
    let answer: Outcome | HarmonyError | undefined
    const ops = [{ type: 'put', key: encodeText('seat'), value: encodeText('ada') }] as const
    author.peer.clients.write(writeOf(ops), 120_000, result => {
      answer = 'error' in result ? result.error : result.outcome
    })
    // The leader has done it, and its author does not know.
    const done = (): boolean =>
      others.some(host => host.status.raft.role === 'leader' && host.get('seat', 'local') === 'ada')
    const applied = leaderOf(all).status.raft.applied
    expect(world.runUntil(() => leaderOf(all).status.raft.applied > applied, 5000)).toBe(true)
    expect(answer).toBeUndefined()
    world.network.partition(
      [author.name],
      others.map(host => host.name),
    )
    expect(done()).toBe(true)
    world.run(20_000)
    const before = leaderOf(others)
    before.peer.transferLeadership(undefined, () => {})
    expect(world.runUntil(() => before.status.raft.role === 'follower' && before.status.health === 'ok', 30_000)).toBe(
      true,
    )
    expect(others[0]!.put('seat', 'bob')).toBe('ok')
    fill(others[0]!, 0, rows)
    expect(answer).toBeUndefined()
    world.network.heal()
    expect(world.runUntil(() => answer !== undefined && agree(all), 60_000)).toBe(true)
    expect(author.snapshots).toBeGreaterThan(0)
    expect(answer).toMatchObject({ type: 'committed' })
    expect(author.get('seat')).toBe('bob')
  })
})
