/**
 * How a peer's storage lies in IndexedDB: one database per slot, three object stores with keys of their own.
 *
 *   files   name                            -> { kind, start, end }     `start` and `end` of a log that was cut or dropped
 *   log     [name, offset, length]          -> Uint8Array               what one sync brought, in pieces under 64 KiB
 *   pages   [name, sector number]           -> Uint8Array               one sector
 *
 * The length stands in a log record's key so that opening reads no values. All writes are `strict` transactions (pitfall 22): without
 * that, a completed transaction may be gone after a power failure.
 */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb'
import { HarmonyError } from '../../../../src/base/errors.ts'

export interface StoredFile {
  readonly kind: 'log' | 'pages'
  readonly start: number
  readonly end: number
}

export interface StorageSchema extends DBSchema {
  files: { key: string; value: StoredFile }
  log: { key: [string, number, number]; value: Uint8Array }
  pages: { key: [string, number]; value: Uint8Array }
}

export type StorageDatabase = IDBPDatabase<StorageSchema>

const formatVersion = 1

/** `onLost` is called when the browser closes the connection (eviction, a newer version of this code in another tab). */
export async function openDatabase(name: string, onLost: () => void): Promise<StorageDatabase> {
  try {
    return await openDB<StorageSchema>(name, formatVersion, {
      upgrade(database) {
        for (const store of ['files', 'log', 'pages'] as const) database.createObjectStore(store)
      },
      blocking(_from, _to, event) {
        ;(event.target as IDBDatabase).close()
        onLost()
      },
      terminated: onLost,
    })
  } catch (error) {
    throw storageError(error, `opening the database "${name}"`)
  }
}

/** The transaction's own reason first: quota errors surface only there (pitfall 23). */
export function storageError(
  error: unknown,
  doing: string,
  transaction?: { readonly error: DOMException | null },
): HarmonyError {
  if (error instanceof HarmonyError) return error
  const cause = transaction?.error ?? error
  const name = cause instanceof DOMException ? cause.name : ''
  const said = cause instanceof Error ? cause.message : String(cause)
  if (name === 'QuotaExceededError') {
    return new HarmonyError(
      'QUOTA',
      `${doing}: the browser has no more space for this site; free some, or allow more`,
      { cause },
    )
  }
  if (name === 'VersionError') {
    return new HarmonyError(
      'VERSION_MISMATCH',
      `${doing}: it was written by a newer version of HarmonyDB; reload with that one`,
      { cause },
    )
  }
  return new HarmonyError('STORAGE_LOST', `${doing} failed: ${said}. Reload the page to open it again`, { cause })
}
