/** IndexedDB through idb, durability strict. 64 callers' puts also in a hand-made transaction. */
import { type DBSchema, openDB } from 'idb'
import { together } from '../../stores/store.ts'
import { type Engine, soon } from './engine.ts'

interface Schema extends DBSchema {
  records: { key: Uint8Array<ArrayBuffer>; value: Uint8Array }
}

const strictly = { durability: 'strict' } as const
const keyOf = (bytes: Uint8Array) => bytes as Uint8Array<ArrayBuffer>

export const createIndexedDbEngine = async (): Promise<Engine> => ({
  async open(name) {
    const db = await openDB<Schema>(`indexeddb ${name}`, 1, { upgrade: made => void made.createObjectStore('records') })
    const batch = async (rows: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]): Promise<void> => {
      const { store, done } = db.transaction('records', 'readwrite', strictly)
      await Promise.all([...rows.map(({ key, value }) => store.put(value, keyOf(key))), done])
    }
    return {
      put: async (key, value) => {
        const { store, done } = db.transaction('records', 'readwrite', strictly)
        await Promise.all([store.put(value, keyOf(key)), done])
      },
      putTogether: together(batch, soon),
      get: key => db.get('records', keyOf(key)),
      scan: async (start, limit) => {
        const range = IDBKeyRange.lowerBound(start)
        const { store } = db.transaction('records')
        const [keys, values] = await Promise.all([store.getAllKeys(range, limit), store.getAll(range, limit)])
        return keys.map((key, i) => ({ key, value: values[i]! }))
      },
      row: scanned => {
        // Keys come back as ArrayBuffers, whatever they were.
        const { key, value } = scanned as { key: ArrayBuffer; value: Uint8Array }
        return { key: new Uint8Array(key), value }
      },
      batch,
      close: () => db.close(),
    }
  },
})
