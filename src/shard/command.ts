/**
 * What a Raft entry of kind `command` says, to the byte. A client's peer makes the body; the leader puts the header before it.
 *
 *   entry   = header body
 *   header  = u8 format (1) | varint commit timestamp | varint leader's wall time, ms since 1970 (log time, for expiry)
 *   body    = u8 type, then
 *     1 openSession  id128 session
 *     2 write        id128 session | varint serial | varint floor | u8 flags
 *                    | [bytes idempotency key, UTF-8, if flags & 1]
 *                    | varint checks { bytes key | varint timestamp (0: must be absent) }
 *                    | [varint ranges { u8 bounds: 1 from, 2 to | [bytes from] | [bytes to] | varint timestamp | varint count }, if flags & 2]
 *                    | varint ops { u8 0 put, 1 delete | bytes key | [bytes value, if put] }
 *     3 dissolve     id128 cluster to join instead
 *   bytes   = varint length | that many bytes
 *
 * `floor`: the client has its answers to every serial below it, so their results may be forgotten (Ongaro's thesis, 6.3).
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Timestamp, timestamp } from '../base/ids.ts'
import { Slabs } from '../base/slabs.ts'
import type { Result } from '../platform.ts'

/** 32 hex digits, drawn at random by the peer that opens it. */
export type SessionId = string

export type WriteOp =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: Uint8Array }

export interface WriteCheck {
  readonly key: Uint8Array
  /** 0: the key must be absent. */
  readonly at: Timestamp
}

/**
 * The keys in from ≤ key < to (undefined: open) are those of the state after the commit `at`: none is newer, and there are `count` of them. (What was there
 * then and is gone would be missing; what came since is newer.)
 */
export interface RangeCheck {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
  readonly at: Timestamp
  readonly count: number
}

export interface WriteCommand {
  readonly type: 'write'
  readonly session: SessionId
  readonly serial: number
  readonly floor: number
  readonly idempotencyKey: string | undefined
  readonly checks: readonly WriteCheck[]
  readonly ranges: readonly RangeCheck[]
  readonly ops: readonly WriteOp[]
}

export type Command =
  | { readonly type: 'openSession'; readonly session: SessionId }
  | WriteCommand
  | { readonly type: 'dissolve'; readonly into: ClusterId }

export interface CommandHeader {
  readonly at: Timestamp
  readonly wallMs: number
}

const format = 1
const hasKey = 1
const hasRanges = 2
const boundFrom = 1
const boundTo = 2

/** Making one costs more than filling it. Nothing here is called while it is being filled. */
const writer = new ByteWriter(1024)
/** Of a command until it is acknowledged, of an entry until it leaves the log's memory. */
const bodies = new Slabs()
const entries = new Slabs()

export function encodeBody(command: Command): Uint8Array {
  writer.reset()
  switch (command.type) {
    case 'openSession':
      writer.u8(1)
      writer.id128(command.session)
      break
    case 'write':
      writer.u8(2)
      encodeWrite(command)
      break
    case 'dissolve':
      writer.u8(3)
      writer.id128(command.into)
      break
  }
  return writer.finishIn(bodies)
}

function encodeWrite(command: WriteCommand): void {
  writer.id128(command.session)
  writer.varint(command.serial)
  writer.varint(command.floor)
  writer.u8((command.idempotencyKey === undefined ? 0 : hasKey) | (command.ranges.length === 0 ? 0 : hasRanges))
  if (command.idempotencyKey !== undefined) writer.text(command.idempotencyKey)
  writer.varint(command.checks.length)
  for (const check of command.checks) {
    writer.bytes(check.key)
    writer.varint(check.at)
  }
  if (command.ranges.length > 0) encodeRanges(command.ranges)
  writer.varint(command.ops.length)
  for (const op of command.ops) {
    writer.u8(op.type === 'put' ? 0 : 1)
    writer.bytes(op.key)
    if (op.type === 'put') writer.bytes(op.value)
  }
}

function encodeRanges(ranges: readonly RangeCheck[]): void {
  writer.varint(ranges.length)
  for (const { from, to, at, count } of ranges) {
    writer.u8((from === undefined ? 0 : boundFrom) | (to === undefined ? 0 : boundTo))
    if (from !== undefined) writer.bytes(from)
    if (to !== undefined) writer.bytes(to)
    writer.varint(at)
    writer.varint(count)
  }
}

/** The leader's part: stamps a body that it has checked with `decodeBody`. */
export function stampBody(header: CommandHeader, body: Uint8Array): Uint8Array {
  writer.reset()
  writer.u8(format)
  writer.varint(header.at)
  writer.varint(header.wallMs)
  writer.raw(body)
  return writer.finishIn(entries)
}

/** Of an entry's data. Views into `bytes`, no copies. */
export function decodeCommand(
  bytes: Uint8Array,
): Result<{ readonly header: CommandHeader; readonly command: Command }> {
  const reader = new ByteReader(bytes)
  const found = reader.u8()
  const header = { at: timestamp(reader.varint()), wallMs: reader.varint() }
  if (reader.failed) return malformed('header', bytes)
  if (found !== format) {
    const message = `a log entry has command format ${found}; this version reads ${format}. Update the package`
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  const command = readBody(reader)
  if (command === undefined || !reader.done()) return malformed('body', bytes)
  return { ok: true, value: { header, command } }
}

export function decodeBody(bytes: Uint8Array): Result<Command> {
  const reader = new ByteReader(bytes)
  const command = readBody(reader)
  if (command === undefined || !reader.done()) return malformed('body', bytes)
  return { ok: true, value: command }
}

function malformed(part: string, bytes: Uint8Array): Result<never> {
  return { ok: false, error: new HarmonyError('CORRUPT', `a command of ${bytes.length} bytes has a malformed ${part}`) }
}

function readBody(reader: ByteReader): Command | undefined {
  switch (reader.u8()) {
    case 1:
      return { type: 'openSession', session: reader.id128() }
    case 2:
      return readWrite(reader)
    case 3:
      return { type: 'dissolve', into: clusterId(reader.id128()) }
    default:
      return undefined
  }
}

function readWrite(reader: ByteReader): WriteCommand | undefined {
  const session = reader.id128()
  const serial = reader.varint()
  const floor = reader.varint()
  const flags = reader.u8()
  if (flags > (hasKey | hasRanges)) return undefined
  const idempotencyKey = (flags & hasKey) !== 0 ? reader.text() : undefined
  const checks: WriteCheck[] = []
  // Counts are not trusted: the loop ends with the bytes, and nothing is allocated by count.
  for (let n = reader.varint(); n > 0 && !reader.failed; n--) {
    checks.push({ key: reader.bytes(), at: timestamp(reader.varint()) })
  }
  const ranges = (flags & hasRanges) === 0 ? noRanges : readRanges(reader)
  if (ranges === undefined) return undefined
  const ops: WriteOp[] = []
  for (let n = reader.varint(); n > 0 && !reader.failed; n--) {
    const type = reader.u8()
    const key = reader.bytes()
    if (type === 0) ops.push({ type: 'put', key, value: reader.bytes() })
    else if (type === 1) ops.push({ type: 'delete', key })
    else return undefined
  }
  if (reader.failed) return undefined
  return { type: 'write', session, serial, floor, idempotencyKey, checks, ranges, ops }
}

const noRanges: readonly RangeCheck[] = []

function readRanges(reader: ByteReader): readonly RangeCheck[] | undefined {
  const ranges: RangeCheck[] = []
  for (let n = reader.varint(); n > 0 && !reader.failed; n--) {
    const bounds = reader.u8()
    if (bounds > (boundFrom | boundTo)) return undefined
    const from = (bounds & boundFrom) === 0 ? undefined : reader.bytes()
    const to = (bounds & boundTo) === 0 ? undefined : reader.bytes()
    ranges.push({ from, to, at: timestamp(reader.varint()), count: reader.varint() })
  }
  return ranges.length === 0 ? undefined : ranges
}
