/** Pitfalls of whole peers, each a story of its own; those of consensus alone are in `test/unit/raft`. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { encodeText } from '../../src/base/text.ts'
import { payloadOf } from '../../src/mvcc/versioned.ts'
import { agree, fill, leftBehind } from './left-behind.ts'
import { Host, type HostOptions, hosts } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

const leaderOf = (all: readonly Host[]): Host | undefined =>
  all.find(host => host.isOpen && host.status.raft.role === 'leader')

function three(seed: number, options: HostOptions = {}): { world: World; all: Host[]; leader: Host; others: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3, undefined, options)
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
  const leases: HostOptions = { leaseDriftMax: 4 }
  for (const [rate, jumpMs, sleeps, options] of [
    [1, 0, false, {}],
    [0.5, 0, false, {}],
    [2, 0, false, {}],
    [1, 8 * hourMs, false, {}],
    [1, -8 * hourMs, false, {}],
    [0.5, -8 * hourMs, false, {}],
    [1, 0, false, leases],
    [0.5, 0, false, leases],
    [2, 0, false, leases],
    [1, 0, true, leases],
    [0.5, 8 * hourMs, true, leases],
    [1, -8 * hourMs, false, leases],
    [1, -8 * hourMs, true, leases],
  ] as const) {
    const circumstances = `clock rate ${rate}, time of day ${jumpMs / hourMs} h off${sleeps ? ', its clock stood still' : ''}${options === leases ? ', reads under leases' : ''}`
    it(`pitfall 20: a leader that slept while another one wrote answers no read with what it had: ${circumstances}`, () => {
      for (let seed = 11; seed <= 14; seed++) {
        const { world, leader, others } = three(seed, options)
        leader.process.time.setRate(rate)
        const under = readLater(leader, 'x')
        if (seed % 2 === 0) world.run(1)
        leader.process.freeze()
        if (sleeps) leader.process.time.setRate(1e-9)
        expect(world.runUntil(() => leaderOf(others) !== undefined, 30_000)).toBe(true)
        expect(others[0]!.put('x', 'new')).toBe('ok')
        leader.process.time.jumpWall(jumpMs)
        if (sleeps) leader.process.time.setRate(rate)
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

describe('leases', () => {
  const linearizable = { consistency: 'linearizable' } as const
  /** What the leader answers at once, without asking anybody. */
  const atOnce = (host: Host): string | undefined => {
    const seen = host.peer.clients.peek(linearizable, view => view.get(encodeText('x')))
    return seen?.value === undefined ? undefined : new TextDecoder().decode(payloadOf(seen.value))
  }

  it('a leader that was heard lately answers at once, and its followers with one question to it', () => {
    const { world, leader, others } = three(1, { leaseDriftMax: 2 })
    let held = 0
    for (let step = 0; step < 100; step++) {
      world.run(10)
      if (atOnce(leader) === 'old') held++
    }
    expect(held).toBeGreaterThan(90)
    expect(atOnce(others[0]!)).toBeUndefined()
    // The third hears nothing: no round of heartbeats could be confirmed by it, and none is needed.
    const read = readLater(others[0]!, 'x')
    world.runUntil(() => read.done, 50)
    expect(read.answer).toBe('old')
    world.network.isolate(leader.name)
    world.run(300)
    expect(leader.status.raft.role).toBe('leader')
    expect(atOnce(leader)).toBeUndefined()
  })

  it('without the option nobody answers at once', () => {
    const { world, leader } = three(1)
    for (let step = 0; step < 100; step++) {
      world.run(10)
      expect(atOnce(leader)).toBeUndefined()
    }
  })

  /** How often a leader that is cut off, whose clock is slow and its voters' fast, shows an old state after a new one was acknowledged. */
  function stale(leaseDriftMax: number): number {
    let times = 0
    for (let seed = 1; seed <= 12; seed++) {
      const { world, leader, others } = three(seed, { leaseDriftMax })
      leader.process.time.setRate(0.5)
      for (const host of others) host.process.time.setRate(2)
      world.run(500)
      world.network.isolate(leader.name)
      expect(world.runUntil(() => leaderOf(others) !== undefined, 30_000)).toBe(true)
      const [first] = others
      let written = false
      first!.peer.clients.write(
        writeOf([{ type: 'put', key: encodeText('x'), value: encodeText('new') }]),
        10_000,
        result => {
          written = 'outcome' in result
        },
      )
      expect(world.runUntil(() => written, 10_000)).toBe(true)
      if (atOnce(leader) === 'old') times++
    }
    return times
  }

  it('hold as far as clocks drift, and no further', () => {
    expect(stale(4)).toBe(0)
    expect(stale(1)).toBeGreaterThan(0)
  })
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
