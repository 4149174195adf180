/** Peers that were away for longer than the others' logs reach, and get the state instead of the entries. */
import { describe, expect, it } from 'vitest'
import { encodeText } from '../../src/base/text.ts'
import { agree, expectWhole, fill, leftBehind, options, rows } from './left-behind.ts'
import { Host } from './simulated-host.ts'

const deep = process.env.DEEP === '1'

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

  it('who takes too long over it begins anew: the log of the leader keeps its bound', () => {
    const { world, all } = leftBehind(10, { count: 200 })
    const lead = all.find(host => host.status.raft.role === 'leader')!
    const replica = lead.peer['replica']!
    const { wal, engine } = lead.peer['store']
    const asker = all[2]!.status.id
    let base = 0
    /** The most that the log had, for each state that was held. */
    const largest: number[] = []
    for (let round = 0; round < 60; round++) {
      // The same question again and again.
      replica.snapshotAsked(asker, { snapshot: 1, after: encodeText('key 1') })
      world.run(100)
      const held = replica['source'].holds?.index ?? base
      if (held !== base) largest.push(0)
      base = held
      fill(lead, 0, 100)
      world.run(2000)
      largest.push(Math.max(largest.pop()!, wal.endLsn - wal.startLsn))
    }
    expect(largest.length).toBeGreaterThan(2)
    const bound = Math.max(8 * options.checkpointBytes, 4 * engine.status().bytes)
    // Besides: what is written in a round, and until the next checkpoint.
    const slack = 6 * options.checkpointBytes
    for (const [n, bytes] of largest.entries()) expect(bytes).toBeLessThan(2 ** n * bound + slack)
    world.network.heal()
    expectWhole(world, all, 200)
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
