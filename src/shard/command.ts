/**
 * What a Raft entry of kind `command` says, to the byte. A client's peer makes the body; the leader puts the header before it.
 *
 *   entry   = header body
 *   header  = u8 format (3) | varint commit timestamp | varint leader's wall time, ms since 1970 (log time, for expiry)
 *   body    = u8 type, then
 *     1 openSession  id128 session
 *     3 dissolve     id128 cluster to join instead
 *     4 writes       id128 session | varint floor | one write or more, to the end
 *   write   = varint serial | u8 flags
 *             | [bytes idempotency key, UTF-8, if flags & 1]
 *             | [varint checks { bytes key | varint timestamp (0: must be absent) }, if flags & 4]
 *             | [varint ranges { u8 bounds: 1 from, 2 to | [bytes from] | [bytes to] | varint timestamp | varint count }, if flags & 2]
 *             | [u8 phase: 0 prepare, then bytes id, UTF-8 | varint hold, ms; 1 commit, 2 roll back, 3 roll back because its time is over, then bytes id, UTF-8, if flags & 8]
 *             | varint ops { u8 0 put, 1 delete | bytes key | [bytes value, if put] }
 *   bytes   = varint length | that many bytes
 *
 * Format 2 has a write with checks or ranges only alone, and none in two phases. Format 1 has instead of type 4 one write in each entry: 2 write  id128 session | varint serial | varint floor
 * | u8 flags | …, the rest as above, but checks always there.
 *
 * What one client writes in one turn of its event loop is one entry, so that the log, consensus and the tree are paid for once. Each write is a commit of its
 * own: the first has the header's timestamp, each other one more than the one before it, and it finds what those before it did. A write with ranges or many checks
 * stands alone, because it is validated in steps (`validation.ts`), and so does one in two phases, because it changes what the others are refused for (`prepared.ts`).
 *
 * `floor`: the client has its answers to every serial below it, so their results may be forgotten (Ongaro's thesis, 6.3).
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Timestamp, timestamp } from '../base/ids.ts'
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

/** How a prepared transaction ended. `expired`: nobody had decided it when its time was over. */
export type Decision = 'committed' | 'rolledBack' | 'expired'

/**
 * `prepare`: what the write does is kept instead, to be done by a decision. `decide`: that one. A commit has in its `ops` what was prepared, put there by the leader, so that
 * whoever reads the log again finds what was done where it was done; neither has conditions.
 */
export type Phase =
  | { readonly type: 'prepare'; readonly id: string; readonly holdMs: number }
  | { readonly type: 'decide'; readonly id: string; readonly decision: Decision }

/** All or nothing. */
export interface Write {
  readonly serial: number
  readonly idempotencyKey: string | undefined
  readonly checks: readonly WriteCheck[]
  readonly ranges: readonly RangeCheck[]
  readonly ops: readonly WriteOp[]
  /** Undefined: it is done at once. */
  readonly phase?: Phase | undefined
}

export interface WritesCommand {
  readonly type: 'writes'
  readonly session: SessionId
  readonly floor: number
  /** One at least. */
  readonly writes: readonly Write[]
}

export type Command =
  | { readonly type: 'openSession'; readonly session: SessionId }
  | WritesCommand
  | { readonly type: 'dissolve'; readonly into: ClusterId }

export interface CommandHeader {
  readonly at: Timestamp
  readonly wallMs: number
}

const format = 3
const hasKey = 1
const hasRanges = 2
const hasChecks = 4
const hasPhase = 8
const boundFrom = 1
const boundTo = 2

/** Making one costs more than filling it. What they make is needed until a command is acknowledged, and until an entry leaves the log's memory. */
const bodies = new ByteWriter(1024)
const entries = new ByteWriter(1024)

export function encodeBody(command: Command): Uint8Array {
  bodies.reset()
  switch (command.type) {
    case 'openSession':
      bodies.u8(1)
      bodies.id128(command.session)
      break
    case 'writes':
      bodies.u8(4).id128(command.session).varint(command.floor)
      for (const write of command.writes) encodeWrite(bodies, write)
      break
    case 'dissolve':
      bodies.u8(3)
      bodies.id128(command.into)
      break
  }
  return bodies.finishPiece()
}

/** As `decodeWrite` reads it. */
export function encodeWrite(to: ByteWriter, { serial, idempotencyKey, checks, ranges, ops, phase }: Write): void {
  const key = idempotencyKey === undefined ? 0 : hasKey
  to.varint(serial)
  to.u8(
    key |
      (ranges.length === 0 ? 0 : hasRanges) |
      (checks.length === 0 ? 0 : hasChecks) |
      (phase === undefined ? 0 : hasPhase),
  )
  if (idempotencyKey !== undefined) to.text(idempotencyKey)
  if (checks.length > 0) encodeChecks(to, checks)
  if (ranges.length > 0) encodeRanges(to, ranges)
  if (phase !== undefined) encodePhase(to, phase)
  to.varint(ops.length)
  for (const op of ops) {
    to.u8(op.type === 'put' ? 0 : 1)
    to.bytes(op.key)
    if (op.type === 'put') to.bytes(op.value)
  }
}

function encodeChecks(writer: ByteWriter, checks: readonly WriteCheck[]): void {
  writer.varint(checks.length)
  for (const { key, at } of checks) writer.bytes(key).varint(at)
}

function encodeRanges(writer: ByteWriter, ranges: readonly RangeCheck[]): void {
  writer.varint(ranges.length)
  for (const { from, to, at, count } of ranges) {
    writer.u8((from === undefined ? 0 : boundFrom) | (to === undefined ? 0 : boundTo))
    if (from !== undefined) writer.bytes(from)
    if (to !== undefined) writer.bytes(to)
    writer.varint(at)
    writer.varint(count)
  }
}

function encodePhase(writer: ByteWriter, phase: Phase): void {
  if (phase.type === 'prepare') writer.u8(0).text(phase.id).varint(phase.holdMs)
  else writer.u8(1 + decisions.indexOf(phase.decision)).text(phase.id)
}

/** The leader's part: stamps a body that it has checked with `decodeBody`. */
export function stampBody(header: CommandHeader, body: Uint8Array): Uint8Array {
  entries.reset()
  entries.u8(format)
  entries.varint(header.at)
  entries.varint(header.wallMs)
  entries.raw(body)
  return entries.finishPiece()
}

/** Of an entry's data. Views into `bytes`, no copies. */
export function decodeCommand(
  bytes: Uint8Array,
): Result<{ readonly header: CommandHeader; readonly command: Command }> {
  const reader = new ByteReader(bytes)
  const found = reader.u8()
  const header = { at: timestamp(reader.varint()), wallMs: reader.varint() }
  if (reader.failed) return malformed('header', bytes)
  if (found < 1 || found > format) {
    const message = `a log entry has command format ${found}; this version reads those up to ${format}. Update the package`
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  const command = readBody(reader, found)
  if (command === undefined || !reader.done()) return malformed('body', bytes)
  return { ok: true, value: { header, command } }
}

export function decodeBody(bytes: Uint8Array): Result<Command> {
  const reader = new ByteReader(bytes)
  const command = readBody(reader, format)
  if (command === undefined || !reader.done()) return malformed('body', bytes)
  return { ok: true, value: command }
}

function malformed(part: string, bytes: Uint8Array): Result<never> {
  return { ok: false, error: new HarmonyError('CORRUPT', `a command of ${bytes.length} bytes has a malformed ${part}`) }
}

/** By their number on the wire and on disk. */
export const decisions: readonly Decision[] = ['committed', 'rolledBack', 'expired']

/** Of a prepared transaction's id, in UTF-8: 256 characters at least. */
export const idBytesMax = 1024

function readBody(reader: ByteReader, found: number): Command | undefined {
  const type = reader.u8()
  if (type === 1) return { type: 'openSession', session: reader.id128() }
  if (type === 3) return { type: 'dissolve', into: clusterId(reader.id128()) }
  if (type === 4 && found > 1) return readWrites(reader, found)
  return type === 2 && found === 1 ? readOldWrite(reader) : undefined
}

function readWrites(reader: ByteReader, found: number): WritesCommand | undefined {
  const session = reader.id128()
  const floor = reader.varint()
  const writes: Write[] = []
  // Counts are not trusted: the loop ends with the bytes, and nothing is allocated by count.
  do {
    const write = decodeWrite(reader, found)
    if (write === undefined) return undefined
    writes.push(write)
  } while (reader.remaining > 0)
  if (writes.length > 1 && writes.some(standsAlone)) return undefined
  return { type: 'writes', session, floor, writes }
}

function readOldWrite(reader: ByteReader): WritesCommand | undefined {
  const session = reader.id128()
  const serial = reader.varint()
  const floor = reader.varint()
  const flags = reader.u8()
  const write = flags > (hasKey | hasRanges) ? undefined : readWrite(reader, serial, flags | hasChecks)
  return write === undefined ? undefined : { type: 'writes', session, floor, writes: [write] }
}

/** As `encodeWrite` writes it; undefined for anything else. Views, no copies. */
export function decodeWrite(reader: ByteReader, found = format): Write | undefined {
  const serial = reader.varint()
  const flags = reader.u8()
  if (flags > (found < 3 ? hasKey | hasRanges | hasChecks : hasKey | hasRanges | hasChecks | hasPhase)) return undefined
  return readWrite(reader, serial, flags)
}

const checksTogetherMax = 16

/** It is validated before its entry is applied, and no other write is in that. A part of the format: replicas must agree on it. */
export const standsAlone = ({ checks, ranges, phase }: Pick<Write, 'checks' | 'ranges' | 'phase'>): boolean =>
  checks.length > checksTogetherMax || ranges.length > 0 || phase !== undefined

export const noOps: readonly WriteOp[] = []

/** Of a write that was executed: what it changed. */
export const opsDone = (ops: readonly WriteOp[], phase: Phase | undefined): readonly WriteOp[] =>
  phase?.type === 'prepare' ? noOps : ops

/** How many timestamps a command takes, from its header's on. */
export const stampsOf = (command: Command): number => (command.type === 'writes' ? command.writes.length : 1)

function readWrite(reader: ByteReader, serial: number, flags: number): Write | undefined {
  const idempotencyKey = (flags & hasKey) !== 0 ? reader.text() : undefined
  const checks = (flags & hasChecks) === 0 ? noChecks : readChecks(reader)
  const ranges = (flags & hasRanges) === 0 ? noRanges : readRanges(reader)
  const phase = (flags & hasPhase) === 0 ? undefined : readPhase(reader)
  if (ranges === undefined || phase === null) return undefined
  const ops: WriteOp[] = []
  for (let n = reader.varint(); n > 0 && !reader.failed; n--) {
    const type = reader.u8()
    const key = reader.bytes()
    if (type === 0) ops.push({ type: 'put', key, value: reader.bytes() })
    else if (type === 1) ops.push({ type: 'delete', key })
    else return undefined
  }
  if (reader.failed || (phase !== undefined && !isWhole(phase, flags, ops))) return undefined
  return { serial, idempotencyKey, checks, ranges, ops, phase }
}

/** Its id is its idempotency key; a decision has no conditions, and writes something only where it commits. */
const isWhole = (phase: Phase, flags: number, ops: readonly WriteOp[]): boolean =>
  phase.id !== '' &&
  (flags & hasKey) === 0 &&
  (phase.type === 'prepare' || (flags === hasPhase && (phase.decision === 'committed' || ops.length === 0)))

/** Null: there is no such phase. */
function readPhase(reader: ByteReader): Phase | null {
  const number = reader.u8()
  const id = reader.text(idBytesMax)
  if (number === 0) return { type: 'prepare', id, holdMs: reader.varint() }
  const decision = decisions[number - 1]
  return decision === undefined ? null : { type: 'decide', id, decision }
}

const noChecks: readonly WriteCheck[] = []

function readChecks(reader: ByteReader): readonly WriteCheck[] {
  const checks: WriteCheck[] = []
  for (let n = reader.varint(); n > 0 && !reader.failed; n--) {
    checks.push({ key: reader.bytes(), at: timestamp(reader.varint()) })
  }
  return checks
}

export const noRanges: readonly RangeCheck[] = []

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
