/**
 * sqlite-wasm on OPFS in this worker: VFS opfs-sahpool, WAL in exclusive locking mode, synchronous FULL, a table WITHOUT ROWID; every put
 * its own transaction.
 */
import { createRecords, getRecord, putRecord, scanRecords } from '../../stores/sql.ts'
import type { Row, Store } from '../../stores/store.ts'
import { loadPackage } from './engine.ts'

/** What is used of it. */
interface Statement {
  bind(values: readonly unknown[]): Statement
  step(): boolean
  get(column: number): unknown
  reset(): Statement
  stepReset(): Statement
  finalize(): void
}
interface Database {
  exec(sql: string): unknown
  selectValue(sql: string): unknown
  prepare(sql: string): Statement
  transaction(run: () => void): void
  close(): void
}
interface Pool {
  readonly OpfsSAHPoolDb: new (path: string) => Database
  /** Gives its files up, as closing the worker would; the next one may have them. */
  pauseVfs(): void
}
interface Sqlite {
  installOpfsSAHPoolVfs(options: { name: string; directory: string; initialCapacity: number }): Promise<Pool>
}
interface Package {
  readonly default: () => Promise<Sqlite>
}

let opened = 0

export async function openSqliteHere(name: string): Promise<Store<Uint8Array>> {
  const sqlite = await (await loadPackage<Package>('@sqlite.org/sqlite-wasm/dist/index.mjs')).default()
  const pool = await sqlite.installOpfsSAHPoolVfs({
    // The name is the worker's own, the directory is what stays.
    name: `pool-${opened++}`,
    directory: `sqlite-${name}`,
    initialCapacity: 6,
  })
  const db = new pool.OpfsSAHPoolDb('/records')
  db.exec('PRAGMA locking_mode = EXCLUSIVE')
  db.exec('PRAGMA synchronous = FULL')
  const mode = db.selectValue('PRAGMA journal_mode = WAL')
  if (mode !== 'wal') throw new Error(`sqlite-wasm has the journal mode ${mode}`)
  db.exec(createRecords)
  const [put, get, scan] = [db.prepare(putRecord), db.prepare(getRecord), db.prepare(scanRecords)]
  return {
    put: (key, value) => void put.bind([key, value]).stepReset(),
    get: key => {
      get.bind([key])
      const value = get.step() ? (get.get(0) as Uint8Array) : undefined
      get.reset()
      return value
    },
    scan: (start, limit) => {
      const rows: Row[] = []
      scan.bind([start, limit])
      while (scan.step()) rows.push({ key: scan.get(0) as Uint8Array, value: scan.get(1) as Uint8Array })
      scan.reset()
      return rows
    },
    row: scanned => scanned as Row,
    batch: rows =>
      db.transaction(() => {
        for (const { key, value } of rows) put.bind([key, value]).stepReset()
      }),
    close: () => {
      for (const statement of [put, get, scan]) statement.finalize()
      db.close()
      pool.pauseVfs()
    },
  }
}
