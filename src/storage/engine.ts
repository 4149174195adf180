/**
 * The seam between a group's state machine and whatever holds its data: pages of a file, as many in memory as the cache takes
 * (`paged-engine.ts`), or an ordered map in memory alone (`memory-engine.ts`).
 *
 * An operation is a function over a `View`. It may be run more than once: the paged engine throws its own page-miss token
 * out of a view method, loads and pins the page, and runs the function again. So the function has no effects, does not catch,
 * and finishes without a wait. Keys order as unsigned bytes.
 *
 * Completions come before the call returns wherever everything is resident. Errors (CORRUPT, STORAGE_LOST, QUOTA) of `update`
 * and `checkpoint` are final: the engine's memory and its file may have parted, the owner opens them anew.
 */
import type { Index } from '../base/ids.ts'
import type { Completion, Done } from '../platform.ts'
import type { SharedPool } from './pool-memory.ts'

/**
 * One row of a scan: key.subarray(0, keyBytes), value.subarray(valueFrom, valueTo). The same object for every row, its bytes are whoever's they
 * are: all of it holds during the visit only.
 */
export interface Row {
  readonly key: Uint8Array
  readonly keyBytes: number
  readonly value: Uint8Array
  readonly valueFrom: number
  readonly valueTo: number
}

export type Visit = (row: Row) => boolean

export interface View {
  /** Read-only, and stays valid. */
  get(key: Uint8Array): Uint8Array | undefined
  /** As `get`, without a copy: the row holds until the next call of a view. */
  find(key: Uint8Array): Row | undefined
  /**
   * Calls `visit` for the keys in from ≤ key < to (either undefined: open), ascending, or descending if `reverse`,
   * until it returns false.
   */
  scan(from: Uint8Array | undefined, to: Uint8Array | undefined, reverse: boolean, visit: Visit): void
}

/** The state after one applied index, unchanging until released. Holding it costs space, never blocks writes. */
export interface EngineSnapshot {
  readonly applied: Index
  /** `present`: the engine's state is still this one. `gone`: reading it fails with SNAPSHOT_TOO_OLD. */
  standing(): 'present' | 'past' | 'gone'
  /** As `Engine.peek`. */
  peek<T>(operation: (view: View) => T): { readonly value: T } | undefined
  read<T>(operation: (view: View) => T, done: Completion<T>): void
  release(): void
}

/** `value` undefined deletes. Both may be parts of something larger; they must stay as they are until the update is done, and are copied. */
export interface Change {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** What an operation that writes wants done. */
export interface Update<T> {
  readonly changes: readonly Change[]
  readonly result: T
}

export interface Compacted {
  readonly bytesBefore: number
  readonly bytesAfter: number
}

export interface EngineStatus {
  readonly keys: number
  /** Of keys and values. */
  readonly bytes: number
  /** Pages in memory. */
  readonly cache: {
    readonly bytesMax: number
    readonly bytes: number
    /** Not written to the file yet. */
    readonly dirtyBytes: number
    readonly hits: number
    readonly misses: number
    readonly evictions: number
    readonly writeBacks: number
    /** Of Bloom filters; besides `bytesMax`. */
    readonly filterBytes: number
    /** Reads of a page that a filter made needless, and those that it should have. */
    readonly readsSpared: number
    readonly falsePositives: number
  }
  /** Threads that help with large updates, and how many changes they made. */
  readonly writers: { readonly threads: number; readonly changes: number }
  /** Older states that are held: how many, and the pages that are kept for them alone, in memory or in the file, as large as they are in memory. */
  readonly held: { readonly states: number; readonly bytes: number }
  readonly pages: {
    readonly pageBytes: number
    readonly fileBytes: number
    /** Of the file; the rest is free and will be used again. */
    readonly usedBytes: number
    /** Since the store was opened. */
    readonly bytesWritten: number
    /** Ever finished. */
    readonly checkpoints: number
  }
}

export interface Engine {
  readonly applied: Index
  /** What the state machine handed to the checkpoint that this engine was opened from; undefined where there was none. */
  readonly note: Uint8Array | undefined
  read<T>(operation: (view: View) => T, done: Completion<T>): void
  /** At once, from what is in memory: undefined where something is not, or where an update is half done. */
  peek<T>(operation: (view: View) => T): { readonly value: T } | undefined
  /** Where other threads find the pages that are in memory (`shared-reader.ts`); undefined where they cannot. */
  readonly shared: SharedPool | undefined
  snapshot(done: Completion<EngineSnapshot>): void
  /**
   * Runs `operation` over the state so far; then all its changes and the new applied index take effect in one step. `applied` only
   * grows. The next call comes after `done`.
   */
  update<T>(operation: (view: View) => Update<T>, applied: Index, done: Completion<T>): void
  /**
   * Fills an engine that was emptied to be filled, in several calls; then `update` gives what is there its applied index. No checkpoint is made in between, and
   * whoever reads waits for that update.
   */
  load(changes: readonly Change[], done: Done): void
  /** Changes since the last checkpoint, in bytes of log about: what would have to be applied again after a crash. */
  readonly uncheckpointedBytes: number
  readonly checkpointing: boolean
  /** Runs once no checkpoint is under way: at once where there is none. */
  whenIdle(run: () => void): void
  /**
   * Makes the state as it is now durable, with `note`, what the state machine keeps besides: a later `open` begins there. `logDurable`
   * is asked once, before the checkpoint comes into force. Updates go on meanwhile. One at a time, and not while an update is being made.
   */
  checkpoint(note: Uint8Array, logDurable: (done: Done) => void, done: Done): void
  /**
   * Gives free space of the file back to the host, a little at a time. `checkpoint` makes one, as the owner does. Completes with bytes of the file before and
   * after.
   */
  compact(checkpoint: (done: Done) => void, done: Completion<Compacted>): void
  /**
   * Back to empty, applied 0 (a peer that gives up its own history to join another's). What is under way goes on over the empty state, or ends
   * with CLOSED (updates) or SNAPSHOT_TOO_OLD (reads of snapshots). `toBeFilled`: what comes now is no state until `load` and an `update` have made it one.
   */
  reset(toBeFilled?: boolean): void
  /** Tells readers in other threads whether what is here may be shown to whoever asks for whatever there is. At first, and after `reset`: no. */
  show(ready: boolean): void
  /** The owner is done: readers in other threads find nothing any more, and who waits for a state that is not there yet hears CLOSED. */
  close(): void
  status(): EngineStatus
}
