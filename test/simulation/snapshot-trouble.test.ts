/** What comes in between while a peer gets a state from another. */
import { describe, expect, it } from 'vitest'
import { encodeText } from '../../src/base/text.ts'
import { expectWhole, leftBehind } from './left-behind.ts'
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
    const { world, all } = leftBehind(1, 2000, { reads: 'asynchronous' })
    keepWriting(all[0]!, 300, 2000, () => all[2]!.snapshots > 0)
    world.network.heal()
    expect(world.runUntil(() => all[2]!.snapshots > 0, 60_000)).toBe(true)
    expectWhole(world, all, 2000)
  })
})
