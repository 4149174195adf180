/**
 * PGlite on OPFS (its VFS opfs-ahp), `relaxedDurability: false`. From the page through its own PGliteWorker. Bulk loading is by COPY, which is
 * the fastest that it has.
 */
import type { Row, Store } from '../../stores/store.ts'
import type { Place } from '../task.ts'
import { type Engine, loadPackage } from './engine.ts'

/** What is used of it. */
export interface Pglite {
  exec(sql: string): Promise<unknown>
  query(
    sql: string,
    values?: readonly unknown[],
    options?: { readonly blob?: Blob },
  ): Promise<{ readonly rows: readonly unknown[] }>
  close(): Promise<void>
}
export interface PglitePackage {
  readonly PGlite: {
    create(options: { readonly dataDir: string; readonly relaxedDurability: false }): Promise<Pglite>
  }
}
interface WorkerPackage {
  readonly PGliteWorker: {
    create(worker: Worker, options: { readonly id: string; readonly dataDir: string }): Promise<Pglite>
  }
}

export const pglitePath = '@electric-sql/pglite/dist/index.js'
export const pgliteWorkerPath = '@electric-sql/pglite/dist/worker/index.js'

const dataDirOf = (name: string): string => `opfs-ahp://pglite-${name}`

export async function createPgliteEngine(place: Place): Promise<Engine> {
  if (place === 'worker') {
    const { PGlite } = await loadPackage<PglitePackage>(pglitePath)
    return { open: async name => storeOf(await PGlite.create({ dataDir: dataDirOf(name), relaxedDurability: false })) }
  }
  const { PGliteWorker } = await loadPackage<WorkerPackage>(pgliteWorkerPath)
  return {
    open: async name => {
      const worker = new Worker('/bench/pglite-worker.js', { type: 'module' })
      return storeOf(await PGliteWorker.create(worker, { id: name, dataDir: dataDirOf(name) }), () =>
        worker.terminate(),
      )
    },
  }
}

async function storeOf(db: Pglite, end = () => {}): Promise<Store<Uint8Array>> {
  await db.exec('CREATE TABLE IF NOT EXISTS records (key bytea PRIMARY KEY, value bytea NOT NULL)')
  return {
    put: (key, value) =>
      db.query('INSERT INTO records VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value', [
        key.slice(),
        value,
      ]),
    get: async key => {
      const { rows } = await db.query('SELECT value FROM records WHERE key = $1', [key.slice()])
      return (rows[0] as Row | undefined)?.value
    },
    scan: async (start, limit) => {
      const sql = 'SELECT key, value FROM records WHERE key >= $1 ORDER BY key LIMIT $2'
      return (await db.query(sql, [start.slice(), limit])).rows
    },
    row: scanned => scanned as Row,
    batch: rows => {
      const blob = new Blob(rows.map(({ key, value }) => `\\\\x${hexOf(key)}\t\\\\x${hexOf(value)}\n`))
      return db.query("COPY records FROM '/dev/blob'", [], { blob })
    },
    close: async () => {
      await db.close()
      end()
    },
  }
}

const hexes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexes[byte]
  return text
}
