/**
 * An engine that works in a worker only, from the page: each call is a message to that worker and one back, as programs write them.
 * `remote-worker.ts` is the other end.
 */
import type { Row, Store } from '../../stores/store.ts'
import { ownKeys } from './engine.ts'

export interface RemoteRequest {
  readonly id: number
  readonly op: 'open' | 'put' | 'get' | 'scan' | 'batch' | 'close'
  /** Of `open`: engine and name of the store; else what the store's own method takes. */
  readonly given: readonly unknown[]
}
export interface RemoteAnswer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
}

export async function openRemote(engine: 'sqlite-wasm' | 'pglite', name: string): Promise<Store<Uint8Array>> {
  const worker = new Worker('/bench/remote-worker.js', { type: 'module' })
  const waiting = new Map<number, Waiting>()
  let ids = 0
  worker.onerror = event => {
    for (const { reject } of waiting.values()) reject(new Error(`the worker of ${engine}: ${event.message}`))
  }
  worker.onmessage = event => {
    const { id, result, error } = event.data as RemoteAnswer
    const { resolve, reject } = waiting.get(id)!
    waiting.delete(id)
    if (error === undefined) resolve(result)
    else reject(new Error(error))
  }
  const ask = <T>(op: RemoteRequest['op'], ...given: readonly unknown[]): Promise<T> => {
    const id = ids++
    worker.postMessage({ id, op, given } satisfies RemoteRequest)
    return new Promise((resolve, reject) => waiting.set(id, { resolve: resolve as Waiting['resolve'], reject }))
  }
  await ask('open', engine, name)
  return {
    put: (key, value) => ask('put', key.slice(), value),
    get: key => ask<Uint8Array | undefined>('get', key.slice()),
    scan: (start, limit) => ask<readonly unknown[]>('scan', start.slice(), limit),
    row: scanned => scanned as Row,
    batch: rows => ask('batch', ownKeys(rows)),
    close: async () => {
      await ask('close')
      worker.terminate()
    },
  }
}
