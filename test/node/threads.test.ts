/**
 * Real threads over one tree: an owner that writes, readers that read what it writes, and an oracle in every answer (`thread-oracle.ts`).
 * And the proof that the oracle sees: with one of the reader's or the owner's precautions taken out of the code, it must find something.
 * Short by default; minutes with DEEP=1.
 */

import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, test } from 'vitest'
import type { SharedPool } from '../../src/storage/pool-memory.ts'
import { bundle, type Mutation, removeBundles } from '../mutated-bundle.ts'
import type { OwnerOrder, OwnerReport, ReaderOrder, ReaderReport } from './thread-worker.ts'

const deep = process.env.DEEP === '1'
const runMs = deep ? 60_000 : 1_500
const foundMsMax = 60_000
const readers = 3

interface Broken extends Mutation {
  /** Where it shows. */
  readonly shape?: Shape
  /** Found after 10 to 15 seconds, not within one: only where there is time. */
  readonly rare?: boolean
}

afterAll(removeBundles)

interface Shape {
  readonly frames: number
  readonly pageBytes: number
  readonly longMax: number
}

interface Outcome {
  readonly owner: OwnerReport
  readonly readers: readonly ReaderReport[]
  readonly failures: readonly string[]
}

/** Runs for so long, or until a reader has found something. */
async function run(script: string, shape: Shape, ms: number, seed: number): Promise<Outcome> {
  const stop = new SharedArrayBuffer(4)
  const end = (): void => {
    Atomics.store(new Int32Array(stop), 0, 1)
    Atomics.notify(new Int32Array(stop), 0)
  }
  const workers: Worker[] = []
  const started = <T>(order: OwnerOrder | ReaderOrder): { worker: Worker; next: () => Promise<T> } => {
    const worker = new Worker(script, { workerData: order })
    workers.push(worker)
    const messages: unknown[] = []
    let wake = (): void => {}
    let failed: Error | undefined
    worker.on('message', message => {
      messages.push(message)
      wake()
    })
    worker.on('error', error => {
      failed = error
      wake()
    })
    const next = async (): Promise<T> => {
      while (messages.length === 0) {
        if (failed !== undefined) throw failed
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      return messages.shift() as T
    }
    return { worker, next }
  }
  const timer = setTimeout(end, ms)
  try {
    const owner = started<SharedPool | OwnerReport>({ role: 'owner', seed, stop, ...shape })
    const pool = (await owner.next()) as SharedPool
    const reading = Array.from({ length: readers }, (_, i) =>
      started<ReaderReport>({ role: 'reader', slot: i, seed: seed + 1 + i, pool, stop }),
    )
    const reports = await Promise.all(
      reading.map(async reader => {
        const report = await reader.next()
        if (report.failures.length > 0) end()
        return report
      }),
    )
    end()
    const failures = reports.flatMap(report => report.failures)
    return { owner: (await owner.next()) as OwnerReport, readers: reports, failures }
  } finally {
    clearTimeout(timer)
    end()
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}

const resident: Shape = { frames: 4096, pageBytes: 512, longMax: 6000 }
const evicting: Shape = { frames: 200, pageBytes: 512, longMax: 6000 }
const largePages: Shape = { frames: 64, pageBytes: 8192, longMax: 60_000 }

describe('an owner that writes and readers in other threads', () => {
  const script = bundle('test/node/thread-worker.ts')
  for (const [title, shape] of Object.entries({
    'everything in memory': resident,
    'pages come and go': evicting,
    'large pages and long values': largePages,
  })) {
    test(`see one state in every read: ${title}`, { timeout: runMs + 30_000 }, async () => {
      const outcome = await run(await script, shape, runMs, 1)
      expect(outcome.failures).toEqual([])
      expect(outcome.owner.batches).toBeGreaterThan(200)
      expect(outcome.readers.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThan(50)
      if (shape === evicting) expect(outcome.owner.evictions).toBeGreaterThan(100)
      if (process.env.VERBOSE !== undefined) console.log(title, outcome.owner, outcome.readers)
    })
  }
})

describe('without one of the precautions the oracle finds it out', () => {
  const reader = 'src/storage/shared-reader.ts'
  const pool = 'src/storage/buffer-pool.ts'
  const bump = 'Atomics.add(this.header, frame * words + versionWord, 1)\n'
  const mutations: Readonly<Record<string, Broken>> = {
    'no look at versions': {
      file: reader,
      edits: [
        [
          'if (Atomics.add(header, frame * words + versionWord, 0) !== seen[frame]) return false',
          'if (frame < 0 || header === undefined) return seen[frame] === 0',
        ],
      ],
    },
    'no look at the sequence': {
      file: reader,
      edits: [
        ['    if ((sequence & 1) !== 0) return false\n    this.readState()', '    this.readState()'],
        ['if (looks === looksMax) return false', 'if (looks === 0) break'],
      ],
    },
    'a batch that changes no sequence': {
      file: pool,
      edits: [
        ['    this.changing = true\n    Atomics.add(this.control, sequenceWord, 1)\n', '    this.changing = true\n'],
        ['    this.changing = false\n    Atomics.add(this.control, sequenceWord, 1)\n', '    this.changing = false\n'],
      ],
    },
    'an owner that tells no reader before it changes a page': {
      file: pool,
      edits: [['    this.tellReaders()\n  }\n\n  /** The tree is as', '  }\n\n  /** The tree is as']],
    },
    'an owner that tells no reader before it gives a frame away': {
      file: pool,
      edits: [['      this.tellReaders()\n', '']],
      shape: evicting,
      rare: true,
    },
    'a writer without a latch': {
      file: pool,
      edits: [
        [`    this.beginChange()\n    ${bump}`, '    this.beginChange()\n'],
        [`  endWrite(frame: number): void {\n    ${bump}`, '  endWrite(_: number): void {\n'],
      ],
    },
    'a frame that is given away without a word': {
      file: pool,
      edits: [
        [
          `    ${bump}    if (this.shared === undefined) {\n      this`,
          '    if (this.shared === undefined) {\n      this',
        ],
        [`    ${bump}    this.table.insert`, '    this.table.insert'],
        ['header[at] = 1', 'header[at] = 0'],
      ],
      shape: evicting,
    },
  }
  for (const [title, mutation] of Object.entries(mutations)) {
    test.skipIf(mutation.rare === true && !deep)(title, { timeout: foundMsMax + 30_000 }, async () => {
      const begun = performance.now()
      const script = await bundle('test/node/thread-worker.ts', mutation)
      const { failures } = await run(script, mutation.shape ?? resident, foundMsMax, 1)
      expect(failures).not.toEqual([])
      if (process.env.VERBOSE !== undefined) console.log(title, performance.now() - begun, failures)
    })
  }
})
