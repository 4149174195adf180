/**
 * Exactly-once execution (Ongaro's thesis, 6.3): part of the replicated state, so every rule here depends on the log alone, never on
 * a local clock. A write is executed when its session is open and its serial is new; a repeated serial gets the stored
 * answer. Sessions that were not used for long are forgotten in log order; a write that comes for a forgotten session is refused,
 * never executed.
 *
 * Idempotency keys are remembered across sessions, clients and restarts: the newest `idempotencyKeysMax` of them that were committed, and of these as many as
 * take `idempotencyKeyBytesMax`. The oldest goes first, in log order; no clock has a say.
 */
import type { Timestamp } from '../base/ids.ts'
import { textBytes } from '../base/text.ts'
import type { Decision, SessionId } from './command.ts'

export type Outcome =
  | { readonly type: 'committed'; readonly at: Timestamp }
  /**
   * `check`: position in the command's checks, and behind them in its ranges; `found`: the timestamp of the key that is not as it was, 0 where that is absent.
   */
  | { readonly type: 'conflict'; readonly check: number; readonly found: Timestamp }
  /** Not executed: a prepared transaction, of this id, has what it would write. Or, of a prepare: would write what it has read. */
  | { readonly type: 'held'; readonly by: string }
  /** Of a prepare, not executed: one of its id is prepared, or was decided lately. */
  | { readonly type: 'exists' }
  /** Of a prepare, not executed: as many are prepared as may be. */
  | { readonly type: 'full' }
  /** Of a decision, not executed: none of this id is prepared, or was decided lately. */
  | { readonly type: 'unknown' }
  /** Of a decision, not executed: the first one was another one. */
  | { readonly type: 'decided'; readonly decision: Decision }
  /** Of a decision, not executed: it does not say what was prepared. To be sent again; nothing is remembered of it. */
  | { readonly type: 'unready' }
  /** Not executed: the session was never opened, or was forgotten. */
  | { readonly type: 'noSession' }
  /** Not executed now: the client has said that it no longer waits for this serial. */
  | { readonly type: 'stale' }

export interface SessionTable {
  readonly sessions: readonly {
    readonly id: SessionId
    readonly floor: number
    readonly outcomes: readonly (readonly [serial: number, outcome: Outcome])[]
  }[]
  readonly keys: readonly (readonly [key: string, outcome: Outcome])[]
}

/** Of one client, as long as it is not forgotten. */
export class Session {
  floor: number
  readonly outcomes: Map<number, Outcome>

  constructor(floor = 0, outcomes = new Map<number, Outcome>()) {
    this.floor = floor
    this.outcomes = outcomes
  }

  /** The answer that is known already, or undefined: then the caller executes and calls `record`. */
  lookup(serial: number): Outcome | undefined {
    return this.outcomes.get(serial) ?? (serial < this.floor ? stale : undefined)
  }

  record(serial: number, outcome: Outcome): void {
    const { outcomes } = this
    outcomes.set(serial, outcome)
    if (outcomes.size <= outcomesPerSessionMax) return
    // A client keeps fewer in flight than this; one that does not loses its oldest answers, and gets `stale` for them.
    for (const oldest of outcomes.keys()) {
      if (outcomes.size <= outcomesPerSessionMax) break
      outcomes.delete(oldest)
      this.floor = Math.max(this.floor, oldest + 1)
    }
  }

  /** Its client waits for no answer below `floor` any more. */
  raiseFloor(floor: number): void {
    if (floor <= this.floor) return
    this.floor = floor
    for (const serial of this.outcomes.keys()) {
      if (serial < floor) this.outcomes.delete(serial)
    }
  }
}

const stale: Outcome = { type: 'stale' }

/** Bounds of the replicated table. They are part of the state machine's definition: all replicas must have the same. */
export const sessionsMax = 4096
export const outcomesPerSessionMax = 4096
export const idempotencyKeysMax = 65_536
/** In UTF-8: every checkpoint and every snapshot carries them. */
export const idempotencyKeyBytesMax = 4 * 1024 * 1024

export class Sessions {
  /** In order of last use by the log: the first is the next to be forgotten. */
  private readonly sessions = new Map<SessionId, Session>()
  /** The last of them, where that is known. */
  private newest: Session | undefined
  /** In order of first use. */
  private readonly byKey = new Map<string, Outcome>()
  private keyBytes = 0

  /** Opening twice is opening once: the request may be repeated by a client that did not hear the answer. */
  open(id: SessionId): void {
    const known = this.sessions.get(id)
    if (known !== undefined) {
      this.touch(id, known)
      return
    }
    this.newest = new Session()
    this.sessions.set(id, this.newest)
    if (this.sessions.size > sessionsMax) this.forgetOldest()
  }

  /** It is the last to be forgotten now. Undefined: it was never opened, or was forgotten. */
  use(id: SessionId): Session | undefined {
    const session = this.sessions.get(id)
    if (session !== undefined) this.touch(id, session)
    return session
  }

  lookupKey(key: string): Outcome | undefined {
    return this.byKey.get(key)
  }

  recordKey(key: string, outcome: Outcome): void {
    if (!this.byKey.has(key)) this.keyBytes += textBytes(key)
    this.byKey.set(key, outcome)
    for (const oldest of this.byKey.keys()) {
      if (this.byKey.size <= idempotencyKeysMax && this.keyBytes <= idempotencyKeyBytesMax) break
      this.byKey.delete(oldest)
      this.keyBytes -= textBytes(oldest)
    }
  }

  clear(): void {
    this.sessions.clear()
    this.newest = undefined
    this.byKey.clear()
    this.keyBytes = 0
  }

  /** Everything, in the orders in which it would be forgotten. */
  export(): SessionTable {
    return {
      sessions: [...this.sessions].map(([id, { floor, outcomes }]) => ({ id, floor, outcomes: [...outcomes] })),
      keys: [...this.byKey],
    }
  }

  import({ sessions, keys }: SessionTable): void {
    this.clear()
    for (const { id, floor, outcomes } of sessions) this.sessions.set(id, new Session(floor, new Map(outcomes)))
    for (const [key, outcome] of keys) this.recordKey(key, outcome)
  }

  get size(): number {
    return this.sessions.size
  }

  private touch(id: SessionId, session: Session): void {
    if (this.newest === session) return
    this.newest = session
    this.sessions.delete(id)
    this.sessions.set(id, session)
  }

  private forgetOldest(): void {
    for (const oldest of this.sessions.keys()) {
      this.sessions.delete(oldest)
      break
    }
  }
}
