import { describe, expect, test } from 'vitest'
import { hexDecode, hexEncode } from '../../../src/base/bytes.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { decodeKey, encodeKey, keyBytesMax } from '../../../src/database/key.ts'
import { encodeRange, isEmptyRange } from '../../../src/database/range.ts'
import type { Key, Range } from '../../../src/database/types.ts'

const hex = (key: Key) => hexEncode(encodeKey(key))

function failure(run: () => unknown): { code: string; message: string } {
  try {
    run()
  } catch (error) {
    if (error instanceof HarmonyError) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('the key format stays as it is', () => {
  test.each<[Key, string]>([
    ['', '2000'],
    ['a', '206100'],
    ['a\0\x01b', '2061010101026200'],
    ['\ud83d\ude00', '20f09f988000'],
    ['\ud83d', '20eda0bd00'],
    [Uint8Array.of(0, 1, 2, 255), '100101010202ff00'],
    [0, '308000000000000000'],
    [-0, '308000000000000000'],
    [1, '30bff0000000000000'],
    [-1, '30400fffffffffffff'],
    [Infinity, '30fff0000000000000'],
    [-Infinity, '30000fffffffffffff'],
    [0n, '4080'],
    [1n, '408101'],
    [-1n, '407efe'],
    [255n, '4081ff'],
    [256n, '40820100'],
    [-256n, '407dfeff'],
    [false, '50'],
    [true, '51'],
    [['a', 1n, true], '20610040810151'],
  ])('%o', (key, expected) => {
    expect(hex(key)).toBe(expected)
    expect(decodeKey(encodeKey(key)).ok).toBe(true)
  })

  test('a bare part is a tuple of one', () => {
    expect(encodeKey('a')).toEqual(encodeKey(['a']))
  })

  test('a long bigint has a long length', () => {
    const key = encodeKey(1n << 2000n)
    expect(hexEncode(key, 0, 6)).toBe('40ff00fb0100')
    expect(decodeKey(key)).toEqual({ ok: true, value: [1n << 2000n] })
    expect(hexEncode(encodeKey(-(1n << 2000n)), 0, 6)).toBe('4000ff04feff')
  })

  test('a Node Buffer is bytes, and comes back as a Uint8Array', () => {
    const result = decodeKey(encodeKey(Buffer.from('ab')))
    expect(result).toEqual({ ok: true, value: [Uint8Array.of(0x61, 0x62)] })
    if (result.ok) expect(Object.getPrototypeOf(result.value[0])).toBe(Uint8Array.prototype)
  })

  test('what is handed out shares nothing with what came in', () => {
    const part = Uint8Array.of(5, 6)
    const bytes = encodeKey([part])
    part[0] = 9
    const result = decodeKey(bytes)
    bytes[1] = 77
    expect(result).toEqual({ ok: true, value: [Uint8Array.of(5, 6)] })
  })
})

describe('the decoder refuses', () => {
  test.each<[string, string]>([
    ['nothing', ''],
    ['an unknown tag', '60'],
    ['tag 00', '00'],
    ['text without an end', '2061'],
    ['an escape of something else', '20610103' + '00'],
    ['an escape at the end', '206101' + '00'],
    ['ill-formed text', '20ff00'],
    ['half a number', '30bff000'],
    ['NaN', '30fff8000000000000'],
    ['-0', '307fffffffffffffff'],
    ['a bigint with a leading zero', '40820001'],
    ['a bigint that ends early', '408201'],
    ['a short bigint in the long form', '40ff000101'],
    ['a long bigint whose length ends early', '40ff01'],
    ['zero in the negative form', '407f'],
  ])('%s', (_, encoded) => {
    const result = decodeKey(hexDecode(encoded)!)
    expect(result.ok || result.error.code).toBe('CORRUPT')
  })
})

describe('pitfall 42: keys of wrong types are INVALID_KEY and named', () => {
  test.each<[string, unknown, string]>([
    ['empty tuple', [], 'key is empty'],
    ['undefined', undefined, 'key is undefined'],
    ['null', null, 'key is null'],
    ['NaN', Number.NaN, 'key is NaN'],
    ['NaN inside', ['a', 2, Number.NaN], 'key[2] is NaN'],
    ['nested', ['a', ['b']], 'key[1] is an array'],
    ['hole', Array(1), 'key[0] is undefined'],
    ['object', { a: 1 }, 'key is an object'],
    ['date', ['a', new Date()], 'key[1] is an object'],
    ['symbol', Symbol('s'), 'key is a symbol'],
    ['function', [() => 1], 'key[0] is a function'],
    ['other typed array', new Uint16Array(2), 'key is an object'],
    ['array buffer', new ArrayBuffer(2), 'key is an object'],
  ])('%s', (_, key, message) => {
    const error = failure(() => encodeKey(key as Key))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain(message)
  })

  test('a name for the key can be given', () => {
    expect(failure(() => encodeKey([null] as unknown as Key, 'ops[3].key')).message).toContain('ops[3].key[0] is null')
  })
})

describe('pitfall 42: long keys are TOO_LARGE', () => {
  test('just fits', () => {
    expect(encodeKey('x'.repeat(keyBytesMax - 2))).toHaveLength(keyBytesMax)
    expect(decodeKey(encodeKey('x'.repeat(keyBytesMax - 2))).ok).toBe(true)
  })

  test.each<[string, Key]>([
    ['one byte more', 'x'.repeat(keyBytesMax - 1)],
    ['many parts', Array(keyBytesMax + 1).fill(true)],
    ['escapes count', new Uint8Array(keyBytesMax - 2)],
    ['a very long string', 'x'.repeat(10_000_000)],
    ['long bytes', new Uint8Array(10_000_000)],
    ['a huge bigint', 1n << 10_000_000n],
    ['a huge negative bigint', -(1n << 10_000_000n)],
    ['a bigint that just does not fit', 1n << BigInt((keyBytesMax - 4) * 8)],
  ])('%s', (_, key) => {
    expect(failure(() => encodeKey(key)).code).toBe('TOO_LARGE')
  })
})

describe('ranges', () => {
  const range = (value: unknown) => encodeRange(value as Range)

  test('nothing given is everything', () => {
    expect(range(undefined)).toEqual({ from: undefined, to: undefined })
    expect(range({})).toEqual({ from: undefined, to: undefined })
    expect(range({ start: undefined, end: undefined })).toEqual({ from: undefined, to: undefined })
  })

  test('start and end are full keys and narrow a prefix', () => {
    expect(range({ prefix: 'a', start: ['a', 2], end: ['a', 5] })).toEqual({
      from: encodeKey(['a', 2]),
      to: encodeKey(['a', 5]),
    })
    expect(range({ prefix: 'b', start: 'a', end: 'c' })).toEqual(range({ prefix: 'b' }))
    expect(range({ prefix: 'b', start: 'a' })).toEqual(range({ prefix: 'b' }))
  })

  test('a start behind the end is empty, not an error', () => {
    expect(isEmptyRange(range({ start: 'b', end: 'a' }))).toBe(true)
    expect(isEmptyRange(range({ start: 'a', end: 'a' }))).toBe(true)
    expect(isEmptyRange(range({ prefix: 'a', start: 'b' }))).toBe(true)
    expect(isEmptyRange(range({ start: 'a', end: 'b' }))).toBe(false)
    expect(isEmptyRange(range({}))).toBe(false)
  })

  test.each<[string, unknown, string]>([
    ['a bare key', 'user', 'a range is an object'],
    ['a tuple', ['user'], 'a range is an object'],
    ['null', null, 'a range is an object'],
    ['bytes', Uint8Array.of(1), 'a range is an object'],
    ['an unknown field', { gte: 'a' }, 'range.gte'],
    ['an empty prefix', { prefix: [] }, 'range.prefix is empty'],
    ['an undefined prefix', { prefix: undefined }, 'range.prefix is undefined'],
    ['a NaN bound', { start: [1, Number.NaN] }, 'range.start[1] is NaN'],
    ['a null bound', { end: null }, 'range.end is null'],
  ])('%s is INVALID_KEY', (_, value, message) => {
    const error = failure(() => range(value))
    expect(error.code).toBe('INVALID_KEY')
    expect(error.message).toContain(message)
  })
})
