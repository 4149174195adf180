/** A thread of `threads.test.ts`: the owner, which writes, or a reader. Runs until the stop word is set, then tells what it did and what it found wrong. */
import { parentPort, workerData } from 'node:worker_threads'
import { seededRandom } from '../../src/base/random.ts'
import { BTree } from '../../src/storage/btree.ts'
import { BufferPool } from '../../src/storage/buffer-pool.ts'
import type { SharedPool } from '../../src/storage/pool-memory.ts'
import { SharedTreeReader } from '../../src/storage/shared-reader.ts'
import { MemorySource } from '../unit/storage/memory-source.ts'
import { checkOf, comingKey, Oracle, pairKey, pairs } from './thread-oracle.ts'

export interface OwnerOrder {
  readonly role: 'owner'
  readonly seed: number
  readonly frames: number
  readonly pageBytes: number
  readonly longMax: number
  readonly stop: SharedArrayBuffer
}

export interface ReaderOrder {
  readonly role: 'reader'
  readonly slot: number
  readonly seed: number
  readonly pool: SharedPool
  readonly stop: SharedArrayBuffer
}

export interface ReaderReport {
  readonly reads: number
  readonly restarts: number
  readonly misses: number
  readonly busy: number
  readonly failures: readonly string[]
}

export interface OwnerReport {
  readonly batches: number
  readonly evictions: number
}

const order = workerData as OwnerOrder | ReaderOrder
const stop = new Int32Array(order.stop)
const stopped = (): boolean => Atomics.load(stop, 0) !== 0

function own({ seed, frames, pageBytes, longMax }: OwnerOrder): void {
  const random = seededRandom(seed)
  const source = new MemorySource(pageBytes)
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  const oracle = new Oracle(random, longMax)
  tree.batch(oracle.first(), 1).run()
  parentPort?.postMessage(pool.shared)
  let batches = 1
  while (!stopped()) {
    tree.batch(oracle.next(), ++batches).run()
    // What the owner reads pushes out what others read; at times it does nothing else for a while.
    for (let i = random.chance(0.2) ? random.pick([1, 1, 200]) : 0; i > 0; i--) {
      tree.get(random.chance(0.5) ? pairKey(random.below(pairs), 'x') : comingKey(random.below(1500)))
    }
    // Readers also need a moment of peace now and then.
    if (batches % 16 === 0) Atomics.wait(stop, 0, 0, random.below(3) * 0.5)
  }
  pool.close()
  parentPort?.postMessage({ batches, evictions: pool.status().evictions } satisfies OwnerReport)
}

function read({ seed, slot, pool }: ReaderOrder): void {
  const random = seededRandom(seed)
  const reader = new SharedTreeReader(pool, { attemptsMax: 12, maySleep: true, slot })
  const failures: string[] = []
  let newestApplied = 0
  while (!stopped() && failures.length === 0) {
    const which = random.below(pairs)
    const alone = random.chance(0.3)
    const check = alone ? undefined : checkOf(random)
    try {
      const answer = reader.read(check ?? (view => view.get(pairKey(which, 'x'))?.length ?? -1), newestApplied)
      if (answer.state !== 'read') continue
      if (answer.applied < newestApplied)
        throw new Error(`applied went back from ${newestApplied} to ${answer.applied}`)
      newestApplied = answer.applied
      // Batch n writes version n - 1 and is told as applied n.
      if (check !== undefined && answer.value > answer.applied - 1) {
        throw new Error(`version ${answer.value} was seen in the state after ${answer.applied}`)
      }
      if (alone && answer.value < 0) throw new Error(`pair ${which} is missing`)
    } catch (error) {
      failures.push(error instanceof Error ? error.message : `${error}`)
    }
  }
  parentPort?.postMessage({ ...reader.counts, failures } satisfies ReaderReport)
}

if (order.role === 'owner') own(order)
else read(order)
