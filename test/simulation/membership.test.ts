/** What a person can do about the members, while they work. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import type { HarmonyError } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/ids.ts'
import { agree } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

const leaderOf = (all: readonly Host[]): Host => all.find(host => host.status.raft.role === 'leader')!

function order(by: Host, what: 'promote' | 'remove', id: PeerId): HarmonyError | undefined {
  let answer: { error: HarmonyError | undefined } | undefined
  by.peer.order(what, id, error => {
    answer = { error }
  })
  expect(by.world.runUntil(() => answer !== undefined, 30_000)).toBe(true)
  return answer?.error
}

function cluster(seed: number, count: number): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, count)
  for (const host of all) expect(host.join()).toBeUndefined()
  const seats = count % 2 === 1 ? count : count - 1
  expect(
    world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === seats), 30_000),
  ).toBe(true)
  expect(all[0]!.put('x', '1')).toBe('ok')
  return { world, all }
}

describe('membership by hand', () => {
  it('any peer can have a learner promoted, which takes the seat of another', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { world, all } = cluster(seed, 4)
      const learner = all.find(({ status, peer }) => status.raft.configuration.learners.includes(peer.id))!
      const by = all[seed % 4]!
      expect(order(by, 'promote', learner.peer.id)).toBeUndefined()
      const { voters } = by.status.raft.configuration
      expect(voters).toHaveLength(3)
      expect(voters).toContain(learner.peer.id)
      expect(all[seed % 3]!.put('y', '2')).toBe('ok')
      // It rests there.
      world.run(10_000)
      expect(by.status.raft.configuration.voters).toEqual(voters)
    }
  })

  it('any peer can have another one removed, the leader too: it leaves, and comes again only when it joins', () => {
    for (let seed = 11; seed <= 18; seed++) {
      const { world, all } = cluster(seed, 5)
      const leader = leaderOf(all)
      const victim = seed % 2 === 0 ? leader : all.find(host => host !== leader)!
      const others = all.filter(host => host !== victim)
      const by = seed % 4 < 2 ? victim : others[seed % 4]!
      const { id } = victim.peer
      const error = order(by, 'remove', id)
      // Who has itself removed is out of the room before it hears that it is so.
      if (by !== victim) expect(error).toBeUndefined()
      expect(world.runUntil(() => victim.status.health === 'left', 20_000)).toBe(true)
      expect(others[0]!.put('y', '2')).toBe('ok')
      world.run(5000)
      for (const host of others) {
        const { voters, learners, outgoing } = host.status.raft.configuration
        expect([...voters, ...learners, ...outgoing]).not.toContain(id)
        expect(voters).toHaveLength(3)
      }
      expect(victim.put('z', '3')).toMatchObject({ code: 'NOT_MEMBER' })
      expect(victim.join()).toBeUndefined()
      expect(world.runUntil(() => agree(all), 30_000)).toBe(true)
    }
  })

  it('who is gone for good is removed at once, and nothing is removed without a majority', () => {
    const { world, all } = cluster(21, 3)
    const gone = all.find(host => host !== leaderOf(all))!
    const others = all.filter(host => host !== gone)
    const { id } = gone.peer
    gone.crash()
    expect(order(others[1]!, 'remove', id)).toBeUndefined()
    expect(others[0]!.status.raft.configuration).toMatchObject({ voters: [leaderOf(others).peer.id] })
    expect(others[1]!.put('y', '2')).toBe('ok')
    leaderOf(others).crash()
    const left = others.find(host => host.isOpen)!
    expect(world.runUntil(() => left.status.health === 'no-quorum', 30_000)).toBe(true)
    expect(order(left, 'remove', left.status.raft.configuration.voters[0]!)).toMatchObject({ code: 'NO_QUORUM' })
    expect(order(left, 'promote', left.peer.id)).toMatchObject({ code: 'NO_QUORUM' })
  })

  it('says why nothing came of it', () => {
    const { all } = cluster(31, 2)
    const learner = all.find(({ status, peer }) => status.raft.configuration.learners.includes(peer.id))!
    expect(order(all[0]!, 'promote', learner.peer.id)).toMatchObject({ code: 'TIMEOUT' })
    expect(order(all[0]!, 'remove', 'f'.repeat(32) as PeerId)).toMatchObject({ code: 'VALIDATION' })
  })
})
