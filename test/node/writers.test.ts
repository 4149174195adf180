/**
 * Real threads that change one tree at once, others that read it all the while, and an oracle (`writers-oracle.ts`): what is in the tree afterwards is
 * what each writer put there, the tree is sound, no page leaks, and readers saw states that there were. And the proof that this sees: with one of the
 * precautions taken out of the code, something must be found. Seconds by default; minutes with DEEP=1.
 */
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, test } from 'vitest'
import { bundle, type Mutation, removeBundles } from '../mutated-bundle.ts'
import type { OwnerOrder, OwnerReport } from './writers-threads.ts'

const deep = process.env.DEEP === '1'
const runMs = deep ? 60_000 : 2_000
const foundMsMax = 60_000

afterAll(removeBundles)

const manySplits: OwnerOrder = {
  seed: 1,
  ms: runMs,
  frames: 8192,
  pageBytes: 512,
  longMax: 3000,
  writers: 4,
  readers: 2,
  reserve: 2000,
  shown: true,
}

async function run(script: string, order: OwnerOrder): Promise<OwnerReport> {
  const worker = new Worker(script, { workerData: order })
  try {
    return await new Promise<OwnerReport>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  } finally {
    await worker.terminate()
  }
}

describe('several writers and several readers on one tree', () => {
  const script = bundle('test/node/writers-worker.ts')
  const shapes: Readonly<Record<string, OwnerOrder>> = {
    'each change shows at once': manySplits,
    'a section shows as a whole': { ...manySplits, shown: false },
    'large pages': { ...manySplits, pageBytes: 8192, frames: 512, reserve: 200, longMax: 40_000 },
    'pages come and go, and the reserve runs out': { ...manySplits, frames: 700, reserve: 60, shown: false },
  }
  for (const [title, shape] of Object.entries(shapes)) {
    test(title, { timeout: runMs + 60_000 }, async () => {
      const report = await run(await script, shape)
      if (process.env.VERBOSE !== undefined) console.log(title, JSON.stringify(report))
      expect(report.failures).toEqual([])
      expect(report.sections).toBeGreaterThan(5)
      expect(report.answers.done).toBeGreaterThan(1000)
      expect(report.readers.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThan(20)
      if (shape.frames < 1000 && shape.pageBytes === 512) {
        expect(report.answers.miss).toBeGreaterThan(10)
        expect(report.answers.full).toBeGreaterThan(10)
      }
    })
  }
})

describe('without one of the precautions something is found', () => {
  const latches = 'src/storage/latched-pages.ts'
  const coupled = 'src/storage/coupled-change.ts'
  const mutations: Readonly<Record<string, Mutation>> = {
    'a latch that is not taken': {
      file: latches,
      edits: [
        [
          'if (Atomics.compareExchange(header, at, version, version + 1) === version) return',
          'return void Atomics.store(header, at, version + 1)',
        ],
      ],
    },
    'a latch that nobody waits for': {
      file: latches,
      edits: [['if (looks < looksMax) continue', 'if (looks < looksMax) return']],
    },
    'a parent that is let go of before its child is latched': {
      file: coupled,
      edits: [
        [
          '      page = pages.child(base, position)\n      frame',
          '      page = pages.child(base, position)\n      if (!this.careful) latched.finish()\n      frame',
        ],
      ],
    },
    'an ancestor that is let go of although it is not safe': {
      file: coupled,
      edits: [['if (!removes) return this.takesAnySeparator(base)', 'if (base >= 0) return true']],
    },
    'a version that is as before': {
      file: latches,
      edits: [['if (edited) Atomics.add(this.header, at, 1)', 'if (edited) Atomics.sub(this.header, at, 1)']],
    },
    'readers that are not told': {
      file: latches,
      edits: [['if (!this.shown || (this.told && !again)) return', 'if (again || !again) return']],
    },
  }
  for (const [title, mutation] of Object.entries(mutations)) {
    test(title, { timeout: foundMsMax + 60_000 }, async () => {
      const begun = performance.now()
      const script = await bundle('test/node/writers-worker.ts', mutation)
      const { failures } = await run(script, { ...manySplits, ms: foundMsMax })
      if (process.env.VERBOSE !== undefined) console.log(title, performance.now() - begun, failures)
      expect(failures).not.toEqual([])
    })
  }
})
