/**
 * How a state travels to a peer whose next entries the leader's log has no more: the follower asks for one piece after the other, so that it sets the
 * pace, and a broken link costs one piece.
 *
 *   ask     varint snapshot (0: any) | bool, bytes after: the last key it has
 *   piece   varint snapshot | varint index | varint term | bytes configuration   the entry that the state was made by, and what was in force
 *           | bool, bytes after: as asked | bool last | bool, bytes note: a part of it (`apply-note.ts`) | u32 CRC-32C of the rows | rows
 *   rows    { bytes key | bytes stored value } to the end
 *
 * The note comes first, in as many parts as it takes: what is asked for `after` so many bytes of it is no key, but 0x00 and their number in four bytes. The
 * first rows come with its last part.
 *
 * Who has the whole state and takes it over says so now and then, with `after` 0x00 alone: there is nothing to send, and the state is still needed.
 *
 * Decoding is total.
 */
import { ByteReader, ByteWriter, compareBytes, keyBehind } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { index, term } from '../base/ids.ts'
import { isStored } from '../mvcc/versioned.ts'
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration.ts'
import type { LogBase } from '../raft/types.ts'
import type { Change, View } from '../storage/engine.ts'

export interface SnapshotAsk {
  /** 0: whichever there is. */
  readonly snapshot: number
  readonly after: Uint8Array | undefined
}

const needed = Uint8Array.of(0)

/** That the state is not to be let go. */
export const stillNeeded = (snapshot: number): SnapshotAsk => ({ snapshot, after: needed })
export const isStillNeeded = ({ after }: SnapshotAsk): boolean => after?.length === 1 && after[0] === 0

export interface SnapshotPiece {
  /** Drawn by the sender, never 0: the same state has the same number. */
  readonly snapshot: number
  readonly base: LogBase
  readonly after: Uint8Array | undefined
  readonly last: boolean
  readonly note: Uint8Array | undefined
  readonly rows: Uint8Array
  readonly crc: number
}

export function encodeAsk(writer: ByteWriter, { snapshot, after }: SnapshotAsk): void {
  writer.varint(snapshot)
  optional(writer, after)
}

export function decodeAsk(reader: ByteReader): SnapshotAsk {
  return { snapshot: reader.varint(), after: readOptional(reader) }
}

export function encodePiece(writer: ByteWriter, { snapshot, base, after, last, note, rows, crc }: SnapshotPiece): void {
  writer.varint(snapshot).varint(base.index).varint(base.term).bytes(encodeConfiguration(base.configuration))
  optional(writer, after)
  writer.bool(last)
  optional(writer, note)
  writer.u32(crc).raw(rows)
}

/** To the end of the message. */
export function decodePiece(reader: ByteReader): SnapshotPiece | undefined {
  const snapshot = reader.varint()
  const at = { index: index(reader.varint()), term: term(reader.varint()) }
  const configuration = decodeConfiguration(reader.bytes())
  const after = readOptional(reader)
  const last = reader.bool()
  const note = readOptional(reader)
  const crc = reader.u32()
  const rows = reader.rest()
  if (reader.failed || !configuration.ok || snapshot === 0 || at.index === 0 || at.term === 0) return undefined
  return { snapshot, base: { ...at, configuration: configuration.value }, after, last, note, rows, crc }
}

/** The rows behind `after`, as many as fit, one at least. An operation over a view: it may be run again. */
export function packRows(
  after: Uint8Array | undefined,
  bytesMax: number,
): (view: View) => Pick<SnapshotPiece, 'rows' | 'crc' | 'last'> {
  return view => {
    const writer = new ByteWriter(64 * 1024)
    let last = true
    view.scan(after && keyBehind(after), undefined, false, ({ key, keyBytes, value, valueFrom, valueTo }) => {
      if (writer.length > 0 && writer.length + keyBytes + valueTo - valueFrom > bytesMax) {
        last = false
        return false
      }
      writer.bytes(key.subarray(0, keyBytes)).bytes(value.subarray(valueFrom, valueTo))
      return true
    })
    const rows = writer.finish()
    return { rows, crc: crc32c(rows), last }
  }
}

/** The rows, as views; undefined if they are malformed. */
export function unpackRows(rows: Uint8Array): Change[] | undefined {
  const reader = new ByteReader(rows)
  const changes: Change[] = []
  while (!reader.failed && !reader.done()) {
    const key = reader.bytes()
    changes.push({ key, value: reader.bytes() })
  }
  return reader.failed || changes.some(({ key }) => key.length === 0 || key[0] === 0) ? undefined : changes
}

const keyBytesMax = 0xffff

/** Whether these can come behind `after`, the last key before them: in order, with keys and values that an engine takes. */
export function areInOrder(rows: readonly Change[], after: Uint8Array | undefined): boolean {
  let before = after
  for (const { key, value } of rows) {
    if (key.length > keyBytesMax || (before !== undefined && compareBytes(before, key) >= 0)) return false
    if (value === undefined || !isStored(value)) return false
    before = key
  }
  return true
}

/** What to ask for next by who has so many bytes of the note. */
export const afterNote = (bytes: number): Uint8Array => new ByteWriter(8).u8(0).u32(bytes).finish()

/** How many bytes of the note the asker has; undefined: all of it. */
export function noteBytesBefore(after: Uint8Array | undefined): number | undefined {
  if (after === undefined) return 0
  const reader = new ByteReader(after)
  if (after.length > 0 && reader.u8() !== 0) return undefined
  const bytes = reader.u32()
  return reader.failed ? 0 : bytes
}

function optional(writer: ByteWriter, bytes: Uint8Array | undefined): void {
  writer.bool(bytes !== undefined)
  if (bytes !== undefined) writer.bytes(bytes)
}

function readOptional(reader: ByteReader): Uint8Array | undefined {
  return reader.bool() ? reader.bytes() : undefined
}
