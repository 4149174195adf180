/**
 * What a user holds: keys, values, options and iteration over a `Core`, which speaks bytes. Everything is checked here, in
 * full, before anything is sent; every failure is a HarmonyError and, in methods that return promises, a rejection.
 */
import { HarmonyError } from '../base/errors.ts'
import { unlessAborted } from './abort.ts'
import { ClusterFacade } from './cluster.ts'
import { checkOf } from './conflicts.ts'
import type { Core, CoreOp, CoreReadOptions, CoreScan, CoreWrite } from './core.ts'
import { encodeKey } from './key.ts'
import { idempotencyKeyOf, invalid, oneOf, record, shown, signalOf, timeoutOf } from './options.ts'
import { batchBytesMax, batchOpsMax } from './own-writes.ts'
import { PreparedFacade } from './prepared.ts'
import { decodeEntry, EntriesReader, onlyOf, tooMany } from './reader.ts'
import { CoreStateReader } from './snapshot.ts'
import { Transactions } from './transactions.ts'
import type {
  Check,
  Cluster,
  Committed,
  Database,
  Entry,
  Key,
  Op,
  OpenTransaction,
  PreparedTransactions,
  Range,
  ReadOptions,
  Snapshot,
  Status,
  Transaction,
  TransactionOptions,
  WatchBatch,
  WatchOptions,
  WriteOptions,
} from './types.ts'
import { encodeValue } from './value-encode.ts'
import { Watch } from './watch.ts'

/**
 * The database over a core. Closing it closes the core.
 * @param onClosed Called once, after the core has closed or failed to.
 */
export function createDatabase(core: Core, onClosed: () => void = () => {}): Database {
  return new CoreDatabase(core, onClosed)
}

class CoreDatabase extends EntriesReader implements Database {
  private readonly core: Core
  private readonly facade: ClusterFacade
  /** What was prepared and waits for a decision. */
  readonly prepared: PreparedTransactions
  private readonly onClosed: () => void
  private readonly transactions: Transactions
  private closing: Promise<void> | undefined

  constructor(core: Core, onClosed: () => void) {
    super()
    this.core = core
    this.onClosed = onClosed
    this.transactions = new Transactions(core, () => this.ended())
    this.facade = new ClusterFacade(core, () => this.assertOpen())
    this.prepared = new PreparedFacade(core, () => this.assertOpen())
  }

  /** Joining and leaving a room, its members, their state. */
  get cluster(): Cluster {
    return this.facade
  }

  /**
   * Stores a value under a key. Resolves when it is committed: durable on a majority of the voters.
   * @throws INVALID_KEY, INVALID_VALUE (naming the path to what cannot be stored), TOO_LARGE, CONFLICT (`ifVersion`; retryable: a prepared transaction holds it), NO_QUORUM,
   *   COMMIT_UNKNOWN or TIMEOUT or ABORTED (`maybeCommitted` tells), QUOTA, CLOSED.
   */
  put(key: Key, value: unknown, options?: WriteOptions): Promise<Committed> {
    // Not an asynchronous function: that would put another promise around the one that there is.
    try {
      const given = this.writing(options)
      const encoded = encodeKey(key)
      return this.write([{ type: 'put', key: encoded, value: encodeValue(value) }], ifVersion(encoded, given), given)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Removes a key, if it is there. @throws As `put`. */
  delete(key: Key, options?: WriteOptions): Promise<Committed> {
    try {
      const given = this.writing(options)
      const encoded = encodeKey(key)
      return this.write([{ type: 'delete', key: encoded }], ifVersion(encoded, given), given)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Several writes, all or nothing, in order.
   * @param options `check`: versions that must hold, else nothing is written and the error is CONFLICT.
   * @throws As `put`; VALIDATION for no operations; TOO_LARGE for more than 10,000 or 20 MiB.
   */
  async batch(ops: readonly Op[], options?: WriteOptions & { check?: readonly Check[] }): Promise<Committed> {
    const given: WriteOptions & { check?: readonly Check[] } = this.writing(options)
    const { check = [] } = given
    if (!Array.isArray(ops)) throw invalid(`batch takes an array of operations, not ${shown(ops)}`)
    if (ops.length === 0) throw invalid('a batch has at least one operation')
    if (!Array.isArray(check)) throw invalid(`check must be an array of { key, version }, not ${shown(check)}`)
    if (given.ifVersion !== undefined)
      throw invalid('ifVersion goes with put and delete; a batch takes check: [{ key, version }]')
    if (ops.length + check.length > batchOpsMax) throw tooMany('a batch takes', batchOpsMax, 'operations and checks')
    let bytes = 0
    const count = (added: number) => {
      bytes += added
      if (bytes > batchBytesMax) throw tooMany('a batch takes', batchBytesMax, 'bytes of keys and values')
    }
    const checks = Array.from(check as readonly Check[], (item, i) => {
      const { key, version } = record(item, `check[${i}]`)
      const encoded = checkOf(encodeKey(key, `check[${i}].key`), version, `check[${i}].version`)
      count(encoded.key.length)
      return encoded
    })
    const encodedOps = Array.from(ops as readonly Op[], (op, i) => {
      const encoded = encodeOp(op, i)
      count(encoded.key.length + (encoded.type === 'put' ? encoded.value.length : 0))
      return encoded
    })
    return this.write(encodedOps, checks, given)
  }

  /**
   * Runs `fn` and commits what it wrote; runs it again where another write came first, at most `retries` times.
   * @returns What `fn` returned, of the attempt that was committed.
   * @throws What `fn` throws; CONFLICT (after the last attempt), TIMEOUT (also where `fn` does not end), ABORTED, TOO_LARGE, VALIDATION, and as `put`.
   */
  async transaction<T>(fn: (tx: Transaction) => T | Promise<T>, options?: TransactionOptions): Promise<T> {
    this.assertOpen()
    return this.transactions.run(fn, options)
  }

  /** A transaction that its caller commits or rolls back. Takes its state with its first read. @throws VALIDATION, ABORTED, CLOSED. */
  async begin(options?: TransactionOptions): Promise<OpenTransaction> {
    this.assertOpen()
    return this.transactions.begin(options)
  }

  /**
   * What commits change in a range or in some keys, from this call on or after `since`. Fails in the iteration.
   * @param target A range, or a list of at most 1,000 keys.
   */
  watch<V = unknown>(
    target: Range | readonly Key[],
    options?: WatchOptions,
  ): AsyncIterableIterator<WatchBatch<V>, undefined, undefined> {
    this.assertOpen()
    return new Watch<V>(this.core, target, options)
  }

  /** @throws NO_QUORUM, TIMEOUT, ABORTED, CLOSED. */
  async snapshot(options?: ReadOptions): Promise<Snapshot> {
    const { read, signal } = this.reading(options)
    const taking = this.core.snapshot(read)
    // Given up: nobody else would let go of it.
    if (taking instanceof Promise && signal !== undefined) {
      taking.then(({ name }) => (signal.aborted ? this.core.release(name) : undefined)).catch(() => {})
    }
    const state = await unlessAborted(taking, signal, false)
    return new CoreStateReader(this.core, state, () => this.ended())
  }

  /**
   * What this replica has, synchronously: the entry, `null` where there is none, `undefined` where that cannot be told at once.
   * @throws INVALID_KEY, CLOSED, CORRUPT.
   */
  peek<V = unknown>(key: Key): Entry<V> | null | undefined {
    this.assertOpen()
    const entries = this.core.peek(encodeKey(key))
    if (entries === undefined) return undefined
    const reader = onlyOf(entries)
    return reader === undefined ? null : decodeEntry<V>(reader)
  }

  /** This peer's storage, log and queues in numbers, as last reported. @throws CLOSED. */
  status(): Status {
    this.assertOpen()
    return { ...this.core.mirror().status, transactions: { ...this.transactions.counts } }
  }

  /**
   * Gives the space of deleted data back to the host, a little at a time beside reads and writes.
   * @throws QUOTA, STORAGE_LOST, CORRUPT, CLOSED.
   */
  async compact(): Promise<{ bytesBefore: number; bytesAfter: number }> {
    this.assertOpen()
    const { bytesBefore, bytesAfter } = await this.core.compact()
    return { bytesBefore, bytesAfter }
  }

  /** Ends what is in flight (it rejects with CLOSED) and lets go of the storage. Calling it again waits for the same end. */
  close(): Promise<void> {
    this.closing ??= this.core.close().finally(this.onClosed)
    return this.closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  protected override ended(): HarmonyError | undefined {
    return this.closing === undefined ? undefined : closed()
  }

  protected override entriesOf(keys: readonly Uint8Array[], options: CoreReadOptions) {
    return this.core.getMany(keys, options)
  }

  protected override pageOf(request: CoreScan) {
    return this.core.scan(request)
  }

  private writing<O extends WriteOptions>(options: O | undefined): O {
    this.assertOpen()
    return record(options, 'options')
  }

  private write(ops: readonly CoreOp[], checks: CoreWrite['checks'], given: WriteOptions): Promise<Committed> {
    const idempotencyKey = idempotencyKeyOf(given)
    const timeoutMs = timeoutOf(given)
    const signal = signalOf(given)
    return unlessAborted(this.core.write({ ops, checks, idempotencyKey, timeoutMs }), signal, true)
  }
}

const noChecks: CoreWrite['checks'] = []

function ifVersion(key: Uint8Array, options: WriteOptions): CoreWrite['checks'] {
  if (options.ifVersion === undefined) return noChecks
  return [checkOf(key, options.ifVersion, 'ifVersion')]
}

function encodeOp(op: Op, i: number): CoreOp {
  oneOf(record(op, () => `ops[${i}]`).type, opTypes, () => `ops[${i}].type`)
  const key = encodeKey(op.key, () => `ops[${i}].key`)
  return op.type === 'put'
    ? { type: 'put', key, value: encodeValue(op.value, () => `ops[${i}].value`) }
    : { type: 'delete', key }
}

const opTypes: readonly Op['type'][] = ['put', 'delete']

function closed(): HarmonyError {
  return new HarmonyError('CLOSED', 'this database was closed; open it again')
}
