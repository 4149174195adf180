/** A thread of the suite `threads`: puts its share of records when it is told to, or helps with a batch. */
import { parentPort, workerData } from 'node:worker_threads'
import type { SharedPool } from '../../src/storage/pool-memory.ts'
import type { SharedSection } from '../../src/storage/shared-section.ts'
import { SharedTreeWriter } from '../../src/storage/shared-writer.ts'
import { buffers, Records } from './records.ts'
import { helpToWrite, type WriteOrder } from './threads-together.ts'

export interface ThreadData {
  readonly pool: SharedPool
  readonly records: number
}

export type ThreadTask =
  | {
      readonly kind: 'put'
      readonly section: SharedSection
      /** Every `step`-th record of from ≤ record < to. */
      readonly from: number
      readonly to: number
      readonly step: number
      /** All begin when it is 1. */
      readonly go: SharedArrayBuffer
    }
  | { readonly kind: 'help'; readonly order: WriteOrder }

/** `ms` undefined: ready. */
export interface ThreadReply {
  readonly ms?: number
  readonly declined?: number
}

const { pool, records: count } = workerData as ThreadData
const records = new Records(count, buffers)
const post = (reply: ThreadReply): void => parentPort?.postMessage(reply)

parentPort?.on('message', (task: ThreadTask) => {
  if (task.kind === 'help') return helpToWrite(pool, task.order)
  const { section, from, to, step, go } = task
  const changes: [Uint8Array, Uint8Array][] = []
  for (let record = from; record < to; record += step) changes.push([records.key(record), records.value(record, 0)])
  const writer = new SharedTreeWriter(pool, section)
  post({})
  Atomics.wait(new Int32Array(go), 0, 0)
  const begunMs = performance.now()
  writer.enter()
  let declined = 0
  for (const [key, value] of changes) if (writer.write(key, value) !== 'done') declined++
  writer.leave()
  post({ ms: performance.now() - begunMs, declined })
})
post({})
