import { describe, expect, it } from 'vitest'
import { World } from '../../../platform/simulation/world.ts'
import { equalBytes } from '../../../src/base/bytes.ts'
import {
  decodeFrames,
  encodeBye,
  encodeNumber,
  type FrameType,
  FrameWriter,
  frameCrc,
  messageBytesMax,
} from '../../../src/cluster/frame.ts'
import { deriveRoomKey } from '../../../src/cluster/room-key.ts'
import type { Lane } from '../../../src/platform.ts'
import { patterned } from './mesh-kit.ts'
import { bench, LinkUnderTest } from './mesh-link-kit.ts'

function channelMessage(type: FrameType, payload: Uint8Array): Uint8Array {
  const writer = new FrameWriter()
  writer.frame(type, payload)
  return writer.finish()
}

function fragment(type: 'first' | 'more', number: number, bytes: Uint8Array): Uint8Array {
  const writer = new FrameWriter()
  writer.fragment(type, number, bytes)
  return writer.finish()
}

const sentOn = (side: LinkUnderTest, lane: Lane): readonly Uint8Array[] =>
  side.endpoint.sent.filter(message => message.lane === lane).map(({ bytes }) => bytes)

describe('coalescing and pressure', () => {
  it('what is sent in one turn leaves in one channel message per lane', () => {
    const { world, a, b } = bench()
    const before = a.traffic.sent
    for (let i = 0; i < 50; i++) {
      a.link.send('consensus', patterned(100, i))
      a.link.send('bulk', patterned(100, i))
    }
    expect(a.traffic.sent).toBe(before)
    world.run(1)
    expect(a.traffic.sent).toBe(before + 2)
    expect(b.received.length).toBe(100)
  })

  it('no channel message is longer than the endpoint takes, none of bulk longer than a chunk', () => {
    const { world, a, b } = bench()
    const payloads = [60_000, 10_000, 65_525, 400, 300_000, 65_526, 20].map(size => patterned(size))
    for (const payload of payloads) {
      a.link.send('consensus', payload)
      a.link.send('bulk', payload)
    }
    world.run(10)
    expect(b.received.length).toBe(payloads.length * 2)
    for (const bytes of sentOn(a, 'consensus')) expect(bytes.length).toBeLessThanOrEqual(65_536)
    for (const bytes of sentOn(a, 'bulk')) expect(bytes.length).toBeLessThanOrEqual(16 * 1024 + 32)
    // What fits into a channel message is not cut.
    const kinds = sentOn(a, 'consensus').flatMap(bytes => {
      const decoded = decodeFrames(bytes)
      return decoded.ok ? decoded.frames : []
    })
    expect(kinds.filter(frame => frame.type === 'first').length).toBe(1)
  })

  it('bulk stops at the high-water mark, says full, and goes on after a drain; consensus does not wait for it', () => {
    const { world, a } = bench()
    a.endpoint.other = undefined
    const results = Array.from({ length: 40 }, () => a.link.send('bulk', patterned(50_000)))
    expect(results.filter(result => result === 'sent').length).toBe(21)
    expect(results.at(-1)).toBe('full')
    world.run(1)
    expect(a.endpoint.bufferedBytes('bulk')).toBeGreaterThanOrEqual(256 * 1024)
    expect(a.endpoint.bufferedBytes('bulk')).toBeLessThan(256 * 1024 + 17_000)
    a.link.send('consensus', patterned(10))
    world.run(1)
    expect(sentOn(a, 'consensus').at(-1)!.length).toBeLessThan(30)
    expect(a.drains).toBe(0)
    for (let i = 0; i < 10; i++) a.endpoint.drain('bulk')
    world.run(1)
    expect(a.drains).toBe(1)
    expect(a.link.send('bulk', patterned(10))).toBe('sent')
    world.run(1)
    const whole = sentOn(a, 'bulk').reduce((sum, bytes) => sum + bytes.length, 0)
    expect(whole).toBeGreaterThan(21 * 50_000)
  })

  it('pitfall 43: a peer that does not read is let go with `overflow`, never from within `send`', () => {
    const { world, a } = bench()
    a.endpoint.other = undefined
    const results = Array.from({ length: 12 }, () => {
      const result = a.link.send('consensus', new Uint8Array(1024 * 1024))
      expect(a.closed).toEqual([])
      return result
    })
    expect(results).toContain('full')
    expect(results.at(-1)).toBe('unlinked')
    expect(a.link.heldBytes).toBeLessThanOrEqual(9 * 1024 * 1024)
    world.run(1)
    expect(a.closed).toEqual([{ reason: 'overflow', left: false }])
    expect(a.link.heldBytes).toBe(0)
  })
})

describe('liveness', () => {
  it('measures the round trip, and closes after four seconds of silence', () => {
    const { a, b, run } = bench()
    run(2000)
    expect(a.link.rttMs).toBeGreaterThanOrEqual(0)
    b.endpoint.other = undefined
    run(3200)
    expect(a.closed).toEqual([])
    run(1600)
    expect(a.closed.length).toBe(1)
    expect(a.closed[0]!.reason).toMatch(/^silent for 4\d\d\d ms$/)
  })

  it('pitfall 21: a peer that was frozen does not take its own silence for that of the others', () => {
    const { world, a, b, run } = bench()
    world.run(60_000) // no ticks, as in a frozen tab; b is bound to be as quiet
    run(2000)
    expect([...a.closed, ...b.closed]).toEqual([])
  })

  it('pitfall 21: ticks a minute late still find out who is dead, though not at once', () => {
    const { world, a, b } = bench()
    const lateTicks = (count: number): void => {
      for (let i = 0; i < count; i++) {
        a.link.tick()
        world.run(60_000)
      }
    }
    lateTicks(10)
    expect(a.closed).toEqual([])
    b.endpoint.other = undefined
    lateTicks(5)
    expect(a.closed.length).toBe(1)
  })

  it('a cut is silence both ways without an end: nothing is delivered, nothing closes at this end, and healed it goes on', () => {
    const { a, b, run } = bench()
    a.link.send('bulk', patterned(100_000))
    a.cut = true
    a.link.onCut()
    a.link.send('consensus', patterned(1))
    b.link.send('bulk', patterned(100_000, 1))
    run(2000)
    a.cut = false
    a.link.onCut()
    run(1000)
    expect([...a.received, ...b.received]).toEqual([])
    expect([...a.closed, ...b.closed]).toEqual([])
    a.link.send('bulk', patterned(70_000, 2))
    b.link.send('bulk', patterned(70_000, 3))
    run(1000)
    expect(b.received.map(({ bytes }) => equalBytes(bytes, patterned(70_000, 2)))).toEqual([true])
    expect(a.received.map(({ bytes }) => equalBytes(bytes, patterned(70_000, 3)))).toEqual([true])
  })

  it('a message that was cut in the middle is not finished after the heal, and no offence', () => {
    const { a } = bench()
    a.endpoint.inject('bulk', fragment('first', 1000, patterned(100)))
    a.cut = true
    a.link.onCut()
    a.endpoint.inject('bulk', fragment('more', 100, patterned(100)))
    a.cut = false
    a.link.onCut()
    a.endpoint.inject('bulk', fragment('more', 200, patterned(800)))
    expect([...a.closed, ...a.received]).toEqual([])
    a.endpoint.inject('bulk', channelMessage('whole', patterned(10)))
    expect(a.received).toEqual([{ lane: 'bulk', bytes: patterned(10) }])
  })

  it('a farewell is heard as one', () => {
    const { world, a, b } = bench()
    a.link.close('left the room', true)
    world.run(10)
    expect(b.closed).toEqual([{ reason: 'left: left the room', left: true }])
  })
})

describe('handshake on a link', () => {
  it('a wrong secret: both sides are refused with UNAUTHORIZED and nothing of the room was said', () => {
    const { a, b } = bench({}, { roomKey: () => deriveRoomKey('room', 'wrong') })
    for (const side of [a, b]) {
      expect(side.refused.map(error => error.code)).toEqual(['UNAUTHORIZED'])
      expect(side.closed.length).toBe(1)
      expect(side.linked).toBe(0)
      const types = side.endpoint.sent.flatMap(({ bytes }) => {
        const decoded = decodeFrames(bytes)
        return decoded.ok ? decoded.frames.map(frame => frame.type) : []
      })
      expect(types.filter(type => !['hello', 'proof', 'reject'].includes(type))).toEqual([])
      expect(types.length).toBeGreaterThan(1)
    }
  })

  it('a side that only hears of the refusal reports it too, after the words have left', () => {
    const { a, b } = bench({ versions: { version: 1, versionMin: 1 } }, { versions: { version: 1, versionMin: 1 } })
    expect(a.linked + b.linked).toBe(2)
    const late = bench({ versions: { version: 5, versionMin: 4 } })
    for (const side of [late.a, late.b]) expect(side.refused.map(error => error.code)).toEqual(['VERSION_MISMATCH'])
  })

  it('no binding, no link: nothing is even said', () => {
    const { a } = bench({ binding: new Uint8Array(0) })
    expect(a.refused.map(error => error.code)).toEqual(['UNAUTHORIZED'])
    expect(a.endpoint.sent).toEqual([])
  })

  it('a handshake that does not come to an end is given up after ten seconds', () => {
    const world = new World(1)
    const a = new LinkUnderTest(world.process('a').platform.clock, 'a', 'b')
    a.link.start()
    const run = (durationMs: number): void => {
      for (let ms = 0; ms < durationMs; ms += 200) {
        world.run(200)
        a.link.tick()
      }
    }
    run(9800)
    expect(a.closed).toEqual([])
    expect(a.endpoint.sent.length).toBeGreaterThan(5)
    run(400)
    expect(a.closed).toEqual([{ reason: 'handshake timed out', left: false }])
    expect(a.refused).toEqual([])
  })

  it.each([0, 3])(
    'what is sent from within onLinked is not too early for the other side (start %i ms apart)',
    apartMs => {
      const world = new World(1)
      const a = new LinkUnderTest(world.process('a').platform.clock, 'a', 'b')
      const b = new LinkUnderTest(world.process('b').platform.clock, 'b', 'a')
      a.endpoint.other = b.endpoint
      b.endpoint.other = a.endpoint
      a.greeting = patterned(10, 1)
      b.greeting = patterned(10, 2)
      a.link.start()
      world.run(apartMs)
      b.link.start()
      world.run(10)
      expect(a.received.map(({ bytes }) => bytes)).toEqual([b.greeting, b.greeting])
      expect(b.received.map(({ bytes }) => bytes)).toEqual([a.greeting, a.greeting])
    },
  )

  it('another frame format is a version mismatch', () => {
    const { a } = bench({}, {})
    const bytes = channelMessage('ping', encodeNumber(1))
    bytes[1] = 3
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(2, frameCrc(bytes), true)
    a.endpoint.inject('consensus', bytes)
    expect(a.refused.map(error => error.code)).toEqual(['VERSION_MISMATCH'])
  })

  it('a bit of the frame format that flipped on the way is none: the link closes, and is made again at once', () => {
    const { a } = bench()
    const bytes = channelMessage('ping', encodeNumber(1))
    bytes[1]! ^= 1
    a.endpoint.inject('consensus', bytes)
    expect(a.refused).toEqual([])
    expect(a.closed[0]!.reason).toBe('malformed: wrong checksum')
  })
})

describe('hostile input', () => {
  it.each<[string, Lane, Uint8Array]>([
    ['garbage', 'consensus', patterned(100)],
    ['an empty frame list', 'consensus', new FrameWriter().finish()],
    ['a control frame on the bulk lane', 'bulk', channelMessage('ping', encodeNumber(1))],
    ['a late rejection', 'consensus', channelMessage('reject', Uint8Array.of(1, 0))],
    ['a fragment without a beginning', 'consensus', fragment('more', 10, patterned(10))],
    ['a message that is announced too long', 'bulk', fragment('first', messageBytesMax.bulk + 1, patterned(10))],
    ['a message too long for its lane', 'consensus', fragment('first', messageBytesMax.consensus + 1, patterned(10))],
    ['a bye that is not text', 'consensus', channelMessage('bye', Uint8Array.of(1, 0xff))],
  ])('pitfall 43: %s closes the link with a reason, once', (_what, lane, bytes) => {
    const { a } = bench()
    a.endpoint.inject(lane, bytes)
    expect(a.closed.length).toBe(1)
    expect(a.closed[0]!.reason).toMatch(/^malformed/)
    expect(a.endpoint.closedWith).toMatch(/^malformed/)
    a.endpoint.events!.onMessage(lane, bytes)
    expect(a.closed.length).toBe(1)
    expect(a.received).toEqual([])
  })

  it('pitfall 43: fragments that never finish, and a flood of pings, hold bounded memory', () => {
    const { world, a } = bench()
    for (let round = 0; round < 50; round++) {
      a.endpoint.inject('bulk', fragment('first', messageBytesMax.bulk, patterned(60_000)))
      a.endpoint.inject('consensus', fragment('first', messageBytesMax.consensus, patterned(60_000)))
    }
    expect(a.link.heldBytes).toBeLessThan(200_000)
    a.endpoint.other = undefined
    const writer = new FrameWriter()
    for (let i = 0; i < 4096; i++) writer.frame('ping', encodeNumber(i))
    const flood = writer.finish()
    for (let i = 0; i < 50; i++) {
      a.endpoint.inject('consensus', flood)
      world.run(0.1)
    }
    expect(a.closed).toEqual([])
    expect(a.link.heldBytes).toBeLessThan(250_000)
  })

  it('pitfall 43: a stranger who skips the handshake gets nothing through', () => {
    const { a } = bench({}, { roomKey: () => deriveRoomKey('room', 'wrong') })
    a.endpoint.events!.onMessage('consensus', channelMessage('whole', patterned(10)))
    expect(a.received).toEqual([])
    const fresh = bench({ nonce: patterned(32, 1) }, { roomKey: () => deriveRoomKey('room', 'wrong') })
    fresh.a.endpoint.events!.onMessage('bulk', channelMessage('whole', patterned(10)))
    expect(fresh.a.received).toEqual([])
    expect(fresh.a.linked).toBe(0)
  })

  it('messages may come doubled from an endpoint that breaks its word: the link bears it', () => {
    const { a, b } = bench()
    expect(sentOn(b, 'consensus').length).toBeGreaterThan(2)
    for (const bytes of sentOn(b, 'consensus')) a.endpoint.inject('consensus', bytes)
    expect(a.closed).toEqual([])
    expect(a.linked).toBe(1)
    a.endpoint.inject('consensus', channelMessage('bye', encodeBye('')))
    expect(a.closed).toEqual([{ reason: 'left', left: true }])
  })
})
