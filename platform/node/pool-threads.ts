/** Threads beside a database in Node: `worker_threads` that map its pages. They keep no process alive, and end with their database. */
import { Worker } from 'node:worker_threads'
import {
  createReadThreads,
  type LocalCoreOptions,
  type ReadThread,
  type SharedPool,
  type WriteHelpers,
} from '../../src/index.ts'
import { poolThreadSource } from './pool-thread-source.ts'

type StartReadThreads = NonNullable<LocalCoreOptions['readThreads']>

export async function loadReaders(count: number): Promise<StartReadThreads> {
  const source = await poolThreadSource()
  // Slot 0 is for whoever has none.
  return pool => createReadThreads(Array.from({ length: count }, (_, i) => startReader(source, pool, i + 1)))
}

/** They start when the first large batch comes, which does not wait for them. */
export async function loadWriters(count: number): Promise<(pool: SharedPool) => WriteHelpers> {
  const source = await poolThreadSource()
  return pool => {
    let workers: Set<Worker> | undefined
    return {
      threads: count,
      offer(order) {
        workers ??= new Set(Array.from({ length: count }, () => startWriter(source, pool)))
        for (const worker of workers) worker.postMessage(order)
      },
      close() {
        for (const worker of workers ?? []) void worker.terminate()
      },
    }
  }
}

function startReader(source: string, pool: SharedPool, slot: number): ReadThread {
  const worker = new Worker(source, { eval: true, name: 'harmonydb reader', workerData: { pool, slot }, execArgv: [] })
  return {
    post: order => worker.postMessage(order),
    listen(onReply, onGone) {
      worker.on('message', onReply)
      // What it could not do, this thread does.
      worker.on('error', onGone)
      worker.on('exit', onGone)
      // Listening takes hold of it again.
      worker.unref()
    },
    end: () => void worker.terminate(),
  }
}

function startWriter(source: string, pool: SharedPool): Worker {
  const worker = new Worker(source, { eval: true, name: 'harmonydb writer', workerData: { pool }, execArgv: [] })
  // A death between batches costs nothing: the others go on. One in the middle is found by whoever waits for it.
  worker.on('error', () => {})
  worker.unref()
  return worker
}
