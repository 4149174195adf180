/** Whatever comes over the wire: decoders do not throw, links close with a reason or go on, and memory stays bounded. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clusterId, peerId } from '../../src/base/ids.ts'
import {
  decodeFrames,
  encodeAdvert,
  encodeBye,
  encodeIntroduction,
  encodeNeighbours,
  encodeNumber,
  encodeReject,
  FrameWriter,
  frameCrc,
  frameFormat,
  headerBytes,
} from '../../src/cluster/frame.ts'
import { signalFromBytes } from '../../src/cluster/introduction.ts'
import { patterned } from '../unit/cluster/mesh-kit.ts'
import { bench } from '../unit/cluster/mesh-link-kit.ts'

const id = peerId('5'.repeat(32))
const cluster = clusterId('c'.repeat(32))

/** One of each, so that a mutation starts near what is valid. */
const seeds: readonly Uint8Array[] = (() => {
  const fills: ((writer: FrameWriter) => void)[] = [
    writer => writer.frame('hello', patterned(125).fill(1, 0, 5)),
    writer => writer.frame('proof', patterned(96)),
    writer => writer.frame('reject', encodeReject('unauthorized', 'no')),
    writer => writer.frame('advert', encodeAdvert({ kind: 'tab', cluster, standing: 'newcomer', hasData: true })),
    writer => writer.frame('ping', encodeNumber(1)),
    writer => writer.frame('pong', encodeNumber(1)),
    writer => writer.frame('whole', patterned(20)),
    writer => writer.fragment('first', 60, patterned(20)),
    writer => writer.fragment('more', 20, patterned(20)),
    writer => writer.frame('introduction', encodeIntroduction(id, id, new Uint8Array([0x7b, 0x7d]))),
    writer => writer.frame('neighbours', encodeNeighbours([id])),
    writer => writer.frame('bye', encodeBye('x')),
  ]
  const made = fills.map(fill => {
    const writer = new FrameWriter()
    fill(writer)
    return writer.finish()
  })
  const all = new FrameWriter()
  for (const fill of fills.slice(4, 9)) fill(all)
  return [...made, all.finish()]
})()

type Mutation = { readonly kind: 'set' | 'insert' | 'cut' | 'grow'; readonly at: number; readonly byte: number }

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('set', 'insert', 'cut', 'grow'),
  at: fc.nat(400),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)),
})

function mutate(bytes: Uint8Array, mutations: readonly Mutation[], repairChecksum: boolean): Uint8Array {
  let list = [...bytes]
  for (const { kind, at, byte } of mutations) {
    const where = at % (list.length + 1)
    if (kind === 'set') list[where] = byte
    else if (kind === 'insert') list.splice(where, 0, byte)
    else if (kind === 'cut') list.splice(where, 1 + (byte % 8))
    else list = [...list, ...list.slice(headerBytes)].slice(0, 600)
  }
  const changed = Uint8Array.from(list)
  if (repairChecksum && changed.length > headerBytes) {
    changed[0] = 0x48
    changed[1] = frameFormat
    new DataView(changed.buffer).setUint32(2, frameCrc(changed), true)
  }
  return changed
}

const mutated = fc
  .tuple(fc.constantFrom(...seeds), fc.array(mutation, { maxLength: 6 }), fc.boolean())
  .map(([seed, mutations, repair]) => mutate(seed, mutations, repair))

describe('frames from the wire', () => {
  it('pitfall 43: the decoder is total, for random bytes and for changed valid ones', () => {
    let accepted = 0
    const decode = (bytes: Uint8Array): void => {
      const decoded = decodeFrames(bytes)
      if (!decoded.ok) {
        expect(decoded.detail).not.toBe('')
        return
      }
      accepted++
      let held = 0
      for (const frame of decoded.frames) {
        if ('bytes' in frame) held += frame.bytes.length
        if (frame.type === 'introduction') signalFromBytes(frame.json)
      }
      expect(held).toBeLessThanOrEqual(bytes.length)
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => decode(bytes)),
      { numRuns: 2000 },
    )
    fc.assert(
      fc.property(mutated, bytes => decode(bytes)),
      { numRuns: 20_000 },
    )
    expect(accepted).toBeGreaterThan(1000)
  })

  it('pitfall 43: a link that gets changed frames closes once with a reason, or goes on within bounds', () => {
    let closed = 0
    const input = fc.array(fc.tuple(fc.constantFrom('consensus' as const, 'bulk' as const), mutated), { maxLength: 20 })
    fc.assert(
      fc.property(input, messages => {
        const { world, a } = bench()
        expect(a.linked).toBe(1)
        for (const [lane, bytes] of messages) {
          a.endpoint.inject(lane, bytes)
          world.run(0.5)
        }
        expect(a.closed.length).toBeLessThanOrEqual(1)
        expect(a.closed.length === 1).toBe(a.link.isClosed)
        expect(a.link.heldBytes).toBeLessThan(100_000)
        if (a.link.isClosed) {
          closed++
          expect(a.closed[0]!.reason).not.toBe('')
          expect(a.link.send('consensus', patterned(1))).toBe('unlinked')
        }
      }),
      { numRuns: 60 },
    )
    expect(closed).toBeGreaterThan(20)
  }, 30_000)
})
