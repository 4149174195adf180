/**
 * HarmonyDB as its users have it: the built package, everything by default. From the page, `open` starts its worker; in a worker of the
 * program's own, `worker: false` runs it right there.
 */
import type * as Package from '../../../../platform/browser/page/entry.ts'
import { harmonyStore } from '../../stores/harmonydb-store.ts'
import type { Place } from '../task.ts'
import type { Engine } from './engine.ts'

export async function createHarmonyEngine(place: Place): Promise<Engine> {
  const path = '/harmonydb/index.js'
  const { open } = (await import(path)) as typeof Package
  const worker = place === 'page' ? 'auto' : false
  return { open: async name => harmonyStore(await open({ name, worker })) }
}
