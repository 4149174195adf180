/** HarmonyDB as its users have it: the built package, `open` on a directory, everything else by default. */
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import type * as Package from '../../../platform/node/entry.ts'
import type { TransactionOptions } from '../../../src/database/types.ts'
import { harmonyStore } from './harmonydb-store.ts'
import { NotInstalled, type OpenedFrom, type Store } from './store.ts'

/** @param transactions How they are done, where not by default. */
export async function openHarmony(
  { dir, modulePath, cacheBytes }: OpenedFrom,
  transactions?: TransactionOptions,
): Promise<Store> {
  if (!existsSync(modulePath)) throw new NotInstalled(`${modulePath} is not there: npm run build`)
  const { open } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const db = await open({ name: 'bench', storage: { dir }, ...(cacheBytes === undefined ? {} : { cacheBytes }) })
  return harmonyStore(db, transactions)
}
