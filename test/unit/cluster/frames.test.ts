import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/checksum.ts'
import { clusterId, peerId } from '../../../src/base/ids.ts'
import {
  decodeFrames,
  encodeAdvert,
  encodeBye,
  encodeHello,
  encodeIntroduction,
  encodeNeighbours,
  encodeNumber,
  encodeReject,
  type FrameType,
  FrameWriter,
  frameCrc,
  frameTypes,
} from '../../../src/cluster/frame.ts'
import {
  decodeSignal,
  encodeSignal,
  type Signal,
  signalFromBytes,
  signalToBytes,
} from '../../../src/cluster/introduction.ts'
import { Inbox } from '../../../src/cluster/mesh-inbox.ts'
import { patterned } from './mesh-kit.ts'

function one(type: FrameType, payload: Uint8Array): ReturnType<typeof decodeFrames> {
  const writer = new FrameWriter()
  writer.frame(type, payload)
  return decodeFrames(writer.finish())
}

const id = peerId('0123456789abcdef'.repeat(2))

describe('frames', () => {
  it('the bytes of a channel message with one ping, as documented', () => {
    const writer = new FrameWriter()
    writer.frame('ping', encodeNumber(0x01020304))
    const bytes = writer.finish()
    const frames = [5, 4, 4, 3, 2, 1]
    const crc = crc32c(Uint8Array.of(0x48, 2, ...frames))
    const expected = new ByteWriter().u8(0x48).u8(2).u32(crc).raw(Uint8Array.from(frames)).finish()
    expect(bytes).toEqual(expected)
  })

  it('every type comes back as it went', () => {
    const hello = {
      version: 3,
      versionMin: 2,
      kind: 'tab',
      id,
      publicKey: patterned(32, 1),
      nonce: patterned(32, 2),
      roomHash: patterned(32, 3),
      instance: patterned(8, 4),
    } as const
    const advert = { kind: 'tab', cluster: clusterId('f'.repeat(32)), standing: 'member', hasData: true } as const
    const writer = new FrameWriter()
    writer.frame('hello', encodeHello(hello))
    writer.frame('proof', patterned(96))
    writer.frame('reject', encodeReject('version', 'too old'))
    writer.frame('advert', encodeAdvert(advert))
    writer.frame('ping', encodeNumber(1))
    writer.frame('pong', encodeNumber(0xffff_ffff))
    writer.frame('whole', patterned(1000))
    writer.fragment('first', 70_000, patterned(10))
    writer.fragment('more', 10, patterned(300))
    writer.frame('introduction', encodeIntroduction(id, id, patterned(5)))
    writer.frame('neighbours', encodeNeighbours([id, id]))
    writer.frame('bye', encodeBye('so long'))
    const decoded = decodeFrames(writer.finish())
    if (!decoded.ok) throw new Error(decoded.detail)
    expect(decoded.frames).toEqual([
      { type: 'hello', hello, payload: encodeHello(hello) },
      { type: 'proof', mac: patterned(96).subarray(0, 32), signature: patterned(96).subarray(32) },
      { type: 'reject', code: 'version', reason: 'too old' },
      { type: 'advert', advert },
      { type: 'ping', number: 1 },
      { type: 'pong', number: 0xffff_ffff },
      { type: 'whole', bytes: patterned(1000) },
      { type: 'first', total: 70_000, bytes: patterned(10) },
      { type: 'more', offset: 10, bytes: patterned(300) },
      { type: 'introduction', from: id, to: id, json: patterned(5) },
      { type: 'neighbours', peers: [id, id] },
      { type: 'bye', reason: 'so long' },
    ])
    expect(decoded.frames.map(frame => frame.type)).toEqual(Object.keys(frameTypes))
  })

  it('a hello may be longer than this version knows, up to 1 KiB', () => {
    const hello = encodeHello({
      version: 9,
      versionMin: 1,
      kind: 'node',
      id,
      publicKey: patterned(32),
      nonce: patterned(32),
      roomHash: patterned(32),
      instance: patterned(8),
    })
    const longer = (length: number) =>
      new ByteWriter()
        .raw(hello)
        .raw(patterned(length - hello.length))
        .finish()
    expect(one('hello', longer(1024)).ok).toBe(true)
    expect(one('hello', longer(1025)).ok).toBe(false)
  })

  it('pitfall 43: truncated, lengthened, of another version, of an unknown type, with a changed byte: refused', () => {
    const writer = new FrameWriter()
    writer.frame(
      'advert',
      encodeAdvert({ kind: 'node', cluster: clusterId('a'.repeat(32)), standing: 'member', hasData: false }),
    )
    writer.frame('whole', patterned(100))
    const good = writer.finish()
    for (let length = 0; length < good.length; length++) expect(decodeFrames(good.slice(0, length)).ok).toBe(false)
    expect(decodeFrames(Uint8Array.of(...good, 0)).ok).toBe(false)
    for (let at = 0; at < good.length; at++) {
      for (const bit of [1, 16, 128]) {
        const changed = good.slice()
        changed[at] = changed[at]! ^ bit
        const decoded = decodeFrames(changed)
        // The byte of the format as well: two peers of one version must not take each other for others.
        expect(decoded).toMatchObject({ ok: false, reason: 'malformed' })
      }
    }
    const unknown = new ByteWriter().u8(0x48).u8(2).u32(0).u8(13).varint(0)
    unknown.setU32(2, frameCrc(unknown.peek()))
    expect(decodeFrames(unknown.finish())).toMatchObject({ ok: false, detail: 'frame of type 13' })
  })

  it('pitfall 43: a length beyond what came, a count beyond what follows, more frames than allowed: refused', () => {
    const build = (fill: (writer: ByteWriter) => void): Uint8Array => {
      const writer = new ByteWriter().u8(0x48).u8(2).u32(0)
      fill(writer)
      return writer.setU32(2, frameCrc(writer.peek())).finish()
    }
    expect(decodeFrames(build(writer => writer.u8(7).varint(2 ** 40))).ok).toBe(false)
    expect(
      decodeFrames(
        build(writer =>
          writer
            .u8(11)
            .varint(4)
            .raw(Uint8Array.of(0xff, 0xff, 0xff, 0x7f)),
        ),
      ).ok,
    ).toBe(false)
    const flood = (frames: number) =>
      build(writer => {
        for (let i = 0; i < frames; i++) writer.u8(7).varint(0)
      })
    expect(decodeFrames(flood(4096)).ok).toBe(true)
    expect(decodeFrames(flood(4097)).ok).toBe(false)
    expect(decodeFrames(build(() => {})).ok).toBe(false)
  })

  it('reasons are cut to 200 bytes of whole characters', () => {
    const decoded = one('bye', encodeBye('ü'.repeat(150)))
    expect(decoded).toMatchObject({ ok: true, frames: [{ type: 'bye', reason: 'ü'.repeat(100) }] })
  })
})

describe('inbox', () => {
  const first = (total: number, length: number) => ({ type: 'first', total, bytes: patterned(length) }) as const
  const more = (offset: number, length: number) => ({ type: 'more', offset, bytes: patterned(length) }) as const

  it('pitfall 43: fragments with a gap, an overlap, too much, or without a beginning are malformed', () => {
    for (const frames of [
      [more(10, 10)],
      [first(100, 10), more(11, 10)],
      [first(100, 10), more(9, 10)],
      [first(100, 10), more(10, 91)],
      [first(32 * 1024 * 1024 + 1, 10)],
    ]) {
      const inbox = new Inbox()
      const results = frames.map(frame => inbox.accept('bulk', frame, 20))
      expect(results.at(-1)).toBe('malformed')
    }
    expect(new Inbox().accept('consensus', first(4 * 1024 * 1024 + 1, 10), 20)).toBe('malformed')
  })

  it('pitfall 43: an announced length costs nothing before its bytes come', () => {
    const inbox = new Inbox()
    inbox.accept('bulk', first(32 * 1024 * 1024, 16), 20)
    expect(inbox.bytes).toBeLessThan(1024)
    let at = 16
    for (; at < 1_000_000; at += 16_000) inbox.accept('bulk', more(at, 16_000), 16_010)
    expect(inbox.bytes).toBeLessThanOrEqual(2 * at)
  })

  it('a new message abandons an unfinished one; after a cut the rest of an old one is skipped', () => {
    const inbox = new Inbox()
    inbox.accept('bulk', first(100, 50), 60)
    expect(inbox.accept('bulk', { type: 'whole', bytes: patterned(3) }, 10)).toEqual(patterned(3))
    expect(inbox.accept('bulk', more(50, 50), 60)).toBe('malformed')
    inbox.accept('bulk', first(100, 50), 60)
    inbox.skip()
    expect(inbox.accept('bulk', more(50, 50), 60)).toBeUndefined()
    expect(inbox.accept('bulk', first(20, 10), 20)).toBeUndefined()
    expect(inbox.accept('bulk', more(10, 10), 20)).toEqual(Uint8Array.of(...patterned(10), ...patterned(10)))
    expect(inbox.bytes).toBe(0)
  })
})

describe('signals', () => {
  const instance = '0123456789abcdef'
  const intro: Signal = {
    type: 'intro',
    instance,
    instanceFor: undefined,
    session: 1,
    number: 0,
    payload: { type: 'offer', sdp: 'v=0' },
  }

  it('come back as they went, as objects and as bytes', () => {
    const signals: Signal[] = [
      intro,
      { ...intro, instanceFor: instance, session: 7, number: 255 },
      { type: 'here', instance, reply: true },
      { type: 'bye', instance },
    ]
    for (const signal of signals) {
      expect(decodeSignal(encodeSignal(signal))).toEqual(signal)
      expect(signalFromBytes(signalToBytes(signal)!)).toEqual(signal)
    }
  })

  it('anything else is dropped, whatever it is', () => {
    const good = encodeSignal(intro) as Record<string, unknown>
    const bad: unknown[] = [
      undefined,
      null,
      7,
      'here',
      [],
      {},
      { ...good, v: 2 },
      { ...good, i: 'x' },
      { ...good, f: 5 },
      { ...good, s: 0 },
      { ...good, s: 1.5 },
      { ...good, s: Number.NaN },
      { ...good, n: 256 },
      { ...good, n: -1 },
      { ...good, p: null },
      { ...good, p: [] },
      { ...good, t: 'elsewhere' },
      { t: 'here', v: 1, i: instance },
      {
        get t() {
          throw new Error('no')
        },
      },
    ]
    for (const message of bad) expect(decodeSignal(message)).toBeUndefined()
    fc.assert(fc.property(fc.anything(), message => decodeSignal(message) === undefined))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => signalFromBytes(bytes) === undefined))
    const long: Signal = { ...intro, payload: { sdp: 'x'.repeat(20_000) } }
    expect(signalToBytes(long)).toBeUndefined()
  })
})
