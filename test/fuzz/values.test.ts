import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isHarmonyError } from '../../src/base/errors.ts'
import { decodeValue } from '../../src/database/value-decode.ts'
import { encodeValue } from '../../src/database/value-encode.ts'

const typedArrays = fc.oneof(
  fc.uint8Array(),
  fc.int8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
)

const units = fc
  .array(fc.constantFrom(0, 0x61, 0x80, 0x800, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xffff), { maxLength: 6 })
  .map(codes => String.fromCharCode(...codes))

const leaf = fc.oneof(
  fc.constantFrom(
    null,
    undefined,
    true,
    false,
    Number.NaN,
    -0,
    Infinity,
    Number.MAX_SAFE_INTEGER,
    -Number.MAX_SAFE_INTEGER,
  ),
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt(),
  fc.string(),
  units,
  fc.date({ noInvalidDate: false }),
  typedArrays,
  fc.uint8Array().map(bytes => bytes.slice().buffer),
  fc.uint8Array().map(bytes => new DataView(bytes.slice().buffer)),
)

const names = fc.oneof(
  fc.string({ maxLength: 4 }),
  units,
  fc.constantFrom('__proto__', 'constructor', 'toString', '0', '10'),
)

const fromPairs = (pairs: readonly (readonly [string, unknown])[]) => {
  const object: Record<string, unknown> = {}
  for (const [name, value] of pairs) {
    Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return object
}

const anyValue = fc.letrec(tie => ({
  value: fc.oneof(
    { depthSize: 'small' },
    { arbitrary: leaf, weight: 4 },
    tie('array'),
    tie('holey'),
    tie('object'),
    tie('map'),
    tie('set'),
  ),
  array: fc.array(tie('value'), { maxLength: 5 }),
  holey: fc.array(fc.option(tie('value')), { maxLength: 5 }).map(items => {
    const array: unknown[] = []
    items.forEach((item, i) => {
      if (item === null) array.length = i + 1
      else array[i] = item
    })
    return array
  }),
  object: fc.array(fc.tuple(names, tie('value')), { maxLength: 5 }).map(fromPairs),
  map: fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 4 }).map(pairs => new Map(pairs)),
  set: fc.array(tie('value'), { maxLength: 4 }).map(items => new Set(items)),
})).value

/** Equal down to -0, holes, prototypes and the order of names and entries. (Node's own takes no invalid date for equal to another.) */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b)
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime())
  if (a instanceof Map) return same([...a].flat(), [...(b as Map<unknown, unknown>)].flat())
  if (a instanceof Set) return same([...a], [...(b as Set<unknown>)])
  if (a instanceof ArrayBuffer) return Buffer.from(a).equals(Buffer.from(b as ArrayBuffer))
  if (ArrayBuffer.isView(a)) return same(a.buffer, (b as ArrayBufferView).buffer)
  const left = Object.keys(a)
  const right = Object.keys(b)
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false
  return (
    left.length === right.length &&
    left.every((name, i) => {
      const [x, y] = [Object.getOwnPropertyDescriptor(a, name)!, Object.getOwnPropertyDescriptor(b, name)]
      return name === right[i] && y !== undefined && same(x.value, y.value) && x.writable === y.writable
    })
  )
}

const expectSame = (actual: unknown, expected: unknown) => {
  if (!same(actual, expected)) expect.fail(`${inspect(actual, { depth: 9 })} is not ${inspect(expected, { depth: 9 })}`)
}

describe('values as bytes', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(anyValue, value => {
        const wrapped = [value]
        expectSame(decodeValue(encodeValue(wrapped)), { ok: true, value: wrapped })
      }),
      { numRuns: 3000 },
    )
  })
})

describe('the value decoder is total', () => {
  const check = (bytes: Uint8Array) => {
    const result = decodeValue(bytes)
    if (!result.ok) {
      expect(isHarmonyError(result.error)).toBe(true)
      expect(['CORRUPT', 'VERSION_MISMATCH']).toContain(result.error.code)
    } else if (result.value !== undefined) {
      // What was accepted is a value like any other.
      expectSame(decodeValue(encodeValue(result.value)), result)
    }
  }

  test('for arbitrary bytes behind the version', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), bytes => check(Uint8Array.of(1, ...bytes))),
      { numRuns: 3000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), check))
  })

  test('for bytes that look like tags and small counts', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 0x16 }), { maxLength: 24 }), bytes => check(Uint8Array.of(1, ...bytes))),
      { numRuns: 5000 },
    )
  })

  test('for encodings with a bit flipped, a byte replaced, or cut', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), fc.nat({ max: 255 }), fc.nat(), (value, at, byte, cut) => {
        const bytes = encodeValue([value])
        const flipped = bytes.slice()
        flipped[at % bytes.length]! ^= 1 << (at % 8)
        check(flipped)
        const replaced = bytes.slice()
        replaced[at % bytes.length] = byte
        check(replaced)
        const short = bytes.slice(0, cut % bytes.length)
        expect(decodeValue(short).ok).toBe(false)
      }),
      { numRuns: 3000 },
    )
  })

  test('pitfall 42: nothing that is decoded reaches a prototype', () => {
    fc.assert(
      fc.property(anyValue, value => {
        const before = Object.getOwnPropertyNames(Object.prototype).length
        decodeValue(encodeValue({ a: value }))
        expect(Object.getOwnPropertyNames(Object.prototype)).toHaveLength(before)
      }),
      { numRuns: 200 },
    )
  })
})
