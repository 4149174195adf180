/** Reader threads in Node: `worker_threads` that map the database's pages. They keep no process alive, and end with their database. */
import { Worker } from 'node:worker_threads'
import { createReadThreads, type LocalCoreOptions, type ReadThread, type SharedPool } from '../../src/index.ts'
import { readerSource } from './reader-source.ts'

type StartReadThreads = NonNullable<LocalCoreOptions['readThreads']>

export async function loadReaders(count: number): Promise<StartReadThreads> {
  const source = await readerSource()
  // Slot 0 is for whoever has none.
  return pool => createReadThreads(Array.from({ length: count }, (_, i) => startThread(source, pool, i + 1)))
}

function startThread(source: string, pool: SharedPool, slot: number): ReadThread {
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
