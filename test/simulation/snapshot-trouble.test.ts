/** What comes in between while a peer gets a state from another. */
import { describe, expect, it } from 'vitest'
import { HarmonyError } from '../../src/base/errors.ts'
import { encodeText } from '../../src/base/text.ts'
import { expectWhole, leftBehind, rows } from './left-behind.ts'
import type { Host } from './simulated-host.ts'

/** So many writers, each with its next write when the last one is answered, until `ended`. */
function keepWriting(host: Host, writers: number, keys: number, ended: () => boolean): void {
  let n = 0
  const next = (): void => {
    const i = (n++ * 7919) % keys
    const op = { type: 'put', key: encodeText(`key ${i}`), value: encodeText(`${i} `.repeat(20)) } as const
    host.peer.clients.write([op], [], undefined, 10_000, result => {
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
})
