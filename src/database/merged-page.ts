/** What a transaction sees: what it read, with its own writes in place of it. */
import { keyBehind } from '../base/bytes.ts'
import type { CoreOp, CorePage, CoreScan } from './core.ts'
import { type EntryPacker, EntryReader, type PackedEntries } from './entries.ts'

/** `own[i]`: its own write of keys[i]; `entries` has the others, in their order. */
export function mergedEntries(
  packer: EntryPacker,
  keys: readonly Uint8Array[],
  own: readonly (CoreOp | undefined)[],
  entries: PackedEntries | undefined,
): PackedEntries {
  const reader = entries === undefined ? undefined : new EntryReader(entries)
  packer.reset()
  for (const [i, key] of keys.entries()) {
    const op = own[i]
    if (op !== undefined) addOwn(packer, op, false)
    else if (reader?.next() === true && reader.present) addFound(packer, key, reader)
    else packer.absent()
  }
  return packer.finish()
}

/** The page with the own writes of what it tells about, in its order, and at most `limit` of both. */
export function mergedPage(
  packer: EntryPacker,
  { reverse, keysOnly, limit }: CoreScan,
  page: CorePage,
  own: readonly CoreOp[],
): CorePage {
  const reader = new EntryReader(page.entries)
  packer.reset()
  let more = reader.next()
  let next = 0
  while (more || next < own.length) {
    if (packer.count === limit) return { ...page, entries: packer.finish(), done: false }
    const op = own[next]
    const order = op === undefined ? -1 : more ? compareKeys(reader, op.key) * (reverse ? -1 : 1) : 1
    if (order < 0) addFound(packer, reader.key(), reader)
    else if (op?.type === 'put') addOwn(packer, op, keysOnly)
    if (order >= 0) next++
    if (order <= 0) more = reader.next()
  }
  return { ...page, entries: packer.finish() }
}

function addFound(packer: EntryPacker, key: Uint8Array, reader: EntryReader): void {
  const { bytes, valueFrom, valueTo } = reader
  packer.add(key, key.length, reader.timestamp(), bytes, valueFrom, valueTo)
}

/** Its version is 0: it has none yet. */
function addOwn(packer: EntryPacker, op: CoreOp, keysOnly: boolean): void {
  if (op.type === 'put') packer.add(op.key, op.key.length, 0, op.value, 0, keysOnly ? 0 : op.value.length)
  else packer.absent()
}

/** from ≤ key < to; undefined: open. */
export interface Covered {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
}

/** What a page tells about. */
export function coveredBy({ from, to, reverse, continuation }: CoreScan, { entries, done }: CorePage): Covered {
  const after = continuation?.after
  const begins = after !== undefined && !reverse ? keyBehind(after) : from
  const ends = after !== undefined && reverse ? after : to
  if (done) return { from: begins, to: ends }
  const last = lastKey(entries)
  return reverse ? { from: last, to: ends } : { from: begins, to: keyBehind(last) }
}

/** Of a page that is not empty. */
export function lastKey(entries: PackedEntries): Uint8Array {
  const reader = new EntryReader(entries)
  while (!reader.finished) reader.next()
  return reader.key()
}

function compareKeys({ bytes, keyFrom, keyTo }: EntryReader, key: Uint8Array): number {
  const length = Math.min(keyTo - keyFrom, key.length)
  for (let i = 0; i < length; i++) {
    const difference = bytes[keyFrom + i]! - key[i]!
    if (difference !== 0) return difference
  }
  return keyTo - keyFrom - key.length
}
