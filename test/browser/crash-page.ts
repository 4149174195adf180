/** Runs in the page: one life of a database that goes on with a script until its worker, or its tab, is killed. */
import { open } from '../../platform/browser/page/entry.ts'
import { fingerprint, inFlightMax, makeScript, stateText, writesIn } from '../simulation/crash-script.ts'

export interface Life {
  readonly storage: 'indexeddb' | 'opfs'
  readonly seed: number
  /** Writes in the whole script. */
  readonly count: number
  /** Of the lives before. */
  readonly acknowledged: number
  readonly submitted: number
  /** So many acknowledged writes from its beginning on, the worker is killed; undefined: it goes on to the script's end. */
  readonly killAfter: number | undefined
}

export interface Lived {
  /** What it began with. */
  readonly found: number
  readonly acknowledged: number
  readonly submitted: number
  readonly checkpoints: number
}

declare global {
  /** Of the test: hears of progress before a tab is killed. */
  var progress: ((lived: Lived) => Promise<void>) | undefined
}

/** @throws Error where the database holds no state that it may hold. */
export async function live({ storage, seed, count, killAfter, ...before }: Life): Promise<Lived> {
  const script = makeScript(seed, count)
  let worker: Worker | undefined
  const db = await open({
    name: `crash ${seed}`,
    storage,
    worker: () => {
      worker = new Worker(new URL('./crash-worker.ts', import.meta.url), { type: 'module' })
      return worker
    },
  })
  const state = new Map<string, string>()
  for await (const { key, value } of db.scan<Uint8Array>()) state.set(String(key[0]), fingerprint(value))
  const found = writesIn(script, stateText(state), before.acknowledged, before.submitted)
  const { checkpoints } = db.status().storage
  let [acknowledged, submitted] = [found, found]
  let killed = false
  const lived = (): Lived => ({ found, acknowledged, submitted, checkpoints })
  const writer = async (): Promise<void> => {
    while (submitted < count && !killed) {
      const n = submitted++
      await globalThis.progress?.(lived())
      try {
        await db.batch(script.writes[n] ?? [])
      } catch (error) {
        if (killed) return
        throw error
      }
      if (killed) return
      acknowledged = Math.max(acknowledged, n + 1)
      await globalThis.progress?.(lived())
      if (killAfter === undefined || acknowledged < found + killAfter) continue
      killed = true
      worker?.terminate()
    }
  }
  await Promise.all(Array.from({ length: inFlightMax }, writer))
  if (!killed) await db.close()
  return lived()
}
