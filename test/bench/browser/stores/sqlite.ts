/**
 * sqlite-wasm on OPFS, VFS opfs-sahpool: WAL in exclusive locking mode, synchronous FULL, a table WITHOUT ROWID; every put its own
 * transaction, or 64 in a hand-made one. It works in a worker only; from the page, each call is a message to that worker and one
 * back, as programs write them.
 */
import { type Row, type Store, together } from '../../stores/store.ts'
import type { Place } from '../task.ts'
import { type Engine, ownKeys, soon } from './engine.ts'
import { openSqliteHere } from './sqlite-here.ts'

export interface SqliteRequest {
  readonly id: number
  readonly op: 'open' | 'put' | 'get' | 'scan' | 'batch' | 'close'
  readonly given: readonly unknown[]
}
export interface SqliteAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

export async function createSqliteEngine(place: Place): Promise<Engine> {
  if (place === 'page') return { open: openSqliteBehindWorker }
  return {
    open: async name => {
      const store = await openSqliteHere(name)
      return { ...store, putTogether: together(store.batch, soon) }
    },
  }
}

async function openSqliteBehindWorker(name: string): Promise<Store<Uint8Array>> {
  const worker = new Worker('/bench/sqlite-worker.js', { type: 'module' })
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  let ids = 0
  worker.onerror = event => {
    for (const { reject } of waiting.values()) reject(new Error(`the worker of sqlite-wasm: ${event.message}`))
  }
  worker.onmessage = event => {
    const { id, result, error } = event.data as SqliteAnswer
    const { resolve, reject } = waiting.get(id)!
    waiting.delete(id)
    if (error === undefined) resolve(result)
    else reject(new Error(error))
  }
  const ask = <T>(op: SqliteRequest['op'], ...given: readonly unknown[]): Promise<T> => {
    const id = ids++
    worker.postMessage({ id, op, given } satisfies SqliteRequest)
    return new Promise((resolve, reject) => waiting.set(id, { resolve: resolve as (result: unknown) => void, reject }))
  }
  await ask('open', name)
  const batch: Store<Uint8Array>['batch'] = rows => ask('batch', ownKeys(rows))
  return {
    put: (key, value) => ask('put', key.slice(), value),
    putTogether: together(batch, soon),
    get: key => ask<Uint8Array | undefined>('get', key.slice()),
    scan: (start, limit) => ask<readonly unknown[]>('scan', start.slice(), limit),
    row: scanned => scanned as Row,
    batch,
    close: async () => {
      await ask('close')
      worker.terminate()
    },
  }
}
