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
 * Decoding is total.
 */
import { ByteReader, ByteWriter, keyBehind } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { index, term } from '../base/ids.ts'
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration.ts'
import type { LogBase } from '../raft/types.ts'
import type { Change, View } from '../storage/engine.ts'

export interface SnapshotAsk {
  /** 0: whichever there is. */
  readonly snapshot: number
  readonly after: Uint8Array | undefined
}

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
