import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64UrlDecode, base64UrlEncode } from '../../../src/base/base64.ts'
import {
  ByteReader,
  ByteWriter,
  compareBytes,
  concatBytes,
  copyBytes,
  equalBytes,
  firstNonZero,
  hexDecode,
  hexEncode,
} from '../../../src/base/bytes.ts'

const safe = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(300),
  fc.constantFrom(2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER),
)
const text = fc.string({ unit: 'binary', maxLength: 40 })
const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytes => Buffer.from(bytes).toString('hex'))

/** One step of a format: how it is written, how it is read back. */
const field = fc.oneof(
  fc.tuple(fc.constant('u8' as const), fc.nat(0xff)),
  fc.tuple(fc.constant('u16' as const), fc.nat(0xffff)),
  fc.tuple(fc.constant('u32' as const), fc.integer({ min: 0, max: 0xffff_ffff })),
  fc.tuple(fc.constant('u64' as const), safe),
  fc.tuple(fc.constant('varint' as const), safe),
  fc.tuple(fc.constant('f64' as const), fc.double()),
  fc.tuple(fc.constant('bool' as const), fc.boolean()),
  fc.tuple(fc.constant('bytes' as const), fc.uint8Array({ maxLength: 300 })),
  fc.tuple(fc.constant('text' as const), text),
  fc.tuple(fc.constant('id128' as const), id),
)
type Field = typeof field extends fc.Arbitrary<infer T> ? T : never

function write(writer: ByteWriter, [kind, value]: Field): void {
  switch (kind) {
    case 'bool':
      writer.bool(value)
      return
    case 'bytes':
      writer.bytes(value)
      return
    case 'text':
    case 'id128':
      writer[kind](value)
      return
    default:
      writer[kind](value)
  }
}

const read = (reader: ByteReader, [kind]: Field): unknown => reader[kind]()

describe('byte writer and reader', () => {
  it('give back what was written; a shorter input fails at the first thing that is missing', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 20 }), fc.nat(20), fc.nat(), (fields, capacity, cut) => {
        const writer = new ByteWriter(capacity)
        for (const each of fields) write(writer, each)
        const bytes = writer.finish()
        expect(bytes.byteLength).toBe(bytes.buffer.byteLength)
        expect(writer.length).toBe(0)
        const reader = new ByteReader(bytes)
        for (const each of fields) expect(read(reader, each)).toEqual(each[1])
        expect(reader.done()).toBe(true)
        if (bytes.length === 0) return
        const short = new ByteReader(bytes, 0, cut % bytes.length)
        for (const each of fields) read(short, each)
        expect(short.failed).toBe(true)
        expect(short.done()).toBe(false)
      }),
    )
  })

  it('reading is total: random verbs on random bytes; after a failure everything is empty', () => {
    const verbs = [
      'u8',
      'u16',
      'u32',
      'u64',
      'varint',
      'f64',
      'bool',
      'bytes',
      'text',
      'id128',
      'rest',
      'raw',
      'count',
    ] as const
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.array(fc.constantFrom(...verbs)),
        fc.integer(),
        (bytes, steps, n) => {
          const reader = new ByteReader(bytes)
          for (const verb of steps) {
            const value = verb === 'raw' ? reader.raw(n) : verb === 'count' ? reader.count(1 + (n & 7)) : reader[verb]()
            expect(reader.offset).toBeLessThanOrEqual(bytes.length)
            if (!reader.failed) continue
            expect([0, false, '']).toContain(value instanceof Uint8Array ? value.length : value)
            expect(reader.remaining).toBe(0)
          }
        },
      ),
    )
  })

  it('varint: shortest form only, at most 2^53-1, at most 8 bytes', () => {
    const refused = [
      [0x80, 0x00],
      [0xff, 0x80, 0x00],
      [0x80],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10],
      Array(20).fill(0x80),
      [],
    ]
    for (const bytes of refused) {
      const reader = new ByteReader(Uint8Array.from(bytes))
      expect(reader.varint()).toBe(0)
      expect(reader.failed).toBe(true)
    }
    const most = new ByteReader(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f))
    expect(most.varint()).toBe(Number.MAX_SAFE_INTEGER)
    expect(most.done()).toBe(true)
    expect(new ByteWriter().varint(300).finish()).toEqual(Uint8Array.of(0xac, 0x02))
  })

  it('u64 beyond 2^53-1 and a bool beyond 1 fail', () => {
    expect(new ByteReader(Uint8Array.of(0, 0, 0, 0, 0, 0, 0x20, 0)).u64()).toBe(0)
    const flag = new ByteReader(Uint8Array.of(2))
    expect(flag.bool()).toBe(false)
    expect(flag.failed).toBe(true)
  })

  it('a length is checked before anything is allocated or read', () => {
    const claims = new ByteWriter().varint(2 ** 50).finish()
    for (const verb of ['bytes', 'text'] as const) {
      const reader = new ByteReader(claims)
      expect(reader[verb]().length).toBe(0)
      expect(reader.failed).toBe(true)
    }
    const counter = new ByteReader(new ByteWriter().varint(5).raw(new Uint8Array(19)).finish())
    expect(counter.count(4)).toBe(0)
    expect(counter.failed).toBe(true)
    const fits = new ByteReader(new ByteWriter().varint(5).raw(new Uint8Array(20)).finish())
    expect(fits.count(4)).toBe(5)
    const limited = new ByteReader(new ByteWriter().bytes(new Uint8Array(9)).finish())
    expect(limited.bytes(8).length).toBe(0)
    expect(limited.failed).toBe(true)
  })

  it('a reader stays within its range, and works on views of larger buffers', () => {
    const large = Uint8Array.from({ length: 100 }, (_, i) => i)
    const reader = new ByteReader(large.subarray(50, 60), 2, 8)
    expect([reader.u8(), reader.u16(), reader.u32()]).toEqual([52, 53 | (54 << 8), 0])
    expect(reader.failed).toBe(true)
    expect(() => new ByteReader(large, 5, 101)).toThrow('bug')
  })

  it('a writer can be used again: what it handed out does not change', () => {
    for (const size of [10, 70_000]) {
      const writer = new ByteWriter(16)
      const first = writer.raw(new Uint8Array(size).fill(1)).finish()
      const second = writer.raw(new Uint8Array(size).fill(2)).finish()
      expect([first[0], second[0], first.length, second.length]).toEqual([1, 2, size, size])
    }
    const exact = new ByteWriter(1 << 17)
    const whole = exact.raw(new Uint8Array(1 << 17).fill(1)).finish()
    exact.u8(2)
    expect(whole[0]).toBe(1)
  })

  it('pieces of one writer stay as they were, whatever is written, given up or taken out after them', () => {
    const size = fc.oneof({ weight: 8, arbitrary: fc.nat(200) }, fc.constantFrom(2047, 2048, 2049, 9000, 70_000))
    const step = fc.record({ size, end: fc.constantFrom('piece', 'piece', 'piece', 'finish', 'reset') })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(1, 64, 1024), (steps, capacity) => {
        const writer = new ByteWriter(capacity)
        const made: { bytes: Uint8Array; wanted: Uint8Array }[] = []
        for (const [n, { size: length, end }] of steps.entries()) {
          const content = new Uint8Array(length).fill(n + 1)
          writer.u32(0).raw(content).setU32(0, n)
          expect(writer.length).toBe(length + 4)
          if (end === 'reset') writer.reset()
          else {
            const wanted = concatBytes(Uint8Array.of(n, 0, 0, 0), content)
            made.push({ bytes: end === 'piece' ? writer.finishPiece() : writer.finish(), wanted })
          }
          expect(writer.length).toBe(0)
        }
        for (const { bytes, wanted } of made) expect(equalBytes(bytes, wanted)).toBe(true)
      }),
    )
  })

  it('takes as many elements as it was told of an array that another thread has made longer since', () => {
    for (const [told, length] of [
      [20, 100],
      [100, 300],
      [5000, 70_000],
    ] as const) {
      const grown = new Uint8Array(length).map((_, i) => i)
      for (const capacity of [1, 64, 2000]) {
        const writer = new ByteWriter(capacity).u8(1)
        const piece = writer.finishPiece()
        const written = writer.u8(2).elements(grown, told).u8(3).finish()
        expect(equalBytes(written, concatBytes(Uint8Array.of(2), grown.subarray(0, told), Uint8Array.of(3)))).toBe(true)
        expect(piece).toEqual(Uint8Array.of(1))
      }
    }
  })

  it('what only a bug can pass is an assertion', () => {
    const writer = new ByteWriter()
    expect(() => writer.u8(256)).toThrow('bug')
    expect(() => writer.u16(-1)).toThrow('bug')
    expect(() => writer.u32(1.5)).toThrow('bug')
    expect(() => writer.u64(2 ** 53)).toThrow('bug')
    expect(() => writer.varint(Number.NaN)).toThrow('bug')
    expect(() => writer.id128('0G'.repeat(16))).toThrow('bug')
    expect(() => writer.setU32(0, 1)).toThrow('bug')
  })
})

describe('bytes', () => {
  it('compare and equal agree with Buffer', () => {
    const short = fc.uint8Array({ maxLength: 4, max: 3 })
    fc.assert(
      fc.property(short, short, (a, b) => {
        expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(a, b))
        expect(equalBytes(a, b)).toBe(Buffer.compare(a, b) === 0)
      }),
    )
  })

  it('concat and copy; a copy of a Buffer is no view', () => {
    expect(concatBytes(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3))
    const original = Buffer.from([1, 2])
    const copy = copyBytes(original)
    original[0] = 9
    expect(copy).toEqual(Uint8Array.of(1, 2))
  })

  it('hex and base64url agree with Buffer, round trip, and refuse every other text', () => {
    fc.assert(
      fc.property(fc.uint8Array(), bytes => {
        expect(hexEncode(bytes)).toBe(Buffer.from(bytes).toString('hex'))
        expect(base64UrlEncode(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
        expect(hexDecode(hexEncode(bytes))).toEqual(bytes)
        expect(base64UrlDecode(base64UrlEncode(bytes))).toEqual(bytes)
      }),
    )
    const anyText = fc.oneof(
      fc.string({ maxLength: 9 }),
      fc.string({ unit: fc.constantFrom(...'AQgwZ_-09af=+/é'), maxLength: 9 }),
    )
    fc.assert(
      fc.property(anyText, given => {
        const fromHex = hexDecode(given)
        if (fromHex !== undefined) expect(hexEncode(fromHex)).toBe(given)
        const fromBase64 = base64UrlDecode(given)
        if (fromBase64 !== undefined) expect(base64UrlEncode(fromBase64)).toBe(given)
      }),
      { numRuns: 1000 },
    )
    for (const given of ['A', 'AB', 'AAB', 'AA==', 'A+/A', 'AAAAA'])
      expect(base64UrlDecode(given), given).toBeUndefined()
    for (const given of ['a', 'AA', '0g', ' 0', '0x00']) expect(hexDecode(given), given).toBeUndefined()
  })
})

describe('firstNonZero', () => {
  it('finds what a loop finds, wherever the bytes begin in their buffer', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 9), { maxLength: 60 }),
        fc.nat(7),
        fc.nat(60),
        (list, shift, start) => {
          const bytes = new Uint8Array(new ArrayBuffer(shift + list.length), shift)
          bytes.set(list)
          const from = Math.min(start, list.length)
          const found = list.findIndex((byte, i) => i >= from && byte !== 0)
          expect(firstNonZero(bytes, from, bytes.length)).toBe(found < 0 ? bytes.length : found)
        },
      ),
      { numRuns: 2000 },
    )
  })
})
