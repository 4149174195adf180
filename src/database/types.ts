/**
 * The public types. Shapes and names are a contract with users; comments here are what an editor shows them.
 */
import type { HarmonyError } from '../base/errors.ts'
import type { DeadlockPolicy } from '../txn/lock-table.ts'

export type { DeadlockPolicy }

/** Order: bytes < string < number < bigint < boolean. Strings order by code point, numbers by value. */
export type KeyPart = Uint8Array | string | number | bigint | boolean
/** A bare part is a tuple of one. `[]` and NaN are invalid, -0 is 0. */
export type Key = readonly KeyPart[] | KeyPart

/**
 * `linearizable` (default): sees every write acknowledged anywhere before the call.
 * `bounded`: at most `maxStalenessMs` old. `session`: sees this handle's own writes, never goes back.
 * `local`: whatever this replica has, even alone.
 */
export type Consistency = 'linearizable' | 'bounded' | 'session' | 'local'

/** The part of AbortSignal that is used; any AbortSignal fits. */
export interface AbortSignalLike {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

export interface ReadOptions {
  consistency?: Consistency
  /** For `bounded`; default 10,000. */
  maxStalenessMs?: number
  signal?: AbortSignalLike
  /** Default 10,000. */
  timeoutMs?: number
}

export interface WriteOptions {
  /** Write only if the key's version is this; `null`: only if the key is absent. Otherwise `CONFLICT`. */
  ifVersion?: string | null
  /**
   * Two writes with one key are executed once, whoever sends them and after whatever restarts: the second gets the first one's answer, even if it says something else. So a
   * write whose outcome is not known can be sent again. 1 to 256 characters. The newest 65,536 keys that were committed are remembered (as many as take 4 MiB).
   */
  idempotencyKey?: string
  signal?: AbortSignalLike
  timeoutMs?: number
}

export interface Entry<V = unknown> {
  key: readonly KeyPart[]
  value: V
  /** Versions of one database compare as strings: later is greater. */
  version: string
}

/** start ≤ k < end. A prefix takes every key that begins with these parts, itself included. */
export type Range = { prefix: Key } | { start?: Key; end?: Key } | { prefix: Key; start?: Key; end?: Key }

export interface ScanOptions extends ReadOptions {
  limit?: number
  reverse?: boolean
  /** From an earlier scan of the same range and direction: goes on behind it, at the same version. '': from the start. */
  cursor?: string
  keysOnly?: boolean
}

/**
 * One consistent state, however long the iteration takes. Nothing is read before the iteration starts; invalid arguments reject
 * there. `cursor`: where to go on after the last entry that was handed out; '' at the end.
 */
export interface Scan<V = unknown> extends AsyncIterable<Entry<V>> {
  /**
   * Every entry that is left, at most `limit`. Uint8Arrays of up to 4 KiB in its keys and values share memory with each other (2 MiB at most), as small Buffers of Node do: copy what is to
   * be transferred to another thread, or kept for longer than the others. (Those of an iteration, of `get` and of a `getMany` of one key have memory of their own.)
   */
  toArray(): Promise<Entry<V>[]>
  readonly cursor: string
}

export interface Reader {
  /** `undefined` where there is no such key. */
  get<V = unknown>(key: Key, options?: ReadOptions): Promise<V | undefined>
  getEntry<V = unknown>(key: Key, options?: ReadOptions): Promise<Entry<V> | undefined>
  /** All at one moment. Uint8Arrays of up to 4 KiB in the values share memory with each other, as those of `Scan.toArray`. */
  getMany<V = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(V | undefined)[]>
  scan<V = unknown>(range?: Range, options?: ScanOptions): Scan<V>
}

/** One state, for as long as it is held: at most ten minutes after its last use (then `SNAPSHOT_TOO_OLD`). What is deleted meanwhile keeps its space until then. */
export interface Snapshot extends Reader, AsyncDisposable {
  /** Of the newest commit in it. */
  readonly version: string
  close(): Promise<void>
}

/**
 * `serializable` (default): as if all transactions ran one after the other, in an order that agrees with real time. `snapshot`: reads one state, and no other
 * transaction has changed meanwhile what it writes; two that read the same and write different keys may both commit (write skew). `read-committed`: each read sees
 * what is committed at that moment; what was read may have changed when it commits (lost update).
 */
export type Isolation = 'serializable' | 'snapshot' | 'read-committed'

export interface TransactionOptions {
  isolation?: Isolation
  /**
   * `pessimistic`: whatever it reads is locked, shared, and whatever it writes, exclusively, so that it waits for others that lock instead of being refused when it commits.
   * Default `optimistic`: it locks nothing but what it reads `forUpdate`. Who locks nothing waits for nobody, and may still be first.
   */
  locking?: 'optimistic' | 'pessimistic'
  /** What is done about transactions that wait for each other. Choose one for the whole database. Default `detect`. */
  deadlocks?: DeadlockPolicy
  /** Writing in it fails with `READ_ONLY`. Transactions that write nothing never go through the log, with this or without. */
  readOnly?: boolean
  /** How often it is tried again after a conflict. Default 30. */
  retries?: number
  /** For all attempts together. Default 10,000. */
  timeoutMs?: number
  /** Two transactions with one key are executed once; and an attempt whose outcome is not known is repeated. */
  idempotencyKey?: string
  signal?: AbortSignalLike
}

export interface LockingReadOptions extends ReadOptions {
  /** Locks what is read, exclusively, until the transaction ends: waits for others that have it locked. Then reads the newest state. */
  forUpdate?: boolean
}

export interface LockingScanOptions extends ScanOptions {
  /** As in `LockingReadOptions`: the whole range, also where `limit` ends the scan before. */
  forUpdate?: boolean
}

/** Reads see its own writes, whose version is all zeros until it commits. */
export interface Transaction extends Reader {
  get<V = unknown>(key: Key, options?: LockingReadOptions): Promise<V | undefined>
  getEntry<V = unknown>(key: Key, options?: LockingReadOptions): Promise<Entry<V> | undefined>
  getMany<V = unknown>(keys: readonly Key[], options?: LockingReadOptions): Promise<(V | undefined)[]>
  scan<V = unknown>(range?: Range, options?: LockingScanOptions): Scan<V>
  put(key: Key, value: unknown): void
  delete(key: Key): void
  abort(reason?: unknown): never
}

/** Ended by `commit`, `prepare` or `rollback`, or by its `timeoutMs`. Disposing of it rolls back what was neither committed nor prepared. */
export interface OpenTransaction extends Transaction, AsyncDisposable {
  commit(): Promise<Committed>
  /**
   * Checks it as `commit` does, and keeps what it would write until somebody decides: `Database.prepared`, on any peer, after whatever restart. Until then nothing of it is seen, and
   * nobody can change what it writes, or what it has read (as far as its isolation level cares): they get a `CONFLICT` that is `retryable`.
   */
  prepare(options?: PrepareOptions): Promise<Prepared>
  rollback(): Promise<void>
}

export interface PrepareOptions {
  /** 1 to 256 characters, by which it is decided; of one that is prepared, or was decided lately, it is `EXISTS`. Drawn where none is given: whoever aborts a signal then has only `prepared.list` to find it. */
  id?: string
  /**
   * When nobody has decided it for so long, it is rolled back. 1 ms to a day; default 60,000. It may be held for longer, and never for less: the leader's own clock counts, and a new
   * leader, or a peer alone that starts again, begins anew.
   */
  holdMs?: number
}

export interface Prepared {
  id: string
  holdMs: number
}

export interface PreparedTransaction {
  id: string
  /** That it writes. */
  keys: number
  /** Since 1970, by the wall clock of the peer that led then: for people to read. Its time is over `holdMs` later, or later than that (see `PrepareOptions`). */
  preparedAtMs: number
  holdMs: number
}

export interface DecideOptions {
  signal?: AbortSignalLike
  /** Default 10,000. */
  timeoutMs?: number
}

/** What was prepared, by whomever. Of several decisions the first one counts, the end of its time included; the newest 4,096 are remembered. */
export interface PreparedTransactions {
  list(options?: DecideOptions): Promise<PreparedTransaction[]>
  commit(id: string, options?: DecideOptions): Promise<Committed>
  rollback(id: string, options?: DecideOptions): Promise<void>
}

/** Over `since`: the version of a batch (or of anything else that was read) that this handle or another one got; what came after it is told. */
export interface WatchOptions {
  since?: string
  signal?: AbortSignalLike
}

/**
 * What one commit changed in what is watched: the last write of each key. `resync`: what happened up to `version` may have been missed (the log no longer goes back so far,
 * or this peer took another state over): read what is of interest anew; the next batches go on from there.
 */
export interface WatchBatch<V = unknown> {
  version: string
  events: WatchEvent<V>[]
  resync: boolean
}

export type WatchEvent<V = unknown> =
  | { type: 'put'; key: readonly KeyPart[]; value: V; version: string }
  /** The key may have been absent before. */
  | { type: 'delete'; key: readonly KeyPart[]; value?: undefined; version: string }

export type Op = { type: 'put'; key: Key; value: unknown } | { type: 'delete'; key: Key }

export interface Check {
  key: Key
  version: string | null
}

export interface Committed {
  version: string
}

export interface Database extends Reader, AsyncDisposable {
  put(key: Key, value: unknown, options?: WriteOptions): Promise<Committed>
  delete(key: Key, options?: WriteOptions): Promise<Committed>
  /** All or nothing, in order. A failed check is `CONFLICT`. */
  batch(ops: readonly Op[], options?: WriteOptions & { check?: readonly Check[] }): Promise<Committed>
  /**
   * Runs `fn` and commits what it wrote, all or nothing; runs it again where another write came first (so it must have no effects of its own). What `fn` throws
   * ends the transaction, and nothing is written.
   */
  transaction<T>(fn: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T>
  /** A transaction without a function around it: whoever begins it commits it, and tries again himself. */
  begin(options?: TransactionOptions): Promise<OpenTransaction>
  /**
   * The commits from now on (or after `since`) that change something in a range or in some keys: in order, each once, as soon as they can be read here. Whoever is
   * slow is waited for, without anything being kept for him; invalid arguments reject in the iteration.
   */
  watch<V = unknown>(target: Range | readonly Key[], options?: WatchOptions): AsyncIterableIterator<WatchBatch<V>>
  /** The newest state (or an older one, by `consistency`), held to be read. */
  snapshot(options?: ReadOptions): Promise<Snapshot>
  /**
   * What this replica has, at once and without a message to the worker (as `local` reads: perhaps behind others). The entry, `null` where there is no such key,
   * `undefined` where that cannot be told now: the page is not in memory, a write is under way just then, or memory is not shared
   * (a browser's page that is not cross-origin isolated). Then `get` it.
   */
  peek<V = unknown>(key: Key): Entry<V> | null | undefined
  /** Transactions that were prepared (`OpenTransaction.prepare`): which there are, and what becomes of them. */
  readonly prepared: PreparedTransactions
  readonly cluster: Cluster
  status(): Status
  /**
   * Gives what deleted data took on the disk back to the host; without it, that space is used again. Goes on beside reads and writes. Bytes of the file
   * that holds the pages; the log is another one.
   */
  compact(): Promise<{ bytesBefore: number; bytesAfter: number }>
  close(): Promise<void>
}

/** A way to meet the other peers of a room; built in: BroadcastChannel (tabs) and WebSocket URLs. */
export interface Signaling {
  connect(
    room: string,
    self: string,
    on: (from: string, message: unknown) => void,
  ): Promise<{ send(to: string | '*', message: unknown): void; close(): void }>
}

/** The part of RTCConfiguration that both WebRTC implementations understand. */
export interface IceConfiguration {
  iceServers?: { urls: string | string[]; username?: string; credential?: string }[]
  iceTransportPolicy?: 'all' | 'relay'
}

export interface JoinOptions {
  room: string
  /** What all members of the room know. At least 128 random bits, or a pass phrase (it is stretched). Never leaves the peer. */
  secret: string
  /** `ws://…` addresses, or an own implementation in place of all others; `[]` for none (see `adopt`). Tabs of one origin also meet without: by BroadcastChannel. */
  signaling?: string | string[] | Signaling
  rtc?: IceConfiguration
  role?: 'auto' | 'voter' | 'learner'
  /** May this peer found the room if nobody is there? `auto`: after looking for it first. `false`: only join. */
  bootstrap?: 'auto' | boolean
  /** Where both this peer and the room have data. */
  onConflict?: 'fail' | 'discard-local'
}

export type Health = 'solo' | 'ok' | 'electing' | 'no-quorum' | 'left'

export interface ClusterStatus {
  health: Health
  /** This peer's id. */
  self: string
  clusterId: string
  room: string | undefined
  role: 'leader' | 'follower' | 'candidate' | 'learner'
  leader: string | undefined
  term: number
  commitIndex: number
  appliedIndex: number
  lastIndex: number
  /** Entries known to be committed and not applied here yet. */
  lag: number
}

export interface Member {
  id: string
  role: 'voter' | 'learner'
  state: 'self' | 'connected' | 'connecting' | 'unreachable'
  kind: 'tab' | 'node' | 'unknown'
  leader: boolean
  self: boolean
  rttMs: number | undefined
  /** Of the leader's view; undefined elsewhere. */
  matchIndex: number | undefined
}

export interface Cluster {
  /** Resolves once this peer is a member and has caught up. */
  join(options: JoinOptions): Promise<void>
  leave(): Promise<void>
  /**
   * Links to the peer with this id over a connection that the application has already: an RTCPeerConnection, or in Node.js a PeerConnection of
   * node-datachannel. Both sides call it, before `join` or after; once for each connection.
   */
  adopt(id: string, connection: unknown): Promise<void>
  status(): ClusterStatus
  members(): Member[]
  /** Called at once with the current status and on every change until the returned function is called. */
  subscribe(listener: (status: ClusterStatus) => void): () => void
  /** Gives a member a vote, in place of another where there are more who could vote than seats. Any peer takes it. */
  promote(id: string): Promise<void>
  /** Makes a member leave, for good if it is gone for good. Any peer takes it. */
  remove(id: string): Promise<void>
  transferLeadership(to?: string): Promise<void>
  /**
   * After a majority of the voters is lost for good: a new cluster of this peer alone, with the data that it has. What only the others had is lost; what was never
   * acknowledged may be there. Then the others join it, with new directories. The old majority, should it come back, stays another cluster.
   */
  recover(options: { confirmDataLoss: true }): Promise<void>
  /** Cuts this peer off from all others (frames are dropped both ways) or heals it: for demonstrations and tests. */
  partition(cut: boolean): void
}

export interface Status {
  storage: {
    /** `memory`, `opfs`, `indexeddb`, or the directory's path. */
    kind: string
    logBytes: number
    keys: number
    /** Of keys and values. */
    bytes: number
    pageBytes: number
    /** Of the file that holds the pages. */
    fileBytes: number
    /** Of that, what is in use; the rest is free and will be used again. */
    usedBytes: number
    /** Ever finished. A start applies again what the log holds since the newest. */
    checkpoints: number
    durability: 'strict' | 'relaxed'
  }
  /** Pages in memory; `bytesMax` is `OpenOptions.cacheBytes` in whole pages. `dirtyBytes`: of pages that are not in the file yet. */
  cache: {
    bytesMax: number
    bytes: number
    dirtyBytes: number
    hits: number
    misses: number
    evictions: number
    writeBacks: number
    /** Bloom filters of pages that are not in memory; at most an eighth of `bytesMax`, and not counted in it. */
    filterBytes: number
    /** Reads of a page that a filter made needless, and those that it should have. */
    readsSpared: number
    falsePositives: number
  }
  /**
   * Threads that read beside this one (`OpenOptions.readers`): what they answered, and what they left to this one because a page was not in
   * memory, or writes came in between.
   */
  readers: { threads: number; answered: number; declined: number }
  /** Threads that help with large batches (`OpenOptions.writers`), and the changes that they made. */
  writers: { threads: number; changes: number }
  /**
   * Older states that snapshots, transactions and scans hold here, and what is kept on disk for them alone (pages, before compression): at most as much as the data for each, and four times the
   * data (or 256 MiB) for all together. `givenUp`: those that nobody had let go of; who reads them hears `SNAPSHOT_TOO_OLD`.
   */
  snapshots: { held: number; bytes: number; givenUp: number }
  /** Those of this handle. `active`: begun and not over; `committed`: or prepared; `aborted`: ended otherwise, each attempt counted; `retried`: attempts after the first. */
  transactions: { active: number; committed: number; aborted: number; retried: number }
  /**
   * The replicated log: entries `firstIndex` to `lastIndex`; what came before is in the pages alone. `receivedBytes`: of a snapshot that this peer is getting because it was behind the
   * others' logs; undefined where it is not.
   */
  log: {
    firstIndex: number
    lastIndex: number
    cachedBytes: number
    syncs: number
    records: number
    receivedBytes: number | undefined
  }
  /** Peers of tabs that are gone, which run here: their ids (`OpenOptions.adopt`). */
  adopted: readonly string[]
  queues: { pendingWrites: number; pendingReads: number; bytes: number; bytesMax: number }
  /** Where this peer leads: the locks of all transactions of the group (spans held or waited for, requests that wait), and what came of requests since it leads. */
  locks: {
    spans: number
    waiting: number
    granted: number
    waited: number
    deadlocks: number
    wounds: number
    deaths: number
  }
  /** Transactions of the whole database that are prepared and not decided, as far as is known here: at most 1,024, with 65,536 keys (read and written), 1,024 ranges and 32 MiB. */
  prepared: { transactions: number; keys: number; bytes: number }
  frames: { sent: number; received: number; bytesSent: number; bytesReceived: number; bytesInFlight: number }
}

export type DatabaseEvent =
  | { type: 'opened'; storage: string }
  /** The data was in another kind of storage of this browser until now. */
  | { type: 'moved'; from: string; to: string }
  /** What recovery found and did, for example a torn tail that was cut. */
  | { type: 'repaired'; message: string }
  /**
   * The peer has stopped, and goes on by itself. `QUOTA`: the disk is full; what is here can be read (`local`), the rest is refused with `QUOTA` until there is space again. `CORRUPT`: its files are
   * damaged, and others have what was in them: it begins anew as a new member, and the damaged files are kept. `repaired` says that it has gone on. Watches and snapshots end.
   */
  | { type: 'paused'; code: 'QUOTA' | 'CORRUPT'; message: string }
  /** This peer was so far behind that it got the whole state, as it is after entry `index`. */
  | { type: 'snapshot'; index: number }
  /** The state that the leader sent is damaged or malformed: this peer keeps what it has, and asks again after half a minute, or another leader. */
  | { type: 'snapshotRefused'; message: string }
  /** Browsers: another tab's replica, whose tab is gone, runs in this one from now on, so that its vote is not missing (`OpenOptions.adopt`). `id`: its peer's. */
  | { type: 'adopted'; id: string }
  /** It does not any more, and why: its tab is back, or nobody needs it. */
  | { type: 'returned'; id: string; message: string }
  | { type: 'role'; role: ClusterStatus['role']; term: number }
  | { type: 'health'; health: Health }
  | { type: 'member'; id: string; change: 'joined' | 'left' | 'promoted' | 'demoted' | 'connected' | 'disconnected' }
  | { type: 'link'; id: string; message: string }
  | { type: 'signaling'; state: 'open' | 'down'; message: string }
  | { type: 'error'; error: HarmonyError }

export interface OpenOptions {
  name: string
  /**
   * Browsers. `auto`: the origin private file system where it works (dedicated workers), else IndexedDB; a database that is in the other one is moved. A
   * place that is named is used, and moved to. Node: `auto` is the directory `<name>.harmony`, or `{ dir }`. `memory`: nothing is kept.
   */
  storage?: 'auto' | 'opfs' | 'indexeddb' | 'memory' | { dir: string }
  /** Browsers. `auto`: a dedicated worker; `false`: on this thread; or a function that makes the worker (bundlers, strict CSP). */
  worker?: 'auto' | false | (() => unknown)
  /** The most memory for pages, in bytes, 1 MiB or more. Default: 64 MiB. The data may be many times as large. */
  cacheBytes?: number
  durability?: 'strict' | 'relaxed'
  /**
   * Browsers: while this tab is in a room, it goes on for tabs of this profile that were members and are gone (killed, crashed, closed), and gives each its storage back
   * when it is opened again. Default: true.
   */
  adopt?: boolean
  /**
   * Node.js: so many threads, 0 to 16, that read beside this one from the pages in memory: large `getMany`s and scans of several pages.
   * Default: 0. Each takes a few megabytes; the pages are shared.
   */
  readers?: number
  /**
   * Node.js: so many threads, 0 to 16, that help with batches of 4,000 changes and more, in the pages in memory. Default: 0; worth trying where large batches
   * are frequent and there are cores to spare. One that dies in the middle of a batch stops the database, which is then opened anew (`STORAGE_LOST`).
   */
  writers?: number
  /**
   * Linearizable reads under the leader's lease, while this peer leads: without asking the others, for a fraction of a second after they were heard. They are right as long as no voter's clock
   * runs more than `driftMax` (1 to 4; default 2) times as fast as the leader's. Default: false, reads trust no clock.
   */
  leaseReads?: boolean | { readonly driftMax?: number }
  cluster?: JoinOptions
  onEvent?: (event: DatabaseEvent) => void
}
