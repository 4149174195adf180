/**
 * What a user holds: keys, values, options and iteration over a `Core`, which speaks bytes. Everything is checked here, in
 * full, before anything is sent; every failure is a HarmonyError and, in methods that return promises, a rejection.
 */
import { HarmonyError } from '../base/errors.ts'
import { unlessAborted } from './abort.ts'
import { ClusterFacade } from './cluster.ts'
import type { Core, CoreOp, CoreReadOptions, CoreScan, CoreWrite } from './core.ts'
import { EntryReader, type PackedEntries } from './entries.ts'
import { decodeKey, encodeKey } from './key.ts'
import {
  flag,
  idempotencyKeyOf,
  invalid,
  limitOf,
  oneOf,
  readOptions,
  record,
  shown,
  signalOf,
  timeoutOf,
  versionOf,
} from './options.ts'
import { encodeRange } from './range.ts'
import { PagedScan, type ScanRequest } from './scan.ts'
import type {
  AbortSignalLike,
  Check,
  Cluster,
  Committed,
  Database,
  Entry,
  Key,
  KeyPart,
  Op,
  Range,
  ReadOptions,
  Scan,
  ScanOptions,
  Status,
  WriteOptions,
} from './types.ts'
import { decodeValue } from './value-decode.ts'
import { encodeValue } from './value-encode.ts'

const readDefaults = readOptions({})

/** Keys of one `getMany`. */
export const getManyKeysMax = 10_000
/** Operations and checks of one `batch`. */
export const batchOpsMax = 10_000
/** Encoded keys and values of one `batch`: more than the largest single write takes. */
export const batchBytesMax = 20 * 1024 * 1024

/**
 * The database over a core. Closing it closes the core.
 * @param onClosed Called once, after the core has closed or failed to.
 */
export function createDatabase(core: Core, onClosed: () => void = () => {}): Database {
  return new CoreDatabase(core, onClosed)
}

class CoreDatabase implements Database {
  private readonly core: Core
  private readonly facade: ClusterFacade
  private readonly onClosed: () => void
  private closing: Promise<void> | undefined

  constructor(core: Core, onClosed: () => void) {
    this.core = core
    this.onClosed = onClosed
    this.facade = new ClusterFacade(core, () => this.assertOpen())
  }

  /** Joining and leaving a room, its members, their state. */
  get cluster(): Cluster {
    return this.facade
  }

  /**
   * The value of a key, `undefined` where there is none.
   * @throws INVALID_KEY, NO_QUORUM, TIMEOUT, ABORTED, CLOSED.
   */
  async get<V = unknown>(key: Key, options?: ReadOptions): Promise<V | undefined> {
    const fetched = this.fetchOne(key, options)
    const reader = fetched instanceof Promise ? await fetched : fetched
    return reader === undefined ? undefined : decodedValue<V>(reader)
  }

  /** As `get`, with the version, which `ifVersion` and checks take. */
  async getEntry<V = unknown>(key: Key, options?: ReadOptions): Promise<Entry<V> | undefined> {
    const fetched = this.fetchOne(key, options)
    const reader = fetched instanceof Promise ? await fetched : fetched
    return reader === undefined ? undefined : decodeEntry<V>(reader)
  }

  /**
   * The values of several keys, all of one moment, in the order of the keys.
   * @throws As `get`; TOO_LARGE for more than 10,000 keys.
   */
  async getMany<V = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(V | undefined)[]> {
    const { read, signal } = this.reading(options)
    if (!Array.isArray(keys)) throw invalid(`getMany takes an array of keys, not ${shown(keys)}`)
    if (keys.length > getManyKeysMax) throw tooMany('getMany takes', getManyKeysMax, 'keys')
    if (keys.length === 0) return []
    const encoded = Array.from(keys, (key, i) => encodeKey(key, `keys[${i}]`))
    const fetched = this.fetch(encoded, read, signal)
    const reader = new EntryReader(fetched instanceof Promise ? await fetched : fetched)
    const values: (V | undefined)[] = []
    while (reader.next()) values.push(reader.present ? decodedValue<V>(reader) : undefined)
    return values
  }

  /**
   * The entries of a range in key order, all of one moment, fetched in pages while they are iterated over.
   * Invalid arguments and failures reject in the iteration (or `toArray`).
   * @param range Default: everything.
   * @throws INVALID_KEY, VALIDATION (a cursor of another range), NO_QUORUM, TIMEOUT, SNAPSHOT_TOO_OLD (too slow, or an old cursor),
   *   ABORTED, CLOSED.
   */
  scan<V = unknown>(range?: Range, options?: ScanOptions): Scan<V> {
    const cursor = typeof options?.cursor === 'string' ? options.cursor : ''
    return new PagedScan<V>(
      {
        prepare: () => this.scanRequest(range, options),
        page: (request: CoreScan, signal) => unlessAborted(this.core.scan(request), signal, false),
        decode: reader => decodeEntry<V>(reader),
        closed: () => (this.closing === undefined ? undefined : closed()),
      },
      cursor,
    )
  }

  private scanRequest(range: Range | undefined, options: ScanOptions | undefined): ScanRequest {
    const { read, signal, given } = this.reading<ScanOptions>(options)
    const { cursor = '' } = given
    if (typeof cursor !== 'string') throw invalid(`cursor must be a string, not ${shown(cursor)}`)
    const core = { ...read, reverse: flag(given.reverse, 'reverse'), keysOnly: flag(given.keysOnly, 'keysOnly') }
    return { range: encodeRange(range), limit: limitOf(given), signal, cursor, core }
  }

  /**
   * Stores a value under a key. Resolves when it is committed: durable on a majority of the voters.
   * @throws INVALID_KEY, INVALID_VALUE (naming the path to what cannot be stored), TOO_LARGE, CONFLICT (`ifVersion`), NO_QUORUM,
   *   COMMIT_UNKNOWN or TIMEOUT or ABORTED (`maybeCommitted` tells), QUOTA, CLOSED.
   */
  async put(key: Key, value: unknown, options?: WriteOptions): Promise<Committed> {
    const given = this.writing(options)
    const encoded = encodeKey(key)
    return this.write([{ type: 'put', key: encoded, value: encodeValue(value) }], ifVersion(encoded, given), given)
  }

  /** Removes a key, if it is there. @throws As `put`. */
  async delete(key: Key, options?: WriteOptions): Promise<Committed> {
    const given = this.writing(options)
    const encoded = encodeKey(key)
    return this.write([{ type: 'delete', key: encoded }], ifVersion(encoded, given), given)
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
      const encoded = { key: encodeKey(key, `check[${i}].key`), version: versionOf(version, `check[${i}].version`) }
      count(encoded.key.length)
      return encoded
    })
    const encodedOps = Array.from(ops as readonly Op[], (op, i) => {
      const encoded = encodeOp(op, `ops[${i}]`)
      count(encoded.key.length + (encoded.type === 'put' ? encoded.value.length : 0))
      return encoded
    })
    return this.write(encodedOps, checks, given)
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
    return this.core.mirror().status
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

  private assertOpen(): void {
    if (this.closing !== undefined) throw closed()
  }

  private reading<O extends ReadOptions>(options: O | undefined) {
    this.assertOpen()
    if (options === undefined) return { given: {} as O, read: readDefaults, signal: undefined }
    const given = record(options, 'options')
    return { given, read: readOptions(given), signal: signalOf(given) }
  }

  private writing<O extends WriteOptions>(options: O | undefined): O {
    this.assertOpen()
    return record(options, 'options')
  }

  /** Not a promise where it need not be one: what is in memory costs no wait. */
  private fetchOne(
    key: Key,
    options: ReadOptions | undefined,
  ): Promise<EntryReader | undefined> | EntryReader | undefined {
    const { read, signal } = this.reading(options)
    const fetched = this.fetch([encodeKey(key)], read, signal)
    return fetched instanceof Promise ? fetched.then(onlyOf) : onlyOf(fetched)
  }

  private fetch(keys: readonly Uint8Array[], read: CoreReadOptions, signal: AbortSignalLike | undefined) {
    return unlessAborted(this.core.getMany(keys, read), signal, false)
  }

  private async write(ops: readonly CoreOp[], checks: CoreWrite['checks'], given: WriteOptions): Promise<Committed> {
    const idempotencyKey = idempotencyKeyOf(given)
    const timeoutMs = timeoutOf(given)
    const signal = signalOf(given)
    const { version } = await unlessAborted(this.core.write({ ops, checks, idempotencyKey, timeoutMs }), signal, true)
    return { version }
  }
}

function ifVersion(key: Uint8Array, options: WriteOptions): CoreWrite['checks'] {
  if (options.ifVersion === undefined) return []
  return [{ key, version: versionOf(options.ifVersion, 'ifVersion') }]
}

function encodeOp(op: Op, name: string): CoreOp {
  oneOf(record(op, name).type, ['put', 'delete'], `${name}.type`)
  const key = encodeKey(op.key, `${name}.key`)
  return op.type === 'put'
    ? { type: 'put', key, value: encodeValue(op.value, `${name}.value`) }
    : { type: 'delete', key }
}

function onlyOf(entries: PackedEntries): EntryReader | undefined {
  const reader = new EntryReader(entries)
  return reader.next() && reader.present ? reader : undefined
}

/** `keysOnly` leaves the value out: it is undefined then. */
function decodeEntry<V>(reader: EntryReader): Entry<V> {
  return { key: decodedKey(reader), value: decodedValue<V>(reader), version: reader.version() }
}

function decodedKey({ bytes, keyFrom, keyTo }: EntryReader): KeyPart[] {
  const parts = decodeKey(bytes, keyFrom, keyTo)
  if (!parts.ok) throw parts.error
  return parts.value
}

function decodedValue<V>(reader: EntryReader): V {
  const { bytes, valueFrom, valueTo } = reader
  if (valueFrom === valueTo) return undefined as V
  const decoded = decodeValue(bytes, valueFrom, valueTo)
  if (decoded.ok) return decoded.value as V
  const { code, message } = decoded.error
  throw new HarmonyError(code, `the value stored under ${shownKey(decodedKey(reader))}: ${message}`)
}

function shownKey(parts: readonly KeyPart[]): string {
  return `[${parts.map(part => (part instanceof Uint8Array ? `${part.length} bytes` : shown(part))).join(', ')}]`
}

function tooMany(who: string, limit: number, what: string): HarmonyError {
  return new HarmonyError('TOO_LARGE', `${who} at most ${limit} ${what}; split it`)
}

function closed(): HarmonyError {
  return new HarmonyError('CLOSED', 'this database was closed; open it again')
}
