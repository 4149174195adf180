/**
 * The database in bytes: what `database.ts` (keys, values, options, iteration) needs of a peer, wherever it runs. Two
 * implementations: in this realm (`local-core.ts`) and across a worker boundary (`rpc/`). Everything that passes is
 * structured-clonable except an own Signaling; errors are HarmonyErrors; bytes are not changed by either side once passed.
 */
import type { Clock } from '../platform.ts'
import type { RangeCheck, WriteCheck } from '../shard/command.ts'
import type { DeadlockPolicy, LockMode } from '../txn/lock-table.ts'
import type { Span } from '../txn/spans.ts'
import type { PackedEntries } from './entries.ts'
import type { ClusterStatus, Consistency, DatabaseEvent, IceConfiguration, Member, Signaling, Status } from './types.ts'

export interface CoreReadOptions {
  readonly consistency: Consistency
  readonly maxStalenessMs: number
  readonly timeoutMs: number
  /** Reads this state (`Core.snapshot`), whatever the above says. */
  readonly snapshot?: string | undefined
}

/** A state that is held to be read. */
export interface CoreSnapshot {
  readonly name: string
  /** Of the newest commit in it. */
  readonly version: string
}

export interface CoreScan extends CoreReadOptions {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
  readonly reverse: boolean
  readonly keysOnly: boolean
  /** ≥ 1. At most so many entries in this page (the core may return fewer; `done` says when it is over). */
  readonly limit: number
  /** Of the page before; undefined on the first. */
  readonly continuation: { readonly snapshot: string; readonly after: Uint8Array } | undefined
}

export interface CorePage {
  /** All present; values are empty for `keysOnly`. */
  readonly entries: PackedEntries
  /** Names the state that was read, for the next page; kept for a limited time, then SNAPSHOT_TOO_OLD. Means nothing where `done`. */
  readonly snapshot: string
  readonly done: boolean
}

export type CoreOp =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: Uint8Array }

export interface CoreWrite {
  readonly ops: readonly CoreOp[]
  readonly checks: readonly WriteCheck[]
  /** Default: none. */
  readonly ranges?: readonly RangeCheck[] | undefined
  readonly idempotencyKey: string | undefined
  readonly timeoutMs: number
}

export interface CorePrepare {
  /** 1 to 256 characters; undefined: it is drawn. */
  readonly id: string | undefined
  /** An integer, ≥ 1. */
  readonly holdMs: number
}

export interface CoreDecide {
  readonly id: string
  readonly commit: boolean
  readonly timeoutMs: number
}

/** One that is not decided. */
export interface CorePrepared {
  readonly id: string
  /** That it writes. */
  readonly keys: number
  /** By the leader's clock of then, since 1970. */
  readonly preparedAtMs: number
  readonly holdMs: number
}

export interface CoreLock {
  /** Numbered by the one who holds this core, from 1; each number once. */
  readonly transaction: number
  readonly mode: LockMode
  readonly policy: DeadlockPolicy
  /** That an earlier attempt of it was given; 0: none was. */
  readonly age: number
  readonly spans: readonly Span[]
  readonly timeoutMs: number
}

export interface CoreWatch {
  readonly ranges: readonly { readonly from: Uint8Array | undefined; readonly to: Uint8Array | undefined }[]
  /** Undefined: from now on. */
  readonly since: string | undefined
  readonly timeoutMs: number
}

export interface CoreWatching {
  readonly watch: string
  /** What came after it is told. */
  readonly version: string
}

export interface CoreJoin {
  readonly room: string
  readonly secret: string
  /** `ws://…` and `wss://…` addresses, besides the host's own way (BroadcastChannel in browsers). */
  readonly signaling: readonly string[] | undefined
  /**
   * The application's own way, in place of the above. The one thing that cannot be cloned: `rpc/` bridges it. A core makes a
   * Rendezvous of it with `own-signaling.ts`.
   */
  readonly ownSignaling: Signaling | undefined
  readonly rtc: IceConfiguration | undefined
  readonly role: 'auto' | 'voter' | 'learner'
  readonly bootstrap: 'auto' | boolean
  readonly onConflict: 'fail' | 'discard-local'
}

/** What the core knows of it; transactions run above. */
export type CoreStatus = Omit<Status, 'transactions'>

/** Pushed to subscribers whenever something in it changed (coalesced per turn of the event loop). */
export interface CoreMirror {
  readonly cluster: ClusterStatus
  readonly members: readonly Member[]
  readonly status: CoreStatus
}

export interface Core {
  /** Of the realm that this object is in. */
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** In the order of the keys. Answers at once, or throws, where it need not wait for anything. */
  getMany(keys: readonly Uint8Array[], options: CoreReadOptions): PackedEntries | Promise<PackedEntries>
  /** As `getMany`. */
  scan(request: CoreScan): CorePage | Promise<CorePage>
  /**
   * At once, from what is in memory here, at the level `local`; undefined where the answer cannot be had without a wait.
   * @throws HarmonyError CLOSED, and what reading a page that is in memory may find.
   */
  peek(key: Uint8Array): PackedEntries | undefined
  /** The newest state at the level asked for, held until `release` (or SNAPSHOT_TOO_OLD). Answers as `getMany`. */
  snapshot(options: CoreReadOptions): CoreSnapshot | Promise<CoreSnapshot>
  release(snapshot: string): void
  write(request: CoreWrite): Promise<{ readonly version: string }>
  /** As `write`, but nothing is done before it is decided. `write` has no idempotency key. Besides rejects with EXISTS, TOO_LARGE. */
  prepare(write: CoreWrite, as: CorePrepare): Promise<{ readonly id: string }>
  /** Of whatever was prepared, wherever; `version` is that of the first decision. Rejects with CONFLICT where that was another one, VALIDATION where there is none. */
  decide(request: CoreDecide): Promise<{ readonly version: string }>
  /** Those that are not decided, in their order, by a linearizable read. */
  prepared(timeoutMs: number): Promise<readonly CorePrepared[]>
  /** Resolves when it has all of them. Rejects with DEADLOCK (it has none any more), TIMEOUT, TOO_LARGE, and what writes are refused with. */
  lock(request: CoreLock): Promise<{ readonly age: number }>
  /** The transaction is over, with all its locks; calls of `lock` that wait may never be answered. */
  unlock(transaction: number): void
  watch(request: CoreWatch): Promise<CoreWatching>
  /** The next commits, one at least, packed (`watch-batches.ts`). One call at a time. */
  watched(watch: string): Promise<Uint8Array>
  /** A call of `watched` that waits rejects with CLOSED. */
  unwatch(watch: string): void
  join(options: CoreJoin): Promise<void>
  leave(): Promise<void>
  /** `connection` is the host's own kind; across a worker boundary what the page's host lends for it. */
  adopt(remote: string, connection: unknown): Promise<void>
  transferLeadership(to: string | undefined): Promise<void>
  /** A member's id. */
  order(order: 'promote' | 'remove', id: string): Promise<void>
  /** The caller has confirmed that data may be lost. */
  recover(): Promise<void>
  partition(cut: boolean): void
  compact(): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }>
  /** The latest pushed state; synchronous everywhere. */
  mirror(): CoreMirror
  /** Calls at once with the present state, then with every later one. */
  subscribe(listener: (mirror: CoreMirror) => void): () => void
  events(listener: (event: DatabaseEvent) => void): () => void
  /** Idempotent. Afterwards everything pending and everything new rejects with CLOSED. */
  close(): Promise<void>
}
