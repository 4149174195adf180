/**
 * This tab's database, the worker that runs it, and the page's ways to treat it badly. After `kill` nothing behind the
 * database will ever answer again, so everything goes through `run`, which then fails instead of waiting for ever.
 */
import { isHarmonyError, open } from 'harmonydb'
import type { Database, DatabaseEvent, JoinOptions } from '../src/database/types.ts'
import type { Settings } from './settings.ts'

export interface Timed<T> {
  readonly value: T
  readonly ms: number
}

export interface Session {
  readonly db: Database
  readonly alive: boolean
  /** Measures one operation; rejects with its error, or at once when this peer is dead. */
  run<T>(operation: (db: Database) => Promise<T>): Promise<Timed<T>>
  /** The worker ends where it stands: no goodbye, no flush, links left dangling. */
  kill(): void
}

export class DeadPeer extends Error {
  constructor() {
    super('This peer was killed. Revive it to go on.')
  }
}

export async function openSession(settings: Settings, onEvent: (event: DatabaseEvent) => void): Promise<Session> {
  const workers: Worker[] = []
  const db = await open({
    name: settings.storeName,
    worker: () => {
      const worker = new Worker(new URL('../platform/browser/worker/entry.ts', import.meta.url), {
        type: 'module',
        name: settings.storeName,
      })
      workers.push(worker)
      return worker
    },
    onEvent,
  })
  let alive = true
  let die: (reason: DeadPeer) => void = () => {}
  const death = new Promise<never>((_, reject) => {
    die = reject
  })
  death.catch(() => {})
  return {
    db,
    get alive() {
      return alive
    },
    async run(operation) {
      if (!alive) throw new DeadPeer()
      const begunMs = performance.now()
      const value = await Promise.race([operation(db), death])
      return { value, ms: performance.now() - begunMs }
    },
    kill() {
      alive = false
      for (const worker of workers) worker.terminate()
      die(new DeadPeer())
    },
  }
}

export function joinOptions(settings: Settings, onConflict: 'fail' | 'discard-local'): JoinOptions {
  const { room, secret, signalUrl } = settings
  return { room, secret, onConflict, ...(signalUrl === undefined ? {} : { signaling: signalUrl }) }
}

export function errorText(error: unknown): string {
  if (isHarmonyError(error)) return `${error.code}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}

export const errorCode = (error: unknown): string =>
  isHarmonyError(error) ? error.code : error instanceof DeadPeer ? 'DEAD' : 'ERROR'
