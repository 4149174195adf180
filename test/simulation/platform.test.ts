/** The simulated platform by itself: repeatability, time, crashes of the disk, faults of the network. */
import { describe, expect, test } from 'vitest'
import type { SimulatedProcess } from '../../platform/simulation/process.ts'
import { World, type WorldOptions } from '../../platform/simulation/world.ts'
import { peerId } from '../../src/base/ids.ts'
import type { Connection, Endpoint, Introduction, Lane, LogFile } from '../../src/platform.ts'

const idOf = (name: string) => peerId(name.charCodeAt(0).toString(16).padStart(32, '0'))

interface Side {
  connection: Connection
  endpoint: Endpoint | undefined
  readonly received: string[]
  readonly closed: string[]
  readonly failed: string[]
}

/** Starts an attempt between two processes whose introductions pass at once. */
function connect(a: SimulatedProcess, b: SimulatedProcess): [Side, Side] {
  const sides = [a, b].map((): Side => {
    return { connection: { introduce() {}, close() {} }, endpoint: undefined, received: [], closed: [], failed: [] }
  }) as [Side, Side]
  const start = (own: Side, other: Side, process: SimulatedProcess, remote: string, initiator: boolean) => {
    own.connection = process.platform.transport.connect(idOf(remote), initiator, {
      onIntroduction: message => other.connection.introduce(JSON.parse(JSON.stringify(message)) as Introduction),
      onOpen(endpoint) {
        own.endpoint = endpoint
        endpoint.listen({
          onMessage: (lane, bytes) => own.received.push(`${lane} ${bytes[0]}`),
          onDrain: () => {},
          onClose: reason => own.closed.push(reason),
        })
      },
      onFailed: reason => own.failed.push(reason),
    })
  }
  start(sides[1], sides[0], b, a.name, false)
  start(sides[0], sides[1], a, b.name, true)
  return sides
}

function linked(world: World): [Side, Side] {
  const sides = connect(world.process('a'), world.process('b'))
  expect(world.runUntil(() => sides.every(side => side.endpoint !== undefined))).toBe(true)
  return sides
}

const send = (side: Side, byte: number, lane: Lane = 'consensus') => side.endpoint!.send(lane, Uint8Array.of(byte))

function openLog(world: World, process: SimulatedProcess): LogFile {
  let log: LogFile | undefined
  process.directory.openLog('log', result => {
    if (!result.ok) throw result.error
    log = result.value
  })
  expect(world.runUntil(() => log !== undefined)).toBe(true)
  return log!
}

function readAll(world: World, log: LogFile): number[] {
  let bytes: Uint8Array | undefined
  log.read(log.start, log.end - log.start, result => {
    if (!result.ok) throw result.error
    bytes = result.value
  })
  world.runUntil(() => bytes !== undefined)
  return [...bytes!]
}

/** A world in which a lot goes on: messages, syncs, a crash, a partition. */
function busyRun(seed: number): World {
  const world = new World(seed, { network: { spikeChance: 0.05, resetChance: 0.001 } })
  const a = world.process('a')
  const b = world.process('b')
  const [one, other] = connect(a, b)
  const log = openLog(world, a)
  const random = world.random('busy')
  const tick = () => {
    if (one.endpoint !== undefined) send(one, random.below(256))
    if (other.endpoint !== undefined) send(other, random.below(256), 'bulk')
    log.append(Uint8Array.of(random.below(256)))
    log.sync(() => {})
    a.platform.clock.after(10 * random.unit(), tick)
  }
  tick()
  world.run(500)
  world.network.cut('a', 'b')
  world.run(300)
  world.network.heal()
  world.run(300)
  a.crash()
  world.run(200)
  a.restart()
  openLog(world, a)
  return world
}

describe('a world from one seed', () => {
  test('the same seed is the same run, to the last event', () => {
    for (let seed = 0; seed < 10; seed++) {
      const [first, second] = [busyRun(seed), busyRun(seed)]
      expect(second.events).toBe(first.events)
      expect(second.hash).toBe(first.hash)
      expect(first.events).toBeGreaterThan(300)
    }
  })

  test('another seed is another run', () => {
    const hashes = Array.from({ length: 10 }, (_, seed) => busyRun(seed).hash)
    expect(new Set(hashes).size).toBe(10)
  })

  test('a new consumer of randomness does not shift the others', () => {
    const numbers = (more: boolean) => {
      const world = new World(7)
      if (more) world.random('something new').uint32()
      if (more) world.process('another')
      const bytes = new Uint8Array(8)
      world.process('a').platform.random.fill(bytes)
      return [...bytes]
    }
    expect(numbers(true)).toEqual(numbers(false))
  })
})

describe('time', () => {
  test('a clock of another rate counts its own milliseconds, and its timers with it', () => {
    const world = new World(1)
    const { platform, time } = world.process('a')
    time.setRate(0.5)
    const start = platform.clock.now()
    let firedAt = 0
    platform.clock.after(100, () => {
      firedAt = world.nowMs
    })
    world.run(1_000)
    expect(platform.clock.now() - start).toBeCloseTo(500, 6)
    expect(firedAt).toBeGreaterThanOrEqual(200)
    expect(firedAt).toBeLessThan(205)
  })

  test('a timer set before the rate changed does not fire early', () => {
    const world = new World(1)
    const { platform, time } = world.process('a')
    const start = platform.clock.now()
    let firedAfter = 0
    platform.clock.after(100, () => {
      firedAfter = platform.clock.now() - start
    })
    world.run(50)
    time.setRate(0.1)
    world.run(1_000)
    expect(firedAfter).toBeGreaterThanOrEqual(100)
  })

  test('pitfall 20: wall time jumps, now does not', () => {
    const world = new World(1)
    const { platform, time } = world.process('a')
    const [now, wall] = [platform.clock.now(), platform.clock.wall()]
    time.jumpWall(-8 * 3_600_000)
    expect(platform.clock.now()).toBe(now)
    expect(platform.clock.wall()).toBe(wall - 8 * 3_600_000)
  })

  test('pitfall 21: a throttled tab gets its ticks on a grid of a minute', () => {
    const world = new World(1)
    const { platform, time } = world.process('a')
    time.throttle(60_000)
    let ticks = 0
    const tick = () => {
      ticks++
      platform.clock.after(50, tick)
    }
    platform.clock.after(50, tick)
    world.run(300_000)
    expect(ticks).toBe(5)
  })
})

describe('a process', () => {
  test('no callback of a dead life ever runs', () => {
    const world = new World(3)
    const a = world.process('a')
    const [one, other] = linked(world)
    const log = openLog(world, a)
    const heard: string[] = []
    log.append(Uint8Array.of(1))
    log.sync(() => heard.push('sync'))
    a.platform.clock.after(1, () => heard.push('timer'))
    a.platform.clock.soon(() => heard.push('soon'))
    send(other, 9)
    a.crash()
    a.restart()
    world.run(60_000)
    expect(heard).toEqual([])
    expect(one.received).toEqual([])
    expect(one.closed).toEqual([])
    expect(other.closed).toEqual(['connection lost'])
  })

  test('what comes while it is frozen comes after the thaw, in order', () => {
    const world = new World(3)
    const b = world.process('b')
    const [one, other] = linked(world)
    b.freeze()
    for (let i = 0; i < 5; i++) send(one, i)
    world.run(10_000)
    expect(other.received).toEqual([])
    b.thaw()
    world.run(0)
    expect(other.received).toEqual([0, 1, 2, 3, 4].map(i => `consensus ${i}`))
  })

  test('the disk is free after a crash, and only then', () => {
    const world = new World(3)
    const a = world.process('a')
    expect(a.directory).toBe(a.directory)
    let outcome = ''
    a.openDirectory(result => {
      outcome = result.ok ? 'opened' : result.error.code
    })
    world.run(10)
    expect(outcome).toBe('LOCKED')
    a.crash()
    a.restart()
    a.openDirectory(result => {
      outcome = result.ok ? 'opened' : result.error.code
    })
    world.run(10)
    expect(outcome).toBe('opened')
  })

  test('processes of one profile share a founding lock; a crash passes it on', () => {
    const world = new World(3)
    const holders: string[] = []
    for (const name of ['a', 'b', 'c']) {
      const { platform } = world.process(name, { profile: name === 'c' ? 'other' : 'one' })
      platform.foundingLock!.acquire('room', () => holders.push(name))
    }
    world.run(10)
    expect(holders.sort()).toEqual(['a', 'c'])
    world.process('a').crash()
    world.run(10)
    expect(holders).toContain('b')
    expect(world.process('d').platform.foundingLock).toBeUndefined()
  })
})

describe('a disk', () => {
  /** Appends 100 bytes of 1, synced, then ten times 300 bytes of 2, not synced, and crashes. */
  function crashed(seed: number, cache: 'lost' | 'kept'): number[] {
    const world = new World(seed)
    const a = world.process('a')
    const log = openLog(world, a)
    let durable = false
    log.append(new Uint8Array(100).fill(1))
    log.sync(error => {
      durable = error === undefined
    })
    world.runUntil(() => durable)
    for (let i = 0; i < 10; i++) log.append(new Uint8Array(300).fill(2))
    a.crash(cache)
    a.restart()
    return readAll(world, openLog(world, a))
  }

  test('a crash keeps what was synced, and of the rest none, all, or some sectors', () => {
    const kinds = new Set<string>()
    for (let seed = 0; seed < 200; seed++) {
      const bytes = crashed(seed, 'lost')
      expect(bytes.slice(0, 100).every(byte => byte === 1)).toBe(true)
      const rest = bytes.slice(100)
      expect(rest.every(byte => byte === 0 || byte === 2)).toBe(true)
      const survived = rest.filter(byte => byte === 2).length
      kinds.add(survived === 0 ? 'none' : survived === 3_000 ? 'all' : 'some')
      if (bytes.length > 100 + 3_000) kinds.add('longer')
      const hole = rest.indexOf(0)
      if (hole >= 0 && rest.indexOf(2, hole) > 0) kinds.add('hole')
    }
    expect([...kinds].sort()).toEqual(['all', 'hole', 'longer', 'none', 'some'])
  })

  test('a process that is killed loses nothing that the system has', () => {
    for (let seed = 0; seed < 20; seed++) expect(crashed(seed, 'kept').length).toBe(3_100)
  })

  test('pitfall 18: a failed sync is the end of the file object', () => {
    const world = new World(5)
    const a = world.process('a')
    const log = openLog(world, a)
    a.disk.failNextSync()
    const outcomes: string[] = []
    for (let i = 0; i < 3; i++) {
      log.append(Uint8Array.of(i))
      log.sync(error => outcomes.push(error?.code ?? 'done'))
    }
    world.run(1_000)
    expect(outcomes).toEqual(['STORAGE_LOST', 'STORAGE_LOST', 'STORAGE_LOST'])
  })

  test('pitfall 17: a full disk answers QUOTA', () => {
    const world = new World(5)
    const a = world.process('a')
    const log = openLog(world, a)
    a.disk.full = true
    log.append(Uint8Array.of(1))
    let outcome = ''
    log.sync(error => {
      outcome = error?.code ?? 'done'
    })
    world.run(1_000)
    expect(outcome).toBe('QUOTA')
  })
})

describe('a network', () => {
  const calm: WorldOptions = { network: { lossNoticeMsMin: 20_000, lossNoticeMsMax: 30_000 } }

  test('a cut link looks open at both ends; healed, it delivers late or is reset, by the seed', () => {
    const fates = new Set<string>()
    for (let seed = 0; seed < 30; seed++) {
      const world = new World(seed, calm)
      const [one, other] = linked(world)
      world.network.cut('a', 'b')
      for (let i = 0; i < 3; i++) send(one, i)
      send(other, 7)
      world.run(5_000)
      expect(other.received).toEqual([])
      expect(one.received).toEqual(['consensus 7'])
      expect([...one.closed, ...other.closed]).toEqual([])
      world.network.heal('a', 'b')
      world.run(10_000)
      if (other.closed.length === 0) {
        expect(other.received).toEqual([0, 1, 2].map(i => `consensus ${i}`))
        fates.add('late')
      } else {
        expect(other.received).toEqual([])
        expect(one.closed).toEqual(['connection reset'])
        fates.add('reset')
      }
    }
    expect(fates.size).toBe(2)
  })

  test('the ends of a link that stays cut give up, each in its time', () => {
    const world = new World(2, calm)
    const [one, other] = linked(world)
    world.network.isolate('a')
    world.run(40_000)
    expect([one.closed, other.closed]).toEqual([['connection lost'], ['connection lost']])
    expect(world.network.linkCount).toBe(0)
  })

  test('an attempt through a cut fails after its time, and gets through if it heals before', () => {
    const world = new World(2, calm)
    world.network.isolate('a')
    const first = connect(world.process('a'), world.process('b'))
    world.run(20_000)
    expect(first.map(side => side.failed)).toEqual([['timed out'], ['timed out']])
    const second = connect(world.process('a'), world.process('b'))
    world.run(5_000)
    world.network.heal()
    world.run(1_000)
    expect(second.every(side => side.endpoint !== undefined)).toBe(true)
  })

  test('the lossy mode drops, doubles and reorders', () => {
    const world = new World(2, {
      network: { lossy: { dropChance: 0.2, duplicateChance: 0.2, reorderChance: 0.3 } },
    })
    const [one, other] = linked(world)
    for (let i = 0; i < 200; i++) send(one, i)
    world.run(1_000)
    const bytes = other.received.map(text => Number(text.split(' ')[1]))
    expect(new Set(bytes).size).toBeLessThan(190)
    expect(bytes.length).toBeGreaterThan(new Set(bytes).size)
    expect(bytes).not.toEqual([...bytes].sort((a, b) => a - b))
    expect(one.endpoint!.bufferedBytes('consensus')).toBe(0)
  })

  test('a rendezvous carries between those of one room, tells of its state, and loses what it may', () => {
    const world = new World(4)
    const heard: string[] = []
    const sessions = ['a', 'b', 'c'].map(name => {
      const room = name === 'c' ? 'elsewhere' : 'room'
      return world.process(name).rendezvous.connect(room, idOf(name), {
        onMessage: (from, message) =>
          heard.push(`${name} hears ${JSON.stringify(message)} of ${from === idOf('a') ? 'a' : from}`),
        onState: state => heard.push(`${name} ${state}`),
      })
    })
    world.run(100)
    expect(heard.splice(0).sort()).toEqual(['a open', 'b open', 'c open'])
    sessions[0]!.send('*', { n: 1 })
    sessions[0]!.send(idOf('b'), { n: 2 })
    world.run(100)
    expect(heard.splice(0).sort()).toEqual(['b hears {"n":1} of a', 'b hears {"n":2} of a'])
    world.network.signaling.setReachable('b', false)
    sessions[0]!.send('*', { n: 3 })
    world.run(100)
    expect(heard.splice(0)).toEqual(['b down'])
    world.network.signaling.setReachable('b', true)
    world.network.configure({ rendezvousLossChance: 1 })
    sessions[0]!.send('*', { n: 4 })
    world.run(100)
    expect(heard).toEqual(['b open'])
  })
})
