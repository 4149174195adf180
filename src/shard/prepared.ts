/**
 * Transactions that are prepared: validated, and kept until somebody decides what becomes of them. The participant's half of two-phase commit, for one group; part of the replicated
 * state, so every rule here depends on the log alone. Time has no say: that a transaction's time is over is a decision like any other, proposed by the leader
 * (`cluster/prepared-deadlines.ts`).
 *
 *  Q1  What a prepared transaction writes is locked exclusively, what it was validated by (keys and ranges: at `serializable` all that it read) is locked shared, until it is decided.
 *  Q2  Another write is refused (`held`) where it writes what is locked; another prepare also where it was validated by what is locked exclusively.
 *  Q3  The first decision in the log wins. The newest `decidedMax` are remembered, and repeated decisions are answered from that.
 *
 * So what a prepared transaction read is at its decision as it was when it was prepared, and nobody has prepared anything by what it will change: it is as if all of it happened at
 * the decision, whose timestamp its writes have. A write that is done at once may have read what is locked exclusively: it is done before the decision, and saw what is committed.
 *
 * Readers look at nothing of this. In one group that is right: a decision is an entry of the same log, so a state in which it is not applied is one before it, in the order of the log,
 * which is that of time. With several groups it is not: a transaction's timestamp is drawn once for all of them, and its decision reaches each at another time. A reader at
 * `ts` then has to wait, or to ask the home group, where a key is locked exclusively by a transaction whose timestamp may be `ts` or less; so each lock will carry a lower bound of that
 * timestamp (what was applied when it was prepared), and decisions the one that was drawn. Besides, an abort that comes before its prepare has to be remembered there
 * (pitfall 35): a coordinator of several groups is not, as here, the one who waits for the prepare's answer.
 *
 * Bounds are part of the state machine's definition: all replicas must have the same.
 */
import { assert } from '../base/assert.ts'
import { copyBytes, equalBytes } from '../base/bytes.ts'
import type { Timestamp } from '../base/ids.ts'
import { keyText } from '../base/key-map.ts'
import { isEmpty, keySpan, rangeSpan, type Span, SpanIndex, type Spanned } from '../txn/spans.ts'
import type { Command, Decision, Phase, RangeCheck, Write, WriteOp } from './command.ts'
import type { Outcome } from './sessions.ts'

type Prepare = Extract<Phase, { type: 'prepare' }>
type Decide = Extract<Phase, { type: 'decide' }>

export interface Kept {
  /** By the clock of the leader that proposed it, since 1970. */
  readonly sinceMs: number
  readonly write: Write & { readonly phase: Prepare }
}

interface Decided {
  readonly decision: Decision
  /** Of the decision. */
  readonly at: Timestamp
}

export interface PreparedTable {
  /** In the order of the log. */
  readonly kept: readonly Kept[]
  /** The first is the next to be forgotten. */
  readonly decided: readonly (readonly [id: string, Decided])[]
}

interface Lock extends Spanned {
  readonly owner: string
  readonly isExclusive: boolean
}

interface Held extends Kept {
  readonly cost: Cost
  readonly locks: readonly Lock[]
}

export const preparedMax = 1024
/** Of keys, values and bounds, and 32 for each: every checkpoint and every snapshot carries them. More than the largest transaction writes. */
export const preparedBytesMax = 32 * 1024 * 1024
/** Locks of all of them: keys; ranges, each of which is looked at for every key that is written. */
export const lockedKeysMax = 65_536
export const lockedRangesMax = 1024
export const decidedMax = 4096

interface Cost {
  readonly bytes: number
  readonly keys: number
  readonly ranges: number
}

export interface PreparedStatus {
  readonly transactions: number
  /** That they will write. */
  readonly keys: number
  readonly bytes: number
}

export class PreparedTransactions {
  private readonly byId = new Map<string, Held>()
  private readonly decided = new Map<string, Decided>()
  private locks = new SpanIndex<Lock>()
  /** What they cost, together. */
  bytes = 0
  keys = 0
  ranges = 0

  get size(): number {
    return this.byId.size
  }

  get status(): PreparedStatus {
    let keys = 0
    for (const { write } of this.byId.values()) keys += write.ops.length
    return { transactions: this.byId.size, keys, bytes: this.bytes }
  }

  /** In the order of the log. */
  list(): Kept[] {
    return [...this.byId.values()]
  }

  /** Why a write is not done, though its conditions hold; undefined: nothing is in its way. */
  refusal(write: Write): Outcome | undefined {
    const { phase } = write
    if (phase?.type === 'prepare') {
      if (this.byId.has(phase.id) || this.decided.has(phase.id)) return { type: 'exists' }
      if (!this.hasRoom(write)) return { type: 'full' }
    }
    const by = this.byId.size === 0 ? undefined : this.holder(write)
    return by === undefined ? undefined : { type: 'held', by }
  }

  private hasRoom(write: Write): boolean {
    return this.byId.size < preparedMax && hasRoomBeside(this, write)
  }

  private holder({ ops, checks, ranges, phase }: Write): string | undefined {
    let by: string | undefined
    const any = (lock: Lock): boolean => {
      by = lock.owner
      return true
    }
    const exclusive = (lock: Lock): boolean => lock.isExclusive && any(lock)
    for (const { key } of ops) if (this.locks.some(keySpan(key), any)) return by
    if (phase === undefined) return undefined
    for (const { key } of checks) if (this.locks.some(keySpan(key), exclusive)) return by
    for (const { from, to } of ranges) if (this.locks.some(rangeSpan(from, to), exclusive)) return by
    return undefined
  }

  /** It was validated, and nothing refuses it. Takes copies: a write is a view of its entry. */
  add(write: Write, phase: Prepare, sinceMs: number): void {
    assert(!this.byId.has(phase.id), 'a transaction is prepared once')
    this.keep({ sinceMs, write: copied(write, phase) })
  }

  private keep(kept: Kept): void {
    const { phase } = kept.write
    const cost = costOf(kept.write)
    const locks = locksOf(kept.write)
    this.byId.set(phase.id, { ...kept, cost, locks })
    for (const lock of locks) this.locks.add(lock)
    this.bytes += cost.bytes
    this.keys += cost.keys
    this.ranges += cost.ranges
  }

  /** @returns `committed` with `at` where this is the decision, with another timestamp where it was that before. */
  decide({ id, decision }: Decide, ops: readonly WriteOp[], at: Timestamp): Outcome {
    const known = this.decided.get(id)
    if (known !== undefined) {
      const isSame = (known.decision === 'committed') === (decision === 'committed')
      return isSame ? { type: 'committed', at: known.at } : { type: 'decided', decision: known.decision }
    }
    const held = this.byId.get(id)
    if (held === undefined) return { type: 'unknown' }
    if (decision === 'committed' && !areSame(held.write.ops, ops)) return { type: 'unready' }
    this.byId.delete(id)
    for (const lock of held.locks) this.locks.remove(lock)
    this.bytes -= held.cost.bytes
    this.keys -= held.cost.keys
    this.ranges -= held.cost.ranges
    this.remember(id, { decision, at })
    return { type: 'committed', at }
  }

  private remember(id: string, decided: Decided): void {
    this.decided.set(id, decided)
    for (const oldest of this.decided.keys()) {
      if (this.decided.size <= decidedMax) break
      this.decided.delete(oldest)
    }
  }

  /** The leader's part: what a commit carries. Where it does not know the transaction (yet), it goes as it came, and will be `unready` or `unknown`. */
  filled(command: Command): Command {
    if (this.byId.size === 0 || command.type !== 'writes') return command
    const [write] = command.writes
    if (write?.phase?.type !== 'decide' || write.phase.decision !== 'committed') return command
    const held = this.byId.get(write.phase.id)
    return held === undefined ? command : { ...command, writes: [{ ...write, ops: held.write.ops }] }
  }

  export(): PreparedTable {
    return { kept: this.list().map(({ sinceMs, write }) => ({ sinceMs, write })), decided: [...this.decided] }
  }

  import({ kept, decided }: PreparedTable): void {
    this.clear()
    for (const { sinceMs, write } of kept) this.keep({ sinceMs, write: copied(write, write.phase) })
    for (const [id, one] of decided) this.remember(id, one)
  }

  clear(): void {
    this.byId.clear()
    this.decided.clear()
    this.locks = new SpanIndex<Lock>()
    this.bytes = 0
    this.keys = 0
    this.ranges = 0
  }
}

/** Undefined: no machine has these. */
export function tableOf(kept: PreparedTable['kept'], decided: PreparedTable['decided']): PreparedTable | undefined {
  const ids = new Set([...kept.map(({ write }) => write.phase.id), ...decided.map(([id]) => id)])
  if (ids.size < kept.length + decided.length || kept.length > preparedMax) return undefined
  let there: Cost = { bytes: 0, keys: 0, ranges: 0 }
  for (const { write } of kept) {
    if (!hasRoomBeside(there, write)) return undefined
    const { bytes, keys, ranges } = costOf(write)
    there = { bytes: there.bytes + bytes, keys: there.keys + keys, ranges: there.ranges + ranges }
  }
  return { kept, decided }
}

function hasRoomBeside(there: Cost, write: Omit<Write, 'serial'>): boolean {
  const { bytes, keys, ranges } = costOf(write)
  return (
    there.bytes + bytes <= preparedBytesMax &&
    there.keys + keys <= lockedKeysMax &&
    there.ranges + ranges <= lockedRangesMax
  )
}

/** There would be room for it, if nothing else were prepared. */
export const fitsAlone = (prepare: Omit<Write, 'serial'>): boolean =>
  hasRoomBeside({ bytes: 0, keys: 0, ranges: 0 }, prepare)

function costOf({ ops, checks, ranges, phase }: Omit<Write, 'serial'>): Cost {
  let bytes = phase === undefined ? 0 : phase.id.length
  for (const op of ops) bytes += op.key.length + (op.type === 'put' ? op.value.length : 0) + 32
  for (const { key } of checks) bytes += key.length + 32
  for (const { from, to } of ranges) bytes += (from?.length ?? 0) + (to?.length ?? 0) + 32
  return { bytes, keys: ops.length + checks.length, ranges: joined(ranges).length }
}

function copied({ serial, ops, checks, ranges }: Write, phase: Prepare): Kept['write'] {
  return {
    serial,
    idempotencyKey: undefined,
    checks: checks.map(({ key, at }) => ({ key: copyBytes(key), at })),
    ranges: ranges.map(({ from, to, at, count }) => ({
      from: from && copyBytes(from),
      to: to && copyBytes(to),
      at,
      count,
    })),
    ops: ops.map(op =>
      op.type === 'put'
        ? { type: 'put', key: copyBytes(op.key), value: copyBytes(op.value) }
        : { type: 'delete', key: copyBytes(op.key) },
    ),
    phase,
  }
}

function locksOf({ ops, checks, ranges, phase: { id: owner } }: Kept['write']): Lock[] {
  const written = new Map(ops.map(({ key }) => [keyText(key), key]))
  const locks = [...written.values()].map((key): Lock => ({ span: keySpan(key), owner, isExclusive: true }))
  for (const { key } of checks) {
    if (!written.has(keyText(key))) locks.push({ span: keySpan(key), owner, isExclusive: false })
  }
  for (const span of joined(ranges)) locks.push({ span, owner, isExclusive: false })
  return locks
}

/**
 * As few as they can be: the pages of a scan adjoin each other. How many there are does not depend on what a host's sorting does with equal ones: those begin with the same key, and
 * are one.
 */
function joined(ranges: readonly RangeCheck[]): Span[] {
  const spans = ranges
    .map(({ from, to }) => rangeSpan(from, to))
    .filter(span => !isEmpty(span))
    .sort((a, b) => (a.from < b.from ? -1 : 1))
  const found: Span[] = []
  for (const span of spans) {
    const last = found.at(-1)
    if (last === undefined || (last.to !== undefined && last.to < span.from)) found.push(span)
    else if (last.to !== undefined && (span.to === undefined || span.to > last.to))
      found[found.length - 1] = { from: last.from, to: span.to }
  }
  return found
}

function areSame(a: readonly WriteOp[], b: readonly WriteOp[]): boolean {
  return (
    a.length === b.length &&
    a.every((op, i) => {
      const other = b[i] as WriteOp
      if (!equalBytes(op.key, other.key)) return false
      if (op.type === 'delete' || other.type === 'delete') return op.type === other.type
      return equalBytes(op.value, other.value)
    })
  )
}
