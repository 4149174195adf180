/**
 * What a state machine keeps besides the keys, as a checkpoint carries it: so that a restart goes on at the checkpoint instead of the
 * log's beginning, and still answers a repeated request with its first answer.
 *
 * Format 5: u8 format | id128 cluster | u64 applied | u64 timestamp | bool everWritten | bool gaveWay | u32 fingerprint
 *   | varint sessions, each: id128 id | varint floor | varint outcomes, each: varint serial | outcome
 *   | varint keys, each: text key | outcome
 *   | u64 behind | varint idle writes, each: varint index and varint timestamp, less those of the one before (the first: `behind` and 0)
 *   | varint prepared, each: u64 since | write (`command.ts`) | varint decided, each: text id | u8 decision | u64 at
 * Format 4 ends before `prepared`: there are none. Format 1 ends before `behind`: nothing is known of entries through `applied`. (2 is that of `checkpoint-note.ts`, in whose
 * place a note of format 1 may stand; 3 was in no release.)
 * Outcome: u8 type (0 committed: u64 at; 1 conflict: varint check, u64 found; 2 noSession; 3 stale; 4 held: text id; 5 exists; 6 full; 7 unknown; 8 decided: u8 decision; 9 unready).
 * Sessions, keys and decided transactions stand in the order in which they will be forgotten. The decoder is total.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Index, index, type Timestamp, timestamp } from '../base/ids.ts'
import type { Result } from '../platform.ts'
import { type Decision, decisions, decodeWrite, encodeWrite, idBytesMax } from './command.ts'
import type { IdleTable, IdleWrite } from './idle-writes.ts'
import { decidedMax, type Kept, type PreparedTable, preparedMax, tableOf } from './prepared.ts'
import { idempotencyKeysMax, type Outcome, outcomesPerSessionMax, type SessionTable, sessionsMax } from './sessions.ts'

export interface Note {
  readonly cluster: ClusterId
  readonly applied: Index
  readonly timestamp: Timestamp
  readonly everWritten: boolean
  readonly gaveWay: boolean
  readonly fingerprint: number
  readonly sessions: SessionTable
  readonly idle: IdleTable
  readonly prepared: PreparedTable
}

const format = 5

export function encodeNote(note: Note): Uint8Array {
  const writer = new ByteWriter(1024)
  writer.u8(format).id128(note.cluster).u64(note.applied).u64(note.timestamp)
  writer.bool(note.everWritten).bool(note.gaveWay).u32(note.fingerprint)
  const { sessions, keys } = note.sessions
  writer.varint(sessions.length)
  for (const { id, floor, outcomes } of sessions) {
    writer.id128(id).varint(floor).varint(outcomes.length)
    for (const [serial, outcome] of outcomes) writeOutcome(writer.varint(serial), outcome)
  }
  writer.varint(keys.length)
  for (const [key, outcome] of keys) writeOutcome(writer.text(key), outcome)
  const { behind, writes } = note.idle
  writer.u64(behind).varint(writes.length)
  let before: IdleWrite = { index: behind, at: timestamp(0) }
  for (const write of writes) {
    writer.varint(write.index - before.index).varint(write.at - before.at)
    before = write
  }
  writePrepared(writer, note.prepared)
  return writer.finish()
}

function writePrepared(writer: ByteWriter, { kept, decided }: PreparedTable): void {
  writer.varint(kept.length)
  for (const { sinceMs, write } of kept) encodeWrite(writer.u64(sinceMs), write)
  writer.varint(decided.length)
  for (const [id, { decision, at }] of decided) writer.text(id).u8(decisions.indexOf(decision)).u64(at)
}

function writeOutcome(writer: ByteWriter, outcome: Outcome): void {
  switch (outcome.type) {
    case 'committed':
      writer.u8(0).u64(outcome.at)
      return
    case 'conflict':
      writer.u8(1).varint(outcome.check).u64(outcome.found)
      return
    case 'noSession':
      writer.u8(2)
      return
    case 'stale':
      writer.u8(3)
      return
    case 'held':
      writer.u8(4).text(outcome.by)
      return
    case 'decided':
      writer.u8(8).u8(decisions.indexOf(outcome.decision))
      return
    default:
      writer.u8(bare[outcome.type])
  }
}

const bare = { exists: 5, full: 6, unknown: 7, unready: 9 } as const

export function decodeNote(bytes: Uint8Array): Result<Note> {
  const reader = new ByteReader(bytes)
  const found = reader.u8()
  if (found > format) {
    const message = 'this checkpoint was written by a newer version of HarmonyDB: upgrade this one'
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  const cluster = clusterId(reader.id128())
  const applied = index(reader.u64())
  const at = timestamp(reader.u64())
  const everWritten = reader.bool()
  const gaveWay = reader.bool()
  const fingerprint = reader.u32()
  const sessions = readSessions(reader)
  const keys = readKeys(reader)
  const idle = found === 1 ? { behind: applied, writes: [] } : readIdle(reader)
  const prepared = found < format ? { kept: [], decided: [] } : readPrepared(reader)
  if (
    (found !== 1 && found !== 4 && found !== format) ||
    sessions === undefined ||
    keys === undefined ||
    idle === undefined ||
    prepared === undefined ||
    !reader.done()
  ) {
    return {
      ok: false,
      error: new HarmonyError('CORRUPT', `a checkpoint's note of ${bytes.length} bytes is malformed`),
    }
  }
  const value = {
    cluster,
    applied,
    timestamp: at,
    everWritten,
    gaveWay,
    fingerprint,
    sessions: { sessions, keys },
    idle,
    prepared,
  }
  return { ok: true, value }
}

function readSessions(reader: ByteReader): SessionTable['sessions'] | undefined {
  const count = reader.varint()
  if (count > sessionsMax) return undefined
  const sessions = []
  for (let i = 0; i < count && !reader.failed; i++) {
    const id = reader.id128()
    const floor = reader.varint()
    const outcomeCount = reader.varint()
    if (outcomeCount > outcomesPerSessionMax) return undefined
    const outcomes: [number, Outcome][] = []
    for (let j = 0; j < outcomeCount && !reader.failed; j++) {
      const serial = reader.varint()
      const outcome = readOutcome(reader)
      if (outcome === undefined) return undefined
      outcomes.push([serial, outcome])
    }
    sessions.push({ id, floor, outcomes })
  }
  return sessions
}

function readKeys(reader: ByteReader): SessionTable['keys'] | undefined {
  const count = reader.varint()
  if (count > idempotencyKeysMax) return undefined
  const keys: [string, Outcome][] = []
  for (let i = 0; i < count && !reader.failed; i++) {
    const key = reader.text()
    const outcome = readOutcome(reader)
    if (outcome === undefined) return undefined
    keys.push([key, outcome])
  }
  return keys
}

function readIdle(reader: ByteReader): IdleTable | undefined {
  const behind = index(reader.u64())
  const writes: IdleWrite[] = []
  let before: IdleWrite = { index: behind, at: timestamp(0) }
  for (let count = reader.count(2); count > 0 && !reader.failed; count--) {
    const steps = [reader.varint(), reader.varint()] as const
    const write = { index: index(before.index + steps[0]), at: timestamp(before.at + steps[1]) }
    const isPossible = write.index > behind && steps[1] > 0
    if (!isPossible || !Number.isSafeInteger(write.index) || !Number.isSafeInteger(write.at)) return undefined
    writes.push(write)
    before = write
  }
  return { behind, writes }
}

function readPrepared(reader: ByteReader): PreparedTable | undefined {
  const kept: Kept[] = []
  for (let count = reader.count(8); count > 0 && !reader.failed; count--) {
    const sinceMs = reader.u64()
    const write = decodeWrite(reader)
    if (write?.phase?.type !== 'prepare' || kept.length === preparedMax) return undefined
    kept.push({ sinceMs, write: { ...write, phase: write.phase } })
  }
  const decided: [string, { readonly decision: Decision; readonly at: Timestamp }][] = []
  for (let count = reader.count(10); count > 0 && !reader.failed; count--) {
    const id = reader.text(idBytesMax)
    const decision = decisions[reader.u8()]
    if (decision === undefined || decided.length === decidedMax) return undefined
    decided.push([id, { decision, at: timestamp(reader.u64()) }])
  }
  return reader.failed ? undefined : tableOf(kept, decided)
}

function readOutcome(reader: ByteReader): Outcome | undefined {
  switch (reader.u8()) {
    case 0:
      return { type: 'committed', at: timestamp(reader.u64()) }
    case 1: {
      const check = reader.varint()
      return { type: 'conflict', check, found: timestamp(reader.u64()) }
    }
    case 2:
      return { type: 'noSession' }
    case 3:
      return { type: 'stale' }
    case 4:
      return { type: 'held', by: reader.text(idBytesMax) }
    case 5:
      return { type: 'exists' }
    case 6:
      return { type: 'full' }
    case 7:
      return { type: 'unknown' }
    case 8: {
      const decision = decisions[reader.u8()]
      return decision && { type: 'decided', decision }
    }
    case 9:
      return { type: 'unready' }
    default:
      return undefined
  }
}
