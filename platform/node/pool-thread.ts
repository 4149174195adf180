/**
 * A thread beside a database (`OpenOptions.readers` and `writers`): works on the pages that it has in memory, and touches nothing else, no file and no
 * socket. With a slot it reads, without one it helps with large batches.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { helpToWrite, type ReadOrder, type SharedPool, serveReads, type WriteOrder } from '../../src/index.ts'

const { pool, slot } = workerData as { readonly pool: SharedPool; readonly slot: number | undefined }

if (slot === undefined) parentPort?.on('message', (order: WriteOrder) => helpToWrite(pool, order))
else {
  const answer = serveReads(pool, slot, reply => {
    parentPort?.postMessage(reply, reply.entries === undefined ? [] : [reply.entries.bytes.buffer as ArrayBuffer])
  })
  parentPort?.on('message', (order: ReadOrder) => answer(order))
}
