/**
 * PGlite on OPFS (its VFS opfs-ahp), `relaxedDurability: false`. From the page behind a worker as sqlite-wasm: its own PGliteWorker is made
 * for many tabs and takes 7 ms for a get. Bulk loading is by COPY, which is the fastest that it has.
 */
import type { Row, Store } from '../../stores/store.ts'
import type { Place } from '../task.ts'
import { type Engine, loadPackage } from './engine.ts'
import { openRemote } from './remote.ts'

/** What is used of it. */
interface Pglite {
  exec(sql: string): Promise<unknown>
  query(
    sql: string,
    values?: readonly unknown[],
    options?: { readonly blob?: Blob },
  ): Promise<{ readonly rows: readonly unknown[] }>
  close(): Promise<void>
}
interface Package {
  readonly PGlite: {
    create(options: { readonly dataDir: string; readonly relaxedDurability: false }): Promise<Pglite>
  }
}

export const createPgliteEngine = async (place: Place): Promise<Engine> => ({
  open: place === 'page' ? name => openRemote('pglite', name) : openPgliteHere,
})

export async function openPgliteHere(name: string): Promise<Store<Uint8Array>> {
  const { PGlite } = await loadPackage<Package>('@electric-sql/pglite/dist/index.js')
  const db = await PGlite.create({ dataDir: `opfs-ahp://pglite-${name}`, relaxedDurability: false })
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
    close: () => db.close(),
  }
}

const hexes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += hexes[byte]
  return text
}
