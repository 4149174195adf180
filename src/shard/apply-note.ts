/**
 * What a state machine keeps besides the keys, as a checkpoint carries it: so that a restart goes on at the checkpoint instead of the
 * log's beginning, and still answers a repeated request with its first answer.
 *
 * Format 4: u8 format | id128 cluster | u64 applied | u64 timestamp | bool everWritten | bool gaveWay | u32 fingerprint
 *   | varint sessions, each: id128 id | varint floor | varint outcomes, each: varint serial | outcome
 *   | varint keys, each: text key | outcome
 *   | u64 behind | varint idle writes, each: varint index and varint timestamp, less those of the one before (the first: `behind` and 0)
 * Format 1 ends before `behind`: nothing is known of entries through `applied`. (2 is that of `checkpoint-note.ts`, in whose place a note of format 1 may stand; 3 was
 * in no release.)
 * Outcome: u8 type (0 committed: u64 at; 1 conflict: varint check, u64 found; 2 noSession; 3 stale). Sessions and keys stand in the order
 * in which they will be forgotten. The decoder is total.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Index, index, type Timestamp, timestamp } from '../base/ids.ts'
import type { Result } from '../platform.ts'
import type { IdleTable, IdleWrite } from './idle-writes.ts'
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
}

const format = 4

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
  return writer.finish()
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
  }
}

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
  if (
    (found !== 1 && found !== format) ||
    sessions === undefined ||
    keys === undefined ||
    idle === undefined ||
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
    default:
      return undefined
  }
}
