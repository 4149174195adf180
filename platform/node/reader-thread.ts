/** A reader thread (`OpenOptions.readers`): reads the pages that its database has in memory, and touches nothing else, no file and no socket. */
import { parentPort, workerData } from 'node:worker_threads'
import { type ReadOrder, type SharedPool, serveReads } from '../../src/index.ts'

const { pool, slot } = workerData as { readonly pool: SharedPool; readonly slot: number }

const answer = serveReads(pool, slot, reply => {
  parentPort?.postMessage(reply, reply.entries === undefined ? [] : [reply.entries.bytes.buffer as ArrayBuffer])
})
parentPort?.on('message', (order: ReadOrder) => answer(order))
