/** Peers that were away for longer than the others' logs reach, and get the state instead of the entries. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { Host, hosts } from './simulated-host.ts'

const deep = process.env.DEEP === '1'
/** A short log, and a state that takes many pieces. */
const options = { checkpointBytes: 8 * 1024, limits: { messageBytesMax: 2000 } }
const rows = 400

function fill(host: Host, from: number, count: number): void {
  for (let i = from; i < from + count; i += 20) {
    const batch = Array.from({ length: 20 }, (_, n) => [`key ${i + n}`, `${i + n} `.repeat(20)] as const)
    expect(host.putAll(batch)).toBe('ok')
  }
}

/** h2 is away while the others write more than their logs keep. */
function leftBehind(seed: number): { world: World; all: Host[] } {
  const world = new World(seed)
  const all = hosts(world, 3, undefined, options)
  for (const host of all) expect(host.join()).toBeUndefined()
  fill(all[0]!, 0, 40)
  world.run(1000)
  world.network.partition(['h2'], ['h0', 'h1'])
  // The links are given up: nothing that is sent now arrives later.
  world.run(20_000)
  fill(all[0]!, 0, rows)
  expect(all[0]!.status.raft.firstIndex).toBeGreaterThan(all[2]!.status.raft.lastIndex)
  return { world, all }
}

const agree = (all: readonly Host[]): boolean =>
  all.every(
    ({ status }) =>
      status.raft.applied === all[0]!.status.raft.lastIndex && status.fingerprint === all[0]!.status.fingerprint,
  )

function expectWhole(world: World, all: readonly Host[], count: number): void {
  expect(world.runUntil(() => agree(all), 60_000)).toBe(true)
  for (const host of all) {
    for (let i = 0; i < count; i += 37) expect(host.get(`key ${i}`, 'local')).toBe(`${i} `.repeat(20))
  }
}

describe('a peer that was away for longer than the logs reach', () => {
  it('gets the state in pieces while writes go on, and goes on with the log behind it', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { world, all } = leftBehind(seed)
      world.network.heal()
      expect(world.runUntil(() => all[2]!.status.receivedBytes !== undefined, 30_000)).toBe(true)
      fill(all[1]!, rows, 100)
      expectWhole(world, all, rows + 100)
      expect(all[2]!.snapshots).toBeGreaterThan(0)
      expect(all[2]!.status.raft.firstIndex).toBeGreaterThan(1)
      all[2]!.close()
      all[2]!.crash('kept')
      all[2]!.restart()
      all[2]!.join()
      expectWhole(world, all, rows + 100)
      expect(all[2]!.snapshots).toBe(1)
    }
  })

  it('a broken link costs no piece that was written', () => {
    const { world, all } = leftBehind(7)
    world.network.heal()
    const received = (): number => all[2]!.status.receivedBytes ?? 0
    for (let cut = 1; cut <= 3; cut++) {
      const before = received()
      expect(world.runUntil(() => received() > before + 5000, 30_000)).toBe(true)
      const there = received()
      world.network.partition(['h2'], ['h0', 'h1'])
      world.run(3000)
      expect(received()).toBeGreaterThanOrEqual(there)
      world.network.heal()
      let least = received()
      expect(
        world.runUntil(() => {
          least = Math.min(least, received())
          return received() > there
        }, 30_000),
      ).toBe(true)
      expect(least).toBeGreaterThanOrEqual(there)
    }
    expectWhole(world, all, rows)
    expect(all[2]!.snapshots).toBe(1)
  })

  it('another leader gives it another state', () => {
    const { world, all } = leftBehind(8)
    world.network.heal()
    expect(world.runUntil(() => (all[2]!.status.receivedBytes ?? 0) > 5000, 30_000)).toBe(true)
    const leader = all.find(host => host.status.raft.role === 'leader')!
    leader.crash()
    const others = all.filter(host => host !== leader)
    expect(world.runUntil(() => agree(others), 60_000)).toBe(true)
    expect(all[2]!.snapshots).toBe(1)
    leader.restart()
    leader.join()
    expectWhole(world, all, rows)
  })

  it('a newcomer gets a state too', () => {
    const { world, all } = leftBehind(9)
    world.network.heal()
    expectWhole(world, all, rows)
    const newcomer = new Host(world, 'h3', undefined, options).open()
    expect(newcomer.join()).toBeUndefined()
    expectWhole(world, [...all, newcomer], rows)
    expect(newcomer.snapshots).toBe(1)
  })

  it('the power may go at every write and sync of it: there is the old state or the new one, and the rest comes again', () => {
    const operationsOf = (): number => {
      const { world, all } = leftBehind(11)
      const { disk } = all[2]!.process
      const before = disk.operations
      world.network.heal()
      expectWhole(world, all, rows)
      return disk.operations - before
    }
    const operations = operationsOf()
    expect(operations).toBeGreaterThan(40)
    for (let place = 1; place <= operations; place += deep ? 1 : 5) {
      const { world, all } = leftBehind(11)
      const late = all[2]!
      const told = late.status.raft.commit
      late.process.disk.strike(place, 'powerLoss')
      world.network.heal()
      world.runUntil(() => late.process.disk.powerLost, 30_000)
      expect(late.process.disk.powerLost, `place ${place}`).toBe(true)
      late.crash('lost')
      late.restart()
      expect(late.status.raft.commit, `place ${place}`).toBeGreaterThanOrEqual(
        Math.min(told, late.status.raft.lastIndex),
      )
      late.join()
      expectWhole(world, all, rows)
    }
  })
})
