/** `writers` in Node: what threads do to a large batch is what the database would have done alone. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { isHarmonyError, open } from '../../platform/node/entry.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { Database, OpenOptions } from '../../src/database/types.ts'
import { checkStore } from './local-kit.ts'

let databases: Database[] = []
let directories: string[] = []
afterEach(async () => {
  await Promise.all(databases.map(db => db.close()))
  await Promise.all(directories.map(dir => rm(dir, { recursive: true, force: true })))
  databases = []
  directories = []
})

async function opened(options: Partial<OpenOptions> = {}): Promise<Database> {
  const db = await open({ name: 'writers', storage: 'memory', ...options })
  databases.push(db)
  return db
}

type Ops = Parameters<Database['batch']>[0]

/** Of `count` changes, a third of them deletions; keys come twice now and then. */
function someOps(seed: number, count: number, range: number): Ops {
  const random = seededRandom(seed)
  const ops = Array.from({ length: count }, () => {
    const key = ['item', random.below(range)]
    if (random.chance(0.33)) return { type: 'delete' as const, key }
    const length = random.chance(0.01) ? random.below(20_000) : random.below(90)
    return { type: 'put' as const, key, value: `${seed} `.padEnd(length, '.') }
  })
  if (seed % 2 === 0) ops.sort((a, b) => (a.key[1] as number) - (b.key[1] as number))
  return ops
}

const all = async (db: Database) =>
  (await db.scan({ prefix: 'item' }).toArray()).map(({ key, value }) => ({ key, value }))

describe('writer threads', () => {
  test('help with large batches, which stay what they were', { timeout: 120_000 }, async () => {
    const db = await opened({ writers: 2 })
    const plain = await opened()
    const rounds = process.env.DEEP === '1' ? 300 : 12
    for (let round = 1; round <= rounds || db.status().writers.changes === 0; round++) {
      const ops = someOps(round, 4000 + (round % 3) * 2000, 8000)
      await Promise.all([db.batch(ops), plain.batch(ops)])
      // Threads need a moment to start, and to wake up.
      await setTimeout(20)
      if (round % 4 === 0) expect(await all(db)).toEqual(await all(plain))
    }
    expect(await all(db)).toEqual(await all(plain))
    expect(db.status().storage).toMatchObject({
      keys: plain.status().storage.keys,
      bytes: plain.status().storage.bytes,
    })
    expect(db.status().writers.threads).toBe(2)
    expect(plain.status().writers).toEqual({ threads: 0, changes: 0 })
  })

  test('leave a sound store behind, with a cache that is too small for them, too', { timeout: 120_000 }, async () => {
    const dir = await mkdtemp(join(tmpdir(), 'harmonydb-writers-'))
    directories.push(dir)
    const plain = await opened()
    for (const [life, cacheBytes] of [64, 1, 64].entries()) {
      const db = await opened({ storage: { dir }, writers: 1, cacheBytes: cacheBytes * 1024 * 1024 })
      for (let round = 1; round <= 6; round++) {
        const ops = someOps(10 * life + round, 5000, 20_000)
        await Promise.all([db.batch(ops), plain.batch(ops)])
      }
      await db.close()
    }
    const again = await opened({ storage: { dir } })
    expect(await all(again)).toEqual(await all(plain))
    await again.close()
    await checkStore(dir)
  })

  test('are 0 to 16, in whole numbers', async () => {
    for (const writers of [-1, 17, 1.5, '2', null]) {
      const error = await open({ name: 'x', storage: 'memory', writers: writers as number }).catch(caught => caught)
      expect(isHarmonyError(error, 'VALIDATION')).toBe(true)
    }
  })
})
