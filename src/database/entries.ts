/**
 * Entries on their way from the engine to whom they belong to, many in one buffer: a typed array for each key and value would cost more than
 * finding it, and cloning a message costs for each buffer in it.
 *
 * Format of an entry: varint 0 where the key that was asked for is absent, and nothing more; else
 *   varint length of the key + 1 | key | 7 bytes version, most significant first | varint length of the value | value
 * (varint: base/bytes.ts). An `EntryReader` takes bytes that do not decode for a bug: what comes from
 * outside goes through `isPacked` first.
 */
import { assert } from '../base/assert.ts'
import { ByteReader, copyBytes, viewOf } from '../base/bytes.ts'
import { type Timestamp, timestamp } from '../base/ids.ts'
import { versionOf } from '../mvcc/versioned.ts'

export interface PackedEntries {
  readonly count: number
  /** A view into something larger, perhaps: copy what is to be cloned or transferred. */
  readonly bytes: Uint8Array
}

const versionBytes = 7
const lengthBytesMax = 5
const copyByHandMax = 400
/** What is packed lies in pieces of this size, one after the other, or alone where it is larger: to make an array for each would cost more than to fill it. */
const slabBytes = 1 << 16

/** One object is used again and again. What was packed stays as it is. */
export class EntryPacker {
  count = 0
  private buffer = new Uint8Array(1024)
  private view = viewOf(this.buffer)
  /** What values were copied from last: the memory of the pages, as a rule. */
  private source: Uint8Array = this.buffer
  private sourceView = this.view
  /** What is being packed begins here. */
  private start = 0
  private used = 0

  get bytes(): number {
    return this.used - this.start
  }

  /** Gives up what is being packed. */
  reset(): void {
    this.count = 0
    this.used = this.start
  }

  absent(): void {
    this.reserve(1)
    this.buffer[this.used++] = 0
    this.count++
  }

  /** Key and value are bytes[0, to) and bytes[from, to) of theirs. */
  add(key: Uint8Array, keyTo: number, version: number, value: Uint8Array, valueFrom: number, valueTo: number): void {
    this.reserve(keyTo + valueTo - valueFrom + 2 * lengthBytesMax + versionBytes)
    this.length(keyTo + 1)
    this.copy(key, 0, keyTo)
    const { buffer } = this
    const at = this.used
    let low = version % 0x1_0000_0000
    let high = (version - low) / 0x1_0000_0000
    for (let i = 6; i > 2; i--) {
      buffer[at + i] = low
      low >>>= 8
    }
    for (let i = 2; i >= 0; i--) {
      buffer[at + i] = high
      high >>>= 8
    }
    this.used = at + versionBytes
    this.length(valueTo - valueFrom)
    this.copyValue(value, valueFrom, valueTo)
    this.count++
  }

  finish(): PackedEntries {
    const packed = { count: this.count, bytes: this.buffer.subarray(this.start, this.used) }
    this.count = 0
    this.start = this.used
    return packed
  }

  private copy(bytes: Uint8Array, from: number, to: number): void {
    const { buffer } = this
    let at = this.used
    for (let i = from; i < to; i++) buffer[at++] = bytes[i]!
    this.used = at
  }

  /** Short ones by hand, four bytes at once: a call into the host costs more than the loop. */
  private copyValue(bytes: Uint8Array, from: number, to: number): void {
    if (to - from > copyByHandMax) {
      this.buffer.set(bytes.subarray(from, to), this.used)
      this.used += to - from
      return
    }
    if (bytes !== this.source) {
      this.source = bytes
      this.sourceView = viewOf(bytes)
    }
    const { view, sourceView } = this
    const wideTo = to - 3
    let at = this.used
    let i = from
    for (; i < wideTo; i += 4) {
      view.setInt32(at, sourceView.getInt32(i))
      at += 4
    }
    this.used = at
    this.copy(bytes, i, to)
  }

  private length(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.buffer[this.used++] = 0x80 | (rest & 0x7f)
      rest >>>= 7
    }
    this.buffer[this.used++] = rest
  }

  private reserve(more: number): void {
    if (this.used + more <= this.buffer.length) return
    const begun = this.used - this.start
    const larger = new Uint8Array(begun + more <= slabBytes / 2 ? slabBytes : 2 * (begun + more))
    larger.set(this.buffer.subarray(this.start, this.used))
    this.buffer = larger
    this.view = viewOf(larger)
    this.start = 0
    this.used = begun
  }
}

/** A page of small entries has half of it. */
const sharedBytesMax = 1 << 21

/** To be views of one array, which nothing else uses, is worth it for several; but who keeps one of a few bytes must not keep a large one that came with it. */
export const mayShare = ({ count, bytes }: PackedEntries): boolean => count > 1 && bytes.length <= sharedBytesMax

/** In an array of their own: values that are views of it are of nothing else. */
export const ownEntries = ({ count, bytes }: PackedEntries): PackedEntries => ({ count, bytes: copyBytes(bytes) })

/** Goes through packed entries. Positions are in `bytes`. */
export class EntryReader {
  readonly bytes: Uint8Array
  /** Of the entry that `next` came to. */
  present = false
  keyFrom = 0
  keyTo = 0
  valueFrom = 0
  valueTo = 0
  private left: number
  private at = 0

  constructor({ count, bytes }: PackedEntries) {
    this.bytes = bytes
    this.left = count
  }

  /** False: there is no more. */
  next(): boolean {
    if (this.left === 0) {
      assert(this.at === this.bytes.length, 'packed entries end with their buffer')
      return false
    }
    this.left--
    const keyLength = this.length()
    this.present = keyLength > 0
    if (!this.present) return true
    this.keyFrom = this.at
    this.keyTo = this.at + keyLength - 1
    this.at = this.keyTo + versionBytes
    const valueLength = this.length()
    this.valueFrom = this.at
    this.valueTo = this.at + valueLength
    this.at = this.valueTo
    assert(this.at <= this.bytes.length, 'packed entries lie within their buffer')
    return true
  }

  /** It stands at the last entry, or behind it. */
  get finished(): boolean {
    return this.left === 0
  }

  /** In a buffer of its own. */
  key(): Uint8Array {
    return copyBytes(this.bytes, this.keyFrom, this.keyTo)
  }

  version(): string {
    return versionOf(this.timestamp())
  }

  /** As a number; 0 where it is absent. */
  timestamp(): Timestamp {
    if (!this.present) return timestamp(0)
    const { bytes, keyTo: at } = this
    const high = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!
    const low = (bytes[at + 3]! << 24) | (bytes[at + 4]! << 16) | (bytes[at + 5]! << 8) | bytes[at + 6]!
    return timestamp(high * 0x1_0000_0000 + (low >>> 0))
  }

  private length(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < lengthBytesMax; i++) {
      const byte = this.bytes[this.at++] ?? 0x80
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    assert(false, 'a length in packed entries has five bytes at most')
  }
}

/** Total: whether an `EntryReader` can go through it. @param absent May entries be absent? */
export function isPacked({ count, bytes }: PackedEntries, absent: boolean): boolean {
  const reader = new ByteReader(bytes)
  if (count > bytes.length) return false
  for (let i = 0; i < count && !reader.failed; i++) {
    const keyLength = reader.varint()
    if (keyLength === 0) {
      if (!absent) return false
      continue
    }
    reader.raw(keyLength - 1 + versionBytes)
    reader.bytes()
  }
  return reader.done()
}
