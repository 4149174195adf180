/** Dexie, its transactions strict. Its promises are its own: every call is awaited here. */
import type { Row } from '../../stores/store.ts'
import { type Engine, loadPackage, ownKeys } from './engine.ts'

/** What is used of it. */
interface Dexie {
  version(number: number): { stores(schema: Readonly<Record<string, string>>): void }
  open(): PromiseLike<unknown>
  table(name: string): Table
  close(): void
}
interface Table {
  put(row: Row): PromiseLike<unknown>
  bulkPut(rows: readonly Row[]): PromiseLike<unknown>
  get(key: Uint8Array): PromiseLike<Row | undefined>
  where(index: string): { aboveOrEqual(key: Uint8Array): { limit(count: number): { toArray(): PromiseLike<Row[]> } } }
}
interface Package {
  readonly Dexie: new (name: string, options: { chromeTransactionDurability: 'strict' }) => Dexie
}

export async function createDexieEngine(): Promise<Engine> {
  const { Dexie } = await loadPackage<Package>('dexie/dist/modern/dexie.mjs')
  return {
    async open(name) {
      const db = new Dexie(`dexie ${name}`, { chromeTransactionDurability: 'strict' })
      db.version(1).stores({ records: 'key' })
      await db.open()
      const records = db.table('records')
      return {
        put: async (key, value) => void (await records.put({ key: key.slice(), value })),
        get: async key => (await records.get(key))?.value,
        scan: async (start, limit) => await records.where('key').aboveOrEqual(start).limit(limit).toArray(),
        row: scanned => scanned as Row,
        batch: async rows => void (await records.bulkPut(ownKeys(rows))),
        close: () => db.close(),
      }
    },
  }
}
