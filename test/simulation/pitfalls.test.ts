/** Pitfalls of whole peers, each a story of its own; those of consensus alone are in `test/unit/raft`. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { encodeText } from '../../src/base/text.ts'
import { payloadOf } from '../../src/mvcc/versioned.ts'
import { agree, fill, leftBehind } from './left-behind.ts'
import { Host, hosts } from './simulated-host.ts'

const leaderOf = (all: readonly Host[]): Host | undefined =>
  all.find(host => host.isOpen && host.status.raft.role === 'leader')

function three(seed: number): { world: World; all: Host[]; leader: Host; others: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3)
  for (const host of all) expect(host.join()).toBeUndefined()
  expect(world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === 3), 30_000)).toBe(
    true,
  )
  expect(all[0]!.put('x', 'old')).toBe('ok')
  world.run(1000)
  const leader = leaderOf(all)!
  return { world, all, leader, others: all.filter(host => host !== leader) }
}

/** Begins a linearizable read; what it answers, when it does. */
function readLater(host: Host, key: string): { answer: string | HarmonyError | undefined; done: boolean } {
  const read: ReturnType<typeof readLater> = { answer: undefined, done: false }
  host.peer.clients.read(
    { consistency: 'linearizable' },
    10_000,
    view => view.get(encodeText(key)),
    stored => {
      read.done = true
      read.answer =
        stored instanceof HarmonyError || stored === undefined ? stored : new TextDecoder().decode(payloadOf(stored))
    },
  )
  return read
}

describe('snapshots and the configuration', () => {
  it('pitfall 11: a peer that gets the whole state, twice in a row, has the configuration that belongs to it, and elects by it', () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { world, all } = leftBehind(seed)
      const late = all[2]!
      for (const round of [1, 2]) {
        // Meanwhile others came, of whose admission it gets no entry.
        const names = [`n${round}a`, `n${round}b`]
        const added = names.map(name => all[0]!.sibling(name).open())
        world.network.partition(['h2'], [...all.map(({ name }) => name).filter(name => name !== 'h2'), ...names])
        // The log is kept behind the state that newcomers get, and they may ask for it before their own admission is applied: it has to be newer than what the late one has.
        fill(all[0]!, 0, 20)
        for (const host of added) expect(host.join()).toBeUndefined()
        all.push(...added)
        fill(all[0]!, 0, 400)
        // A log that begins right behind what it has would do.
        expect(leaderOf(all.filter(host => host !== late))!.status.raft.firstIndex).toBeGreaterThan(
          late.status.raft.lastIndex + 1,
        )
        world.network.heal()
        expect(world.runUntil(() => agree(all), 90_000)).toBe(true)
        expect(late.snapshots).toBe(round)
        const { configuration } = leaderOf(all)!.status.raft
        expect(late.status.raft.configuration).toEqual(configuration)
        if (round === 1) world.run(20_000)
        if (round === 1)
          world.network.partition(
            ['h2'],
            all.map(({ name }) => name).filter(name => name !== 'h2'),
          )
        if (round === 1) world.run(20_000)
      }
      // From its own disk, too.
      late.crash('lost')
      late.restart()
      expect(late.join()).toBeUndefined()
      expect(world.runUntil(() => agree(all), 30_000)).toBe(true)
      leaderOf(all)!.crash()
      const left = all.filter(host => host.isOpen)
      expect(
        world.runUntil(
          () => leaderOf(left) !== undefined && left.every(({ status }) => status.health === 'ok'),
          30_000,
        ),
      ).toBe(true)
      expect(late.put('after', 'x')).toBe('ok')
    }
  })
})

describe('clocks', () => {
  const hourMs = 3_600_000
  for (const [rate, jumpMs] of [
    [1, 0],
    [0.5, 0],
    [2, 0],
    [1, 8 * hourMs],
    [1, -8 * hourMs],
    [0.5, -8 * hourMs],
  ] as const) {
    it(`pitfall 20: a leader that slept while another one wrote answers no read with what it had: clock rate ${rate}, time of day ${jumpMs / hourMs} h off`, () => {
      for (let seed = 11; seed <= 14; seed++) {
        const { world, leader, others } = three(seed)
        leader.process.time.setRate(rate)
        const under = readLater(leader, 'x')
        if (seed % 2 === 0) world.run(1)
        leader.process.freeze()
        expect(world.runUntil(() => leaderOf(others) !== undefined, 30_000)).toBe(true)
        expect(others[0]!.put('x', 'new')).toBe('ok')
        leader.process.time.jumpWall(jumpMs)
        leader.process.thaw()
        // In the very turn in which it wakes up, when it still takes itself for the leader.
        expect(leader.status.raft.role).toBe('leader')
        const after = readLater(leader, 'x')
        const bounded = leader.get('x', 'local')
        expect(['old', 'new']).toContain(bounded)
        expect(world.runUntil(() => after.done && under.done, 30_000)).toBe(true)
        if (after.answer instanceof HarmonyError) expect(['NO_QUORUM', 'TIMEOUT']).toContain(after.answer.code)
        else expect(after.answer).toBe('new')
        // The one that began before the write may show either.
        if (!(under.answer instanceof HarmonyError)) expect(['old', 'new']).toContain(under.answer)
        expect(leader.get('x')).toBe('new')
      }
    })
  }
})

describe('empty answers', () => {
  it('pitfall 29: a newcomer shows nothing before it has caught up, not even after a restart in between', () => {
    for (let seed = 21; seed <= 26; seed++) {
      const { world, all } = three(seed)
      const newcomer = new Host(world, 'n').open()
      newcomer.startJoin()
      let looks = 0
      for (let step = 0; step < 400 && newcomer.joinError === 'pending'; step++) {
        world.run(5)
        // From the moment on in which it has given its own, empty history up.
        if (newcomer.peer.cluster !== all[0]!.peer.cluster) continue
        const seen = newcomer.peer.clients.peek(
          { consistency: 'local' },
          view => view.get(encodeText('x')) !== undefined,
        )
        if (seen !== undefined) expect(seen.value, `seed ${seed}, step ${step}`).toBe(true)
        else looks++
        if (looks === 2 && newcomer.status.raft.applied === 0) {
          newcomer.crash('kept')
          newcomer.restart()
          expect(newcomer.peer.clients.localReady).toBe(false)
          newcomer.startJoin()
        }
      }
      expect(looks, `seed ${seed}`).toBeGreaterThan(0)
      expect(world.runUntil(() => newcomer.joinError === undefined, 30_000)).toBe(true)
      expect(newcomer.get('x', 'local')).toBe('old')
    }
  })
})
