/** A majority that is lost for good, and what a survivor can do then. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import type { Recovery } from '../../src/cluster/recover.ts'
import { type Host, hosts } from './simulated-host.ts'

const leaderOf = (all: readonly Host[]): Host => all.find(host => host.status.raft.role === 'leader')!

function recover(host: Host): Recovery | HarmonyError {
  let answer: Recovery | HarmonyError | undefined
  host.lives.recover(result => {
    answer = result
  })
  expect(host.world.runUntil(() => answer !== undefined, 60_000)).toBe(true)
  return answer as Recovery | HarmonyError
}

function three(seed: number, options = {}): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3, undefined, options)
  for (const host of all) expect(host.join()).toBeUndefined()
  expect(world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === 3), 30_000)).toBe(
    true,
  )
  return { world, all }
}

/** Two of the three, the leader among them, are gone. */
function bereaved(seed: number): { world: World; survivor: Host; gone: Host[] } {
  const { world, all } = three(seed)
  for (let i = 0; i < 20; i++) expect(all[i % 3]!.put(`key ${i}`, `value ${i}`)).toBe('ok')
  world.run(3000)
  const survivor = all.find(host => host !== leaderOf(all))!
  const gone = all.filter(host => host !== survivor)
  for (const host of gone) host.crash()
  expect(world.runUntil(() => survivor.status.health === 'no-quorum', 30_000)).toBe(true)
  return { world, survivor, gone }
}

describe('recovery of a survivor', () => {
  it('keeps what it has, takes writes and new members, and survives a restart', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { world, survivor } = bereaved(seed)
      const { id, cluster } = survivor.peer
      expect(survivor.put('before', 'x')).toMatchObject({ code: 'NO_QUORUM' })
      const recovered = recover(survivor)
      expect(recovered).toMatchObject({ from: { cluster, peer: id } })
      expect(survivor.peer.id).not.toBe(id)
      expect(survivor.peer.cluster).not.toBe(cluster)
      expect(world.runUntil(() => survivor.status.raft.role === 'leader', 10_000)).toBe(true)
      expect(survivor.status.raft.configuration.voters).toEqual([survivor.peer.id])
      for (let i = 0; i < 20; i++) expect(survivor.get(`key ${i}`)).toBe(`value ${i}`)
      expect(survivor.put('after', 'recovery')).toBe('ok')
      const others = ['n0', 'n1'].map(name => survivor.sibling(name).open())
      for (const other of others) expect(other.join()).toBeUndefined()
      expect(world.runUntil(() => survivor.status.raft.configuration.voters.length === 3, 60_000)).toBe(true)
      expect(others[0]!.get('key 7')).toBe('value 7')
      survivor.crash()
      expect(world.runUntil(() => others.some(other => other.status.raft.role === 'leader'), 30_000)).toBe(true)
      survivor.restart()
      expect(survivor.join()).toBeUndefined()
      expect(survivor.get('after')).toBe('recovery')
    }
  })

  it('the power may go at any write and sync of it: the old cluster or the new one, and everything that it had', () => {
    const operations = (): number => {
      const { survivor } = bereaved(7)
      const { disk } = survivor.process
      const before = disk.operations
      expect(recover(survivor)).not.toBeInstanceOf(HarmonyError)
      return disk.operations - before
    }
    const count = operations()
    expect(count).toBeGreaterThan(8)
    const outcomes = new Set<boolean>()
    for (let place = 1; place <= count; place++) {
      const { world, survivor } = bereaved(7)
      const { cluster } = survivor.peer
      survivor.process.disk.strike(place, 'powerLoss')
      survivor.lives.recover(() => {})
      expect(
        world.runUntil(() => survivor.process.disk.powerLost, 30_000),
        `place ${place}`,
      ).toBe(true)
      survivor.crash('lost')
      survivor.restart()
      const isOld = survivor.peer.cluster === cluster
      outcomes.add(isOld)
      for (let i = 0; i < 20; i++) expect(survivor.get(`key ${i}`, 'local'), `place ${place}`).toBe(`value ${i}`)
      if (isOld) expect(recover(survivor), `place ${place}`).not.toBeInstanceOf(HarmonyError)
      expect(world.runUntil(() => survivor.status.raft.role === 'leader', 10_000)).toBe(true)
      expect(survivor.put('after', 'recovery')).toBe('ok')
      for (let i = 0; i < 20; i++) expect(survivor.get(`key ${i}`), `place ${place}`).toBe(`value ${i}`)
    }
    expect(outcomes.size).toBe(2)
  })

  it('the old majority that comes back stays another cluster: nothing of the one reaches the other', () => {
    for (let seed = 11; seed <= 14; seed++) {
      const { world, survivor, gone } = bereaved(seed)
      const old = survivor.peer.cluster
      expect(recover(survivor)).not.toBeInstanceOf(HarmonyError)
      expect(world.runUntil(() => survivor.status.raft.role === 'leader', 10_000)).toBe(true)
      expect(survivor.put('whose', 'the survivor')).toBe('ok')
      // In the room it stays, as a member of its new cluster.
      expect(survivor.status.room).toBe('r')
      for (const host of gone) host.restart()
      for (const host of gone) host.startJoin()
      expect(world.runUntil(() => gone.every(host => host.joinError !== 'pending'), 60_000)).toBe(true)
      world.run(10_000)
      expect(gone.flatMap(host => host.told)).toContain('error ROOM_CONFLICT')
      expect(gone.map(host => host.peer.cluster)).toEqual([old, old])
      expect(survivor.get('whose')).toBe('the survivor')
      // In a room of their own they are the old cluster, with everything but what came after.
      for (const host of gone) host.leave()
      for (const host of gone) host.startJoin({ room: 'elsewhere' })
      expect(world.runUntil(() => gone.every(host => host.joinError === undefined), 60_000)).toBe(true)
      expect(gone[0]!.get('whose')).toBeUndefined()
      expect(gone[0]!.put('whose', 'the majority')).toBe('ok')
      world.run(30_000)
      for (const host of gone) expect(host.get('whose')).toBe('the majority')
      expect(gone.map(host => host.peer.cluster)).toEqual([old, old])
      expect(survivor.get('whose')).toBe('the survivor')
      expect(survivor.peer.cluster).not.toBe(old)
    }
  })

  it('takes the end of its log for committed: what was acknowledged is kept, even if this peer had not heard of it', () => {
    const { world, all } = three(21)
    expect(all[0]!.put('first', '1')).toBe('ok')
    world.run(3000)
    const leader = leaderOf(all)
    const survivor = all.find(host => host !== leader)!
    const third = all.find(host => host !== leader && host !== survivor)!
    // The leader and the survivor are a majority; the leader dies before it can say what is committed.
    world.network.partition([third.name], [leader.name, survivor.name])
    const before = survivor.status.raft.lastIndex
    expect(leader.put('second', '2')).toBe('ok')
    expect(survivor.status.raft.lastIndex).toBeGreaterThan(before)
    leader.crash()
    third.crash()
    survivor.crash('kept')
    survivor.restart()
    const { commit, lastIndex } = survivor.status.raft
    expect(commit).toBeLessThan(lastIndex)
    expect(survivor.get('second', 'local')).toBeUndefined()
    expect(recover(survivor)).toMatchObject({ committedIndex: commit, lastIndex })
    expect(world.runUntil(() => survivor.status.raft.role === 'leader', 10_000)).toBe(true)
    expect(survivor.get('second')).toBe('2')
  })

  it('is refused while there is a leader, and by who never had company', () => {
    const { world, all } = three(31)
    expect(all[0]!.put('first', '1')).toBe('ok')
    world.run(1000)
    for (const host of all) expect(recover(host)).toMatchObject({ code: 'VALIDATION' })
    expect(all[1]!.put('second', '2')).toBe('ok')
    const [alone] = hosts(new World(32), 1)
    expect(alone!.world.runUntil(() => alone!.status.raft.role === 'leader', 10_000)).toBe(true)
    expect(alone!.put('first', '1')).toBe('ok')
    expect(recover(alone!)).toMatchObject({ code: 'VALIDATION' })
  })
})
