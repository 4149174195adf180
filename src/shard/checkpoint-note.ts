/**
 * What a checkpoint carries besides the pages: where the log goes on from it, and what the state machine keeps besides the keys.
 *
 * Format 2: u8 format | u64 LSN where the log is read from | u64 index and u64 term of the entry before the log's first | bytes configuration in force
 *   there | u64 term | bool voted, then the vote (id128) if it is true | the state machine's note to the end (`apply-note.ts`).
 * Format 1 was the state machine's note alone: the whole log is there. The decoder is total.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { index, type Lsn, lsn, type PeerId, peerId, type Term, term } from '../base/ids.ts'
import type { Result } from '../platform.ts'
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration.ts'
import type { LogBase } from '../raft/types.ts'
import { decodeNote, type Note } from './apply-note.ts'

/** Where a log begins that was cut at its front. */
export interface LogBegin {
  readonly from: Lsn
  readonly base: LogBase
  /** As they were when the checkpoint was made; later records of the log may have newer ones. */
  readonly term: Term
  readonly vote: PeerId | undefined
}

export interface CheckpointNote {
  /** Undefined: the log was never cut. */
  readonly log: LogBegin | undefined
  readonly machine: Note
}

const format = 2

/** @param machine As `encodeNote` makes it. */
export function encodeCheckpointNote(log: LogBegin, machine: Uint8Array): Uint8Array {
  const { from, base, term: of, vote } = log
  const writer = new ByteWriter(machine.length + 256)
  writer.u8(format).u64(from).u64(base.index).u64(base.term).bytes(encodeConfiguration(base.configuration))
  writer.u64(of).bool(vote !== undefined)
  if (vote !== undefined) writer.id128(vote)
  return writer.raw(machine).finish()
}

/** Errors: CORRUPT, VERSION_MISMATCH. */
export function decodeCheckpointNote(bytes: Uint8Array): Result<CheckpointNote> {
  if (bytes[0] !== format) {
    const machine = decodeNote(bytes)
    return machine.ok ? { ok: true, value: { log: undefined, machine: machine.value } } : machine
  }
  const reader = new ByteReader(bytes, 1)
  const from = lsn(reader.u64())
  const at = { index: index(reader.u64()), term: term(reader.u64()) }
  const configuration = decodeConfiguration(reader.bytes())
  const of = term(reader.u64())
  const vote = reader.bool() ? peerId(reader.id128()) : undefined
  const rest = reader.rest()
  if (!reader.done() || !configuration.ok || (at.index === 0) !== (at.term === 0) || at.term > of) {
    return { ok: false, error: new HarmonyError('CORRUPT', 'what a checkpoint says of the log is malformed') }
  }
  const machine = decodeNote(rest)
  if (!machine.ok) return machine
  const log = { from, base: { ...at, configuration: configuration.value }, term: of, vote }
  return { ok: true, value: { log, machine: machine.value } }
}
