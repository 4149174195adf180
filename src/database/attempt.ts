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
  readonly timeoutMs: number
}

export interface Attempt {
  readonly number: number
  /** Of the attempt before, 0 for the first. */
  readonly age: number
  /** By `core.clock`; of all attempts of a transaction. */
  readonly deadlineMs: number
}

/** What the attempts of one database share. */
export interface AttemptHost {
  readonly core: Core
  readonly deadlines: Deadlines
  /** Why nothing is possible any more; undefined while the database is open. */
  ended(): HarmonyError | undefined
  onOver(isCommitted: boolean): void
}
