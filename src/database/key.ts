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
import { ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { decodeText, encodeText } from '../base/text.ts'
import type { Result } from '../platform.ts'
import { typedArrayName } from './intrinsics.ts'
import { magnitudeBytes, magnitudeOf } from './magnitude.ts'
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
export function encodeKey(key: Key, name = 'key'): Uint8Array {
  const parts: readonly KeyPart[] = Array.isArray(key) ? key : [key as KeyPart]
  if (parts.length === 0) throw invalid(name, 'is empty: a key has at least one part')
  const writer = new ByteWriter(64)
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] as KeyPart
    encodePart(writer, part, parts === key ? `${name}[${i}]` : name)
    if (writer.length > keyBytesMax) throw tooLarge(name)
  }
  return writer.finish()
}

function encodePart(writer: ByteWriter, part: KeyPart, name: string): void {
  switch (typeof part) {
    case 'string':
      if (part.length > keyBytesMax) throw tooLarge(name)
      escapeInto(writer.u8(tagString), encodeText(part))
      return
    case 'number':
      if (Number.isNaN(part)) throw invalid(name, 'is NaN, which has no place in an order')
      writer.u8(tagNumber).raw(orderedNumber(part))
      return
    case 'bigint':
      encodeBigint(writer.u8(tagBigint), part, name)
      return
    case 'boolean':
      writer.u8(part ? tagTrue : tagFalse)
      return
    default:
      if (typedArrayName(part) !== 'Uint8Array') {
        throw invalid(name, `is ${kindOf(part)}; a part is a Uint8Array, string, number, bigint or boolean`)
      }
      if (part.length > keyBytesMax) throw tooLarge(name)
      escapeInto(writer.u8(tagBytes), part)
  }
}

function escapeInto(writer: ByteWriter, bytes: Uint8Array): void {
  for (const byte of bytes) {
    if (byte > 1) writer.u8(byte)
    else writer.u8(1).u8(byte + 1)
  }
  writer.u8(0)
}

function orderedNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setFloat64(0, value === 0 ? 0 : value) // -0 is 0
  const negative = bytes[0]! >= 0x80
  bytes[0]! ^= 0x80
  if (negative) for (let i = 0; i < 8; i++) bytes[i]! ^= i === 0 ? 0x7f : 0xff
  return bytes
}

function encodeBigint(writer: ByteWriter, value: bigint, name: string): void {
  const negative = value < 0n
  const magnitude = negative ? -value : value
  // A shift tells the size of a huge number without turning it into digits first.
  if (magnitude >> BigInt(keyBytesMax * 8) !== 0n) throw tooLarge(name)
  const flip = negative ? 0xff : 0
  const bytes = magnitudeBytes(magnitude)
  const { length } = bytes
  if (length <= bigintShortBytesMax) writer.u8((0x80 + length) ^ flip)
  else
    writer
      .u8(0xff ^ flip)
      .u8((length >> 8) ^ flip)
      .u8((length & 0xff) ^ flip)
  for (const byte of bytes) writer.u8(byte ^ flip)
}

/** Total: a tuple, or CORRUPT for bytes that `encodeKey` does not make. */
export function decodeKey(bytes: Uint8Array): Result<KeyPart[]> {
  const parts: KeyPart[] = []
  if (bytes.length === 0 || bytes.length > keyBytesMax) return corrupt()
  let at = 0
  while (at < bytes.length) {
    const tag = bytes[at++]!
    if (tag === tagBytes || tag === tagString) {
      const plain = unescaped(bytes, at)
      if (plain === undefined) return corrupt()
      at = plain.next
      if (tag === tagBytes) parts.push(plain.bytes)
      else {
        const text = decodeText(plain.bytes)
        if (text === undefined) return corrupt()
        parts.push(text)
      }
    } else if (tag === tagNumber) {
      const value = decodeNumber(bytes, at)
      if (value === undefined) return corrupt()
      at += 8
      parts.push(value)
    } else if (tag === tagBigint) {
      const read = decodeBigint(bytes, at)
      if (read === undefined) return corrupt()
      at = read.next
      parts.push(read.value)
    } else if (tag === tagFalse || tag === tagTrue) parts.push(tag === tagTrue)
    else return corrupt()
  }
  return { ok: true, value: parts }
}

function unescaped(bytes: Uint8Array, from: number): { bytes: Uint8Array; next: number } | undefined {
  const end = bytes.indexOf(0, from)
  if (end < 0) return undefined
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
  return { bytes: plain.slice(0, length), next: end + 1 }
}

function decodeNumber(bytes: Uint8Array, at: number): number | undefined {
  if (bytes.length - at < 8) return undefined
  const raw = bytes.slice(at, at + 8)
  const negative = raw[0]! < 0x80
  raw[0]! ^= 0x80
  if (negative) for (let i = 0; i < 8; i++) raw[i]! ^= i === 0 ? 0x7f : 0xff
  const value = new DataView(raw.buffer).getFloat64(0)
  return Number.isNaN(value) || Object.is(value, -0) ? undefined : value
}

function decodeBigint(bytes: Uint8Array, from: number): { value: bigint; next: number } | undefined {
  if (from >= bytes.length) return undefined
  const head = bytes[from]!
  const flip = head < 0x80 ? 0xff : 0
  let at = from + 1
  let length = (head ^ flip) - 0x80
  if (length === 127) {
    if (bytes.length - at < 2) return undefined
    length = ((bytes[at]! ^ flip) << 8) | (bytes[at + 1]! ^ flip)
    at += 2
    if (length <= bigintShortBytesMax) return undefined
  }
  if (bytes.length - at < length) return undefined
  const magnitude = magnitudeOf(bytes.slice(at, at + length).map(byte => byte ^ flip))
  if (magnitude === undefined || (magnitude === 0n && flip !== 0)) return undefined
  return { value: flip === 0 ? magnitude : -magnitude, next: at + length }
}

function kindOf(part: unknown): string {
  if (part === null || part === undefined) return String(part)
  if (Array.isArray(part)) return 'an array (tuples do not nest)'
  return typeof part === 'object' ? 'an object' : `a ${typeof part}`
}

function invalid(name: string, what: string): HarmonyError {
  return new HarmonyError('INVALID_KEY', `${name} ${what}`)
}

function tooLarge(name: string): HarmonyError {
  return new HarmonyError(
    'TOO_LARGE',
    `${name} takes more than ${keyBytesMax} bytes, the limit for a key; store what is long in the value`,
  )
}

function corrupt(): Result<never> {
  return { ok: false, error: new HarmonyError('CORRUPT', 'these bytes are no key of this format') }
}
