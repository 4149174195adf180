/**
 * The seam between a group's state machine and whatever holds its data. Today an ordered map in memory that is rebuilt from
 * the log at start (`memory-engine.ts`); the paged engine will stand behind the same interface.
 *
 * A read is a function over a `View`. It may be run more than once: a paged engine throws its own page-miss token
 * out of a view method, loads and pins the page, and runs the function again. So the function has no effects, does not catch,
 * and finishes without a wait. Keys order as unsigned bytes.
 */
import type { Index } from '../base/ids.ts'

export interface View {
  get(key: Uint8Array): Uint8Array | undefined
  /**
   * Calls `visit` for the keys in from ≤ key < to (either undefined: open), ascending, or descending if `reverse`,
   * until it returns false. Bytes handed out are read-only and stay valid.
   */
  scan(
    from: Uint8Array | undefined,
    to: Uint8Array | undefined,
    reverse: boolean,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void
}

/** The state after one applied index, unchanging until released. Holding it costs space, never blocks writes. */
export interface EngineSnapshot {
  readonly applied: Index
  read<T>(operation: (view: View) => T, done: (result: T) => void): void
  release(): void
}

/** `value` undefined deletes. Both arrays become the engine's: hand in copies (`copyBytes`) of what is part of something larger. */
export interface Change {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

export interface EngineStatus {
  readonly keys: number
  readonly bytes: number
}

export interface Engine {
  readonly applied: Index
  /** Runs at once where everything is resident: `done` is then called before `read` returns. */
  read<T>(operation: (view: View) => T, done: (result: T) => void): void
  snapshot(): EngineSnapshot
  /** All changes and the new applied index take effect in one step; `applied` only grows. */
  apply(changes: readonly Change[], applied: Index): void
  /** Back to empty, applied 0 (a peer that gives up its own history to join another's). */
  reset(): void
  status(): EngineStatus
}
