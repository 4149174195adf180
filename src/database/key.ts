/**
 * Keys as bytes: tuples of parts whose encodings order, as unsigned bytes, exactly as the tuples do.
 *
 * Order: part by part, a tuple before those that extend it; bytes < string < number < bigint < boolean; bytes as unsigned
 * bytes, strings by code point (not by UTF-16 unit), numbers and bigints by value, false < true. Numbers and bigints are
 * different parts even where they are equal in value: 1 < 2 < 1n.
 *
 * Format: the parts one after the other. Each begins with a tag and says itself where it ends:
 *   10 bytes    escaped, 00
 *   20 string   WTF-8 (`base/text.ts`: lone surrogates survive), escaped, 00
 *   30 number   8 bytes, big-endian IEEE 754; sign bit flipped if positive, all bits flipped if negative
 *   40 bigint   sign and length, then the magnitude in big-endian bytes, complemented if negative:
 *               80 zero; 80+n n bytes (n ≤ 126); FF, u16 BE n beyond; the complement of all that for negative ones
 *   50 false, 51 true
 * Escaped: 00 as 01 01, 01 as 01 02, so that nothing inside a part looks like its end.
 *
 * Invariants
 *  1. No part's encoding is a prefix of another's. So one key is a byte prefix of another if and only if its tuple is a
 *     prefix of the other's, and "all keys that begin with these parts" is one byte range.
 *  2. One encoding per tuple: the decoder refuses every other form.
 *
 * Tags leave gaps for kinds of parts to come; no tag is 00 or FF, so FF stands behind every part.
 */
import { copyBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { decodeText, encodeText } from '../base/text.ts'
import type { Result } from '../platform.ts'
import { typedArrayName } from './intrinsics.ts'
import { magnitudeBytes, magnitudeOf } from './magnitude.ts'
import { type Name, nameText } from './options.ts'
import type { Key, KeyPart } from './types.ts'

/** Longest encoded key. */
export const keyBytesMax = 2048

const tagBytes = 0x10
const tagString = 0x20
const tagNumber = 0x30
const tagBigint = 0x40
const tagFalse = 0x50
const tagTrue = 0x51

const bigintShortBytesMax = 126

/**
 * @param name What messages call the key: `key`, `keys[3]`, `ops[2].key`, ….
 * @throws HarmonyError INVALID_KEY (naming the part), TOO_LARGE.
 */
export function encodeKey(key: Key, name: Name = 'key'): Uint8Array {
  const whole = !Array.isArray(key)
  const parts: readonly KeyPart[] = whole ? [key as KeyPart] : (key as readonly KeyPart[])
  if (parts.length === 0) throw invalid(nameText(name), 'is empty: a key has at least one part')
  let at = 0
  for (let i = 0; i < parts.length; i++) {
    at = encodePart(at, parts[i] as KeyPart, name, whole ? -1 : i)
    if (at > keyBytesMax) throw tooLarge(name)
  }
  return copyBytes(scratch, 0, at)
}

/** Keys are made here: room for one that is as long as can be, and then one part more, every byte of it escaped. */
const scratch = new Uint8Array(keyBytesMax + 2 * (3 * keyBytesMax) + 16)
const float = new DataView(new ArrayBuffer(8))

/** @param index Of the part; -1: it is the whole key. Returns the offset behind the part. */
function encodePart(from: number, part: KeyPart, name: Name, index: number): number {
  let at = from
  switch (typeof part) {
    case 'string':
      if (part.length > keyBytesMax) throw tooLarge(name, index)
      scratch[at] = tagString
      return escapeText(at + 1, part)
    case 'number':
      if (Number.isNaN(part)) throw invalid(partText(name, index), 'is NaN, which has no place in an order')
      scratch[at] = tagNumber
      return orderedNumber(at + 1, part)
    case 'bigint':
      scratch[at] = tagBigint
      return encodeBigint(at + 1, part, name, index)
    case 'boolean':
      scratch[at++] = part ? tagTrue : tagFalse
      return at
    default:
      if (typedArrayName(part) !== 'Uint8Array') {
        throw invalid(
          partText(name, index),
          `is ${kindOf(part)}; a part is a Uint8Array, string, number, bigint or boolean`,
        )
      }
      if (part.length > keyBytesMax) throw tooLarge(name, index)
      scratch[at] = tagBytes
      return escapeBytes(at + 1, part)
  }
}

function escapeBytes(from: number, bytes: Uint8Array): number {
  let at = from
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    if (byte > 1) scratch[at++] = byte
    else {
      scratch[at++] = 1
      scratch[at++] = byte + 1
    }
  }
  scratch[at++] = 0
  return at
}

function escapeText(from: number, text: string): number {
  let at = from
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 2 || code > 0x7f) return escapeBytes(from, encodeText(text))
    scratch[at++] = code
  }
  scratch[at++] = 0
  return at
}

function orderedNumber(at: number, value: number): number {
  float.setFloat64(0, value === 0 ? 0 : value) // -0 is 0
  const negative = float.getUint8(0) >= 0x80
  for (let i = 0; i < 8; i++) scratch[at + i] = float.getUint8(i) ^ (negative ? 0xff : i === 0 ? 0x80 : 0)
  return at + 8
}

function encodeBigint(from: number, value: bigint, name: Name, index: number): number {
  const negative = value < 0n
  const magnitude = negative ? -value : value
  // A shift tells the size of a huge number without turning it into digits first.
  if (magnitude >> BigInt(keyBytesMax * 8) !== 0n) throw tooLarge(name, index)
  const flip = negative ? 0xff : 0
  const bytes = magnitudeBytes(magnitude)
  const { length } = bytes
  let at = from
  if (length <= bigintShortBytesMax) scratch[at++] = (0x80 + length) ^ flip
  else {
    scratch[at++] = 0xff ^ flip
    scratch[at++] = (length >> 8) ^ flip
    scratch[at++] = (length & 0xff) ^ flip
  }
  for (const byte of bytes) scratch[at++] = byte ^ flip
  return at
}

/**
 * Of bytes[from, to). Total: a tuple, or CORRUPT for bytes that `encodeKey` does not make.
 *
 * @param shared Parts that are bytes may be views.
 */
export function decodeKey(bytes: Uint8Array, from = 0, to = bytes.length, shared = false): Result<KeyPart[]> {
  let parts: KeyPart[] | undefined
  if (to - from > keyBytesMax) return corrupt()
  let at = from
  while (at < to) {
    const tag = bytes[at++]!
    let part: KeyPart
    if (tag === tagBytes || tag === tagString) {
      const end = endOf(bytes, at, to)
      if (end < 0) return corrupt()
      const found = tag === tagBytes ? decodeBytes(bytes, at, end, shared) : decodeString(bytes, at, end)
      if (found === undefined) return corrupt()
      part = found
      at = end + 1
    } else if (tag === tagNumber) {
      const value = decodeNumber(bytes, at, to)
      if (value === undefined) return corrupt()
      at += 8
      part = value
    } else if (tag === tagBigint) {
      const read = decodeBigint(bytes, at, to)
      if (read === undefined) return corrupt()
      at = read.next
      part = read.value
    } else if (tag === tagFalse || tag === tagTrue) part = tag === tagTrue
    else return corrupt()
    // An empty list would grow to room for many at once.
    if (parts === undefined) parts = [part]
    else parts.push(part)
  }
  return parts === undefined ? corrupt() : { ok: true, value: parts }
}

function endOf(bytes: Uint8Array, from: number, to: number): number {
  for (let at = from; at < to; at++) if (bytes[at] === 0) return at
  return -1
}

function decodeBytes(bytes: Uint8Array, from: number, end: number, shared: boolean): Uint8Array | undefined {
  for (let at = from; at < end; at++) if (bytes[at] === 1) return unescaped(bytes, from, end)
  return shared ? bytes.subarray(from, end) : copyBytes(bytes, from, end)
}

function decodeString(bytes: Uint8Array, from: number, end: number): string | undefined {
  for (let at = from; at < end; at++) {
    if (bytes[at] !== 1) continue
    const plain = unescaped(bytes, from, end)
    return plain && decodeText(plain)
  }
  return decodeText(bytes, from, end)
}

function unescaped(bytes: Uint8Array, from: number, end: number): Uint8Array | undefined {
  const plain = new Uint8Array(end - from)
  let length = 0
  for (let at = from; at < end; at++) {
    let byte = bytes[at]!
    if (byte === 1) {
      byte = bytes[++at]! - 1 // at `end` this is -1
      if (byte !== 0 && byte !== 1) return undefined
    }
    plain[length++] = byte
  }
  return plain.slice(0, length)
}

function decodeNumber(bytes: Uint8Array, at: number, to: number): number | undefined {
  if (to - at < 8) return undefined
  const negative = bytes[at]! < 0x80
  for (let i = 0; i < 8; i++) float.setUint8(i, bytes[at + i]! ^ (negative ? 0xff : i === 0 ? 0x80 : 0))
  const value = float.getFloat64(0)
  return Number.isNaN(value) || Object.is(value, -0) ? undefined : value
}

function decodeBigint(bytes: Uint8Array, from: number, to: number): { value: bigint; next: number } | undefined {
  if (from >= to) return undefined
  const head = bytes[from]!
  const flip = head < 0x80 ? 0xff : 0
  let at = from + 1
  let length = (head ^ flip) - 0x80
  if (length === 127) {
    if (to - at < 2) return undefined
    length = ((bytes[at]! ^ flip) << 8) | (bytes[at + 1]! ^ flip)
    at += 2
    if (length <= bigintShortBytesMax) return undefined
  }
  if (to - at < length) return undefined
  const magnitude = magnitudeOf(bytes.slice(at, at + length).map(byte => byte ^ flip))
  if (magnitude === undefined || (magnitude === 0n && flip !== 0)) return undefined
  return { value: flip === 0 ? magnitude : -magnitude, next: at + length }
}

function kindOf(part: unknown): string {
  if (part === null || part === undefined) return String(part)
  if (Array.isArray(part)) return 'an array (tuples do not nest)'
  return typeof part === 'object' ? 'an object' : `a ${typeof part}`
}

const partText = (name: Name, index: number): string => (index < 0 ? nameText(name) : `${nameText(name)}[${index}]`)

function invalid(name: string, what: string): HarmonyError {
  return new HarmonyError('INVALID_KEY', `${name} ${what}`)
}

function tooLarge(name: Name, index = -1): HarmonyError {
  return new HarmonyError(
    'TOO_LARGE',
    `${partText(name, index)} takes more than ${keyBytesMax} bytes, the limit for a key; store what is long in the value`,
  )
}

function corrupt(): Result<never> {
  return { ok: false, error: new HarmonyError('CORRUPT', 'these bytes are no key of this format') }
}
