/** What has to hold for as long as a cluster lives: lost members, rolling restarts, a member that is gone, one that comes back. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { encodeText } from '../../src/base/text.ts'
import { agree, expectWhole, leftBehind, rows } from './left-behind.ts'
import { type Host, type HostOptions, hosts } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

const deep = process.env.DEEP === '1'
const minutesMax = deep ? 3_600_000 : 120_000

const leaderOf = (all: readonly Host[]): Host | undefined =>
  all.find(host => host.isOpen && host.status.raft.role === 'leader')

function cluster(seed: number, count: number, options?: HostOptions): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, count, undefined, options)
  for (const host of all) expect(host.join()).toBeUndefined()
  expect(
    world.runUntil(
      () => all.every(({ status }) => status.raft.configuration.voters.length === Math.min(count, 5)),
      60_000,
    ),
  ).toBe(true)
  return { world, all }
}

/** Callers that write one after the other, `pauseMs` after they are answered, until told to stop. */
function writers(host: Host, count: number, pauseMs = 0, rowsMax = 100): { acknowledged: number; stopped: boolean } {
  const load = { acknowledged: 0, stopped: false }
  const next = (caller: number, n: number): void => {
    if (load.stopped) return
    const op = {
      type: 'put',
      key: encodeText(`load ${caller} ${n % rowsMax}`),
      value: encodeText(`${n} `.repeat(10)),
    } as const
    host.peer.clients.write(writeOf([op]), 10_000, result => {
      if ('outcome' in result) load.acknowledged++
      if (pauseMs === 0) next(caller, n + 1)
      else host.world.after(pauseMs, 'the next write', () => next(caller, n + 1))
    })
  }
  for (let caller = 0; caller < count; caller++) next(caller, 0)
  return load
}

describe('a cluster that lives long', () => {
  it('five voters lose two at random, again and again: no acknowledged write is lost', { timeout: minutesMax }, () => {
    const rounds = deep ? 1000 : 40
    const { world, all } = cluster(51, 5, { checkpointBytes: 32 * 1024 })
    const random = world.random('rounds')
    const written = new Map<string, string>()
    for (let round = 0; round < rounds; round++) {
      const lost = [...all].sort(() => random.between(0, 2) - 1).slice(0, 2)
      const left = all.filter(host => !lost.includes(host))
      const isCrash = random.chance(0.7)
      const names = lost.map(host => host.name)
      if (isCrash) for (const host of lost) host.crash(random.chance(0.5) ? 'lost' : 'kept')
      else
        world.network.partition(
          names,
          left.map(host => host.name),
        )
      expect(
        world.runUntil(() => leaderOf(left) !== undefined, 30_000),
        `round ${round}`,
      ).toBe(true)
      for (let i = 0; i < 3; i++) {
        const [key, value] = [`key ${random.between(0, 30)}`, `round ${round}.${i}`]
        // No answer is no acknowledgement; an idempotency key makes one of it.
        let answer = left[i]!.putOnce(key, value, value)
        for (let tries = 0; 'code' in answer && tries < 20; tries++) {
          world.run(500)
          answer = left[i]!.putOnce(key, value, value)
        }
        expect(answer, `round ${round}`).toMatchObject({ type: 'committed' })
        written.set(key, value)
      }
      if (isCrash) for (const host of lost) host.restart().startJoin()
      else world.network.heal()
      const back = (): boolean =>
        all.every(host => host.joinError === undefined && host.status.health === 'ok') && agree(all)
      expect(world.runUntil(back, 90_000), `round ${round}`).toBe(true)
      const [reader] = lost
      for (const [key, value] of written) expect(reader!.get(key, 'local'), `round ${round} ${key}`).toBe(value)
    }
  })

  it('pitfall 30: a rolling restart of all, faster than the autopilot gives anybody up, keeps the quorum and every seat', {
    timeout: minutesMax,
  }, () => {
    for (let seed = 61; seed <= 64; seed++) {
      // The sixth would take the seat of anybody who is given up.
      const { world, all } = cluster(seed, 6)
      const { voters } = all[0]!.status.raft.configuration
      for (const host of all) {
        const others = all.filter(other => other !== host)
        const downMs = 3000
        if (seed % 2 === 0) host.close()
        host.crash('kept')
        const backAt = world.nowMs + downMs
        while (world.nowMs < backAt) {
          expect(others[0]!.putOnce('x', `${world.nowMs}`, `${world.nowMs}`)).toMatchObject({ type: 'committed' })
          expect(others[1]!.status.raft.configuration.voters).toEqual(voters)
          world.run(200)
        }
        host.restart()
        expect(host.join()).toBeUndefined()
      }
      expect(world.runUntil(() => agree(all), 30_000)).toBe(true)
      expect(all[0]!.status.raft.configuration.voters).toEqual(voters)
    }
  })

  it('a leader with one dead follower: its memory stays flat, and the log on disk within its bound', {
    timeout: minutesMax,
  }, () => {
    const checkpointBytes = 64 * 1024
    const cacheBytesMax = 32 * 1024
    const { world, all } = cluster(71, 3, { checkpointBytes, limits: { cacheBytesMax } })
    const dead = all.find(host => host !== leaderOf(all))!
    const left = all.filter(host => host !== dead)
    dead.crash()
    const leader = leaderOf(left)!
    const load = writers(leader, 16)
    const total = deep ? 1_000_000 : 10_000
    let most = { log: 0, cached: 0, waiting: 0, file: 0 }
    const sizes: number[] = []
    for (let next = total / 100; load.acknowledged < total; next += total / 100) {
      expect(world.runUntil(() => load.acknowledged >= next, 600_000)).toBe(true)
      for (const host of left) {
        const { wal, engine } = host.lives.store
        const log = wal.endLsn - wal.startLsn
        const { cachedEntryBytes: cached } = host.status.raft
        const file = engine.status().pages.fileBytes
        const { queuedBytes: waiting } = host.status
        most = {
          log: Math.max(most.log, log),
          cached: Math.max(most.cached, cached),
          waiting: Math.max(most.waiting, waiting),
          file: Math.max(most.file, file),
        }
        sizes.push(log)
      }
    }
    load.stopped = true
    expect(dead.isOpen).toBe(false)
    // The tail for those who come back, what is applied since the last checkpoint, and what is dropped in whole pieces.
    expect(most.log).toBeLessThan(6 * checkpointBytes)
    expect(most.cached).toBeLessThan(cacheBytesMax + 64 * 1024)
    expect(most.waiting).toBeLessThan(64 * 1024)
    expect(most.file).toBeLessThan(2 * 1024 * 1024)
    // Flat: the last tenth is no larger than the first ones.
    const tenth = sizes.length / 10
    expect(Math.max(...sizes.slice(-tenth))).toBeLessThan(1.5 * Math.max(...sizes.slice(tenth, 4 * tenth)))
    expect(leader.status.raft.progress.find(({ id }) => !left.some(host => host.peer.id === id))).toMatchObject({
      active: false,
    })
  })

  it('a follower that was away comes back by snapshot, its link cut three times, while writes go on at no less than half their rate', {
    timeout: minutesMax,
  }, () => {
    const count = deep ? 100_000 : rows
    const { world, all } = leftBehind(81, { count })
    const late = all[2]!
    // Not so much that the state which is being sent would have to be given up for a newer one (`heldLogBytesMax`).
    const load = writers(all[0]!, 2, 50, 5)
    const rateOver = (ms: number): number => {
      const before = load.acknowledged
      world.run(ms)
      return (load.acknowledged - before) / ms
    }
    const usual = rateOver(5000)
    expect(usual).toBeGreaterThan(0)
    const rates: number[] = []
    const [begun, doneBefore] = [world.nowMs, load.acknowledged]
    world.network.heal()
    const received = (): number => late.status.receivedBytes ?? 0
    for (let cut = 1; cut <= 3; cut++) {
      const before = received()
      expect(world.runUntil(() => received() > before + 5000, 60_000)).toBe(true)
      const there = received()
      world.network.partition(['h2'], ['h0', 'h1'])
      rates.push(rateOver(3000))
      world.network.heal()
      let least = received()
      const goesOn = (): boolean => {
        least = Math.min(least, received())
        return received() > there
      }
      expect(world.runUntil(goesOn, 60_000)).toBe(true)
      // What was there before the link broke did not come again.
      expect(least).toBeGreaterThanOrEqual(there)
    }
    expect(world.runUntil(() => late.snapshots === 1, 600_000)).toBe(true)
    rates.push((load.acknowledged - doneBefore) / (world.nowMs - begun))
    expect(Math.min(...rates)).toBeGreaterThan(usual / 2)
    load.stopped = true
    expectWhole(world, all, count)
    expect(late.snapshots).toBe(1)
  })
})
