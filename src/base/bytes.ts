/**
 * Bytes: a growing writer, a total reader, comparison, and hex.
 *
 * Formats (all integers little-endian):
 *   u8 u16 u32   as they are; u64: eight bytes, values to 2^53-1
 *   varint       LEB128: seven bits a byte, low ones first, high bit set where more follow; shortest form; to 2^53-1 (8 bytes)
 *   f64          IEEE 754 bits, NaN as it comes
 *   bool         one byte, 0 or 1
 *   raw          the bytes alone; bytes: varint length, then the bytes; text: varint length, then WTF-8 (`text.ts`)
 *   id128        32 lower-case hex digits as 16 bytes
 *
 * `ByteReader` never throws and never hangs: the first overrun or bad value sets `failed` for good, and from then on every
 * verb returns 0, false, '' or empty bytes. Read everything, then ask `done()` once. Lengths are checked against what
 * remains before anything is allocated.
 */

import { assert } from './assert.ts'
import { decodeText, encodeTextInto, textBytes } from './text.ts'

const two32 = 0x1_0000_0000
/** A writer that has been emptied keeps a buffer up to this size for its next use; pieces are of arrays of this size. */
const keptBytesMax = 1 << 16
/** What is longer gets memory of its own. */
const pieceBytesMax = 2048
const empty = new Uint8Array(0)
/** Up to here a loop is faster than a call into the host. */
const handBytesMax = 40

/** Numbers out of range are bugs of the caller (assertion): check user input before it gets here. */
export class ByteWriter {
  private buffer: Uint8Array
  private view: DataView
  /** Behind the pieces that were handed out. */
  private start = 0
  private used = 0

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity)
    this.view = viewOf(this.buffer)
  }

  /** Bytes written since the start or the last `finish`/`reset`. */
  get length(): number {
    return this.used - this.start
  }

  u8(value: number): this {
    assert(value >>> 0 === value && value <= 0xff, 'u8 out of range')
    this.reserve(1)
    this.buffer[this.used++] = value
    return this
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  u16(value: number): this {
    assert(value >>> 0 === value && value <= 0xffff, 'u16 out of range')
    this.reserve(2)
    this.view.setUint16(this.used, value, true)
    this.used += 2
    return this
  }

  u32(value: number): this {
    assert(value >>> 0 === value, 'u32 out of range')
    this.reserve(4)
    this.view.setUint32(this.used, value, true)
    this.used += 4
    return this
  }

  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'u64 out of range')
    this.reserve(8)
    this.view.setUint32(this.used, value % two32, true)
    this.view.setUint32(this.used + 4, Math.floor(value / two32), true)
    this.used += 8
    return this
  }

  varint(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, 'varint out of range')
    this.reserve(8)
    let rest = value
    while (rest > 0x7fff_ffff) {
      this.buffer[this.used++] = 0x80 | (rest % 0x80)
      rest = Math.floor(rest / 0x80)
    }
    while (rest > 0x7f) {
      this.buffer[this.used++] = 0x80 | (rest & 0x7f)
      rest >>>= 7
    }
    this.buffer[this.used++] = rest
    return this
  }

  f64(value: number): this {
    this.reserve(8)
    this.view.setFloat64(this.used, value, true)
    this.used += 8
    return this
  }

  raw(bytes: Uint8Array): this {
    const { length } = bytes
    this.reserve(length)
    copyInto(this.buffer, this.used, bytes, 0, length)
    this.used += length
    return this
  }

  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes)
  }

  /** The first `length` of them, whatever the array says of itself: of somebody else's making. It has so many at least: another thread may make shared memory longer meanwhile. */
  elements(from: Uint8Array, length: number): this {
    this.reserve(length)
    if (length <= handBytesMax || !this.tookAll(from))
      for (let i = 0; i < length; i++) this.buffer[this.used + i] = from[i]!
    this.used += length
    return this
  }

  text(text: string): this {
    const length = textBytes(text)
    this.varint(length)
    this.reserve(length)
    this.used = encodeTextInto(text, this.buffer, this.used)
    return this
  }

  id128(hex: string): this {
    assert(hex.length === 32, 'an id has 32 hex digits')
    this.reserve(16)
    for (let i = 0; i < 32; i += 2) {
      const byte = hexPair(hex, i)
      assert(byte >= 0, 'an id has lower-case hex digits')
      this.buffer[this.used++] = byte
    }
    return this
  }

  /** Overwrites four bytes written before, for a length or checksum that is known only at the end. */
  setU32(at: number, value: number): this {
    assert(value >>> 0 === value && at + 4 <= this.length, 'setU32 out of range')
    this.view.setUint32(this.start + at, value, true)
    return this
  }

  /** What was written so far, without a copy: valid until the next call on this writer. */
  peek(): Uint8Array {
    return this.buffer.subarray(this.start, this.used)
  }

  /** What was written, in bytes of its own (buffer of exactly that size); the writer is empty afterwards and can be used again. */
  finish(): Uint8Array {
    const { buffer, start, used } = this
    const isWhole = start === 0 && used === buffer.length && used > keptBytesMax
    this.reset()
    return isWhole ? buffer : copyBytes(buffer, start, used)
  }

  /**
   * As `finish`; what is short stays where it is, as a piece of a larger array: one with memory of its own costs more than to fill it. The whole is free once none of its pieces is in use, so
   * pieces of one writer should live for about as long. Never for what is posted to another realm: that would clone the whole.
   */
  finishPiece(): Uint8Array {
    if (this.length > pieceBytesMax) return this.finish()
    const piece = this.peek()
    this.start = this.used
    return piece
  }

  reset(): void {
    this.used = this.start
    if (this.buffer.length > keptBytesMax) this.take(empty, 0)
  }

  /** False, and nothing done, where they are more than there is room for. */
  private tookAll(from: Uint8Array): boolean {
    try {
      this.buffer.set(from, this.used)
      return true
    } catch {
      return false
    }
  }

  private reserve(more: number): void {
    if (this.used + more <= this.buffer.length) return
    const needed = this.length + more
    // Pieces keep their array, and others come.
    const enough = this.start > 0 ? keptBytesMax : 64
    const grown = new Uint8Array(Math.max(enough, needed, this.length * 2))
    grown.set(this.peek())
    this.take(grown, this.length)
  }

  private take(buffer: Uint8Array, used: number): void {
    this.buffer = buffer
    this.view = viewOf(buffer)
    this.start = 0
    this.used = used
  }
}

/** Reads bytes[from, to). Byte strings handed out are views into `source`, not copies: `copyBytes` what outlives it. */
export class ByteReader {
  /** Set by the first overrun or bad value, or by `fail()`; never cleared. */
  failed = false
  private readonly source: Uint8Array
  private madeView: DataView | undefined
  private at: number
  private readonly end: number

  constructor(source: Uint8Array, from = 0, to = source.length) {
    assert(from >= 0 && from <= to && to <= source.length, 'a reader needs a range within its bytes')
    this.source = source
    this.at = from
    this.end = to
  }

  /** Made when it is needed first: most of what is read are bytes and varints. */
  private get view(): DataView {
    this.madeView ??= viewOf(this.source)
    return this.madeView
  }

  /** Offset of the next byte in the array given to the constructor. */
  get offset(): number {
    return this.at
  }

  get remaining(): number {
    return this.failed ? 0 : this.end - this.at
  }

  /** True if nothing failed and nothing is left over. */
  done(): boolean {
    return !this.failed && this.at === this.end
  }

  /** For callers that find a value out of their own range. */
  fail(): void {
    this.failed = true
  }

  u8(): number {
    return this.take(1) ? this.source[this.at++]! : 0
  }

  bool(): boolean {
    const value = this.u8()
    if (value > 1) this.failed = true
    return value === 1
  }

  u16(): number {
    if (!this.take(2)) return 0
    this.at += 2
    return this.view.getUint16(this.at - 2, true)
  }

  u32(): number {
    if (!this.take(4)) return 0
    this.at += 4
    return this.view.getUint32(this.at - 4, true)
  }

  u64(): number {
    if (!this.take(8)) return 0
    const low = this.view.getUint32(this.at, true)
    const high = this.view.getUint32(this.at + 4, true)
    if (high > 0x1f_ffff) {
      this.failed = true
      return 0
    }
    this.at += 8
    return high * two32 + low
  }

  varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < 8; i++) {
      if (!this.take(1)) return 0
      const byte = this.source[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if ((byte === 0 && i > 0) || value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 0x80
    }
    this.failed = true
    return 0
  }

  f64(): number {
    if (!this.take(8)) return 0
    this.at += 8
    return this.view.getFloat64(this.at - 8, true)
  }

  /** The next `length` bytes as a view. */
  raw(length: number): Uint8Array {
    if (!this.take(length)) return empty
    this.at += length
    return this.source.subarray(this.at - length, this.at)
  }

  /** Length-prefixed bytes as a view; longer than `lengthMax` fails. */
  bytes(lengthMax = Number.MAX_SAFE_INTEGER): Uint8Array {
    return this.raw(this.length(lengthMax))
  }

  /** As `bytes`, in an array of its own. */
  bytesCopied(): Uint8Array {
    const length = this.length(Number.MAX_SAFE_INTEGER)
    if (!this.take(length)) return empty
    this.at += length
    return copyBytes(this.source, this.at - length, this.at)
  }

  text(bytesMax = Number.MAX_SAFE_INTEGER): string {
    const length = this.length(bytesMax)
    if (!this.take(length)) return ''
    const text = decodeText(this.source, this.at, this.at + length)
    if (text === undefined) {
      this.failed = true
      return ''
    }
    this.at += length
    return text
  }

  /** Returns '' after a failure. */
  id128(): string {
    if (!this.take(16)) return ''
    this.at += 16
    return hexEncode(this.source, this.at - 16, this.at)
  }

  /** A varint that counts items of at least `itemBytesMin` (≥ 1) bytes each: fails where so many cannot follow. */
  count(itemBytesMin: number): number {
    const count = this.varint()
    if (count * itemBytesMin <= this.remaining) return count
    this.failed = true
    return 0
  }

  /** All that is left, as a view. */
  rest(): Uint8Array {
    return this.raw(this.remaining)
  }

  private length(lengthMax: number): number {
    const length = this.varint()
    if (length <= lengthMax) return length
    this.failed = true
    return 0
  }

  private take(length: number): boolean {
    if (!this.failed && length >= 0 && length <= this.end - this.at) return true
    this.failed = true
    return false
  }
}

/** Below zero, zero, above zero: order as unsigned bytes, a prefix before what it is a prefix of. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** The next key: there is none between. */
export function keyBehind(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Index of the first byte of bytes[from, to) that is not zero; `to` where all are. */
export function firstNonZero(bytes: Uint8Array, from: number, to: number): number {
  let at = from
  while (at < to && ((bytes.byteOffset + at) & 3) !== 0) if (bytes[at++] !== 0) return at - 1
  if (at >= to) return to
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, (to - at) >>> 2)
  let word = 0
  while (word < words.length && words[word] === 0) word++
  at += 4 * word
  while (at < to && bytes[at] === 0) at++
  return at
}

/** Bytes[from, to) in a plain array of its own. Not `bytes.slice()`: for a Node `Buffer` that is a view, and for few bytes it is slow. */
export function copyBytes(bytes: Uint8Array, from = 0, to = bytes.length): Uint8Array {
  const copy = new Uint8Array(to - from)
  copyInto(copy, 0, bytes, from, to)
  return copy
}

/** Short pieces by hand: a call into the host costs more than the loop. */
export function copyInto(target: Uint8Array, at: number, bytes: Uint8Array, from: number, to: number): void {
  const length = to - from
  if (length <= handBytesMax) for (let i = 0; i < length; i++) target[at + i] = bytes[from + i]!
  else target.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to), at)
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const whole = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Two digits. */
export const hexOfByte: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Lower-case, two digits a byte. */
export function hexEncode(bytes: Uint8Array, from = 0, to = bytes.length): string {
  let hex = ''
  for (let i = from; i < to; i++) hex += hexOfByte[bytes[i]!]!
  return hex
}

/** Undefined unless `hex` is an even number of lower-case digits. */
export function hexDecode(hex: string): Uint8Array | undefined {
  if (hex.length % 2 !== 0) return undefined
  const bytes = new Uint8Array(hex.length / 2)
  for (let i = 0; i < bytes.length; i++) {
    const byte = hexPair(hex, i * 2)
    if (byte < 0) return undefined
    bytes[i] = byte
  }
  return bytes
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function hexPair(hex: string, at: number): number {
  const high = hexDigit(hex.charCodeAt(at))
  const low = hexDigit(hex.charCodeAt(at + 1))
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

function hexDigit(unit: number): number {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30
  if (unit >= 0x61 && unit <= 0x66) return unit - 0x57
  return -1
}
