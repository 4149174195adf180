/**
 * A database in a directory through crashes, by the public API, with a cache and checkpoints that are far smaller than the data: killed
 * processes, and a file system that loses what was not synced (killing a process never loses the system's cache) or runs full.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isHarmonyError } from '../../platform/node/entry.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import type { Database } from '../../src/index.ts'
import { CrashFiles } from '../conformance/crash-files.ts'
import { makeScript, writesIn } from '../simulation/crash-script.ts'
import { type Bundle, bundle, type TemporaryFolder, temporaryFolder, Watched } from './cli-kit.ts'
import { checkStore, openLocal, stateIn, writeScript } from './local-kit.ts'

const deep = process.env.DEEP === '1'
const seeds = process.env.SEED === undefined ? (deep ? [1, 2, 3, 4, 5, 6, 7, 8] : [1, 2]) : [Number(process.env.SEED)]
const timeoutMs = deep ? 3_600_000 : 60_000
const cacheBytes = 256 * 1024
const checkpointBytes = 128 * 1024

let folder: TemporaryFolder
let dir: string

beforeEach(() => {
  folder = temporaryFolder()
  dir = folder.in('db')
})

afterEach(() => folder.remove())

describe('kill -9', () => {
  let built: Bundle

  beforeAll(async () => {
    built = await bundle()
  })

  afterAll(() => built.remove())

  for (const seed of seeds) {
    test(
      `again and again, seed ${seed}: nothing acknowledged is lost, no batch is there by halves, no damage`,
      async () => {
        const count = deep ? 3000 : 500
        const script = makeScript(seed, count)
        const random = seededRandom(`kill ${seed}`)
        let writes = 0
        let kills = 0
        let checkpoints = 0
        while (writes < count) {
          const args = [dir, seed, count, writes, cacheBytes, checkpointBytes].map(String)
          const child = new Watched(built.childScript, args)
          const until = writes + random.between(1, 150)
          await child.line(line => (line === 'done' || Number(line) >= until ? true : undefined), `write ${until}`)
          // At some moment of what it does then.
          await new Promise(resolve => setTimeout(resolve, random.below(10)))
          child.process.kill('SIGKILL')
          await child.ended()
          kills++
          const told = child.lines.filter(line => /^\d+$/.test(line)).map(Number)
          await checkStore(dir)
          const db = await openLocal(dir, { cacheBytes, checkpointBytes })
          writes = writesIn(script, await stateIn(db), Math.max(writes, ...told), count)
          checkpoints = db.status().storage.checkpoints
          await db.close()
        }
        expect(kills).toBeGreaterThan(3)
        expect(checkpoints).toBeGreaterThan(5)
      },
      timeoutMs,
    )
  }
})

/** One life over such files: opens, looks, goes on with the script. Whatever ends it is no surprise once the disk was struck. */
class Lives {
  readonly script: ReturnType<typeof makeScript>
  acknowledged = 0
  submitted = 0
  private readonly random: SeededRandom

  constructor(seed: number, count: number) {
    this.script = makeScript(seed, count)
    this.random = seededRandom(`lives ${seed}`)
  }

  get over(): boolean {
    return this.acknowledged === this.script.writes.length
  }

  /** The code of what ended it; undefined: it came to the script's end. */
  async live(kind: 'powerLoss' | 'full', operations: number): Promise<string | undefined> {
    const files = new CrashFiles(this.random)
    files.strike = { at: this.random.between(1, operations), kind }
    let db: Database | undefined
    try {
      db = await openLocal(dir, { files, cacheBytes, checkpointBytes })
      const state = await stateIn(db)
      if (!files.crashed) {
        this.acknowledged = writesIn(this.script, state, this.acknowledged, this.submitted)
        this.submitted = this.acknowledged
      }
      const progress = {
        onSubmitted: (writes: number) => {
          this.submitted = writes
        },
        onAcknowledged: (writes: number) => {
          if (!files.crashed) this.acknowledged = Math.max(this.acknowledged, writes)
        },
      }
      await writeScript(db, this.script, this.submitted, this.script.writes.length, progress)
      return undefined
    } catch (error) {
      if (isHarmonyError(error)) return error.code
      throw error
    } finally {
      await db?.close().catch(error => {
        if (!isHarmonyError(error)) throw error
      })
      // Nothing of this life reaches the disk any more; what it left in the cache does, or not.
      if (!files.crashed) {
        if (kind === 'powerLoss') files.crash()
        else files.kill()
      }
    }
  }
}

describe('a file system that loses what was not synced', () => {
  for (const seed of seeds) {
    test(
      `crash after crash, seed ${seed}: nothing acknowledged is lost, no batch is there by halves, no damage`,
      async () => {
        const lives = new Lives(seed, deep ? 3000 : 300)
        let crashes = 0
        while (!lives.over) {
          const code = await lives.live('powerLoss', 100)
          if (code !== undefined) expect(['STORAGE_LOST', 'CLOSED']).toContain(code)
          crashes++
          if (lives.acknowledged > 0) await checkStore(dir)
        }
        expect(crashes).toBeGreaterThan(5)
        const db = await openLocal(dir, { cacheBytes })
        expect(writesIn(lives.script, await stateIn(db), lives.acknowledged, lives.submitted)).toBe(lives.acknowledged)
        await db.close()
      },
      timeoutMs,
    )

    test(
      `pitfall 17: a disk that is full, seed ${seed}: QUOTA, and with space again everything acknowledged is there`,
      async () => {
        const lives = new Lives(seed, deep ? 3000 : 300)
        let full = 0
        // The log file grows by whole segments, the page file by extents: most operations need no space.
        for (let i = 0; i < 60 && !lives.over; i++) {
          const code = await lives.live('full', 60)
          if (code !== undefined) {
            full++
            expect(code).toBe('QUOTA')
          }
          if (lives.acknowledged > 0) await checkStore(dir)
        }
        expect(full).toBeGreaterThan(0)
        const db = await openLocal(dir, { cacheBytes })
        expect(writesIn(lives.script, await stateIn(db), lives.acknowledged, lives.submitted)).toBeGreaterThan(0)
        await db.close()
      },
      timeoutMs,
    )
  }
})
