/**
 * The state machine of one group: committed entries in, changes to the engine and outcomes out. Deterministic: no clock, no
 * randomness, no order but the log's. Every replica comes to the same state and the same `fingerprint`.
 *
 * An entry that cannot be decoded stops the peer (it throws CORRUPT or VERSION_MISMATCH): to skip it would let replicas part.
 */
import { assert } from '../base/assert.ts'
import { crc32c } from '../base/checksum.ts'
import { type ClusterId, type Index, type Timestamp, timestamp } from '../base/ids.ts'
import { encodeVersioned, timestampOf } from '../mvcc/versioned.ts'
import type { Entry } from '../raft/types.ts'
import type { Change, Engine, View } from '../storage/engine.ts'
import { type CommandHeader, decodeCommand, type SessionId, type WriteCommand } from './command.ts'
import { type Outcome, Sessions } from './sessions.ts'

export type Applied =
  | { readonly type: 'write'; readonly session: SessionId; readonly serial: number; readonly outcome: Outcome }
  | { readonly type: 'openSession'; readonly session: SessionId }
  /** The group had no user data and gives way to another cluster. */
  | { readonly type: 'dissolved'; readonly into: ClusterId }

export class ApplyMachine {
  private readonly engine: Engine
  private readonly sessions = new Sessions()
  private appliedIndex = 0 as Index
  private lastTimestamp = timestamp(0)
  private everWritten = false
  private gaveWay = false
  private hash = 0

  constructor(engine: Engine) {
    this.engine = engine
  }

  get applied(): Index {
    return this.appliedIndex
  }
  /** Of the newest command applied; only grows. */
  get timestamp(): Timestamp {
    return this.lastTimestamp
  }
  /** A user's write was executed at some time, even if all keys are gone again. */
  get hasData(): boolean {
    return this.everWritten
  }
  /** Over everything applied since the group's birth: equal on every replica at the same index. */
  get fingerprint(): number {
    return this.hash
  }

  apply(entry: Entry): Applied | undefined {
    assert(entry.index === this.appliedIndex + 1, `entry ${entry.index} applied after ${this.appliedIndex}`)
    this.appliedIndex = entry.index
    if (entry.kind !== 'command') {
      this.engine.apply([], entry.index)
      return undefined
    }
    const decoded = decodeCommand(entry.data)
    if (!decoded.ok) throw decoded.error
    const { header, command } = decoded.value
    this.hash = crc32c(entry.data, this.hash)
    assert(header.at > this.lastTimestamp, `timestamp ${header.at} after ${this.lastTimestamp} at index ${entry.index}`)
    this.lastTimestamp = header.at
    switch (command.type) {
      case 'openSession':
        this.sessions.open(command.session)
        this.engine.apply([], entry.index)
        return { type: 'openSession', session: command.session }
      case 'write': {
        const outcome = this.write(header, command, entry.index)
        return { type: 'write', session: command.session, serial: command.serial, outcome }
      }
      case 'dissolve':
        this.engine.apply([], entry.index)
        if (this.everWritten) return undefined
        this.gaveWay = true
        return { type: 'dissolved', into: command.into }
    }
  }

  /** Back to the state before the first entry. */
  reset(): void {
    this.engine.reset()
    this.sessions.clear()
    this.appliedIndex = 0 as Index
    this.lastTimestamp = timestamp(0)
    this.everWritten = false
    this.gaveWay = false
    this.hash = 0
  }

  private write(header: CommandHeader, command: WriteCommand, index: Index): Outcome {
    const known = this.lookup(command)
    if (known !== undefined) {
      this.engine.apply([], index)
      return known
    }
    const { outcome, changes } = this.execute(header, command)
    this.engine.apply(changes, index)
    if (changes.length > 0) this.everWritten = true
    this.sessions.record(command.session, command.serial, outcome)
    // Only what was done is remembered by key: a conflict may be tried again under the same key.
    if (command.idempotencyKey !== undefined && outcome.type === 'committed') {
      this.sessions.recordKey(command.idempotencyKey, outcome)
    }
    return outcome
  }

  private lookup(command: WriteCommand): Outcome | undefined {
    // After a dissolution nothing is executed any more; clients come again in the cluster that was joined.
    if (this.gaveWay) return { type: 'noSession' }
    const bySerial = this.sessions.lookup(command.session, command.serial, command.floor)
    if (bySerial !== undefined) return bySerial
    return command.idempotencyKey === undefined ? undefined : this.sessions.lookupKey(command.idempotencyKey)
  }

  private execute(header: CommandHeader, command: WriteCommand): { outcome: Outcome; changes: readonly Change[] } {
    let conflict: Outcome | undefined
    if (command.checks.length > 0) {
      this.engine.read(
        view => failedCheck(view, command),
        found => {
          conflict = found
        },
      )
    }
    if (conflict !== undefined) return { outcome: conflict, changes: [] }
    // Keys are copied: a view would keep the whole entry in memory for as long as one of its keys lives.
    const changes = command.ops.map(op => ({
      key: op.key.slice(),
      value: op.type === 'put' ? encodeVersioned(header.at, op.value) : undefined,
    }))
    return { outcome: { type: 'committed', at: header.at }, changes }
  }
}

function failedCheck(view: View, command: WriteCommand): Outcome | undefined {
  for (const [position, check] of command.checks.entries()) {
    const stored = view.get(check.key)
    const found = stored === undefined ? timestamp(0) : timestampOf(stored)
    if (found !== check.at) return { type: 'conflict', check: position, found }
  }
  return undefined
}
