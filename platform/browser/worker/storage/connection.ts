/**
 * The IndexedDB database of one peer, and what happens to it. Format, version 1:
 *
 *   store   key                value
 *   files   name               FileRecord: kind, and where the content begins and ends
 *   log     [name, offset]     Uint8Array, at most 60 KiB: the log's bytes from `offset` on; neighbours adjoin
 *   pages   [name, slot]       Uint8Array of 16 KiB: the page file's bytes from slot * 16 KiB on; missing: zeros
 *
 * All writes go through `write`: one transaction with strict durability, the default being one that loses the last seconds with the
 * power (pitfall 22). Its failure shows only as `abort` (pitfall 23): nothing is acknowledged before `complete`.
 *
 * The connection can end by itself: the user clears the site's data, another program deletes the database, the browser's
 * storage process dies. Then everything answers STORAGE_LOST; the owner opens it anew.
 */
import { type DBSchema, type IDBPDatabase, type IDBPTransaction, openDB } from 'idb'
import { AssertionError } from '../../../../src/base/assert.ts'
import { HarmonyError, isHarmonyError } from '../../../../src/base/errors.ts'

/** A get of 60 KiB takes 265 µs, one of 128 KiB 970 µs. */
export const valueBytesMax = 60 * 1024

export interface LogRecord {
  readonly kind: 'log'
  readonly start: number
  readonly end: number
}

export interface PagesRecord {
  readonly kind: 'pages'
  readonly bytes: number
}

export type FileRecord = LogRecord | PagesRecord

export interface Schema extends DBSchema {
  files: { key: string; value: FileRecord }
  log: { key: [string, number]; value: Uint8Array }
  pages: { key: [string, number]; value: Uint8Array }
}

type Store = 'files' | 'log' | 'pages'
export type WriteTransaction = IDBPTransaction<Schema, Store[], 'readwrite'>
export type ReadTransaction = IDBPTransaction<Schema, Store[], 'readonly'>

const version = 1

export class Connection {
  readonly name: string
  /** Why nothing works any more. */
  lost: HarmonyError | undefined
  private readonly db: IDBPDatabase<Schema>

  private constructor(name: string, db: IDBPDatabase<Schema>) {
    this.name = name
    this.db = db
  }

  /** @throws HarmonyError CORRUPT (not one of ours), VERSION_MISMATCH, QUOTA, STORAGE_LOST. */
  static async open(name: string): Promise<Connection> {
    let connection: Connection | undefined
    const lose = (how: string): void => {
      if (connection === undefined) return
      connection.lost ??= new HarmonyError(
        'STORAGE_LOST',
        `the storage of ${name} was lost: ${how}; open the database again`,
      )
      connection.db.close()
    }
    try {
      const db = await openDB<Schema>(name, version, {
        upgrade(created) {
          created.createObjectStore('files')
          created.createObjectStore('log')
          created.createObjectStore('pages')
        },
        blocking: () => lose('somebody deletes it'),
        terminated: () => lose('the browser closed its connection'),
      })
      connection = new Connection(name, db)
      const stores: readonly string[] = [...db.objectStoreNames]
      if (['files', 'log', 'pages'].every(store => stores.includes(store))) return connection
      db.close()
      throw new HarmonyError('CORRUPT', `the IndexedDB database ${name} is not HarmonyDB's: choose another name`)
    } catch (cause) {
      throw isHarmonyError(cause) ? cause : openError(cause, name)
    }
  }

  close(): void {
    this.db.close()
  }

  /** All or nothing, durable when it resolves. Undefined: done. Requests in `run` need not be awaited. */
  async write(
    stores: Store[],
    run: (transaction: WriteTransaction) => Promise<void>,
  ): Promise<HarmonyError | undefined> {
    let transaction: WriteTransaction
    try {
      transaction = this.db.transaction(stores, 'readwrite', { durability: 'strict' })
    } catch (cause) {
      return this.failure(cause, 'writing')
    }
    // It may abort while `run` still waits for one of its requests.
    let aborted: unknown
    const done = transaction.done.catch(cause => {
      aborted = cause ?? new Error('the transaction was aborted')
    })
    try {
      await run(transaction)
    } catch (cause) {
      if (aborted === undefined) abort(transaction)
      await done
      // A request that fails takes the transaction with it: that one's error says why.
      return this.failure(transaction.error ?? cause, 'writing')
    }
    await done
    return aborted === undefined ? undefined : this.failure(aborted, 'writing')
  }

  /** @throws HarmonyError */
  async read<T>(stores: Store[], run: (transaction: ReadTransaction) => Promise<T>): Promise<T> {
    try {
      return await run(this.db.transaction(stores, 'readonly'))
    } catch (cause) {
      throw this.failure(cause, 'reading')
    }
  }

  private failure(cause: unknown, doing: string): HarmonyError {
    if (cause instanceof AssertionError) throw cause
    if (isHarmonyError(cause)) return cause
    return this.lost ?? storageError(cause, `${doing} the storage of ${this.name}`)
  }
}

function abort(transaction: WriteTransaction): void {
  try {
    transaction.abort()
  } catch {
    // It is over already.
  }
}

/** Nobody waits for a request whose transaction tells the outcome. */
export function fireAndForget(request: Promise<unknown>): void {
  request.catch(() => {})
}

function nameOf(cause: unknown): unknown {
  return typeof cause === 'object' && cause !== null && 'name' in cause ? cause.name : undefined
}

function openError(cause: unknown, name: string): HarmonyError {
  if (nameOf(cause) === 'VersionError') {
    const message = `the storage of ${name} was written by a newer version of HarmonyDB: reload the page, or upgrade it`
    return new HarmonyError('VERSION_MISMATCH', message, { cause })
  }
  return storageError(cause, `opening the storage of ${name}`)
}

function storageError(cause: unknown, doing: string): HarmonyError {
  const reason = cause instanceof Error || cause instanceof DOMException ? cause.message : String(cause)
  if (nameOf(cause) === 'QuotaExceededError') {
    const message = `the browser gives this site no more space (while ${doing}): free some, or ask for persistent storage, then open the database again`
    return new HarmonyError('QUOTA', message, { cause })
  }
  return new HarmonyError('STORAGE_LOST', `IndexedDB failed while ${doing}: ${reason}; open the database again`, {
    cause,
  })
}
