/** The databases that the tests of a suite open, to be closed after each of them. */
import type { Database } from '../../src/database/types.ts'

export function freshDatabases(open: () => Promise<Database>): {
  /** With these values. */
  readonly fresh: (values?: Readonly<Record<string, unknown>>) => Promise<Database>
  readonly closeAll: () => Promise<void>
} {
  const opened: Database[] = []
  return {
    async fresh(values = {}) {
      const db = await open()
      opened.push(db)
      for (const [key, value] of Object.entries(values)) await db.put(key, value)
      return db
    },
    async closeAll() {
      await Promise.all(opened.splice(0).map(db => db.close()))
    },
  }
}
