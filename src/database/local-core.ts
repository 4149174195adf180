/**
 * The `Core` of a peer in this realm: promises around the peer's callbacks, scans in pages over one snapshot, and the pushed mirror
 * of its status. Snapshots are named by what they show and a number, kept for a while after their last page, and bounded in number.
 */
import { HarmonyError } from '../base/errors.ts'
import { isId128, peerId } from '../base/ids.ts'
import { Lives } from '../cluster/lives.ts'
import type { Peer } from '../cluster/peer.ts'
import type { PeerEvent, PeerStatus, ReadLevel } from '../cluster/peer-types.ts'
import { openStore, randomId, type Store, type StoreOptions } from '../cluster/store.ts'
import { versionOf } from '../mvcc/versioned.ts'
import type { Cancel, Platform } from '../platform.ts'
import { noRanges } from '../shard/command.ts'
import type { Compacted, EngineSnapshot, View } from '../storage/engine.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import { clusterStatus, differences, members } from './cluster-status.ts'
import type {
  Core,
  CoreDecide,
  CoreJoin,
  CoreLock,
  CoreMirror,
  CorePage,
  CorePrepare,
  CorePrepared,
  CoreReadOptions,
  CoreScan,
  CoreSnapshot,
  CoreStatus,
  CoreWatch,
  CoreWatching,
  CoreWrite,
} from './core.ts'
import { EntryPacker, type PackedEntries } from './entries.ts'
import { HeldSnapshots, type HeldState } from './held-snapshots.ts'
import type { LocalCoreOptions } from './local-core-options.ts'
import { decideIn, preparedIn, prepareIn } from './local-prepared.ts'
import { settled } from './local-write.ts'
import { numbersOf } from './numbers.ts'
import { entriesOf, type Page, pageOf } from './page-read.ts'
import { type ReadThreads, ReadThreadsUse } from './read-threads.ts'
import type { DatabaseEvent } from './types.ts'
import { Watches } from './watches.ts'

const cacheBytesDefault = 64 * 1024 * 1024
/** Below it a message to a thread and back costs more than the reading. */
const threadKeysMin = 200
const threadEntriesMin = 200
const tellEveryMs = 5

/** Opens (or creates) the store in `directory` and starts its peer. Rejects with CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST. */
export function openLocalCore(options: LocalCoreOptions): Promise<LocalCore> {
  return new Promise((resolve, reject) => {
    const {
      directory,
      platform,
      cacheBytes = cacheBytesDefault,
      shared = false,
      writeHelpers,
      refuseDamaged = false,
    } = options
    // The lock must not outlive a failed opening.
    const fail = (error: unknown): void => directory.close(() => reject(error))
    const storeOptions = { directory, platform, cacheBytes, shared, writeHelpers, refuseDamaged }
    openStore(storeOptions, store => {
      if (!store.ok) return fail(store.error)
      try {
        resolve(new LocalCore(options, storeOptions, store.value))
      } catch (error) {
        fail(error)
      }
    })
  })
}

const noReads = { answered: 0, declined: 0 }

export class LocalCore implements Core {
  private readonly options: LocalCoreOptions
  private readonly lives: Lives
  private readThreads: ReadThreads | undefined
  private readonly threadsUse = new ReadThreadsUse()
  private readonly snapshots: HeldSnapshots
  private readonly watches: Watches
  private readonly packer = new EntryPacker()
  private readonly mirrorListeners = new Set<(mirror: CoreMirror) => void>()
  private readonly eventListeners = new Set<(event: DatabaseEvent) => void>()
  /** Events from before anybody listened; the first listener gets them. */
  private early: DatabaseEvent[] = []
  private latest: CoreMirror
  /** Undefined: nothing has happened since `latest`. Else it is told when this is called off, or comes. */
  private untold: Cancel | undefined
  private toldMs = Number.NEGATIVE_INFINITY
  private closed: Promise<void> | undefined

  constructor(options: LocalCoreOptions, storeOptions: StoreOptions, store: Store) {
    this.options = options
    this.snapshots = new HeldSnapshots(
      () => options.platform.clock.now(),
      () => {
        const { held, bytes } = this.store.engine.status()
        return { keptBytes: held.bytes, dataBytes: bytes }
      },
      options.heldBytesMin,
    )
    const { platform, limits, timing, policy, checkpointBytes, leaseDriftMax, slots } = options
    this.lives = new Lives(
      {
        platform,
        storeOptions,
        ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
        leaseDriftMax,
        ...(limits === undefined ? {} : { limits }),
        ...(timing === undefined ? {} : { timing }),
        ...(policy === undefined ? {} : { policy }),
        onChange: () => this.onChange(),
        onEvent: event => this.onPeerEvent(event),
        onReplaced: () => this.onReplaced(),
        onPaused: ({ code, message }) =>
          this.emit({ type: 'paused', code: code === 'QUOTA' ? code : 'CORRUPT', message }),
        onRepaired: message => this.emit({ type: 'repaired', message }),
        slots,
        onAdoption: event => {
          this.emit(event)
          this.onChange()
        },
      },
      store,
    )
    this.watches = new Watches(this.peer.clients)
    this.startThreads()
    store.engine.show(this.peer.clients.localReady)
    this.latest = this.makeMirror()
    this.emit({ type: 'opened', storage: options.storageKind })
    for (const event of options.events ?? []) this.emit(event)
    for (const message of store.repairs) this.emit({ type: 'repaired', message })
  }

  /** For tests and tools that look inside. After a recovery, or a full disk, it is another one. */
  get peer(): Peer {
    return this.lives.peer
  }

  private get store(): Store {
    return this.lives.store
  }

  /** What other threads need to read the pages that are in memory. */
  get sharedPool(): SharedPool | undefined {
    return this.store.engine.shared
  }

  get clock(): Platform['clock'] {
    return this.options.platform.clock
  }

  getMany(keys: readonly Uint8Array[], options: CoreReadOptions): PackedEntries | Promise<PackedEntries> {
    const { readThreads } = this
    if (options.snapshot !== undefined) {
      return readFrom(this.snapshots.use(options.snapshot).snapshot, entriesOf(this.packer, keys))
    }
    if (readThreads !== undefined && keys.length >= threadKeysMin && this.threadsUse.worthwhile()) {
      return this.getManyBeside(readThreads, keys, options)
    }
    return this.read(options, entriesOf(this.packer, keys))
  }

  private async getManyBeside(
    threads: ReadThreads,
    keys: readonly Uint8Array[],
    options: CoreReadOptions,
  ): Promise<PackedEntries> {
    // Past the barrier, and not while an update is half done: what the threads find from here on is as new as it has to be.
    const applied = await this.read(options, () => this.store.engine.applied)
    const entries = await threads.getMany(keys, applied)
    this.threadsUse.told(entries !== undefined)
    return entries ?? this.read(options, entriesOf(this.packer, keys))
  }

  peek(key: Uint8Array): PackedEntries | undefined {
    return this.peer.clients.peek({ consistency: 'local' }, entriesOf(this.packer, [key]))?.value
  }

  snapshot(options: CoreReadOptions): CoreSnapshot | Promise<CoreSnapshot> {
    return this.takeSnapshot(options, 'users')
  }

  release(snapshot: string): void {
    this.snapshots.letGoNamed(snapshot)
  }

  scan(request: CoreScan): CorePage | Promise<CorePage> {
    const name = request.continuation?.snapshot ?? request.snapshot
    if (name !== undefined) return this.scanState(this.snapshots.use(name), request)
    const taken = this.takeSnapshot(request, 'scans')
    return taken instanceof Promise
      ? taken.then(state => this.scanState(state, request))
      : this.scanState(taken, request)
  }

  private scanState(state: HeldState, request: CoreScan): CorePage | Promise<CorePage> {
    const isOwn = request.continuation === undefined && request.snapshot === undefined
    const finish = ({ entries, done }: Page): CorePage => {
      // A scan of one page never comes back for its snapshot: free it at once instead of keeping it for a minute, unless others share it.
      if (done && isOwn) this.snapshots.letGo(state, 'scans')
      return { entries, snapshot: state.name, done }
    }
    const page = this.readPage(state.snapshot, request)
    return page instanceof Promise ? page.then(finish) : finish(page)
  }

  write(request: CoreWrite): Promise<{ readonly version: string }> {
    const { ops, checks, ranges = noRanges, idempotencyKey } = request
    return settled(this.peer.clients, { ops, checks, ranges, idempotencyKey }, request.timeoutMs)
  }

  prepare(write: CoreWrite, { id, holdMs }: CorePrepare): Promise<{ readonly id: string }> {
    const { random } = this.options.platform
    return prepareIn(this.peer.clients, write, { id: id ?? randomId(random), holdMs })
  }

  decide(request: CoreDecide): Promise<{ readonly version: string }> {
    return decideIn(this.peer.clients, request)
  }

  prepared(timeoutMs: number): Promise<readonly CorePrepared[]> {
    return preparedIn(this.peer.clients, timeoutMs)
  }

  lock({ timeoutMs, ...wish }: CoreLock): Promise<{ readonly age: number }> {
    return new Promise((resolve, reject) => {
      this.peer.clients.lock(wish, timeoutMs, answer => {
        if (answer instanceof HarmonyError) reject(answer)
        else resolve(answer)
      })
    })
  }

  unlock(transaction: number): void {
    this.peer.clients.locks.unlock(transaction)
  }

  watch(request: CoreWatch): Promise<CoreWatching> {
    return this.watches.start(request)
  }

  watched(watch: string): Promise<Uint8Array> {
    return this.watches.more(watch)
  }

  unwatch(watch: string): void {
    this.watches.end(watch)
  }

  join(options: CoreJoin): Promise<void> {
    const { room, secret, role, bootstrap, onConflict } = options
    return this.settle(done => {
      const rendezvous = this.options.rendezvous(options)
      this.lives.join({ room, secret, rendezvous, wish: role, bootstrap, onConflict }, done)
    })
  }

  leave(): Promise<void> {
    return this.settle(done => this.lives.leave(done))
  }

  adopt(remote: string, connection: unknown): Promise<void> {
    return this.settle(done => {
      this.peer.links.adopt(peerId(remote), connection)
      done(undefined)
    })
  }

  transferLeadership(to: string | undefined): Promise<void> {
    return this.settle(done => {
      if (to !== undefined && !isId128(to)) {
        return done(new HarmonyError('VALIDATION', `"${to}" is not the id of a peer; see cluster.members()`))
      }
      this.peer.transferLeadership(to === undefined ? undefined : peerId(to), done)
    })
  }

  order(order: 'promote' | 'remove', id: string): Promise<void> {
    return this.settle(done => this.peer.order(order, peerId(id), done))
  }

  recover(): Promise<void> {
    return this.settle(done => {
      this.lives.recover(result => done(result instanceof HarmonyError ? result : undefined))
    })
  }

  partition(cut: boolean): void {
    this.peer.partition(cut)
  }

  async compact(): Promise<Compacted> {
    return outcome<Compacted>(done => this.peer.clients.compact(done))
  }

  /** The numbers as they are now: reads and checkpoints change them too, and are no news to push. */
  mirror(): CoreMirror {
    if (this.untold !== undefined) this.tell()
    return { ...this.latest, status: this.numbers(this.peer.status()) }
  }

  subscribe(listener: (mirror: CoreMirror) => void): () => void {
    if (this.untold !== undefined) this.tell()
    this.mirrorListeners.add(listener)
    listener(this.latest)
    return () => this.mirrorListeners.delete(listener)
  }

  events(listener: (event: DatabaseEvent) => void): () => void {
    this.eventListeners.add(listener)
    const { early } = this
    this.early = []
    for (const event of early) listener(event)
    return () => this.eventListeners.delete(listener)
  }

  close(): Promise<void> {
    this.closed ??= this.settle(done => {
      this.snapshots.close()
      this.readThreads?.close()
      this.untold?.()
      this.lives.close(done)
    })
    return this.closed
  }

  /** The storage is not this process's any more: nothing is answered or written from now on. */
  lose(why: HarmonyError): void {
    this.snapshots.close()
    this.lives.lose(why)
  }

  private read<T>(options: CoreReadOptions, operation: (view: View) => T): T | Promise<T> {
    const { clients } = this.peer
    const level: ReadLevel = options
    const read = clients.peek(level, operation)
    if (read !== undefined) return read.value
    return outcome(done => clients.read(level, options.timeoutMs, operation, done))
  }

  private readPage(snapshot: EngineSnapshot, request: CoreScan): Page | Promise<Page> {
    const { readThreads } = this
    // The threads know the present state only.
    if (
      readThreads !== undefined &&
      request.limit >= threadEntriesMin &&
      snapshot.standing() === 'present' &&
      this.threadsUse.worthwhile()
    ) {
      return this.readPageBeside(readThreads, snapshot, request)
    }
    return this.readPageHere(snapshot, request)
  }

  private readPageHere(snapshot: EngineSnapshot, request: CoreScan): Page | Promise<Page> {
    return readFrom(snapshot, pageOf(this.packer, request))
  }

  private async readPageBeside(threads: ReadThreads, snapshot: EngineSnapshot, request: CoreScan): Promise<Page> {
    const { limit, keysOnly, from, to, reverse, continuation } = request
    const page = await threads.page({ limit, keysOnly, from, to, reverse, continuation }, snapshot.applied)
    this.threadsUse.told(page !== undefined)
    // An index alone would not tell one history from another.
    return page !== undefined && snapshot.standing() !== 'gone' ? page : this.readPageHere(snapshot, request)
  }

  private settle(run: (done: (error: HarmonyError | undefined) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => run(error => (error === undefined ? resolve() : reject(error))))
  }

  private takeSnapshot(options: CoreReadOptions, by: 'scans' | 'users'): HeldState | Promise<HeldState> {
    // Many take one state where many run at the same time.
    const newest = this.peer.clients.passes(options) ? this.snapshots.takeNewest(by) : undefined
    if (newest !== undefined) return newest
    return outcome<HeldState>(done => {
      this.peer.clients.snapshot(options, options.timeoutMs, result => {
        if (result instanceof HarmonyError) return done(result)
        const { snapshot, at } = result
        const of = `${this.peer.cluster.slice(0, 8)}.${snapshot.applied.toString(36)}`
        done(this.snapshots.take(of, snapshot, versionOf(at), by))
      })
    })
  }

  /** Another peer over other pages: what looked at the old ones has ended. */
  private onReplaced(): void {
    this.snapshots.close()
    this.watches.moveTo(this.peer.clients)
    this.readThreads?.close()
    this.startThreads()
    this.onChange()
  }

  private startThreads(): void {
    const { shared } = this.store.engine
    this.readThreads = shared === undefined ? undefined : this.options.readThreads?.(shared)
  }

  /** Every commit is a change, and to put its picture together costs as much as a put: those of a few milliseconds are told as one. */
  private onChange(): void {
    this.store.engine.show(this.peer.clients.localReady)
    if (this.untold !== undefined) return
    const restMs = this.toldMs + tellEveryMs - this.clock.now()
    if (restMs <= 0) this.tell()
    else this.untold = this.clock.after(restMs, () => this.tell())
  }

  private tell(): void {
    this.untold?.()
    this.untold = undefined
    this.toldMs = this.clock.now()
    const before = this.latest
    this.latest = this.makeMirror()
    for (const event of differences(before, this.latest)) this.emit(event)
    this.snapshots.expire()
    for (const listener of [...this.mirrorListeners]) listener(this.latest)
  }

  private onPeerEvent(event: PeerEvent): void {
    switch (event.type) {
      case 'error':
        return this.emit({ type: 'error', error: event.error })
      case 'snapshot':
        return this.emit({ type: 'snapshot', index: event.index })
      case 'snapshotRefused':
        return this.emit({ type: 'snapshotRefused', message: event.message })
      case 'rendezvous':
        return this.emit({ type: 'signaling', state: event.state, message: event.message })
      case 'link':
        this.emit({ type: 'link', id: event.peer, message: event.message })
        if (event.up === undefined) return
        return this.emit({ type: 'member', id: event.peer, change: event.up ? 'connected' : 'disconnected' })
    }
  }

  private emit(event: DatabaseEvent): void {
    if (this.eventListeners.size === 0 && this.early.length < 100) this.early.push(event)
    for (const listener of [...this.eventListeners]) listener(event)
  }

  private numbers(status: PeerStatus): CoreStatus {
    const { storageKind, durability } = this.options
    const { threads = 0, counts } = this.readThreads ?? {}
    const readers = { threads, ...(counts ?? noReads) }
    const { snapshots, lives } = this
    return numbersOf(this.store, status, { storageKind, durability, readers, snapshots, adopted: lives.adopted })
  }

  private makeMirror(): CoreMirror {
    const status = this.peer.status()
    return {
      cluster: clusterStatus(status),
      members: members(status, this.options.platform.kind),
      status: this.numbers(status),
    }
  }
}

function readFrom<T>(snapshot: EngineSnapshot, operation: (view: View) => T): T | Promise<T> {
  const peeked = snapshot.peek(operation)
  if (peeked !== undefined) return peeked.value
  return outcome(done => snapshot.read(operation, result => done(result.ok ? result.value : result.error)))
}

/** What `start` comes to: the result itself where it came before `start` returned, else a promise of it. @throws HarmonyError */
function outcome<T>(start: (done: (result: T | HarmonyError) => void) => void): T | Promise<T> {
  let settled: { readonly result: T | HarmonyError } | undefined
  let later: ((result: T | HarmonyError) => void) | undefined
  start(result => {
    if (later === undefined) settled = { result }
    else later(result)
  })
  if (settled !== undefined) {
    const { result } = settled
    if (result instanceof HarmonyError) throw result
    return result
  }
  return new Promise((resolve, reject) => {
    later = result => {
      if (result instanceof HarmonyError) reject(result)
      else resolve(result)
    }
  })
}
