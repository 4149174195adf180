/**
 * A whole peer on a simulated disk that loses its power, or its last free space, at every write and every sync of a scripted workload:
 * before each, what was not synced survives in any part. Default: a sample of places, other ones for each seed; `DEEP=1`: every one of
 * them. `SEED=3 AT=812` replays one, with any of the tests.
 */
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/base/random.ts'
import { CrashRun } from './crash-run.ts'
import { makeScript, type Script } from './crash-script.ts'

// A whole run of every place takes minutes.
const timeoutMs = process.env.DEEP === '1' ? 3_600_000 : 120_000
const deep = process.env.DEEP === '1'
const only = process.env.SEED === undefined ? undefined : Number(process.env.SEED)
const at = process.env.AT === undefined ? undefined : Number(process.env.AT)
const seeds = only === undefined ? [1, 2, 3, 4, 5, 6] : [only]

/** Of 1…operations: all, or a sample. */
function places(seed: number, operations: number, samples: number): number[] {
  const all = at === undefined && deep
  return all ? Array.from({ length: operations }, (_, n) => n + 1) : sampled(seed, operations, samples)
}

/** One in each of so many equal parts. */
function sampled(seed: number, operations: number, samples: number): number[] {
  if (at !== undefined) return [at]
  const random = seededRandom(`places ${seed}`)
  const step = operations / samples
  return Array.from({ length: samples }, (_, n) => 1 + Math.floor((n + random.unit()) * step))
}

/** Says which seed and place it was. */
function replayable(seed: number, place: number, run: () => void): void {
  try {
    run()
  } catch (error) {
    const how = `SEED=${seed} AT=${place} npx vitest run --project simulation test/simulation/crash-points.test.ts`
    throw new Error(`replay with ${how}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

const operationsOf = (seed: number, script: Script): number => {
  const run = new CrashRun(seed, script)
  expect(run.finish()).toBe(true)
  run.check()
  return run.operations
}

/** The disk as it is now holds what was acknowledged, nothing by halves, and serves for the rest of the script. */
function expectWhole(run: CrashRun): void {
  if (run.everOpened) run.check()
  expect(run.open()).toBe(true)
  expect(run.compare()).toBe(true)
  goOn(run)
}

function goOn(run: CrashRun): void {
  expect(run.write() && run.close()).toBe(true)
  expect(run.finish()).toBe(true)
  expect(run.acknowledged).toBe(run.script.writes.length)
  run.check()
  expect(run.open() && run.compare()).toBe(true)
}

describe('a power failure at every write and sync of a peer', () => {
  for (const seed of seeds) {
    it(
      `pitfall 10, 12: seed ${seed}: loses nothing acknowledged, leaves no half of a batch, no damage and no leak`,
      () => {
        const script = makeScript(seed)
        const operations = operationsOf(seed, script)
        for (const place of places(seed, operations, 12)) {
          replayable(seed, place, () => {
            const run = new CrashRun(seed, script)
            run.process.disk.strike(place, 'powerLoss')
            expect(run.finish()).toBe(false)
            run.end('lost')
            expectWhole(run)
          })
        }
      },
      timeoutMs,
    )
  }

  for (const seed of seeds.slice(0, 3)) {
    it(
      `pitfall 10, 12: seed ${seed}: and again at every write and sync of the recovery from it`,
      () => {
        const script = makeScript(seed)
        const operations = operationsOf(seed, script)
        for (const place of sampled(seed, operations, deep ? 12 : 2)) {
          replayable(seed, place, () => {
            const crashed = (): CrashRun => {
              const run = new CrashRun(seed, script)
              run.process.disk.strike(place, 'powerLoss')
              expect(run.finish()).toBe(false)
              run.end('lost')
              return run
            }
            const whole = crashed()
            const before = whole.operations
            expect(whole.open() && whole.compare()).toBe(true)
            const recovery = whole.operations - before
            expect(recovery).toBeGreaterThan(4)
            const seconds = deep ? recovery : Math.min(recovery, 6)
            for (let n = 0; n < seconds; n++) {
              const run = crashed()
              run.process.disk.strike(1 + Math.floor((n * recovery) / seconds), 'powerLoss')
              expect(run.open() && run.compare()).toBe(false)
              run.end('lost')
              expectWhole(run)
            }
          })
        }
      },
      timeoutMs,
    )
  }
})

describe('a disk that is full from any write on', () => {
  for (const seed of seeds) {
    it(
      `pitfall 17, 23: seed ${seed}: the peer stops with QUOTA; with space again, everything acknowledged is there`,
      () => {
        const script = makeScript(seed)
        const operations = operationsOf(seed, script)
        for (const place of places(seed, operations, 8)) {
          replayable(seed, place, () => {
            const run = new CrashRun(seed, script)
            run.process.disk.strike(place, 'full')
            // The last writes of a script may need no space any more.
            if (!run.finish()) {
              expect(run.refusal?.code).toBe('QUOTA')
              if (place % 2 === 0 && run.isOpen) run.close()
              else run.end(place % 4 === 1 ? 'lost' : 'kept')
            }
            run.process.disk.full = false
            expectWhole(run)
          })
        }
      },
      timeoutMs,
    )
  }
})

describe('crash after crash', { timeout: timeoutMs }, () => {
  for (const seed of seeds.slice(0, 3)) {
    it(`seed ${seed}: the page file stays within a few times of what it holds`, () => {
      const random = seededRandom(`crash after crash ${seed}`)
      const script = makeScript(seed, deep ? 1500 : 400)
      const run = new CrashRun(seed, script)
      const sizes: number[] = []
      let inRow = 0
      while (run.submitted < script.writes.length) {
        // A recovery may take hundreds of operations: some day one must come to its end.
        run.process.disk.strike(random.between(1, 100 * ++inRow), 'powerLoss')
        if (run.open() && run.compare()) {
          inRow = 0
          if (run.write() && run.close()) continue
        }
        run.end(random.chance(0.8) ? 'lost' : 'kept')
        if (run.everOpened) sizes.push(run.check().checkpoint?.fileBytes ?? 0)
      }
      expect(sizes.length).toBeGreaterThan(20)
      // What is durable, what will be, and what was pushed out of the cache meanwhile.
      expect(Math.max(...sizes)).toBeLessThan(2 * script.bytesMax + 64 * 1024)
    })
  }

  it('space that is taken while it runs is what a fresh start finds taken', () => {
    for (const seed of [2, 5]) {
      const run = new CrashRun(seed, makeScript(seed))
      expect(run.finish()).toBe(true)
      const { usedBytes } = run.status.pages
      expect(run.open()).toBe(true)
      expect([seed, run.status.pages.usedBytes]).toEqual([seed, usedBytes])
    }
  })
})
