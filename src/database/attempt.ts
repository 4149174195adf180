/** What an attempt of a transaction is given: by its caller, by its number, and by the database. */
import type { HarmonyError } from '../base/errors.ts'
import type { Core } from './core.ts'
import type { Deadlines } from './deadlines.ts'
import type { AbortSignalLike, DeadlockPolicy, Isolation } from './types.ts'

export interface AttemptOptions {
  readonly isolation: Isolation
  readonly readOnly: boolean
  readonly locking: 'optimistic' | 'pessimistic'
  readonly deadlocks: DeadlockPolicy
  readonly idempotencyKey: string | undefined
  readonly signal: AbortSignalLike | undefined
  /** By `core.clock`. */
  readonly deadlineMs: number
  readonly timeoutMs: number
}

/** Of one attempt. `age`: of the attempt before, 0 for the first. */
export interface AttemptNumber {
  readonly number: number
  readonly age: number
}

/** What the attempts of one database share. */
export interface AttemptHost {
  readonly core: Core
  readonly deadlines: Deadlines
  /** Why nothing is possible any more; undefined while the database is open. */
  ended(): HarmonyError | undefined
  onOver(isCommitted: boolean): void
}
