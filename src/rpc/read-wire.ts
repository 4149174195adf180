/**
 * What goes to a reader thread and back. Many byte strings as one buffer, because cloning a message costs per buffer in it, in a form that costs
 * the receiver as little as there is: fixed-width heads, views instead of copies. Both ends are of one build.
 *
 *   keys      u32 count, then { u32 bytes | key }
 *   entries   u32 count, then { f64 timestamp, or -1: there is none | u32 key bytes | u32 value bytes | key | value }
 */
import { timestamp } from '../base/ids.ts'
import type { CoreEntry } from '../database/core.ts'
import type { PageRequest } from '../database/page-read.ts'
import { payloadOf, timestampOf, versionOf } from '../mvcc/versioned.ts'

export type ReadOrder =
  | { readonly id: number; readonly kind: 'getMany'; readonly keys: Uint8Array; readonly applied: number }
  | { readonly id: number; readonly kind: 'page'; readonly request: PageRequest; readonly applied: number }

/** `entries` undefined: declined. */
export interface ReadReply {
  readonly id: number
  readonly entries: Uint8Array | undefined
  readonly done: boolean
}

export function packKeys(keys: readonly Uint8Array[]): Uint8Array {
  let bytes = 4
  for (const key of keys) bytes += 4 + key.length
  const packed = new Uint8Array(bytes)
  const view = new DataView(packed.buffer)
  view.setUint32(0, keys.length, true)
  let at = 4
  for (const key of keys) {
    view.setUint32(at, key.length, true)
    packed.set(key, at + 4)
    at += 4 + key.length
  }
  return packed
}

export function unpackKeys(packed: Uint8Array): Uint8Array[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const keys: Uint8Array[] = []
  let at = 4
  for (let left = view.getUint32(0, true); left > 0; left--) {
    const end = at + 4 + view.getUint32(at, true)
    keys.push(packed.subarray(at + 4, end))
    at = end
  }
  return keys
}

const headBytes = 16
const noBytes = new Uint8Array(0)

/** Grows as entries come; `finish` hands its buffer over. */
export class EntryPacker {
  private buffer = new Uint8Array(32 * 1024)
  private view = new DataView(this.buffer.buffer)
  private used = 4
  private count = 0

  /** Bytes since the start. */
  get bytes(): number {
    return this.used
  }

  /** Begins anew. */
  clear(): void {
    this.used = 4
    this.count = 0
  }

  absent(): void {
    this.head(-1, 0, 0)
  }

  /** @throws HarmonyError CORRUPT: what is stored has no head. */
  add(key: Uint8Array, stored: Uint8Array, keysOnly: boolean): void {
    const at = timestampOf(stored)
    const value = keysOnly ? noBytes : payloadOf(stored)
    this.head(at, key.length, value.length)
    this.buffer.set(key, this.used)
    this.buffer.set(value, this.used + key.length)
    this.used += key.length + value.length
  }

  finish(): Uint8Array {
    this.view.setUint32(0, this.count, true)
    const packed = this.buffer.subarray(0, this.used)
    this.buffer = new Uint8Array(32 * 1024)
    this.view = new DataView(this.buffer.buffer)
    this.clear()
    return packed
  }

  private head(at: number, keyBytes: number, valueBytes: number): void {
    this.reserve(headBytes + keyBytes + valueBytes)
    this.view.setFloat64(this.used, at, true)
    this.view.setUint32(this.used + 8, keyBytes, true)
    this.view.setUint32(this.used + 12, valueBytes, true)
    this.used += headBytes
    this.count++
  }

  private reserve(more: number): void {
    if (this.used + more <= this.buffer.length) return
    const larger = new Uint8Array(Math.max(this.used + more, 2 * this.buffer.length))
    larger.set(this.buffer.subarray(0, this.used))
    this.buffer = larger
    this.view = new DataView(larger.buffer)
  }
}

/** Keys and values are views into `packed`. */
export function unpackEntries(packed: Uint8Array): (CoreEntry | undefined)[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const entries: (CoreEntry | undefined)[] = []
  let at = 4
  for (let left = view.getUint32(0, true); left > 0; left--) {
    const written = view.getFloat64(at, true)
    const keyEnd = at + headBytes + view.getUint32(at + 8, true)
    const end = keyEnd + view.getUint32(at + 12, true)
    entries.push(
      written < 0
        ? undefined
        : {
            key: packed.subarray(at + headBytes, keyEnd),
            value: packed.subarray(keyEnd, end),
            version: versionOf(timestamp(written)),
          },
    )
    at = end
  }
  return entries
}
