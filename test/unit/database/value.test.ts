import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { hexDecode, hexEncode } from '../../../src/base/bytes.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { decodeValue } from '../../../src/database/value-decode.ts'
import { encodeValue } from '../../../src/database/value-encode.ts'
import { valueBytesMax, valueDepthMax } from '../../../src/database/value-format.ts'

function trip(value: unknown): unknown {
  const result = decodeValue(encodeValue(value))
  if (!result.ok) throw result.error
  return result.value
}

function failure(value: unknown): { code: string; message: string } {
  try {
    encodeValue(value)
  } catch (error) {
    if (error instanceof HarmonyError) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('it was stored')
}

const decodeHex = (hex: string) => decodeValue(hexDecode(hex)!)

describe('the value format stays as it is', () => {
  test.each<[unknown, string]>([
    [null, '0101'],
    [[undefined], '010d0102'],
    [false, '0103'],
    [true, '0104'],
    [0, '010500'],
    [300, '0105ac02'],
    [-1, '010600'],
    [-0, '01070000000000000080'],
    [0.5, '0107000000000000e03f'],
    [0n, '010800'],
    [256n, '0108020100'],
    [-1n, '010900'],
    ['é', '010a02c3a9'],
    [new Date(0), '010b0000000000000000'],
    [{ a: 1 }, '010c0101610501'],
    // biome-ignore lint/suspicious/noSparseArray: holes are what this is about
    [[1, , 2], '010d0305010e0502'],
    [new Map([[1, 2]]), '010f0105010502'],
    [new Set([1]), '0110010501'],
    [Uint8Array.of(7), '01110107'],
    [Uint8Array.of(7).buffer, '01120107'],
    [new DataView(Uint8Array.of(7).buffer), '01130107'],
    [Uint16Array.of(258), '011403020201'],
  ])('%o', (value, hex) => {
    expect(hexEncode(encodeValue(value))).toBe(hex)
    expect(trip(value)).toStrictEqual(value)
  })
})

describe('pitfall 42: what cannot be stored is INVALID_VALUE and the path is named', () => {
  class Point {
    x = 1
  }
  class Registry extends Map {}
  class Stamp extends Date {}
  class Items extends Array {}
  const gone = new Uint8Array(4)
  structuredClone(gone, { transfer: [gone.buffer] })

  test.each<[string, unknown, string]>([
    ['top-level undefined', undefined, 'value is undefined'],
    ['a function', () => 1, 'value is a function'],
    ['a function deep inside', { items: [1, 2, 3, { fn: () => 1 }] }, 'value.items[3].fn is a function'],
    ['a symbol', { a: Symbol('x') }, 'value.a is a symbol'],
    ['a class instance', [new Point()], 'value[0] is an instance of Point'],
    ['a subclass of Map', { r: new Registry() }, 'value.r is of the kind Map'],
    ['a subclass of Date', { r: new Stamp() }, 'value.r is of the kind Date'],
    ['a subclass of Array', { r: new Items() }, 'value.r is an instance of Items'],
    ['a regular expression', { r: /x/ }, 'value.r is of the kind RegExp'],
    ['an error', { e: new Error('x') }, 'value.e is of the kind Error'],
    ['a promise', { p: Promise.resolve() }, 'value.p is of the kind Promise'],
    ['a weak map', { w: new WeakMap() }, 'value.w is of the kind WeakMap'],
    ['a boxed number', { n: Object(1) }, 'value.n is of the kind Number'],
    ['shared memory', { s: new SharedArrayBuffer(1) }, 'value.s is of the kind SharedArrayBuffer'],
    ['a detached view', { d: gone }, 'value.d lost its buffer'],
    ['an odd name', { 'a b': { '': [() => 1] } }, 'value["a b"][""][0] is a function'],
    ['inside a map', new Map([['k', { v: () => 1 }]]), 'value.values()[0].v is a function'],
    ['as a key of a map', { m: new Map([[() => 1, 1]]) }, 'value.m.keys()[0] is a function'],
    ['inside a set', [new Set([1, () => 1])], 'value[0].values()[1] is a function'],
    ['after siblings that were left', { a: { b: [1] }, c: [[], () => 1] }, 'value.c[1] is a function'],
    ['something that pretends to be a Map', [Object.create(Map.prototype)], 'value[0] is of the kind Map'],
  ])('%s', (_, value, message) => {
    const error = failure(value)
    expect(error.code).toBe('INVALID_VALUE')
    expect(error.message).toContain(message)
  })

  test('cyclic values', () => {
    const a: Record<string, unknown> = {}
    a.list = [1, { back: a }]
    expect(failure(a)).toMatchObject({ code: 'INVALID_VALUE' })
    expect(failure(a).message).toContain('value.list[1].back contains itself')
    const map = new Map<string, unknown>()
    map.set('self', map)
    expect(failure(map).message).toContain('value.values()[0] contains itself')
  })

  test('nesting is bounded in both directions', () => {
    const nest = (depth: number) => {
      let value: unknown = 1
      for (let i = 0; i < depth; i++) value = [value]
      return value
    }
    expect(trip(nest(valueDepthMax))).toEqual(nest(valueDepthMax))
    expect(failure(nest(valueDepthMax + 1)).code).toBe('INVALID_VALUE')
    expect(failure(nest(1_000_000)).message.length).toBeLessThan(500)
    const deep = new Uint8Array(1_000_000).fill(0x0d)
    for (let i = 2; i < deep.length; i += 2) deep[i] = 1
    deep[0] = 1
    expect(decodeValue(deep).ok).toBe(false)
  })

  test('an error of a getter is passed on as it is', () => {
    const oops = new Error('oops')
    const value = {
      get a() {
        throw oops
      },
    }
    expect(() => encodeValue(value)).toThrow(oops)
  })
})

describe('pitfall 42: large values', () => {
  test('10 MiB are stored', () => {
    const bytes = new Uint8Array(10 * 1024 * 1024).fill(5)
    expect((trip(bytes) as Uint8Array).length).toBe(bytes.length)
    const text = 'é'.repeat(5 * 1024 * 1024)
    expect(trip({ text })).toEqual({ text })
  })

  test.each<[string, () => unknown]>([
    ['a string', () => 'x'.repeat(valueBytesMax)],
    ['a string whose bytes are more than its units', () => '\u4e00'.repeat(valueBytesMax / 2)],
    ['bytes', () => new Uint8Array(valueBytesMax)],
    ['a buffer', () => new ArrayBuffer(valueBytesMax)],
    ['a sparse array', () => new Array(4_000_000_000)],
    ['a huge bigint', () => 1n << BigInt(valueBytesMax * 8)],
    [
      'shared references that multiply',
      () => {
        let value: unknown = 'x'.repeat(50)
        for (let i = 0; i < 40; i++) value = [value, value]
        return value
      },
    ],
  ])('%s beyond the limit is TOO_LARGE', (_, make) => {
    expect(failure(make()).code).toBe('TOO_LARGE')
  })

  test('the limit itself is stored, a byte more is not', () => {
    const frame = 1 + 1 + 4 // version, tag, length
    expect(encodeValue(new Uint8Array(valueBytesMax - frame))).toHaveLength(valueBytesMax)
    expect(failure(new Uint8Array(valueBytesMax - frame + 1)).code).toBe('TOO_LARGE')
  })
})

describe('faithful copies', () => {
  test('pitfall 42: __proto__ is an ordinary name', () => {
    const value = JSON.parse('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}}')
    const back = trip(value) as Record<string, unknown>
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype)
    expect(Object.hasOwn(back, '__proto__')).toBe(true)
    expect(Object.getOwnPropertyDescriptor(back, '__proto__')).toEqual({
      value: { polluted: 1 },
      writable: true,
      enumerable: true,
      configurable: true,
    })
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('objects without a prototype come back as ordinary ones', () => {
    const bare = Object.assign(Object.create(null), { a: 1 })
    expect(trip(bare)).toStrictEqual({ a: 1 })
  })

  test('a Node Buffer is a Uint8Array', () => {
    const back = trip(Buffer.from('ab'))
    expect(Object.getPrototypeOf(back)).toBe(Uint8Array.prototype)
    expect(back).toEqual(Uint8Array.of(0x61, 0x62))
  })

  test('of a view only its part is stored', () => {
    const view = Uint32Array.from([1, 2, 3]).subarray(1, 2)
    expect(trip(view)).toEqual(Uint32Array.of(2))
  })

  test('symbol-named and hidden properties are left out, getters are called', () => {
    const value = Object.defineProperty(
      {
        [Symbol('s')]: 1,
        get a() {
          return 2
        },
      },
      'hidden',
      { value: 3, enumerable: false },
    )
    expect(trip(value)).toStrictEqual({ a: 2 })
  })

  test('references to one object become two', () => {
    const shared = { n: 1 }
    const back = trip([shared, shared]) as object[]
    expect(back[0]).toEqual(back[1])
    expect(back[0]).not.toBe(back[1])
  })

  test('invalid dates stay invalid', () => {
    expect((trip(new Date(Number.NaN)) as Date).getTime()).toBeNaN()
  })

  test('values of another realm are stored too', () => {
    const foreign = runInNewContext(
      '({ d: new Date(5), m: new Map([[1, [2]]]), b: new Uint8Array([3]), s: new Set([4]) })',
    )
    expect(trip(foreign)).toStrictEqual({
      d: new Date(5),
      m: new Map([[1, [2]]]),
      b: Uint8Array.of(3),
      s: new Set([4]),
    })
  })

  test('the bytes that are read stay the reader’s own', () => {
    const stored = encodeValue(Uint8Array.of(1, 2, 3))
    const back = decodeValue(stored)
    stored.fill(9)
    expect(back).toEqual({ ok: true, value: Uint8Array.of(1, 2, 3) })
  })
})

describe('the decoder refuses', () => {
  test.each<[string, string]>([
    ['nothing', ''],
    ['a version alone', '01'],
    ['version 0', '0001'],
    ['an unknown tag', '0100'],
    ['bytes behind the value', '010101'],
    ['a hole outside of an array', '010e'],
    ['a name twice', '010c02016105010161 0502'.replace(' ', '')],
    ['__proto__ twice', '010c02095f5f70726f746f5f5f0501095f5f70726f746f5f5f0502'],
    ['a key of a map twice', '010f0205010502 05010502'.replace(' ', '')],
    ['an item of a set twice', '01100205010501'],
    ['half an element', '01140301 05'.replace(' ', '')],
    ['an unknown kind of typed array', '0114c80101'],
    ['a bigint with a leading zero', '01080100'],
    ['ill-formed text', '010a01ff'],
    ['2^30 elements in 8 bytes', '010d8080808004'],
    ['2^30 properties', '010c8080808004'],
    ['2^30 entries', '010f8080808004'],
    ['2^30 items', '01108080808004'],
    ['2^50 bytes', '0111808080808080808002'],
  ])('%s', (_, hex) => {
    const started = performance.now()
    const result = decodeHex(hex)
    expect(result.ok || result.error.code).toBe('CORRUPT')
    expect(performance.now() - started).toBeLessThan(100)
  })

  test('a newer format, with advice', () => {
    const result = decodeHex('0201')
    expect(result.ok || result.error.code).toBe('VERSION_MISMATCH')
    expect(result.ok || result.error.message).toContain('upgrade')
  })

  test.skipIf('Float16Array' in globalThis)('a kind of array that this host lacks', () => {
    const result = decodeHex('01140a020000')
    expect(result.ok || result.error.code).toBe('VERSION_MISMATCH')
    expect(result.ok || result.error.message).toContain('Float16Array')
  })
})
