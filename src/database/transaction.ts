/**
 * One attempt of a transaction: it reads one state (at `read-committed`: the newest, each time) and its own writes, which stay here until it commits. The commit is
 * one write, with what was read as its conditions: whoever is first wins, and a transaction that read what has changed since is refused (optimistic concurrency
 * control; Kung and Robinson, 1981).
 *
 *   isolation       reads                     is refused where
 *   serializable    the state of its begin    anything that it read has changed: keys, also absent ones, and ranges
 *   snapshot        the state of its begin    another transaction has changed a key that it writes, too
 *   read-committed  what is committed now     never
 *
 * Besides, at any level, what was read `forUpdate` must not have changed since: others that lock have waited, but who locks nothing waits for nobody, and locks are gone with
 * the leader that kept them. After a lock that was waited for the transaction goes on with the newest state, if everything that it read before is the same there.
 *
 * The state is taken with the first read, by a linearizable read: so it has everything that was acknowledged before. A transaction that writes nothing is over without
 * a check: it read one state.
 */
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import { type Timestamp, timestamp } from '../base/ids.ts'
import { parseVersion, versionOf } from '../mvcc/versioned.ts'
import type { LockMode } from '../txn/lock-table.ts'
import { keySpan, rangeSpan, type Span } from '../txn/spans.ts'
import { unlessAborted } from './abort.ts'
import type { Attempt, AttemptHost, AttemptOptions } from './attempt.ts'
import { overtaken } from './conflicts.ts'
import type { Core, CoreOp, CorePage, CoreReadOptions, CoreScan, CoreSnapshot, CoreWrite } from './core.ts'
import type { Expiring } from './deadlines.ts'
import { EntryPacker, EntryReader, type PackedEntries } from './entries.ts'
import { encodeKey } from './key.ts'
import { type Covered, coveredBy, lastKey, mergedEntries, mergedPage } from './merged-page.ts'
import { aborted, flag, inState, invalid } from './options.ts'
import { OwnLocks } from './own-locks.ts'
import { OwnWrites } from './own-writes.ts'
import { prepareOptions } from './prepared.ts'
import { ReadSet } from './read-set.ts'
import { EntriesReader } from './reader.ts'
import type {
  Committed,
  Key,
  LockingReadOptions,
  OpenTransaction,
  Prepared,
  PrepareOptions,
  ReadOptions,
} from './types.ts'
import { encodeValue } from './value-encode.ts'

/** States that cursors may go on in. */
const olderMax = 16

/** Thousands a second are made: what few of them need is made when it is needed. */
export class CoreTransaction extends EntriesReader implements OpenTransaction, Expiring {
  private readonly core: Core
  private readonly host: AttemptHost
  private readonly options: AttemptOptions
  private readonly writes = new OwnWrites()
  private readonly reads = new ReadSet()
  /** Undefined: it never asked for any. */
  private locks: OwnLocks | undefined
  private readonly attempt: Attempt
  slot: number | undefined
  private packer: EntryPacker | undefined
  private isCommitted = false
  /** Its commit was refused, for what a new attempt may find otherwise. */
  wasOvertaken = false
  private renewing: Promise<void> | undefined
  /** That it read before it had to go on with a newer one. */
  private readonly older: CoreSnapshot[] = []
  private state: CoreSnapshot | Promise<CoreSnapshot> | undefined
  private end: HarmonyError | undefined
  private committing = false
  /** Of its state: they were not awaited, perhaps. Until they are answered it is not let go. */
  private readsUnderWay = 0
  private onEnded: ((error: HarmonyError) => void) | undefined
  private readonly onAbort: (() => void) | undefined

  constructor(host: AttemptHost, options: AttemptOptions, attempt: Attempt) {
    super()
    const { core } = host
    this.core = core
    this.host = host
    this.options = options
    this.attempt = attempt
    host.deadlines.add(this)
    const { signal } = options
    if (signal === undefined) return
    this.onAbort = () => {
      if (!this.committing) this.finish(aborted(signal, false))
    }
    signal.addEventListener('abort', this.onAbort)
  }

  /**
   * Stores a value when the transaction commits; its own reads see it at once.
   * @throws INVALID_KEY, INVALID_VALUE, TOO_LARGE (10,000 keys, 20 MiB), READ_ONLY; what ended the transaction.
   */
  put(key: Key, value: unknown): void {
    this.add({ type: 'put', key: encodeKey(key), value: encodeValue(value) })
  }

  /** Removes a key, if it is there, when the transaction commits. @throws As `put`. */
  delete(key: Key): void {
    this.add({ type: 'delete', key: encodeKey(key) })
  }

  /** Gives the transaction up: nothing is written, and it rejects with ABORTED, whose cause is `reason`. Always throws; VALIDATION, and nothing else, where it is being committed. */
  abort(reason?: unknown): never {
    if (this.committing) throw this.end ?? committing
    const why = reason === undefined ? '' : `: ${reason instanceof Error ? reason.message : String(reason)}`
    this.finish(new HarmonyError('ABORTED', `the transaction was given up by its own code${why}`, { cause: reason }))
    throw this.end
  }

  /**
   * Writes everything, or nothing. Resolves when it is durable on a majority of the voters.
   * @throws CONFLICT, retryable: what was read (or written, see the isolation level) has changed; begin anew. And as `Database.put`.
   */
  async commit(): Promise<Committed> {
    try {
      return await this.commitOnce()
    } catch (error) {
      throw overtaken(error)
    }
  }

  /** As `commit`, for who says himself what a conflict means (`wasOvertaken`): an error that another attempt follows is made for nobody. */
  async commitOnce(): Promise<Committed> {
    this.assertOpen()
    this.committing = true
    try {
      const waiting = this.ready()
      if (waiting !== undefined) await waiting
      const committed = await (this.writes.size === 0
        ? { version: (this.state as CoreSnapshot | undefined)?.version ?? versionOf(timestamp(0)) }
        : unlessAborted(this.core.write(this.written()), this.options.signal, true))
      this.isCommitted = true
      return committed
    } catch (error) {
      this.wasOvertaken = isHarmonyError(error, 'CONFLICT')
      throw error
    } finally {
      this.finish(over)
    }
  }

  /**
   * Checks everything as `commit` does, and keeps it until it is decided (`Database.prepared`), durably. Ends this object.
   * @throws EXISTS; TOO_LARGE where too much is prepared already (retryable), or this is too much by itself; CONFLICT as `commit`; VALIDATION and READ_ONLY, after which the transaction goes on.
   */
  async prepare(options?: PrepareOptions): Promise<Prepared> {
    this.assertOpen()
    const as = prepareOptions(options)
    if (this.options.readOnly)
      throw new HarmonyError('READ_ONLY', 'this transaction was begun with readOnly: true; there is nothing to prepare')
    if (this.options.idempotencyKey !== undefined)
      throw invalid('a transaction with an idempotencyKey cannot be prepared: its id is what makes it happen once')
    this.committing = true
    try {
      await this.ready()
      const { id } = await unlessAborted(this.core.prepare(this.written(), as), this.options.signal, true)
      this.isCommitted = true
      return { id, holdMs: as.holdMs }
    } catch (error) {
      throw overtaken(error)
    } finally {
      this.finish(over)
    }
  }

  /** Gives the transaction up; nothing is written. Does nothing where it has ended already, or is being committed. */
  async rollback(): Promise<void> {
    if (!this.committing) this.finish(over)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rollback()
  }

  /** Hears why it ended, once, if that is not by its own commit or rollback. */
  whenEnded(listener: (error: HarmonyError) => void): void {
    if (this.end !== undefined && this.end !== over) listener(this.end)
    else this.onEnded = listener
  }

  get deadlineMs(): number {
    return this.attempt.deadlineMs
  }

  /** Its time is over. */
  expire(): void {
    if (this.committing) return
    const message = `the transaction was not committed within ${this.options.timeoutMs} ms; make it shorter, or give it a longer timeoutMs`
    this.finish(new HarmonyError('TIMEOUT', message, { retryable: true }))
  }

  /** See `Attempt`. */
  get age(): number {
    return this.locks?.age ?? this.attempt.age
  }

  protected override ended(): HarmonyError | undefined {
    return this.end ?? (this.committing ? committing : this.host.ended())
  }

  protected override entriesOf(keys: readonly Uint8Array[], options: CoreReadOptions, lock: LockMode | undefined) {
    const locking = lock && this.lock(keys.map(keySpan), lock, options)
    return locking === undefined
      ? this.underWay(this.getBytes(keys, options, lock))
      : locking.then(() => this.underWay(this.getBytes(keys, options, lock)))
  }

  protected override pageOf(request: CoreScan, lock: LockMode | undefined) {
    const locking = lock && this.lock([rangeSpan(request.from, request.to)], lock, request)
    return locking === undefined
      ? this.underWay(this.page(request))
      : locking.then(() => this.underWay(this.page(request)))
  }

  protected override lockOf(options: LockingReadOptions | undefined): LockMode | undefined {
    const { isolation, locking, readOnly } = this.options
    if (flag(options?.forUpdate, 'forUpdate')) {
      if (readOnly)
        throw new HarmonyError('READ_ONLY', 'this transaction was begun with readOnly: true, and locks nothing')
      return 'exclusive'
    }
    return locking === 'pessimistic' && isolation === 'serializable' && !readOnly ? 'shared' : undefined
  }

  protected override reading<O extends ReadOptions>(options: O | undefined) {
    const read = super.reading(options)
    if (read.given.consistency !== undefined || read.given.maxStalenessMs !== undefined)
      throw invalid('reads of a transaction take no consistency: its isolation level says what they see')
    return read
  }

  /** What it has to wait for before it can be written; undefined: nothing, as most. */
  private ready(): Promise<void> | undefined {
    const { isolation, locking } = this.options
    const isReady = !(this.state instanceof Promise) && locking === 'optimistic' && isolation !== 'snapshot'
    return isReady ? undefined : this.makeReady()
  }

  private async makeReady(): Promise<void> {
    const { isolation, locking, signal } = this.options
    if (this.state instanceof Promise) await this.state
    if (this.writes.size === 0) return
    const { ops } = this.writes
    if (locking === 'pessimistic') {
      // In one order for all, so that those who only write never wait for each other in a circle.
      const spans = ops.map(({ key }) => keySpan(key)).sort((a, b) => (a.from < b.from ? -1 : 1))
      await unlessAborted(
        this.lock(spans, 'exclusive', isolation === 'snapshot' ? this.defaults : undefined),
        signal,
        false,
      )
    }
    if (isolation === 'snapshot' && this.state !== undefined) await this.readUnread(ops)
  }

  /** All of it. The state that it read is not needed any more: as long as somebody holds that, each page is copied before it changes. */
  private written(): CoreWrite {
    const { ops } = this.writes
    const { idempotencyKey, signal } = this.options
    // Who waits for the answer hears it only when it fires.
    if (signal?.aborted === true) throw aborted(signal, false)
    const write = { ops, ...this.conditions(ops), idempotencyKey, timeoutMs: this.leftMs() }
    this.letGo()
    return write
  }

  private conditions(ops: readonly CoreOp[]): Pick<CoreWrite, 'checks' | 'ranges'> {
    const { reads } = this
    const { isolation } = this.options
    if (isolation === 'read-committed') return { checks: reads.checks, ranges: [] }
    if (this.state === undefined) return { checks: [], ranges: [] }
    if (isolation === 'serializable') return { checks: reads.checks, ranges: reads.ranges }
    return { checks: reads.checksOf(ops.map(({ key }) => key)), ranges: [] }
  }

  /** The versions that keys which are written blindly had in the state of the transaction. */
  private async readUnread(ops: readonly CoreOp[]): Promise<void> {
    const keys = ops.map(({ key }) => key).filter(key => !this.reads.has(key))
    if (keys.length > 0) this.track(keys, await this.fetchBytes(keys, this.defaults), false)
  }

  private add(op: CoreOp): void {
    this.assertOpen()
    if (this.options.readOnly) throw new HarmonyError('READ_ONLY', 'this transaction was begun with readOnly: true')
    this.writes.set(op)
  }

  private packing(): EntryPacker {
    this.packer ??= new EntryPacker()
    return this.packer
  }

  private leftMs(): number {
    return Math.max(1, this.deadlineMs - this.core.clock.now())
  }

  /** Undefined: it has them. `renew`: then goes on with a state that has everything which those before it wrote. */
  private lock(spans: readonly Span[], mode: LockMode, renew: CoreReadOptions | undefined): Promise<void> | undefined {
    const { number, age } = this.attempt
    this.locks ??= new OwnLocks(this.core, number, this.options.deadlocks, age)
    const missing = this.locks.missing(spans, mode)
    return missing.length === 0 ? undefined : this.lockMissing(this.locks, missing, mode, renew)
  }

  private async lockMissing(
    locks: OwnLocks,
    spans: readonly Span[],
    mode: LockMode,
    renew: CoreReadOptions | undefined,
  ): Promise<void> {
    await locks.lock(spans, mode, this.leftMs())
    if (renew === undefined || this.options.isolation === 'read-committed') return
    while (this.renewing !== undefined) await this.renewing
    // A lock that is waited for may never come; with this it has, and the state that goes is needed.
    this.renewing = this.underWay(this.renew(renew))
    try {
      await this.renewing
    } finally {
      this.renewing = undefined
    }
  }

  /** @throws CONFLICT, retryable: something that it read is not the same any more. */
  private async renew(options: CoreReadOptions): Promise<void> {
    const before = this.state instanceof Promise ? await this.state : this.state
    if (this.end !== undefined) throw this.end
    // What is read first is read after the lock came.
    if (before === undefined) return
    const now = await this.core.snapshot(options)
    const isSame = now.version === before.version
    const holds = isSame || (await this.reads.holdsIn(this.core, now, options))
    if (isSame || !holds || this.end !== undefined) this.core.release(now.name)
    if (this.end !== undefined) throw this.end
    if (isSame) return
    if (!holds) {
      const message = 'what was read before the lock came has changed meanwhile; lock first, then read'
      throw new HarmonyError('CONFLICT', message, { retryable: true })
    }
    this.older.push(before)
    if (this.older.length > olderMax) this.core.release(this.older.shift()!.name)
    this.state = now
  }

  private getBytes(
    keys: readonly Uint8Array[],
    options: CoreReadOptions,
    lock: LockMode | undefined,
  ): PackedEntries | Promise<PackedEntries> {
    const own = this.writes.size === 0 ? [] : keys.map(key => this.writes.get(key))
    const others = own.length === 0 ? keys : keys.filter((_, i) => own[i] === undefined)
    if (others.length === 0) return mergedEntries(this.packing(), keys, own, undefined)
    const arrived = (entries: PackedEntries): PackedEntries => {
      this.track(others, entries, lock !== undefined)
      return others.length === keys.length ? entries : mergedEntries(this.packing(), keys, own, entries)
    }
    const fetched = this.fetchBytes(others, options)
    return fetched instanceof Promise ? fetched.then(arrived) : arrived(fetched)
  }

  private fetchBytes(keys: readonly Uint8Array[], options: CoreReadOptions): PackedEntries | Promise<PackedEntries> {
    const state = this.theState(options)
    if (state instanceof Promise) return state.then(({ name }) => this.core.getMany(keys, inState(options, name)))
    return this.core.getMany(keys, state === undefined ? options : inState(options, state.name))
  }

  /** Undefined: none is kept, each read takes the newest. */
  private theState(options: CoreReadOptions): CoreSnapshot | undefined | Promise<CoreSnapshot> {
    if (this.options.isolation === 'read-committed') return undefined
    if (this.state === undefined) {
      // Its lock came, or its iteration went on, too late: nobody would let go of another state.
      this.assertOpen()
      const taken = this.core.snapshot(options)
      this.state = taken
      if (taken instanceof Promise) {
        taken.then(
          state => {
            this.state = state
          },
          () => {
            // The next read tries again.
            this.state = undefined
          },
        )
      }
    }
    return this.state
  }

  private track(keys: readonly Uint8Array[], entries: PackedEntries, locked: boolean): void {
    if (this.options.readOnly || (this.options.isolation === 'read-committed' && !locked)) return
    const reader = new EntryReader(entries)
    for (const key of keys) {
      reader.next()
      this.reads.key(key, reader.timestamp(), locked)
    }
  }

  private page(request: CoreScan): CorePage | Promise<CorePage> {
    const state = this.theState(request)
    if (state instanceof Promise) return state.then(found => this.pageIn(request, found))
    return this.pageIn(request, state)
  }

  private pageIn(request: CoreScan, state: CoreSnapshot | undefined): CorePage | Promise<CorePage> {
    const { continuation } = request
    const goesOnIn = continuation?.snapshot
    const seen =
      state === undefined || goesOnIn === undefined || goesOnIn === state.name
        ? state
        : this.older.find(({ name }) => name === goesOnIn)
    if (seen === undefined && state !== undefined) {
      throw invalid(
        `a cursor goes on within the transaction that it is of, and not after ${olderMax} locks that were waited for`,
      )
    }
    const own = this.writes.size > 0
    const at = seen === undefined ? timestamp(0) : parseVersion(seen.version)!
    const page = this.core.scan(seen === undefined ? request : { ...request, snapshot: seen.name })
    if (!own) {
      const arrived = (found: CorePage): CorePage => {
        this.cover(request, found, at)
        return found
      }
      return page instanceof Promise ? page.then(arrived) : arrived(page)
    }
    return this.withOwn(request, page, at)
  }

  /** What the page tells about is noted as read. */
  private cover(request: CoreScan, page: CorePage, at: Timestamp): Covered {
    const covered = coveredBy(request, page)
    // At `snapshot` they count where a lock moves the state on.
    if (this.options.isolation !== 'read-committed' && !this.options.readOnly)
      this.reads.range(covered.from, covered.to, page.entries.count, at)
    return covered
  }

  private async withOwn(request: CoreScan, first: CorePage | Promise<CorePage>, at: Timestamp): Promise<CorePage> {
    let asked = request
    let page = await first
    for (;;) {
      const { from, to } = this.cover(asked, page, at)
      const own = this.writes.within(from, to)
      if (own.length === 0 && page.entries.count > 0) return page
      if (request.reverse) own.reverse()
      const merged = mergedPage(this.packing(), asked, page, own)
      if (merged.entries.count > 0 || merged.done) return merged
      // Everything in it was deleted here: the next one.
      asked = { ...asked, continuation: { snapshot: page.snapshot, after: lastKey(page.entries) } }
      page = await this.core.scan(asked)
    }
  }

  private finish(why: HarmonyError): void {
    if (this.end !== undefined) return
    this.end = why
    this.host.deadlines.delete(this)
    if (this.onAbort !== undefined) this.options.signal?.removeEventListener('abort', this.onAbort)
    this.host.onOver(this.isCommitted)
    this.letGo()
    this.locks?.release()
    if (why !== over) this.onEnded?.(why)
    this.onEnded = undefined
  }

  private letGo(): void {
    if (this.readsUnderWay > 0) return
    if (this.state !== undefined && !(this.state instanceof Promise)) {
      this.core.release(this.state.name)
      this.state = undefined
    }
    if (this.older.length > 0) for (const { name } of this.older.splice(0)) this.core.release(name)
  }

  private underWay<T>(read: Promise<T>): Promise<T>
  private underWay<T>(read: T | Promise<T>): T | Promise<T>
  private underWay<T>(read: T | Promise<T>): T | Promise<T> {
    if (!(read instanceof Promise)) return read
    this.readsUnderWay++
    return read.finally(() => {
      this.readsUnderWay--
      if (this.end !== undefined) this.letGo()
    })
  }
}

const unusable = (why: string): HarmonyError =>
  new HarmonyError('VALIDATION', `this transaction cannot be used any more: ${why}; begin another one`)

const over = unusable('it was committed, prepared or given up')
const committing = unusable('it is being committed')
