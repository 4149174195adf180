/**
 * Reading by keys and ranges, whatever is read: the newest state (`database.ts`), one that is held (`snapshot.ts`), or that of a transaction with its own writes
 * (`transaction.ts`). Everything is checked here, in full, before anything is asked.
 */
import { HarmonyError } from '../base/errors.ts'
import type { LockMode } from '../txn/lock-table.ts'
import { unlessAborted } from './abort.ts'
import type { CorePage, CoreReadOptions, CoreScan } from './core.ts'
import { EntryReader, mayShare, ownEntries, type PackedEntries } from './entries.ts'
import { decodeKey, encodeKey } from './key.ts'
import { flag, invalid, limitOf, readOptions, record, shown, signalOf } from './options.ts'
import { encodeRange } from './range.ts'
import { PagedScan, type ScanRequest } from './scan.ts'
import type {
  AbortSignalLike,
  Entry,
  Key,
  KeyPart,
  LockingReadOptions,
  Range,
  Reader,
  ReadOptions,
  Scan,
  ScanOptions,
} from './types.ts'
import { decodeValue } from './value-decode.ts'

/** Keys of one `getMany`. */
export const getManyKeysMax = 10_000

const readDefaults = readOptions({})

export abstract class EntriesReader implements Reader {
  /** Why nothing can be read any more; undefined while it can. */
  protected abstract ended(): HarmonyError | undefined
  /** In bytes; this and the next answer at once where nothing has to be waited for. `lock`: taken before, where a transaction wants it. */
  protected abstract entriesOf(
    keys: readonly Uint8Array[],
    options: CoreReadOptions,
    lock: LockMode | undefined,
  ): PackedEntries | Promise<PackedEntries>
  protected abstract pageOf(request: CoreScan, lock: LockMode | undefined): CorePage | Promise<CorePage>

  /**
   * The value of a key, `undefined` where there is none.
   * @throws INVALID_KEY, NO_QUORUM, TIMEOUT, ABORTED, CLOSED, SNAPSHOT_TOO_OLD (of a snapshot or transaction).
   */
  get<V = unknown>(key: Key, options?: ReadOptions): Promise<V | undefined> {
    const decoded = (reader: EntryReader | undefined) => (reader === undefined ? undefined : decodedValue<V>(reader))
    // What is in memory is there at once: an asynchronous function would cost more than to find it.
    try {
      const fetched = this.fetchOne(key, options)
      return fetched instanceof Promise ? fetched.then(decoded) : Promise.resolve(decoded(fetched))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** As `get`, with the version, which `ifVersion` and checks take. */
  async getEntry<V = unknown>(key: Key, options?: ReadOptions): Promise<Entry<V> | undefined> {
    const fetched = this.fetchOne(key, options)
    const reader = fetched instanceof Promise ? await fetched : fetched
    return reader === undefined ? undefined : decodeEntry<V>(reader)
  }

  /**
   * The values of several keys, all of one moment, in the order of the keys. For byte arrays see `Scan.toArray`.
   * @throws As `get`; TOO_LARGE for more than 10,000 keys.
   */
  async getMany<V = unknown>(keys: readonly Key[], options?: ReadOptions): Promise<(V | undefined)[]> {
    const { read, signal, lock } = this.reading(options)
    if (!Array.isArray(keys)) throw invalid(`getMany takes an array of keys, not ${shown(keys)}`)
    if (keys.length > getManyKeysMax) throw tooMany('getMany takes', getManyKeysMax, 'keys')
    if (keys.length === 0) return []
    const fetched = this.fetch(encodedKeys(keys), read, signal, lock)
    const entries = fetched instanceof Promise ? await fetched : fetched
    const shared = mayShare(entries)
    const reader = new EntryReader(shared ? ownEntries(entries) : entries)
    const values: (V | undefined)[] = []
    while (reader.next()) values.push(reader.present ? decodedValue<V>(reader, shared) : undefined)
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
    let lock: LockMode | undefined
    return new PagedScan<V>(
      {
        prepare: () => {
          lock = this.lockOf(options)
          return this.scanRequest(range, options)
        },
        page: (request: CoreScan, signal) => unlessAborted(this.pageOf(request, lock), signal, false),
        decode: (reader, shared) => decodeEntry<V>(reader, shared),
        closed: () => this.ended(),
      },
      cursor,
    )
  }

  protected assertOpen(): void {
    const ended = this.ended()
    if (ended !== undefined) throw ended
  }

  /** What reads are asked with where the caller says nothing. */
  protected get defaults(): CoreReadOptions {
    return readDefaults
  }

  protected reading<O extends ReadOptions>(options: O | undefined) {
    this.assertOpen()
    if (options === undefined)
      return { given: {} as O, read: this.defaults, signal: undefined, lock: this.lockOf(undefined) }
    const given = record(options, 'options')
    const { consistency, maxStalenessMs, timeoutMs } = given
    const isUsual = consistency === undefined && maxStalenessMs === undefined && timeoutMs === undefined
    const read = isUsual ? this.defaults : readOptions(given)
    return { given, read, signal: signalOf(given), lock: this.lockOf(given) }
  }

  /** What a read with these options locks. */
  protected lockOf(options: LockingReadOptions | undefined): LockMode | undefined {
    if (options?.forUpdate !== undefined)
      throw invalid('forUpdate locks until a transaction ends: read in db.transaction or db.begin')
    return undefined
  }

  private scanRequest(range: Range | undefined, options: ScanOptions | undefined): ScanRequest {
    const { read, signal, given } = this.reading<ScanOptions>(options)
    const { cursor = '' } = given
    if (typeof cursor !== 'string') throw invalid(`cursor must be a string, not ${shown(cursor)}`)
    const { consistency, maxStalenessMs, timeoutMs, snapshot } = read
    const reverse = flag(given.reverse, 'reverse')
    const keysOnly = flag(given.keysOnly, 'keysOnly')
    const core = { consistency, maxStalenessMs, timeoutMs, snapshot, reverse, keysOnly }
    return { range: encodeRange(range), limit: limitOf(given), signal, cursor, core }
  }

  /** Not a promise where it need not be one: what is in memory costs no wait. */
  private fetchOne(
    key: Key,
    options: ReadOptions | undefined,
  ): Promise<EntryReader | undefined> | EntryReader | undefined {
    const { read, signal, lock } = this.reading(options)
    const fetched = this.fetch([encodeKey(key)], read, signal, lock)
    return fetched instanceof Promise ? fetched.then(onlyOf) : onlyOf(fetched)
  }

  private fetch(
    keys: readonly Uint8Array[],
    read: CoreReadOptions,
    signal: AbortSignalLike | undefined,
    lock: LockMode | undefined,
  ) {
    return unlessAborted(this.entriesOf(keys, read, lock), signal, false)
  }
}

function encodedKeys(keys: readonly Key[]): Uint8Array[] {
  const encoded: Uint8Array[] = []
  const name = (): string => `keys[${encoded.length}]`
  // Not `for … of`, which would leave out what a hole in the array says.
  for (let i = 0; i < keys.length; i++) encoded.push(encodeKey(keys[i]!, name))
  return encoded
}

export function onlyOf(entries: PackedEntries): EntryReader | undefined {
  const reader = new EntryReader(entries)
  return reader.next() && reader.present ? reader : undefined
}

/** `keysOnly` leaves the value out: it is undefined then. */
export function decodeEntry<V>(reader: EntryReader, shared = false): Entry<V> {
  return { key: decodedKey(reader, shared), value: decodedValue<V>(reader, shared), version: reader.version() }
}

function decodedKey({ bytes, keyFrom, keyTo }: EntryReader, shared = false): KeyPart[] {
  const parts = decodeKey(bytes, keyFrom, keyTo, shared)
  if (!parts.ok) throw parts.error
  return parts.value
}

function decodedValue<V>(reader: EntryReader, shared = false): V {
  const { bytes, valueFrom, valueTo } = reader
  if (valueFrom === valueTo) return undefined as V
  const decoded = decodeValue(bytes, valueFrom, valueTo, shared)
  if (decoded.ok) return decoded.value as V
  const { code, message } = decoded.error
  throw new HarmonyError(code, `the value stored under ${shownKey(decodedKey(reader))}: ${message}`)
}

function shownKey(parts: readonly KeyPart[]): string {
  return `[${parts.map(part => (part instanceof Uint8Array ? `${part.length} bytes` : shown(part))).join(', ')}]`
}

export function tooMany(who: string, limit: number, what: string): HarmonyError {
  return new HarmonyError('TOO_LARGE', `${who} at most ${limit} ${what}; split it`)
}
