/**
 * The state machine of one group: committed entries in, changes to the engine and outcomes out. Deterministic: no clock, no
 * randomness, no order but the log's. Every replica comes to the same state and the same `fingerprint`.
 *
 * An entry that cannot be decoded stops the peer (it throws CORRUPT or VERSION_MISMATCH): to skip it would let replicas part.
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/checksum.ts'
import { type ClusterId, type Index, type Timestamp, timestamp, index as toIndex } from '../base/ids.ts'
import { encodeText } from '../base/text.ts'
import { StoredValues } from '../mvcc/versioned.ts'
import type { Completion, Done } from '../platform.ts'
import type { Entry } from '../raft/types.ts'
import type { Change, Engine, Update, View } from '../storage/engine.ts'
import { encodeNote, type Note } from './apply-note.ts'
import { decodeCheckpointNote } from './checkpoint-note.ts'
import {
  type CommandHeader,
  decodeCommand,
  noOps,
  opsDone,
  type SessionId,
  stampsOf,
  standsAlone,
  type Write,
  type WriteCheck,
  type WriteOp,
  type WritesCommand,
} from './command.ts'
import { IdleWrites } from './idle-writes.ts'
import { PreparedTransactions } from './prepared.ts'
import { type Outcome, type Session, Sessions } from './sessions.ts'
import { ChecksInOrder, lookUp, validate } from './validation.ts'

/** What became of a write. */
export interface AppliedWrite {
  readonly serial: number
  readonly outcome: Outcome
  /** Of this entry; what was done before has its own in the outcome. */
  readonly at: Timestamp
  /** What was done; nothing where it was refused, done before, or only prepared. They are views of the entry. */
  readonly ops: readonly WriteOp[]
}

export type Applied =
  | { readonly type: 'writes'; readonly session: SessionId; readonly writes: readonly AppliedWrite[] }
  | { readonly type: 'openSession'; readonly session: SessionId }
  /** The group had no user data and gives way to another cluster. */
  | { readonly type: 'dissolved'; readonly into: ClusterId }

interface Writes {
  readonly entry: Entry
  readonly header: CommandHeader
  readonly command: WritesCommand
}

/** Entries are taken together up to so many bytes. */
const togetherBytesMax = 32 * 1024

export class ApplyMachine {
  private readonly engine: Engine
  private readonly sessions = new Sessions()
  private readonly values = new StoredValues()
  /** Of the log, as far back as it goes. */
  readonly idle = new IdleWrites()
  readonly prepared = new PreparedTransactions()
  private appliedIndex = toIndex(0)
  private lastTimestamp = timestamp(0)
  /** Of the state as it is; `lastTimestamp` is that of the entry that is being applied already. */
  private settledTimestamp = timestamp(0)
  private everWritten = false
  private gaveWay = false
  private hash = 0
  private applying = false
  private failed: (error: unknown) => void = thrown

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
  /** Over everything applied since the group's birth, and what came of it: equal on every replica at the same index. */
  get fingerprint(): number {
    return this.hash
  }

  /**
   * Applies entries[from], and with it as many behind it as can become one change of the engine: writes that look at a few keys at most. Whoever reads sees the state
   * before all of them or after. One result for each entry, in order.
   *
   * The next call comes after `done`, which is called before this returns wherever the data are in memory.
   *
   * @param failed Hears of a bug that shows itself when pages have been waited for, where nobody above could catch it.
   * @throws HarmonyError for an entry that cannot be decoded.
   */
  apply(
    entries: readonly Entry[],
    from: number,
    done: Completion<readonly (Applied | undefined)[]>,
    failed: (error: unknown) => void = thrown,
  ): void {
    this.failed = failed
    const entry = entries[from]
    const { appliedIndex } = this
    assert(!this.applying && entry?.index === appliedIndex + 1, `entry ${entry?.index} after ${appliedIndex}`)
    this.applying = true
    const { index } = entry
    if (entry.kind !== 'command') return this.skip(index, undefined, done)
    const decoded = decodeCommand(entry.data)
    if (!decoded.ok) throw decoded.error
    const { header, command } = decoded.value
    switch (command.type) {
      case 'openSession':
        this.begin(entry, header, 1)
        this.sessions.open(command.session)
        return this.skip(index, { type: 'openSession', session: command.session }, done)
      case 'dissolve':
        this.begin(entry, header, 1)
        if (this.everWritten) return this.skip(index, undefined, done)
        this.gaveWay = true
        return this.skip(index, { type: 'dissolved', into: command.into }, done)
      case 'writes':
        if (command.writes.some(standsAlone)) {
          this.begin(entry, header, stampsOf(command))
          return this.alone({ entry, header, command }, done)
        }
        return this.together(entries, from, { entry, header, command }, done)
    }
  }

  /** Back to the state before the first entry; another machine's is to be filled in. */
  reset(): void {
    this.engine.reset(true)
    this.sessions.clear()
    this.idle.import({ behind: toIndex(0), writes: [] })
    this.prepared.clear()
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
      prepared: this.prepared.export(),
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
    this.prepared.import(note.prepared)
  }

  private begin({ data, index }: Entry, { at }: CommandHeader, stamps: number): void {
    this.hash = crc32c(data, this.hash)
    assert(at > this.lastTimestamp, `timestamp ${at} after ${this.lastTimestamp} at index ${index}`)
    this.lastTimestamp = timestamp(at + stamps - 1)
  }

  /** An entry that changes no key. */
  private skip(index: Index, applied: Applied | undefined, done: Completion<readonly (Applied | undefined)[]>): void {
    this.update(index, () => ({ changes: [], result: [applied] }), done)
  }

  /** `first` stands at entries[from]; what comes behind it is taken with it. */
  private together(entries: readonly Entry[], from: number, first: Writes, done: Completion<readonly Applied[]>): void {
    const batch: Writes[] = []
    let bytes = 0
    for (let next: Writes | undefined = first; next !== undefined; ) {
      batch.push(next)
      bytes += next.entry.data.length
      const behind = entries[from + batch.length]
      const fits = behind !== undefined && bytes + behind.data.length <= togetherBytesMax
      next = fits ? notAlone(behind) : undefined
    }
    const checks: WriteCheck[] = []
    for (const { command } of batch)
      for (const write of command.writes) for (const check of write.checks) checks.push(check)
    lookUp(
      this.engine,
      checks,
      this.caught(found => {
        if (found.ok) this.inOrder(batch, new ChecksInOrder(found.value), done)
        else done(found)
      }),
    )
  }

  private inOrder(batch: readonly Writes[], checks: ChecksInOrder, done: Completion<readonly Applied[]>): void {
    this.values.reset()
    const changes: Change[] = []
    const results = batch.map((writes): Applied => {
      this.begin(writes.entry, writes.header, writes.command.writes.length)
      return this.execute(writes, checks, changes)
    })
    this.update(batch.at(-1)!.entry.index, () => ({ changes, result: results }), done)
  }

  private execute({ entry: { index }, header, command }: Writes, checks: ChecksInOrder, changes: Change[]): Applied {
    const { session: id, writes } = command
    const session = this.use(command)
    const applied = writes.map((write, i): AppliedWrite => {
      const at = timestamp(header.at + i)
      const conflict = checks.failed(write)
      const known = this.lookup(session, write)
      if (known !== undefined) return this.passed(write, index, at, known)
      const refusal = conflict ?? (this.prepared.size === 0 ? undefined : this.prepared.refusal(write))
      if (refusal === undefined) {
        this.addChanges(changes, at, write)
        checks.wrote(write.ops, at)
      }
      return this.executed(session, write, index, at, refusal ?? { type: 'committed', at })
    })
    return { type: 'writes', session: id, writes: applied }
  }

  private alone(
    { entry: { index }, header, command }: Writes,
    done: Completion<readonly (Applied | undefined)[]>,
  ): void {
    const { at } = header
    const { session: id, writes } = command
    const write = writes[0] as Write
    const session = this.use(command)
    const known = this.lookup(session, write)
    if (known !== undefined) {
      return this.skip(index, { type: 'writes', session: id, writes: [this.passed(write, index, at, known)] }, done)
    }
    const finish = (outcome: Outcome): void => {
      const executed = this.executed(session, write, index, at, outcome)
      const changes: Change[] = []
      this.values.reset()
      this.addChanges(changes, at, executed)
      const applied: Applied = { type: 'writes', session: id, writes: [executed] }
      this.update(index, () => ({ changes, result: [applied] }), done)
    }
    const { phase } = write
    if (phase?.type === 'decide') return finish(this.prepared.decide(phase, write.ops, at))
    validate(
      this.engine,
      write,
      this.caught(validated => {
        if (!validated.ok) return done(validated)
        const refusal = validated.value ?? this.prepared.refusal(write)
        if (refusal === undefined && phase !== undefined) this.prepared.add(write, phase, header.wallMs)
        finish(refusal ?? { type: 'committed', at })
      }),
    )
  }

  /** Nothing is done. */
  private passed({ serial }: Write, index: Index, at: Timestamp, outcome: Outcome): AppliedWrite {
    this.idle.add({ index, at })
    return { serial, outcome, at, ops: noOps }
  }

  private executed(
    session: Session | undefined,
    write: Write,
    index: Index,
    at: Timestamp,
    outcome: Outcome,
  ): AppliedWrite {
    const { serial, ops, idempotencyKey, phase } = write
    // What is to be sent again must find no answer.
    if (outcome.type !== 'unready') session?.record(serial, outcome)
    this.hash = withOutcome(this.hash, outcome)
    // A repeated decision has the first one's timestamp.
    if (outcome.type !== 'committed' || outcome.at !== at) return this.passed(write, index, at, outcome)
    if (ops.length > 0 || phase !== undefined) this.everWritten = true
    // Only what was done is remembered by key: a conflict may be tried again under the same key.
    if (idempotencyKey !== undefined) this.sessions.recordKey(idempotencyKey, outcome)
    return { serial, outcome, at, ops: opsDone(ops, phase) }
  }

  private update<T>(index: Index, operation: (view: View) => Update<T>, done: Completion<T>): void {
    this.engine.update(
      operation,
      index,
      this.caught(updated => {
        this.applying = false
        if (!updated.ok) return done(updated)
        this.appliedIndex = index
        this.settledTimestamp = this.lastTimestamp
        done(updated)
      }),
    )
  }

  private caught<T>(then: Completion<T>): Completion<T> {
    return result => {
      try {
        then(result)
      } catch (error) {
        this.failed(error)
      }
    }
  }

  /** Keys are views of the entry, which stays as it is until the update is done. */
  private addChanges(to: Change[], at: Timestamp, { ops }: Pick<Write, 'ops'>): void {
    for (const op of ops) {
      to.push({ key: op.key, value: op.type === 'put' ? this.values.make(at, op.value) : undefined })
    }
  }

  private use({ session: id, floor }: WritesCommand): Session | undefined {
    // After a dissolution nothing is executed any more; clients come again in the cluster that was joined.
    const session = this.gaveWay ? undefined : this.sessions.use(id)
    session?.raiseFloor(floor)
    return session
  }

  private lookup(session: Session | undefined, { serial, idempotencyKey }: Write): Outcome | undefined {
    if (session === undefined) return noSession
    const bySerial = session.lookup(serial)
    if (bySerial !== undefined || idempotencyKey === undefined) return bySerial
    const byKey = this.sessions.lookupKey(idempotencyKey)
    // From now on the serial has its answer, too: a repetition that comes when the key is forgotten is not executed either.
    if (byKey !== undefined) session.record(serial, byKey)
    return byKey
  }
}

function thrown(error: unknown): never {
  throw error
}

const noSession: Outcome = { type: 'noSession' }

/** What cannot be decoded is dealt with when it is the first. */
function notAlone(entry: Entry): Writes | undefined {
  if (entry.kind !== 'command') return undefined
  const decoded = decodeCommand(entry.data)
  if (!decoded.ok) return undefined
  const { header, command } = decoded.value
  if (command.type !== 'writes' || command.writes.some(standsAlone)) return undefined
  return { entry, header, command }
}

/** A replica that refuses what others do has another state, though it has the same log. */
function withOutcome(hash: number, outcome: Outcome): number {
  if (outcome.type === 'committed') return hash
  if (outcome.type === 'conflict') return (Math.imul(hash ^ (outcome.check + 1), 0x01000193) ^ outcome.found) >>> 0
  return crc32c(encodeText(outcome.type === 'held' ? `held ${outcome.by}` : outcome.type), hash)
}
