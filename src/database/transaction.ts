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
 * The state is taken with the first read, by a linearizable read: so it has everything that was acknowledged before. A transaction that writes nothing is over without
 * a check: it read one state.
 */
import { keyBehind } from '../base/bytes.ts'
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import { unlessAborted } from './abort.ts'
import type { Core, CoreOp, CorePage, CoreReadOptions, CoreScan, CoreSnapshot, CoreWrite } from './core.ts'
import { EntryPacker, EntryReader, type PackedEntries } from './entries.ts'
import { encodeKey } from './key.ts'
import { aborted, invalid } from './options.ts'
import { OwnWrites } from './own-writes.ts'
import { ReadSet } from './read-set.ts'
import { EntriesReader, type ReadSource } from './reader.ts'
import type { AbortSignalLike, Committed, Isolation, Key, OpenTransaction, ReadOptions } from './types.ts'
import { encodeValue } from './value-encode.ts'

export interface AttemptOptions {
  readonly isolation: Isolation
  readonly readOnly: boolean
  readonly idempotencyKey: string | undefined
  readonly signal: AbortSignalLike | undefined
  /** By `core.clock`. */
  readonly deadlineMs: number
  readonly timeoutMs: number
}

const nothingVersion = '0'.repeat(14)

export class CoreTransaction extends EntriesReader implements OpenTransaction {
  protected readonly source: ReadSource
  private readonly core: Core
  private readonly options: AttemptOptions
  private readonly writes = new OwnWrites()
  private readonly reads = new ReadSet()
  private readonly packer = new EntryPacker()
  private state: CoreSnapshot | Promise<CoreSnapshot> | undefined
  private end: HarmonyError | undefined
  private committing = false
  private readonly onEnded = new Set<(error: HarmonyError) => void>()
  private readonly stopWaiting: () => void

  /** @param dbEnded Why nothing is possible any more; undefined while the database is open. */
  constructor(core: Core, options: AttemptOptions, dbEnded: () => HarmonyError | undefined) {
    super()
    this.core = core
    this.options = options
    this.source = {
      ended: () => this.end ?? dbEnded(),
      getMany: (keys, read) => this.getBytes(keys, read),
      scan: request => this.page(request),
    }
    const cancelTimer = core.clock.after(Math.max(0, options.deadlineMs - core.clock.now()), () => this.timeOut())
    const { signal } = options
    const onAbort = (): void => {
      if (signal !== undefined && !this.committing) this.finish(aborted(signal, false))
    }
    signal?.addEventListener('abort', onAbort)
    this.stopWaiting = () => {
      cancelTimer()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /**
   * Stores a value when the transaction commits; its own reads see it at once.
   * @throws INVALID_KEY, INVALID_VALUE, TOO_LARGE (10,000 keys, 20 MiB), READ_ONLY; what ended the transaction.
   */
  put(key: Key, value: unknown): void {
    this.write({ type: 'put', key: encodeKey(key), value: encodeValue(value) })
  }

  /** Removes a key, if it is there, when the transaction commits. @throws As `put`. */
  delete(key: Key): void {
    this.write({ type: 'delete', key: encodeKey(key) })
  }

  /** Gives the transaction up: nothing is written, and it rejects with ABORTED, whose cause is `reason`. Always throws. */
  abort(reason?: unknown): never {
    const why = reason === undefined ? '' : `: ${reason instanceof Error ? reason.message : String(reason)}`
    this.finish(new HarmonyError('ABORTED', `the transaction was given up by its own code${why}`, { cause: reason }))
    throw this.end
  }

  /**
   * Writes everything, or nothing. Resolves when it is durable on a majority of the voters.
   * @throws CONFLICT, retryable: what was read (or written, see the isolation level) has changed; begin anew. And as `Database.put`.
   */
  async commit(): Promise<Committed> {
    this.assertOpen()
    if (this.committing) throw ended('it is being committed')
    this.committing = true
    try {
      return { version: await this.commitOnce() }
    } catch (error) {
      if (isHarmonyError(error, 'CONFLICT')) {
        throw new HarmonyError('CONFLICT', `another write came first: ${error.message}`, {
          retryable: true,
          cause: error,
        })
      }
      throw error
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

  /** Rejects when the transaction ends other than by its own commit or rollback; never resolves. The caller lets go of it with `settle`. */
  interrupted(): { readonly promise: Promise<never>; readonly settle: () => void } {
    let listener: (error: HarmonyError) => void = () => {}
    const promise = new Promise<never>((_, reject) => {
      listener = reject
      if (this.end !== undefined && this.end !== over) reject(this.end)
      else this.onEnded.add(listener)
    })
    promise.catch(() => {})
    return { promise, settle: () => void this.onEnded.delete(listener) }
  }

  protected override reading<O extends ReadOptions>(options: O | undefined) {
    const read = super.reading(options)
    if (read.given.consistency !== undefined || read.given.maxStalenessMs !== undefined)
      throw invalid('reads of a transaction take no consistency: its isolation level says what they see')
    return read
  }

  private async commitOnce(): Promise<string> {
    const { isolation, idempotencyKey, signal, deadlineMs } = this.options
    const state = this.state instanceof Promise ? await this.state : this.state
    if (this.writes.size === 0) return state?.version ?? nothingVersion
    const { ops } = this.writes
    let conditions: Pick<CoreWrite, 'checks' | 'ranges'> = { checks: [], ranges: [] }
    if (state !== undefined && isolation === 'serializable') {
      conditions = { checks: this.reads.checks, ranges: this.reads.ranges(state.version) }
    } else if (state !== undefined && isolation === 'snapshot') {
      await this.readUnread(ops)
      conditions = { checks: this.reads.checksOf(ops.map(({ key }) => key)), ranges: [] }
    }
    const timeoutMs = Math.max(1, deadlineMs - this.core.clock.now())
    const { version } = await unlessAborted(
      this.core.write({ ops, ...conditions, idempotencyKey, timeoutMs }),
      signal,
      true,
    )
    return version
  }

  /** The versions that keys which are written blindly had in the state of the transaction. */
  private async readUnread(ops: readonly CoreOp[]): Promise<void> {
    const keys = ops.map(({ key }) => key).filter(key => !this.reads.has(key))
    if (keys.length > 0) this.track(keys, await this.fetchBytes(keys, this.defaults))
  }

  private write(op: CoreOp): void {
    this.assertOpen()
    if (this.options.readOnly) throw new HarmonyError('READ_ONLY', 'this transaction was begun with readOnly: true')
    if (this.committing) throw ended('it is being committed')
    this.writes.set(op)
  }

  private getBytes(keys: readonly Uint8Array[], options: CoreReadOptions): PackedEntries | Promise<PackedEntries> {
    const own = this.writes.size === 0 ? [] : keys.map(key => this.writes.get(key))
    const others = own.length === 0 ? keys : keys.filter((_, i) => own[i] === undefined)
    if (others.length === 0) return this.merged(keys, own, undefined)
    const arrived = (entries: PackedEntries): PackedEntries => {
      this.track(others, entries)
      return others.length === keys.length ? entries : this.merged(keys, own, entries)
    }
    const fetched = this.fetchBytes(others, options)
    return fetched instanceof Promise ? fetched.then(arrived) : arrived(fetched)
  }

  private fetchBytes(keys: readonly Uint8Array[], options: CoreReadOptions): PackedEntries | Promise<PackedEntries> {
    const state = this.theState(options)
    if (state instanceof Promise)
      return state.then(found => this.core.getMany(keys, { ...options, snapshot: found?.name }))
    return this.core.getMany(keys, state === undefined ? options : { ...options, snapshot: state.name })
  }

  /** Undefined: none is kept, each read takes the newest. */
  private theState(options: CoreReadOptions): CoreSnapshot | undefined | Promise<CoreSnapshot> {
    if (this.options.isolation === 'read-committed') return undefined
    if (this.state === undefined) {
      const taken = this.core.snapshot(options)
      this.state = taken
      if (taken instanceof Promise) {
        taken.then(
          state => {
            this.state = state
            if (this.end !== undefined) this.core.release(state.name)
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

  private track(keys: readonly Uint8Array[], entries: PackedEntries): void {
    if (this.options.readOnly || this.options.isolation === 'read-committed') return
    const reader = new EntryReader(entries)
    for (const key of keys) {
      reader.next()
      this.reads.key(key, reader.present ? reader.version() : null)
    }
  }

  private merged(
    keys: readonly Uint8Array[],
    own: readonly (CoreOp | undefined)[],
    entries: PackedEntries | undefined,
  ): PackedEntries {
    const { packer } = this
    const reader = entries === undefined ? undefined : new EntryReader(entries)
    packer.reset()
    for (const [i, key] of keys.entries()) {
      const op = own[i]
      if (op !== undefined) addOwn(packer, op, false)
      else if (reader?.next() === true && reader.present) addFound(packer, key, reader)
      else packer.absent()
    }
    return packer.finish()
  }

  private page(request: CoreScan): CorePage | Promise<CorePage> {
    const state = this.theState(request)
    if (state instanceof Promise) return state.then(found => this.pageOf(request, found))
    return this.pageOf(request, state)
  }

  private pageOf(request: CoreScan, state: CoreSnapshot | undefined): CorePage | Promise<CorePage> {
    const { continuation } = request
    if (state !== undefined && continuation !== undefined && continuation.snapshot !== state.name) {
      throw invalid('a cursor goes on within the transaction that it is of')
    }
    const own = this.writes.size > 0
    const page = this.core.scan(state === undefined ? request : { ...request, snapshot: state.name })
    if (!own) {
      const arrived = (found: CorePage): CorePage => {
        this.cover(request, found)
        return found
      }
      return page instanceof Promise ? page.then(arrived) : arrived(page)
    }
    return this.withOwn(request, page)
  }

  /** What the page tells about, which is noted as read. */
  private cover(
    request: CoreScan,
    { entries, done }: CorePage,
  ): { from: Uint8Array | undefined; to: Uint8Array | undefined } {
    const { reverse, continuation } = request
    const after = continuation?.after
    let from = after !== undefined && !reverse ? keyBehind(after) : request.from
    let to = after !== undefined && reverse ? after : request.to
    if (!done) {
      const last = lastKey(entries)
      if (reverse) from = last
      else to = keyBehind(last)
    }
    if (this.options.isolation === 'serializable' && !this.options.readOnly) this.reads.range(from, to, entries.count)
    return { from, to }
  }

  private async withOwn(request: CoreScan, first: CorePage | Promise<CorePage>): Promise<CorePage> {
    let asked = request
    let page = await first
    for (;;) {
      const { from, to } = this.cover(asked, page)
      const own = this.writes.within(from, to)
      if (own.length === 0 && page.entries.count > 0) return page
      if (request.reverse) own.reverse()
      const merged = this.mergedPage(asked, page, own)
      if (merged.entries.count > 0 || merged.done) return merged
      // Everything in it was deleted here: the next one.
      asked = { ...asked, continuation: { snapshot: page.snapshot, after: lastKey(page.entries) } }
      page = await this.core.scan(asked)
    }
  }

  private mergedPage({ reverse, keysOnly, limit }: CoreScan, page: CorePage, own: readonly CoreOp[]): CorePage {
    const { packer } = this
    const reader = new EntryReader(page.entries)
    packer.reset()
    let more = reader.next()
    let next = 0
    while (more || next < own.length) {
      if (packer.count === limit) return { ...page, entries: packer.finish(), done: false }
      const op = own[next]
      const order = op === undefined ? -1 : more ? compareKeys(reader, op.key) * (reverse ? -1 : 1) : 1
      if (order < 0) addFound(packer, reader.key(), reader)
      else if (op?.type === 'put') addOwn(packer, op, keysOnly)
      if (order >= 0) next++
      if (order <= 0) more = reader.next()
    }
    return { ...page, entries: packer.finish() }
  }

  private timeOut(): void {
    if (this.committing) return
    const message = `the transaction was not committed within ${this.options.timeoutMs} ms; make it shorter, or give it a longer timeoutMs`
    this.finish(new HarmonyError('TIMEOUT', message, { retryable: true }))
  }

  private finish(why: HarmonyError): void {
    if (this.end !== undefined) return
    this.end = why
    this.stopWaiting()
    if (this.state !== undefined && !(this.state instanceof Promise)) this.core.release(this.state.name)
    if (why !== over) for (const listener of this.onEnded) listener(why)
    this.onEnded.clear()
  }
}

const ended = (why: string): HarmonyError =>
  new HarmonyError('VALIDATION', `this transaction cannot be used any more: ${why}; begin another one`)

const over = ended('it was committed or given up')

function addFound(packer: EntryPacker, key: Uint8Array, reader: EntryReader): void {
  const { bytes, valueFrom, valueTo } = reader
  packer.add(key, key.length, Number.parseInt(reader.version(), 16), bytes, valueFrom, valueTo)
}

/** Its version is 0: it has none yet. */
function addOwn(packer: EntryPacker, op: CoreOp, keysOnly: boolean): void {
  if (op.type === 'put') packer.add(op.key, op.key.length, 0, op.value, 0, keysOnly ? 0 : op.value.length)
  else packer.absent()
}

function lastKey(entries: PackedEntries): Uint8Array {
  const reader = new EntryReader(entries)
  while (!reader.finished) reader.next()
  return reader.key()
}

function compareKeys({ bytes, keyFrom, keyTo }: EntryReader, key: Uint8Array): number {
  const length = Math.min(keyTo - keyFrom, key.length)
  for (let i = 0; i < length; i++) {
    const difference = bytes[keyFrom + i]! - key[i]!
    if (difference !== 0) return difference
  }
  return keyTo - keyFrom - key.length
}
