/** HarmonyDB as its users have it: the built package, `open` on a directory, everything else by default. */
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import type * as Package from '../../../platform/node/entry.ts'
import { NotInstalled, type OpenedFrom, type Row, type Store } from './store.ts'

export async function openHarmony({ dir, modulePath }: OpenedFrom): Promise<Store> {
  if (!existsSync(modulePath)) throw new NotInstalled(`${modulePath} is not there: npm run build`)
  const { open } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const db = await open({ name: 'bench', storage: { dir } })
  return {
    put: (key, value) => db.put(key, value),
    get: key => db.get<Uint8Array>(key),
    scan: (start, limit) => db.scan<Uint8Array>({ start }, { limit }).toArray(),
    row: scanned => {
      const { key, value } = scanned as Package.Entry<Uint8Array>
      return { key: key[0] as Uint8Array, value } satisfies Row
    },
    batch: rows => db.batch(rows.map(({ key, value }) => ({ type: 'put', key, value }))),
    close: () => db.close(),
  }
}
