/** A thread of the suite `threads`: gets or puts its share of records when it is told to, or helps with a batch. */
import { parentPort, workerData } from 'node:worker_threads'
import { helpToWrite, type WriteOrder } from '../../src/storage/parallel-batch.ts'
import type { SharedPool } from '../../src/storage/pool-memory.ts'
import { SharedTreeReader } from '../../src/storage/shared-reader.ts'
import type { SharedSection } from '../../src/storage/shared-section.ts'
import { SharedTreeWriter } from '../../src/storage/shared-writer.ts'
import { buffers, Records } from './records.ts'

export interface ThreadData {
  readonly pool: SharedPool
  readonly records: number
  /** From 1 on: its place among readers. */
  readonly slot: number
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
  | {
      readonly kind: 'get'
      /** Of all records, scattered. */
      readonly from: number
      readonly count: number
      readonly go: SharedArrayBuffer
    }
  | { readonly kind: 'help'; readonly order: WriteOrder }

/** `ms` undefined: ready. */
export interface ThreadReply {
  readonly ms?: number
  readonly declined?: number
}

const { pool, records: count, slot } = workerData as ThreadData
const records = new Records(count, buffers)
const post = (reply: ThreadReply): void => parentPort?.postMessage(reply)

parentPort?.on('message', (task: ThreadTask) => {
  if (task.kind === 'help') return helpToWrite(pool, task.order)
  if (task.kind === 'get') return get(task.from, task.count, task.go)
  const { section, from, to, step, go } = task
  const changes: [Uint8Array, Uint8Array][] = []
  for (let record = from; record < to; record += step) changes.push([records.key(record), records.value(record, 0)])
  const writer = new SharedTreeWriter(pool, section)
  const begunMs = begin(go)
  writer.enter()
  let declined = 0
  for (const [key, value] of changes) if (writer.write(key, value) !== 'done') declined++
  writer.leave()
  post({ ms: performance.now() - begunMs, declined })
})

function get(from: number, many: number, go: SharedArrayBuffer): void {
  const reader = new SharedTreeReader(pool, { attemptsMax: 24, maySleep: true, slot })
  const keys = Array.from({ length: many }, (_, i) => records.key((from + i * 7919) % count))
  let declined = 0
  const begunMs = begin(go)
  for (const key of keys) {
    const read = reader.read(view => view.find(key) !== undefined, 0)
    if (read.state !== 'read' || !read.value) declined++
  }
  post({ ms: performance.now() - begunMs, declined })
}

/** Ready; the time when all begin. */
function begin(go: SharedArrayBuffer): number {
  post({})
  Atomics.wait(new Int32Array(go), 0, 0)
  return performance.now()
}

post({})
