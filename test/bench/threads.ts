/**
 * The suite `threads`: a tree in memory, without log and disk, changed by its owner alone and by several threads at once. What it shows is how
 * writing scales with threads, and what a batch gains that several make together.
 */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { BTree } from '../../src/storage/btree.ts'
import { BufferPool } from '../../src/storage/buffer-pool.ts'
import type { Change } from '../../src/storage/engine.ts'
import { type WriteHelpers, writeTogether } from '../../src/storage/parallel-batch.ts'
import { MemorySource } from '../unit/storage/memory-source.ts'
import { linesOf, type Measurement } from './lines.ts'
import { type Measured, summary } from './measure.ts'
import { buffers, Records } from './records.ts'
import { type Outcome, type SuiteOptions, turnOf } from './suite-options.ts'
import type { ThreadData, ThreadReply, ThreadTask } from './threads-worker.ts'

/** Gets, or new records, in each step; those are removed again, which is not measured. */
const sizes: Readonly<Record<string, number>> = {
  'get-100000': 100_000,
  'put-10000': 10_000,
  'batch-1000': 1000,
  'batch-10000': 10_000,
}
export const threadCaseNames: readonly string[] = Object.keys(sizes)
const threadsOf: Readonly<Record<string, number>> = { owner: 0, 'threads-1': 1, 'threads-2': 2, 'threads-4': 4 }
export const threadEngineNames: readonly string[] = Object.keys(threadsOf)

const pageBytes = 8192

let running: readonly Thread[] = []
export const endThreads = (): void => {
  for (const thread of running) void thread.worker.terminate()
}

interface Thread {
  readonly worker: Worker
  next(): Promise<ThreadReply>
}

export async function runThreads(options: SuiteOptions): Promise<Outcome> {
  const { progress, rounds, seconds } = options
  const records = new Records(options.records, buffers)
  const stage = makeStage(records)
  const script = join(options.childScript, '..', 'threads-worker.mjs')
  const most = Math.max(0, ...options.engines.map(engine => threadsOf[engine]!))
  const threads = Array.from({ length: most }, (_, i) =>
    startThread(script, { pool: stage.pool.shared!, records: options.records, slot: i + 1 }),
  )
  running = threads
  await Promise.all(threads.map(thread => thread.next()))
  const results: Measurement[] = []
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const engine of turnOf(options.engines, round)) {
        const mine = threads.slice(0, threadsOf[engine])
        for (const name of options.cases) {
          // A batch's owner is one of those that make it.
          const isBatch = name.startsWith('batch')
          if (isBatch && mine.length === 1) continue
          progress(`round ${round} of ${rounds}, ${options.records} records: ${name} ${engine}`)
          results.push({ case: name, engine, measured: await measure(stage, name, seconds, mine) })
        }
      }
    }
    const { problems, keys } = stage.tree.verify().run()
    if (problems.length > 0 || keys !== records.count)
      throw new Error(`the tree is damaged: ${problems[0]}, ${keys} keys`)
  } finally {
    endThreads()
  }
  return {
    lines: linesOf({ suite: 'threads', records: options.records, caseNames: threadCaseNames }, results),
    failures: 0,
  }
}

type Stage = ReturnType<typeof makeStage>

function makeStage(records: Records) {
  const source = new MemorySource(pageBytes)
  const frames = Math.ceil((records.count * 400) / pageBytes) + 4096
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  for (let from = 0; from < records.count; from += 1000) {
    tree.batch(changesOf(records, from, Math.min(records.count, from + 1000))).run()
  }
  return { pool, tree, records }
}

const changesOf = (records: Records, from: number, to: number): Change[] =>
  Array.from({ length: to - from }, (_, i) => ({ key: records.key(from + i), value: records.value(from + i, 0) }))

/** Puts records from ≤ record < to, or gets as many; returns the milliseconds that count. */
type Step = (stage: Stage, from: number, to: number) => Promise<number>

function stepOf(name: string, threads: readonly Thread[]): Step {
  if (name.startsWith('get')) return threads.length === 0 ? getAlone : getApart(threads)
  if (threads.length === 0) return alone
  return name.startsWith('batch') ? together(threads.slice(1)) : apart(threads)
}

async function measure(stage: Stage, name: string, seconds: number, threads: readonly Thread[]): Promise<Measured> {
  const { tree, records } = stage
  const puts = !name.startsWith('get')
  const size = puts ? Math.min(sizes[name]!, records.spare) : sizes[name]!
  const step = stepOf(name, threads)
  const durations: number[] = []
  let sum = 0
  // The same again before the clock runs: code gets warm, in each thread.
  for (let warm = -seconds / 2; sum < seconds * 1000; ) {
    const ms = await step(stage, records.count, records.count + size)
    const removals = puts ? changesOf(records, records.count, records.count + size) : []
    tree.batch(removals.map(({ key }) => ({ key, value: undefined }))).run()
    if (warm < 0) warm += ms / 1000
    else {
      durations.push(ms)
      sum += ms
    }
  }
  return summary(Float32Array.from(durations), sum / 1000, durations.length * size)
}

const alone: Step = async ({ tree, records }, from, to) => {
  const changes = changesOf(records, from, to)
  const begunMs = performance.now()
  tree.batch(changes).run()
  return performance.now() - begunMs
}

/** Each thread its share, until the last has ended. */
const apart =
  (threads: readonly Thread[]): Step =>
  async ({ tree }, from, to) => {
    const section = tree.section({ pages: 1000, changes: to - from, writers: threads.length, shown: false })
    if (section === undefined) throw new Error('there is no section')
    const go = new SharedArrayBuffer(4)
    const step = threads.length
    const ms = await allAtOnce(threads, go, i => ({
      kind: 'put',
      section: section.shared,
      from: from + i,
      to,
      step,
      go,
    }))
    section.close()
    tree.batch([]).run()
    return ms
  }

const getAlone: Step = async ({ tree, records }, from, to) => {
  const keys = Array.from({ length: to - from }, (_, i) => records.key((i * 7919) % records.count))
  const begunMs = performance.now()
  for (const key of keys) if (tree.find(key) === undefined) throw new Error('a record is missing')
  return performance.now() - begunMs
}

/** Each thread its share of the gets. */
const getApart =
  (threads: readonly Thread[]): Step =>
  (_, from, to) => {
    const go = new SharedArrayBuffer(4)
    const count = Math.ceil((to - from) / threads.length)
    return allAtOnce(threads, go, i => ({ kind: 'get', from: i * count, count, go }))
  }

/** All threads do what they are told to; the milliseconds that the slowest took. */
async function allAtOnce(
  threads: readonly Thread[],
  go: SharedArrayBuffer,
  taskOf: (i: number) => ThreadTask,
): Promise<number> {
  for (const [i, { worker }] of threads.entries()) worker.postMessage(taskOf(i))
  await Promise.all(threads.map(thread => thread.next()))
  Atomics.store(new Int32Array(go), 0, 1)
  Atomics.notify(new Int32Array(go), 0)
  const replies = await Promise.all(threads.map(thread => thread.next()))
  if (replies.some(({ declined }) => declined !== 0)) throw new Error('threads have declined')
  return Math.max(...replies.map(({ ms }) => ms ?? 0))
}

/** The owner with helpers: all that it takes, from the batch to the state that readers see. */
const together = (threads: readonly Thread[]): Step => {
  const helpers: WriteHelpers = {
    threads: threads.length,
    offer: order => {
      for (const { worker } of threads) worker.postMessage({ kind: 'help', order } satisfies ThreadTask)
    },
    close() {},
  }
  return async ({ tree, pool, records }, from, to) => {
    const changes = changesOf(records, from, to)
    const begunMs = performance.now()
    const written = writeTogether(options => tree.section(options), pool.shared!, changes, helpers)
    tree.batch(written === undefined ? changes : written.rest).run()
    const ms = performance.now() - begunMs
    // Helpers that came late get rid of the order.
    await new Promise(setImmediate)
    return ms
  }
}

function startThread(script: string, data: ThreadData): Thread {
  const worker = new Worker(script, { workerData: data })
  const replies: ThreadReply[] = []
  let wake = (): void => {}
  worker.on('message', reply => {
    replies.push(reply)
    wake()
  })
  return {
    worker,
    next: async () => {
      while (replies.length === 0) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      return replies.shift()!
    },
  }
}
