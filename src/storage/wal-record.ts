/**
 * The bytes of the write-ahead log. All integers little-endian, varints as in `base/bytes.ts`.
 *
 * The log begins with a head, 16 bytes at offset 0:
 *    0   8  magic "HarmoLog"
 *    8   4  format version, 1
 *   12   4  CRC-32C of bytes 0…11
 *
 * Records follow one after another without gaps. A record:
 *    0   4  length of the whole record, these 4 bytes included; 25 to `recordBytesMax`
 *    4   4  CRC-32C of bytes 0…3 followed by bytes 8…length-1
 *    8   8  LSN: the record's own offset in the log
 *   16   8  durable LSN: everything before it was known to be synced when this record was handed to the log file
 *   24   1  type, below
 *   25      payload
 *
 *   type 1, entry:      group varint, index varint, term varint, kind u8, data to the end
 *   type 2, hardState:  group varint, term varint, commit varint, voted bool, then the vote (id128) if it is true
 *   type 3, birth:      group varint, cluster id128, birth to the end
 *
 * A record carries its own place, so bytes left over from elsewhere, or a record inside a value, do not pass for one.
 * Zeros never pass for a record: a length of 0 is too short. A record whose checksum holds and whose payload makes no
 * sense was not damaged but written by something else.
 *
 * "Sealing" fills in durable LSN and checksum: it is done when a batch leaves for the log file, not when a record is made.
 */
import { assert, unreachable } from '../base/assert.ts'
import { ByteReader, type ByteWriter, copyBytes } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { clusterId, groupId, index, type Lsn, lsn, peerId, term } from '../base/ids.ts'
import type { WalRecord } from './wal-types.ts'

export const headBytes = 16
export const recordHeaderBytes = 25
/** A longer one is a bug when written and damage when read. Leaves room for the largest message that a peer accepts. */
export const recordBytesMax = 64 * 1024 * 1024
export const walVersion = 1

const magic = [0x48, 0x61, 0x72, 0x6d, 0x6f, 0x4c, 0x6f, 0x67]
const two32 = 0x1_0000_0000

export function encodeHead(): Uint8Array {
  const head = new Uint8Array(headBytes)
  head.set(magic)
  putU32(head, 8, walVersion)
  putU32(head, 12, crc32c(head, 0, 0, 12))
  return head
}

/** `foreign`: the magic is not there. `damaged`: it is, the checksum is wrong. */
export function checkHead(head: Uint8Array): 'valid' | 'newer' | 'foreign' | 'damaged' {
  if (head.length < headBytes || !magic.every((byte, i) => head[i] === byte)) return 'foreign'
  if (getU32(head, 12) !== crc32c(head, 0, 0, 12)) return 'damaged'
  return getU32(head, 8) === walVersion ? 'valid' : 'newer'
}

/** Appends the record, not yet sealed, to stand at `at` in the log; returns its length. */
export function encodeRecord(writer: ByteWriter, record: WalRecord, at: Lsn): number {
  const start = writer.length
  writer.u32(0).u32(0).u64(at).u64(0)
  switch (record.type) {
    case 'entry':
      writer.u8(1).varint(record.group).varint(record.index).varint(record.term).u8(record.kind).raw(record.data)
      break
    case 'hardState':
      writer.u8(2).varint(record.group).varint(record.term).varint(record.commit)
      writer.bool(record.vote !== undefined)
      if (record.vote !== undefined) writer.id128(record.vote)
      break
    case 'birth':
      writer.u8(3).varint(record.group).id128(record.cluster).raw(record.birth)
      break
    default:
      unreachable(record)
  }
  const length = writer.length - start
  assert(length <= recordBytesMax, `a log record of ${length} bytes: larger ones must be refused before they get here`)
  writer.setU32(start, length)
  return length
}

/** Seals records that stand one after another and fill `bytes`. */
export function sealRecords(bytes: Uint8Array, durable: Lsn): void {
  for (let at = 0; at < bytes.length; ) {
    const length = getU32(bytes, at)
    putU32(bytes, at + 16, durable % two32)
    putU32(bytes, at + 20, Math.floor(durable / two32))
    putU32(bytes, at + 4, recordCrc(bytes, at, length))
    at += length
  }
}

/** Does the header at bytes[at] claim to stand at `place`? Its first 16 bytes must be there. */
export function claimsPlace(bytes: Uint8Array, at: number, place: number): boolean {
  return getU32(bytes, at + 8) === place % two32 && getU32(bytes, at + 12) === Math.floor(place / two32)
}

/** The length that the header at bytes[at] claims, or 0 where no record can have it. */
export function claimedLength(bytes: Uint8Array, at: number): number {
  const length = getU32(bytes, at)
  return length >= recordHeaderBytes && length <= recordBytesMax ? length : 0
}

/** The durable LSN of the header at bytes[at], or NaN where it is none. To be believed only if the checksum holds. */
export function claimedDurable(bytes: Uint8Array, at: number): number {
  const high = getU32(bytes, at + 20)
  return high > 0x1f_ffff ? Number.NaN : high * two32 + getU32(bytes, at + 16)
}

/** Is the checksum of the record in bytes[at, at + length) right? The whole of it must be there. */
export function checksumHolds(bytes: Uint8Array, at: number, length: number): boolean {
  return getU32(bytes, at + 4) === recordCrc(bytes, at, length)
}

/**
 * The payload of the record in bytes[at, at + length), sealed or not; undefined if it makes no sense. Variable bytes are
 * copies: a record that is kept does not keep what it was read from. `passing`: an entry's are a view, for who keeps nothing.
 */
export function decodeRecord(bytes: Uint8Array, at: number, length: number, passing = false): WalRecord | undefined {
  if (length < recordHeaderBytes || at + length > bytes.length) return undefined
  const reader = new ByteReader(bytes, at + 24, at + length)
  const record = decodePayload(reader, passing)
  return reader.done() ? record : undefined
}

function decodePayload(reader: ByteReader, passing: boolean): WalRecord | undefined {
  const type = reader.u8()
  const group = groupId(reader.varint())
  switch (type) {
    case 1: {
      const at = index(reader.varint())
      const of = term(reader.varint())
      const kind = reader.u8()
      const data = reader.rest()
      return { type: 'entry', group, index: at, term: of, kind, data: passing ? data : copyBytes(data) }
    }
    case 2: {
      const of = term(reader.varint())
      const commit = index(reader.varint())
      const vote = reader.bool() ? peerId(reader.id128()) : undefined
      return { type: 'hardState', group, term: of, vote, commit }
    }
    case 3: {
      const cluster = clusterId(reader.id128())
      return { type: 'birth', group, cluster, birth: copyBytes(reader.rest()) }
    }
    default:
      reader.fail()
      return undefined
  }
}

/** The record that must stand at `place` and fill `bytes`, or undefined. `passing`: as `decodeRecord`. */
export function readRecord(bytes: Uint8Array, place: Lsn, passing = false): WalRecord | undefined {
  if (bytes.length < recordHeaderBytes || claimedLength(bytes, 0) !== bytes.length) return undefined
  if (!claimsPlace(bytes, 0, place) || !checksumHolds(bytes, 0, bytes.length)) return undefined
  return decodeRecord(bytes, 0, bytes.length, passing)
}

export const firstLsn = lsn(headBytes)

function recordCrc(bytes: Uint8Array, at: number, length: number): number {
  return crc32c(bytes, crc32c(bytes, 0, at, at + 4), at + 8, at + length)
}

function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}
