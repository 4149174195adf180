/** How rooms are born, joined, cut, left and refused, with whole peers on simulated hosts. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { encodeText } from '../../src/base/text.ts'
import { Host, hosts } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

function joined(seed: number, count: number): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, count)
  for (const host of all) expect(host.join()).toBeUndefined()
  return { world, all }
}

const codeOf = (answer: unknown): unknown => (answer instanceof HarmonyError ? answer.code : answer)
const leaderOf = (all: readonly Host[]): Host => all.find(host => host.status.raft.role === 'leader') as Host

describe('rooms', () => {
  for (const profile of [undefined, 'tabs of one origin']) {
    it(`ten that open at the same moment found one cluster, not two (${profile ?? 'strangers'})`, () => {
      for (let seed = 1; seed <= 5; seed++) {
        const world = new World(seed)
        const all = hosts(world, 10, profile)
        for (const host of all) host.startJoin()
        expect(world.runUntil(() => all.every(host => host.joinError !== 'pending'), 60_000)).toBe(true)
        expect(all.map(host => host.joinError)).toEqual(all.map(() => undefined))
        expect(new Set(all.map(host => host.status.cluster)).size).toBe(1)
        world.run(3000)
        expect(all.filter(host => host.status.raft.role === 'leader').length).toBe(1)
        expect(leaderOf(all).status.raft.configuration.voters.length).toBe(5)
      }
    })
  }

  it('with a rendezvous that loses half of its messages they still find one', () => {
    // The last four left a learner behind in a cluster whose only voter had gone over to another one.
    for (const seed of [1, 2, 3, 4, 5, 11, 103, 128, 245]) {
      const world = new World(seed, { network: { rendezvousLossChance: 0.5 } })
      const all = hosts(world, 5)
      for (const host of all) host.startJoin()
      expect(world.runUntil(() => all.every(host => host.joinError !== 'pending'), 120_000)).toBe(true)
      expect(world.runUntil(() => new Set(all.map(host => host.status.cluster)).size === 1, 60_000)).toBe(true)
      expect(world.runUntil(() => all.every(host => host.status.health === 'ok'), 60_000)).toBe(true)
      expect(all[0]?.put('a', '1')).toBe('ok')
    }
  })

  it('two clusters without data that were born apart become one when they meet', () => {
    const world = new World(3)
    const all = hosts(world, 4)
    world.network.partition(['h0', 'h1'], ['h2', 'h3'])
    for (const host of all) host.startJoin()
    expect(world.runUntil(() => all.every(host => host.joinError === undefined), 60_000)).toBe(true)
    expect(new Set(all.map(host => host.status.cluster)).size).toBe(2)
    world.network.heal()
    expect(world.runUntil(() => new Set(all.map(host => host.status.cluster)).size === 1, 60_000)).toBe(true)
    expect(all[3]?.put('a', '1')).toBe('ok')
    for (const host of all) expect(host.get('a')).toBe('1')
  })

  it('of two clusters born apart the one without data gives way to the one with data', () => {
    const world = new World(4)
    const all = hosts(world, 4)
    world.network.partition(['h0', 'h1'], ['h2', 'h3'])
    for (const host of all) host.startJoin()
    expect(world.runUntil(() => all.every(host => host.joinError === undefined), 60_000)).toBe(true)
    expect(all[2]?.put('mine', 'kept')).toBe('ok')
    const survivor = all[2]?.status.cluster
    world.network.heal()
    expect(world.runUntil(() => all.every(host => host.status.cluster === survivor), 60_000)).toBe(true)
    expect(all[0]?.get('mine')).toBe('kept')
  })

  it('two clusters with data never merge, and say so', () => {
    const world = new World(5)
    const [a, b] = hosts(world, 2) as [Host, Host]
    world.network.partition(['h0'], ['h1'])
    expect([a.startJoin(), b.startJoin()].length).toBe(2)
    world.runUntil(() => a.joinError === undefined && b.joinError === undefined, 60_000)
    expect([a.put('k', 'a'), b.put('k', 'b')]).toEqual(['ok', 'ok'])
    world.network.heal()
    world.run(10_000)
    expect(a.status.cluster).not.toBe(b.status.cluster)
    expect([a.get('k'), b.get('k')]).toEqual(['a', 'b'])
  })

  it('a database whose data are all in its checkpoint has data, too: two that were born apart are never merged silently', () => {
    const world = new World(3)
    const [room, solo] = ['a', 'b'].map(name => new Host(world, name).open()) as [Host, Host]
    expect(room.put('whose', "the room's")).toBe('ok')
    expect(room.join()).toBeUndefined()
    const large = 'x'.repeat(100_000)
    expect(solo.put('whose', large)).toBe('ok')
    solo.close()
    solo.crash('kept')
    solo.restart()
    expect(solo.status.raft.firstIndex).toBeGreaterThan(2)
    expect(codeOf(solo.join())).toBe('ROOM_CONFLICT')
    expect(solo.get('whose', 'local')).toBe(large)
  })

  it('a solo database with data that joins a room with data gets ROOM_CONFLICT and keeps what it has', () => {
    const { world, all } = joined(6, 2)
    expect(all[0]?.put('k', 'room')).toBe('ok')
    const solo = new Host(world, 'solo').open()
    expect(solo.put('k', 'solo')).toBe('ok')
    expect(codeOf(solo.join())).toBe('ROOM_CONFLICT')
    expect(solo.get('k')).toBe('solo')
    expect(solo.join({ onConflict: 'discard-local' })).toBeUndefined()
    expect(solo.get('k')).toBe('room')
  })

  it('the same after a restart: what is only in its log counts as data', () => {
    const { world, all } = joined(7, 2)
    expect(all[0]?.put('k', 'room')).toBe('ok')
    const solo = new Host(world, 'solo').open()
    expect(solo.put('k', 'solo')).toBe('ok')
    solo.crash()
    expect(codeOf(solo.restart().join())).toBe('ROOM_CONFLICT')
    expect(solo.get('k')).toBe('solo')
  })

  it('a database with data founds its room, and an empty room gives way to it', () => {
    const world = new World(8)
    const [a, b] = hosts(world, 2) as [Host, Host]
    expect(a.join()).toBeUndefined()
    expect(b.put('k', 'b')).toBe('ok')
    expect(b.join()).toBeUndefined()
    expect(world.runUntil(() => a.status.cluster === b.status.cluster, 30_000)).toBe(true)
    expect(a.get('k')).toBe('b')
  })

  it('a wrong secret is UNAUTHORIZED, and harms nobody', () => {
    const { world, all } = joined(9, 3)
    const stranger = new Host(world, 'stranger').open()
    expect(codeOf(stranger.join({ secret: 'hs1_wrongwrongwrongwrongwrongwr' }))).toBe('UNAUTHORIZED')
    expect(all[1]?.put('k', '1')).toBe('ok')
    expect(all[2]?.get('k')).toBe('1')
  })

  it('with a founding lock and nobody else, a room is founded in under two seconds', () => {
    const world = new World(10)
    const [host] = hosts(world, 1, 'p') as [Host]
    const before = world.nowMs
    expect(host.join()).toBeUndefined()
    expect(world.nowMs - before).toBeLessThan(2000)
  })
})

describe('a cut', () => {
  it('one that is cut off refuses with NO_QUORUM within three seconds, reads locally, and catches up', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, all } = joined(seed, 4)
      expect(all[0]?.put('k', 'before')).toBe('ok')
      for (const host of all) expect(host.get('k')).toBe('before')
      const away = all[seed % 4] as Host
      const others = all.filter(host => host !== away)
      world.network.isolate(away.name)
      const cutMs = world.nowMs
      const [put, get] = [away.put('k', 'cut'), away.get('k')]
      expect([codeOf(put), codeOf(get)]).toEqual(['NO_QUORUM', 'NO_QUORUM'])
      expect(world.nowMs - cutMs).toBeLessThan(3000)
      expect(away.get('k', 'local')).toBe('before')
      expect(world.runUntil(() => others.some(host => host.status.raft.role === 'leader'), 5000)).toBe(true)
      expect(others[0]?.put('k', 'after')).toBe('ok')
      world.network.heal()
      expect(world.runUntil(() => away.status.health === 'ok', 20_000)).toBe(true)
      expect(away.get('k')).toBe('after')
    }
  })

  it('a leader that is cut off steps down; another leads within two seconds', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, all } = joined(seed, 4)
      const old = leaderOf(all)
      world.network.isolate(old.name)
      const others = all.filter(host => host !== old)
      expect(world.runUntil(() => others.some(host => host.status.raft.role === 'leader'), 2000)).toBe(true)
      expect(world.runUntil(() => old.status.raft.role !== 'leader', 2000)).toBe(true)
    }
  })

  it('when the leader dies another leads within two seconds, and nothing acknowledged is missing', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, all } = joined(seed, 4)
      for (let n = 0; n < 20; n++) expect(all[n % 4]?.put(`k${n}`, `${n}`)).toBe('ok')
      const old = leaderOf(all)
      old.crash()
      const others = all.filter(host => host !== old)
      expect(world.runUntil(() => others.some(host => host.status.raft.role === 'leader'), 2000)).toBe(true)
      for (let n = 0; n < 20; n++) expect(others[n % 3]?.get(`k${n}`)).toBe(`${n}`)
    }
  })
})

describe('coming and going', () => {
  it('a restarted peer is the same peer with its data', () => {
    const { world, all } = joined(11, 3)
    const host = all[1] as Host
    expect(host.put('k', '1')).toBe('ok')
    const { id, cluster } = host.status
    world.run(2000)
    host.crash()
    host.restart()
    expect(host.get('k', 'local')).toBe('1')
    expect(host.join()).toBeUndefined()
    expect([host.status.id, host.status.cluster]).toEqual([id, cluster])
    expect(host.get('k')).toBe('1')
  })

  it('who leaves is gone from the configuration, and may come back', () => {
    const { world, all } = joined(12, 4)
    expect(all[0]?.put('k', '1')).toBe('ok')
    const leaver = leaderOf(all)
    const { id } = leaver.status
    leaver.leave()
    const others = all.filter(host => host !== leaver)
    const seen = () => others.map(host => host.status.raft.configuration)
    expect(
      world.runUntil(() => seen().every(one => !one.voters.includes(id) && !one.learners.includes(id)), 10_000),
    ).toBe(true)
    expect(leaver.status.health).toBe('left')
    expect(codeOf(leaver.put('k', '2'))).toBe('NOT_MEMBER')
    expect(leaver.get('k', 'local')).toBe('1')
    expect(others[0]?.put('k', '3')).toBe('ok')
    expect(leaver.join()).toBeUndefined()
    expect(leaver.get('k')).toBe('3')
  })

  it('tabs that close one after the other leave the last one able to write', () => {
    const world = new World(13)
    const all = hosts(world, 5, 'p')
    for (const host of all) expect(host.join()).toBeUndefined()
    expect(all[0]?.put('k', '0')).toBe('ok')
    while (all.length > 1) {
      const going = all.splice(all.indexOf(leaderOf(all)), 1)[0] as Host
      going.close()
      expect(world.runUntil(() => all.some(host => host.status.raft.role === 'leader'), 5000)).toBe(true)
      expect(all[0]?.put('k', `${all.length}`)).toBe('ok')
    }
    expect(all[0]?.get('k')).toBe('1')
  })

  it('a member that the others removed while it was away is taken in again', () => {
    const { world, all } = joined(14, 4)
    const away = all.find(host => host.status.raft.configuration.learners.includes(host.status.id)) as Host
    const { id } = away.status
    away.crash()
    const others = all.filter(host => host !== away)
    const gone = () => others.every(host => !host.status.raft.configuration.learners.includes(id))
    expect(world.runUntil(gone, 120_000)).toBe(true)
    expect(others[0]?.put('k', '1')).toBe('ok')
    expect(away.restart().join()).toBeUndefined()
    expect(away.get('k')).toBe('1')
  })

  it('a write that was on its way when the leader died is executed once', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { world, all } = joined(seed, 3)
      const leader = leaderOf(all)
      const client = all.find(host => host !== leader) as Host
      expect(client.put('n', '0')).toBe('ok')
      const answers: unknown[] = []
      for (let n = 1; n <= 10; n++) {
        client.peer.clients.write(
          writeOf([{ type: 'put', key: encodeText('n'), value: encodeText(`${n}`) }]),
          20_000,
          result => {
            answers.push('error' in result ? result.error.code : result.outcome.type)
          },
        )
      }
      world.run(seed)
      leader.crash()
      expect(world.runUntil(() => answers.length === 10, 30_000)).toBe(true)
      expect(answers).toEqual(Array(10).fill('committed'))
      expect(client.get('n')).toBe('10')
    }
  })
})
