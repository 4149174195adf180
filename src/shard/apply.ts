/**
 * The state machine of one group: committed entries in, changes to the engine and outcomes out. Deterministic: no clock, no
 * randomness, no order but the log's. Every replica comes to the same state and the same `fingerprint`.
 *
 * An entry that cannot be decoded stops the peer (it throws CORRUPT or VERSION_MISMATCH): to skip it would let replicas part.
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/checksum.ts'
import { type ClusterId, type Index, type Timestamp, timestamp, index as toIndex } from '../base/ids.ts'
import { StoredValues } from '../mvcc/versioned.ts'
import type { Completion, Done } from '../platform.ts'
import type { Entry } from '../raft/types.ts'
import type { Change, Engine, Update, View } from '../storage/engine.ts'
import { encodeNote, type Note } from './apply-note.ts'
import { decodeCheckpointNote } from './checkpoint-note.ts'
import { type CommandHeader, decodeCommand, type SessionId, type WriteCommand, type WriteOp } from './command.ts'
import { IdleEntries } from './idle-entries.ts'
import { type Outcome, Sessions } from './sessions.ts'
import { failedCheck, needsSteps, validate } from './validation.ts'

export type Applied =
  | {
      readonly type: 'write'
      readonly session: SessionId
      readonly serial: number
      readonly outcome: Outcome
      readonly at: Timestamp
      /** What was done; nothing where it was refused, or done before. They are views of the entry. */
      readonly ops: readonly WriteOp[]
    }
  | { readonly type: 'openSession'; readonly session: SessionId }
  /** The group had no user data and gives way to another cluster. */
  | { readonly type: 'dissolved'; readonly into: ClusterId }

interface PlainWrite {
  readonly header: CommandHeader
  readonly command: WriteCommand
}

/** Writes are taken together up to so many bytes of entries. */
const togetherBytesMax = 32 * 1024

export class ApplyMachine {
  private readonly engine: Engine
  private readonly sessions = new Sessions()
  private readonly values = new StoredValues()
  /** Of the log, as far back as it goes. */
  readonly idle = new IdleEntries()
  private appliedIndex = toIndex(0)
  private lastTimestamp = timestamp(0)
  /** Of the state as it is; `lastTimestamp` is that of the entry that is being applied already. */
  private settledTimestamp = timestamp(0)
  private everWritten = false
  private gaveWay = false
  private hash = 0
  private applying = false

  /**
   * Begins where the engine's last checkpoint of this cluster was made; an engine that holds anything else is emptied.
   *
   * @throws HarmonyError CORRUPT, VERSION_MISMATCH: the checkpoint's note cannot be read.
   */
  constructor(engine: Engine, cluster: ClusterId) {
    this.engine = engine
    if (engine.applied === 0 || engine.note === undefined) return
    const decoded = decodeCheckpointNote(engine.note)
    if (!decoded.ok) throw decoded.error
    const note = decoded.value.machine
    if (note.cluster !== cluster) {
      this.engine.reset()
      return
    }
    assert(note.applied === engine.applied, `a note of ${note.applied} for a state of ${engine.applied}`)
    this.restore(note)
  }

  get applied(): Index {
    return this.appliedIndex
  }
  /** Of the newest command applied; only grows. */
  get timestamp(): Timestamp {
    return this.lastTimestamp
  }
  /** Every version of the state is this one or older. */
  get stateTimestamp(): Timestamp {
    return this.settledTimestamp
  }
  /** A user's write was executed at some time, even if all keys are gone again. */
  get hasData(): boolean {
    return this.everWritten
  }
  /** Over everything applied since the group's birth: equal on every replica at the same index. */
  get fingerprint(): number {
    return this.hash
  }

  /**
   * One at a time: the next entry comes after `done`, which is called before this returns wherever the data are in memory.
   *
   * @throws HarmonyError for an entry that cannot be decoded.
   */
  apply(entry: Entry, done: Completion<Applied | undefined>): void {
    assert(!this.applying && entry.index === this.appliedIndex + 1, `entry ${entry.index} after ${this.appliedIndex}`)
    this.applying = true
    if (entry.kind !== 'command') return this.skip(entry.index, undefined, done)
    const decoded = decodeCommand(entry.data)
    if (!decoded.ok) throw decoded.error
    const { header, command } = decoded.value
    this.begin(entry, header)
    switch (command.type) {
      case 'openSession':
        this.sessions.open(command.session)
        return this.skip(entry.index, { type: 'openSession', session: command.session }, done)
      case 'write':
        return this.write(header, command, entry.index, done)
      case 'dissolve':
        if (this.everWritten) return this.skip(entry.index, undefined, done)
        this.gaveWay = true
        return this.skip(entry.index, { type: 'dissolved', into: command.into }, done)
    }
  }

  /**
   * As `apply`, for entries[from] and as many behind it as can become one change of the engine: writes that depend on nothing that is stored.
   * Whoever reads sees the state before all of them or after. One result for each, in order.
   */
  applySome(entries: readonly Entry[], from: number, done: Completion<readonly (Applied | undefined)[]>): void {
    const first = entries[from]
    assert(!this.applying && first?.index === this.appliedIndex + 1, `entry ${first?.index} after ${this.appliedIndex}`)
    const plain = plainWrites(entries, from)
    if (plain.length < 2) {
      return this.apply(first, applied => done(applied.ok ? { ok: true, value: [applied.value] } : applied))
    }
    this.applying = true
    this.values.reset()
    const changes: Change[] = []
    const results = plain.map(({ header, command }, i): Applied => {
      const entry = entries[from + i] as Entry
      const { index } = entry
      this.begin(entry, header)
      const { session, serial } = command
      const known = this.lookup(command)
      if (known !== undefined) {
        this.idle.add(index)
        return { type: 'write', session, serial, outcome: known, at: header.at, ops: [] }
      }
      this.addChanges(changes, header, command)
      return this.executed(command, index, { type: 'committed', at: header.at })
    })
    const { index } = entries[from + plain.length - 1] as Entry
    this.update(index, () => ({ changes, result: results }), done)
  }

  /** Back to the state before the first entry; another machine's is to be filled in. */
  reset(): void {
    this.engine.reset(true)
    this.sessions.clear()
    this.idle.import({ behind: toIndex(0), entries: [] })
    this.appliedIndex = toIndex(0)
    this.lastTimestamp = timestamp(0)
    this.settledTimestamp = timestamp(0)
    this.everWritten = false
    this.gaveWay = false
    this.hash = 0
  }

  /** Between two entries. */
  get settled(): boolean {
    return !this.applying
  }

  /** The engine was filled with another machine's state, of which this is the note. */
  install(note: Note, done: Done): void {
    const nothing = { changes: [], result: undefined }
    this.engine.update(
      () => nothing,
      note.applied,
      updated => {
        if (updated.ok) this.restore(note)
        done(updated.ok ? undefined : updated.error)
      },
    )
  }

  /** What this machine keeps besides the engine's keys, for a checkpoint between two entries. Format: `apply-note.ts`. */
  note(cluster: ClusterId): Uint8Array {
    assert(!this.applying, 'a checkpoint in the middle of an entry')
    return encodeNote({
      cluster,
      applied: this.appliedIndex,
      timestamp: this.lastTimestamp,
      everWritten: this.everWritten,
      gaveWay: this.gaveWay,
      fingerprint: this.hash,
      sessions: this.sessions.export(),
      idle: this.idle.export(),
    })
  }

  private restore(note: Note): void {
    this.appliedIndex = note.applied
    this.lastTimestamp = note.timestamp
    this.settledTimestamp = note.timestamp
    this.everWritten = note.everWritten
    this.gaveWay = note.gaveWay
    this.hash = note.fingerprint
    this.sessions.import(note.sessions)
    this.idle.import(note.idle)
  }

  private begin({ data, index }: Entry, { at }: CommandHeader): void {
    this.hash = crc32c(data, this.hash)
    assert(at > this.lastTimestamp, `timestamp ${at} after ${this.lastTimestamp} at index ${index}`)
    this.lastTimestamp = at
  }

  /** An entry that changes no key. */
  private skip(index: Index, applied: Applied | undefined, done: Completion<Applied | undefined>): void {
    this.update(index, () => ({ changes: [], result: applied }), done)
  }

  private write(
    header: CommandHeader,
    command: WriteCommand,
    index: Index,
    done: Completion<Applied | undefined>,
  ): void {
    const { session, serial } = command
    const known = this.lookup(command)
    if (known !== undefined) {
      this.idle.add(index)
      const at = header.at
      return this.skip(index, { type: 'write', session, serial, outcome: known, at, ops: [] }, done)
    }
    if (!needsSteps(command)) {
      this.change(command, index, view => failedCheck(view, command) ?? this.changesOf(header, command), done)
      return
    }
    validate(this.engine, command, validated => {
      if (!validated.ok) return done(validated)
      const conflict = validated.value
      this.change(command, index, () => conflict ?? this.changesOf(header, command), done)
    })
  }

  private change(
    command: WriteCommand,
    index: Index,
    decide: (view: View) => Outcome | readonly Change[],
    done: Completion<Applied | undefined>,
  ): void {
    this.update(
      index,
      (view): Update<Outcome> => {
        const decided = decide(view)
        return 'type' in decided
          ? { changes: [], result: decided }
          : { changes: decided, result: { type: 'committed', at: this.lastTimestamp } }
      },
      updated => done(updated.ok ? { ok: true, value: this.executed(command, index, updated.value) } : updated),
    )
  }

  private executed(command: WriteCommand, index: Index, outcome: Outcome, at = this.lastTimestamp): Applied {
    const { session, serial, ops, idempotencyKey } = command
    const isDone = outcome.type === 'committed'
    if (isDone && ops.length > 0) this.everWritten = true
    if (!isDone) this.idle.add(index)
    this.sessions.record(session, serial, outcome)
    // Only what was done is remembered by key: a conflict may be tried again under the same key.
    if (idempotencyKey !== undefined && isDone) this.sessions.recordKey(idempotencyKey, outcome)
    return { type: 'write', session, serial, outcome, at, ops: isDone ? ops : [] }
  }

  private update<T>(index: Index, operation: (view: View) => Update<T>, done: Completion<T>): void {
    this.engine.update(operation, index, updated => {
      this.applying = false
      if (!updated.ok) return done(updated)
      this.appliedIndex = index
      this.settledTimestamp = this.lastTimestamp
      done(updated)
    })
  }

  private changesOf(header: CommandHeader, command: WriteCommand): readonly Change[] {
    this.values.reset()
    const changes: Change[] = []
    this.addChanges(changes, header, command)
    return changes
  }

  /** Keys are views of the entry, which stays as it is until the update is done. */
  private addChanges(to: Change[], { at }: CommandHeader, { ops }: WriteCommand): void {
    for (const op of ops) {
      to.push({ key: op.key, value: op.type === 'put' ? this.values.make(at, op.value) : undefined })
    }
  }

  private lookup(command: WriteCommand): Outcome | undefined {
    // After a dissolution nothing is executed any more; clients come again in the cluster that was joined.
    if (this.gaveWay) return { type: 'noSession' }
    const bySerial = this.sessions.lookup(command.session, command.serial, command.floor)
    if (bySerial !== undefined) return bySerial
    const byKey = command.idempotencyKey === undefined ? undefined : this.sessions.lookupKey(command.idempotencyKey)
    // From now on the serial has its answer, too: a repetition that comes when the key is forgotten is not executed either.
    if (byKey !== undefined) this.sessions.record(command.session, command.serial, byKey)
    return byKey
  }
}

/** The writes from entries[from] on that look at nothing stored, up to the first that does. */
function plainWrites(entries: readonly Entry[], from: number): readonly PlainWrite[] {
  const found: PlainWrite[] = []
  // One is nothing to be taken together.
  if (entries.length - from < 2) return found
  let bytes = 0
  for (let i = from; i < entries.length; i++) {
    const { kind, data } = entries[i] as Entry
    bytes += data.length
    if (kind !== 'command' || (bytes > togetherBytesMax && found.length > 0)) break
    const decoded = decodeCommand(data)
    if (!decoded.ok) break
    const { header, command } = decoded.value
    if (command.type !== 'write' || command.checks.length > 0 || command.ranges.length > 0) break
    found.push({ header, command })
  }
  return found
}
