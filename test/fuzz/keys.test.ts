import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes } from '../../src/base/bytes.ts'
import { isHarmonyError } from '../../src/base/errors.ts'
import { decodeKey, encodeKey, keyBytesMax } from '../../src/database/key.ts'
import { encodeRange, isInRange } from '../../src/database/range.ts'
import type { KeyPart } from '../../src/database/types.ts'

/** Strings of arbitrary UTF-16 units: zeros, lone surrogates, pairs. */
const anyString = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc
    .array(
      fc.constantFrom(0, 1, 2, 0x61, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000, 0xffff),
      {
        maxLength: 5,
      },
    )
    .map(units => String.fromCharCode(...units)),
)
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 8 }),
  fc.array(fc.constantFrom(0, 1, 2, 0xfe, 0xff), { maxLength: 4 }).map(bytes => Uint8Array.from(bytes)),
)
const anyNumber = fc.oneof(
  fc.double({ noNaN: true }),
  fc.integer(),
  fc.constantFrom(0, -0, 1, -1, Infinity, -Infinity, Number.MIN_VALUE, -Number.MIN_VALUE, Number.MAX_VALUE),
)
const anyBigint = fc.oneof(
  fc.bigInt({ min: -300n, max: 300n }),
  fc.bigInt(),
  // around the step from a short length to a long one
  fc
    .integer({ min: 125, max: 129 })
    .chain(bytes => fc.constantFrom(1n << BigInt(bytes * 8), -(1n << BigInt(bytes * 8)))),
)
const anyPart: fc.Arbitrary<KeyPart> = fc.oneof(anyString, anyBytes, anyNumber, anyBigint, fc.boolean())
const anyTuple = fc.array(anyPart, { minLength: 1, maxLength: 4 })

/** The order as the API states it, from the values alone. */
function compareTuples(a: readonly KeyPart[], b: readonly KeyPart[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = compareParts(a[i]!, b[i]!)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

function compareParts(a: KeyPart, b: KeyPart): number {
  const rank = (part: KeyPart) =>
    part instanceof Uint8Array ? 0 : ['string', 'number', 'bigint', 'boolean'].indexOf(typeof part) + 1
  if (rank(a) !== rank(b)) return rank(a) - rank(b)
  if (a instanceof Uint8Array) return Buffer.compare(a, b as Uint8Array)
  if (typeof a !== 'string') return a < b ? -1 : a > b ? 1 : 0
  const left = Array.from(a, char => char.codePointAt(0)!)
  const right = Array.from(b as string, char => char.codePointAt(0)!)
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    if (left[i] !== right[i]) return left[i]! - right[i]!
  }
  return left.length - right.length
}

const startsWith = (tuple: readonly KeyPart[], prefix: readonly KeyPart[]) =>
  tuple.length >= prefix.length && prefix.every((part, i) => compareParts(part, tuple[i]!) === 0)

const isBytePrefix = (bytes: Uint8Array, prefix: Uint8Array) =>
  bytes.length >= prefix.length && compareBytes(bytes.subarray(0, prefix.length), prefix) === 0

describe('keys as bytes', () => {
  test('order as their tuples do', () => {
    fc.assert(
      fc.property(anyTuple, anyTuple, (a, b) => {
        expect(Math.sign(compareBytes(encodeKey(a), encodeKey(b)))).toBe(Math.sign(compareTuples(a, b)))
      }),
      { numRuns: 5000 },
    )
  })

  test('order as their tuples do where the tuples begin alike', () => {
    fc.assert(
      fc.property(anyTuple, anyTuple, anyTuple, (head, a, b) => {
        const left = [...head, ...a]
        const right = [...head, ...b]
        expect(Math.sign(compareBytes(encodeKey(left), encodeKey(right)))).toBe(Math.sign(compareTuples(left, right)))
      }),
    )
  })

  test('one is a byte prefix of another exactly if its tuple is a prefix of the other', () => {
    fc.assert(
      fc.property(anyTuple, anyTuple, (a, b) => {
        expect(isBytePrefix(encodeKey(b), encodeKey(a))).toBe(startsWith(b, a))
        expect(isBytePrefix(encodeKey([...a, ...b]), encodeKey(a))).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('a prefix range holds exactly the tuples that begin with the prefix', () => {
    fc.assert(
      fc.property(anyTuple, anyTuple, (prefix, other) => {
        const range = encodeRange({ prefix })
        expect(isInRange(encodeKey(other), range)).toBe(startsWith(other, prefix))
        expect(isInRange(encodeKey([...prefix, ...other]), range)).toBe(true)
        expect(isInRange(encodeKey(prefix), range)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('come back as they were, -0 as 0', () => {
    fc.assert(
      fc.property(anyTuple, tuple => {
        const result = decodeKey(encodeKey(tuple))
        const expected = tuple.map(part => (part === 0 ? 0 : part instanceof Uint8Array ? Uint8Array.from(part) : part))
        expect(result).toEqual({ ok: true, value: expected })
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the key decoder is total', () => {
  const check = (bytes: Uint8Array) => {
    const result = decodeKey(bytes)
    if (!result.ok) expect(isHarmonyError(result.error, 'CORRUPT')).toBe(true)
    // One encoding per tuple: whatever is accepted is what the encoder makes.
    else expect(encodeKey(result.value)).toEqual(bytes)
  }

  test('for arbitrary bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), check), { numRuns: 3000 })
  })

  test('for bytes that look like tags, escapes and lengths', () => {
    const telling = fc.constantFrom(
      0,
      1,
      2,
      3,
      0x10,
      0x20,
      0x30,
      0x40,
      0x50,
      0x51,
      0x7e,
      0x7f,
      0x80,
      0x81,
      0xfe,
      0xff,
      0xed,
      0xa0,
    )
    fc.assert(
      fc.property(
        fc.array(telling, { maxLength: 16 }).map(bytes => Uint8Array.from(bytes)),
        check,
      ),
      { numRuns: 5000 },
    )
  })

  test('for encodings with a bit flipped, cut, or put together', () => {
    fc.assert(
      fc.property(anyTuple, fc.nat(), fc.nat(), (tuple, bit, cut) => {
        const bytes = encodeKey(tuple)
        const flipped = bytes.slice()
        flipped[bit % bytes.length]! ^= 1 << (bit % 8)
        check(flipped)
        check(bytes.slice(0, cut % (bytes.length + 1)))
      }),
      { numRuns: 3000 },
    )
  })

  test('for nothing and for too much', () => {
    check(new Uint8Array(0))
    check(new Uint8Array(keyBytesMax + 1).fill(0x50))
    expect(decodeKey(new Uint8Array(keyBytesMax).fill(0x50)).ok).toBe(true)
    expect(decodeKey(new Uint8Array(keyBytesMax + 1).fill(0x50)).ok).toBe(false)
  })
})
