/** HarmonyDB's public interface as a store of the benchmark, in Node and in browsers. */
import type { Database, Entry, TransactionOptions } from '../../../src/database/types.ts'
import type { Row, Store, Transact } from './store.ts'

export const harmonyStore = (db: Database, options?: TransactionOptions): Store<Uint8Array> => ({
  put: (key, value) => db.put(key, value),
  get: key => db.get<Uint8Array>(key),
  scan: (start, limit) => db.scan<Uint8Array>({ start }, { limit }).toArray(),
  row: scanned => {
    const { key, value } = scanned as Entry<Uint8Array>
    return { key: key[0] as Uint8Array, value } satisfies Row
  },
  batch: rows => db.batch(rows.map(({ key, value }) => ({ type: 'put', key, value }))),
  transact: harmonyTransact(db, options),
  lockWaits: () => (db.cluster.status().role === 'follower' ? undefined : db.status().locks.waited),
  close: () => db.close(),
})

/** With locks, what is read is locked at once as what will be written. */
export function harmonyTransact(db: Database, options: TransactionOptions = {}): Transact<Uint8Array> {
  const reading = options.locking === 'pessimistic' ? { forUpdate: true } : undefined
  return (keys, change) =>
    db.transaction(async tx => {
      const values =
        keys.length === 1 ? [await tx.get<Uint8Array>(keys[0]!, reading)] : await tx.getMany<Uint8Array>(keys, reading)
      for (const [i, value] of change(values).entries()) tx.put(keys[i]!, value)
    }, options)
}
