/** What comes in between while a peer gets a state from another. */
import { describe, expect, it } from 'vitest'
import { HarmonyError } from '../../src/base/errors.ts'
import { clusterId } from '../../src/base/ids.ts'
import { encodeText } from '../../src/base/text.ts'
import type { View } from '../../src/storage/engine.ts'
import { expectWhole, leftBehind, rows } from './left-behind.ts'
import type { Host } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

const deep = process.env.DEEP === '1'

/** So many writers, each with its next write when the last one is answered, until `ended`. */
function keepWriting(host: Host, writers: number, keys: number, ended: () => boolean): void {
  let n = 0
  const next = (): void => {
    const i = (n++ * 7919) % keys
    const op = { type: 'put', key: encodeText(`key ${i}`), value: encodeText(`${i} `.repeat(20)) } as const
    host.peer.clients.write(writeOf([op]), 10_000, result => {
      if ('error' in result) throw result.error
      if (!ended()) next()
    })
  }
  for (let i = 0; i < writers; i++) next()
}

describe('while a peer gets a state', () => {
  it('the leader may be asked in the middle of entries that wait for their pages', () => {
    const { world, all } = leftBehind(1, { count: 2000, disk: { reads: 'asynchronous' } })
    keepWriting(all[0]!, 300, 2000, () => all[2]!.snapshots > 0)
    world.network.heal()
    expect(world.runUntil(() => all[2]!.snapshots > 0, 60_000)).toBe(true)
    expectWhole(world, all, 2000)
  })
  it('its file may be made shorter: that ends when the state is there', () => {
    const { world, all } = leftBehind(3)
    const late = all[2]!
    world.network.heal()
    expect(world.runUntil(() => (late.status.receivedBytes ?? 0) > 0, 30_000)).toBe(true)
    // Installing: nothing is applied any more.
    expect(world.runUntil(() => late.status.raft.applied === 0, 30_000)).toBe(true)
    let compacted: unknown
    late.peer.clients.compact(result => {
      compacted = result
    })
    expect(world.runUntil(() => compacted !== undefined, 30_000)).toBe(true)
    expect(compacted).not.toBeInstanceOf(HarmonyError)
    expectWhole(world, all, rows)
  })

  it('who reads then sees the state before or the state after it, never a part of it', () => {
    for (let seed = 1; seed <= 3; seed++) {
      const keys = 1000
      const { world, all } = leftBehind(seed, { before: keys, count: keys, disk: { reads: 'asynchronous' } })
      const late = all[2]!
      let reads = 0
      const missing = new Set<string>()
      const read = (): void => {
        if (late.snapshots > 0) return
        const key = `key ${(reads++ * 7919) % keys}`
        const get = (view: View): boolean => view.get(encodeText(key)) !== undefined
        late.peer.clients.read({ consistency: 'local' }, 60_000, get, found => {
          if (found === false) missing.add(key)
          world.after(0.1, 'read', read)
        })
        if (late.peer.clients.peek({ consistency: 'local' }, get)?.value === false) missing.add(key)
      }
      for (let i = 0; i < 20; i++) read()
      world.network.heal()
      expect(world.runUntil(() => late.snapshots > 0, 60_000)).toBe(true)
      expectWhole(world, all, keys)
      expect(reads).toBeGreaterThan(1000)
      expect([...missing]).toEqual([])
    }
  })

  it('it may be closed at any moment: whoever waits is answered, and the store is whole', () => {
    const closeAt = (place: number): number => {
      const { world, all } = leftBehind(5, { before: 200 })
      const late = all[2]!
      world.network.heal()
      const { disk } = late.process
      const before = disk.operations
      world.runUntil(() => disk.operations - before >= place || late.snapshots > 0, 60_000)
      if (late.snapshots > 0) return 0
      const answers: unknown[] = []
      for (let i = 0; i < 40; i++) {
        late.peer.clients.read(
          { consistency: 'local' },
          10_000,
          view => view.get(encodeText(`key ${i * 5}`)) !== undefined,
          answer => answers.push(answer),
        )
      }
      late.close()
      expect(answers.filter(answer => answer !== true && !(answer instanceof HarmonyError))).toEqual([])
      expect(answers).toHaveLength(40)
      late.crash('kept')
      late.restart()
      expect(late.join()).toBeUndefined()
      expectWhole(world, all, rows)
      return 1
    }
    let places = 0
    for (let place = 1; closeAt(place) > 0; place += deep ? 1 : 8) places++
    expect(places).toBeGreaterThan(5)
  })

  it('it may go over to another cluster at any moment: nothing of the state comes along', () => {
    for (let moment = 0; moment < 20; moment++) {
      const { world, all } = leftBehind(5, { before: 20, disk: { reads: 'asynchronous' } })
      const late = all[2]!
      world.network.heal()
      expect(world.runUntil(() => late.status.raft.applied === 0, 60_000)).toBe(true)
      world.run(moment * 0.1)
      const { peer } = late
      const other = clusterId('7'.repeat(32))
      peer['adopt'](other)
      world.run(1000)
      expect(peer['store'].engine.status().keys, `moment ${moment}`).toBe(0)
      expect(late.status).toMatchObject({ cluster: other, receivedBytes: undefined, hasData: false })
    }
  })
})
