/**
 * Pitfall 44 on a whole closed database: one flipped bit anywhere in any of its files, and each of them cut at any length. What the public
 * API then does is fail with a typed error, or give exactly what was acknowledged; never other data, an exception of another kind, or silence.
 * Default: a sample; `DEEP=1`: one bit of every byte, and every length.
 */
import fs from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isHarmonyError } from '../../platform/node/entry.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { Database } from '../../src/index.ts'
import { type TemporaryFolder, temporaryFolder } from './cli-kit.ts'
import { checkStore, openLocal, unsyncedFiles } from './local-kit.ts'

const deep = process.env.DEEP === '1'
const seed = Number(process.env.SEED ?? 1)
const timeoutMs = deep ? 7_200_000 : 60_000
const options = { files: unsyncedFiles, cacheBytes: 64 * 1024, checkpointBytes: 16 * 1024 }
const typed = new Set(['CORRUPT', 'VERSION_MISMATCH', 'STORAGE_LOST', 'QUOTA'])

let folder: TemporaryFolder
let dir: string
let whole: Map<string, Buffer>
let state: string
let logUsed = 0
/** What lies before it is in the pages. */
let logFrom = 0

const stateOf = async (db: Database): Promise<string> =>
  (await db.scan().toArray())
    .map(
      ({ key, value, version }) =>
        `${key} ${version} ${value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value}`,
    )
    .join('\n')

const filesOf = (): Map<string, Buffer> =>
  new Map(fs.readdirSync(dir).map(name => [name, fs.readFileSync(join(dir, name))]))

function restore(): void {
  for (const name of fs.readdirSync(dir)) if (!whole.has(name)) fs.rmSync(join(dir, name))
  for (const [name, bytes] of whole) fs.writeFileSync(join(dir, name), bytes)
}

beforeAll(async () => {
  folder = temporaryFolder()
  dir = folder.in('db')
  const db = await openLocal(dir, options)
  const random = seededRandom('damage')
  for (let n = 0; n < 60; n++) {
    const bytes = new Uint8Array(random.pick([0, 10, 100, 1000, 5000]))
    random.fill(bytes.subarray(0, bytes.length >>> 1))
    await db.put(['k', n % 25], random.chance(0.5) ? bytes : 'x'.repeat(bytes.length))
    if (n % 7 === 0) await db.delete(['k', (n * 3) % 25])
    if (n % 10 === 0)
      await db.batch([
        { type: 'put', key: ['b', n], value: n },
        { type: 'put', key: ['b', n, 1], value: 'two' },
      ])
  }
  state = await stateOf(db)
  const { checkpoints, logBytes } = db.status().storage
  expect(checkpoints).toBeGreaterThan(2)
  await db.close()
  whole = filesOf()
  // The segment that closing left may begin anywhere in the log.
  const base = Number(whole.get(log)!.readBigUInt64LE(16))
  logUsed = logBytes - base
  logFrom = (await checkStore(dir)).log.from - base
  expect(logUsed - logFrom).toBeGreaterThan(1000)
  const again = await openLocal(dir, options)
  expect(await stateOf(again)).toBe(state)
  await again.close()
  restore()
}, 60_000)

afterAll(() => folder.remove())

/** The code of its failure, or `whole`. Throws where it is neither. */
async function outcome(what: string): Promise<string> {
  let db: Database | undefined
  const run = async (): Promise<string> => {
    try {
      db = await openLocal(dir, options)
      const found = await stateOf(db)
      if (found !== state) throw new Error(`${what}: other data than were acknowledged`)
      await db.put('after', 1)
      return 'whole'
    } catch (error) {
      if (!isHarmonyError(error) || !typed.has(error.code)) throw error
      return error.code
    }
  }
  let timer: NodeJS.Timeout | undefined
  const hanging = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: it hangs`)), 20_000)
  })
  try {
    return await Promise.race([run(), hanging])
  } finally {
    clearTimeout(timer)
    await db?.close().catch(error => {
      if (!isHarmonyError(error)) throw error
    })
    restore()
  }
}

/** One in each of so many equal parts of [from, to); all with DEEP=1. */
function sample(from: number, to: number, count: number): number[] {
  if (deep || count >= to - from) return Array.from({ length: to - from }, (_, i) => from + i)
  const random = seededRandom(`sample ${seed} ${from}`)
  const step = (to - from) / count
  return Array.from({ length: count }, (_, i) => from + Math.floor((i + random.unit()) * step))
}

async function flip(name: string, at: number, bit = at % 8): Promise<string> {
  const bytes = Buffer.from(whole.get(name)!)
  bytes[at]! ^= 1 << bit
  fs.writeFileSync(join(dir, name), bytes)
  return outcome(`bit ${bit} of byte ${at} of ${name} flipped`)
}

async function cut(name: string, length: number): Promise<string> {
  fs.truncateSync(join(dir, name), length)
  return outcome(`${name} cut to ${length} bytes`)
}

const log = 'log.00000000.log'
const headBytes = 4096

describe('pitfall 44: one flipped bit', () => {
  test(
    'anywhere in the log: CORRUPT where something was written, nothing changes elsewhere',
    async () => {
      for (const at of sample(headBytes + logFrom, headBytes + logUsed, 40))
        expect([at, await flip(log, at)]).toEqual([at, 'CORRUPT'])
      for (const at of sample(headBytes, headBytes + logFrom, 6))
        expect([at, await flip(log, at)]).toEqual([at, 'whole'])
      for (const at of sample(0, 64, 8)) expect([at, await flip(log, at)]).toEqual([at, 'CORRUPT'])
      for (const at of sample(64, headBytes, 4).filter(one => !deep || one % 61 === 0)) {
        expect([at, await flip(log, at)]).toEqual([at, 'whole'])
      }
      const size = whole.get(log)!.length
      // Behind the end: a torn write, perhaps, that nobody was promised.
      for (const at of sample(headBytes + logUsed + 1000, size, 6).filter(one => !deep || one % 9973 === 0)) {
        expect([at, await flip(log, at)]).toEqual([at, 'whole'])
      }
    },
    timeoutMs,
  )

  test(
    'anywhere in the page file: detected where it is live, or nothing changes',
    async () => {
      const codes = new Map<string, number>()
      for (const at of sample(0, whole.get('pages.pages')!.length, 60)) {
        const code = await flip('pages.pages', at)
        codes.set(code, (codes.get(code) ?? 0) + 1)
      }
      expect([...codes.keys()].sort()).toEqual(['CORRUPT', 'whole'])
    },
    timeoutMs,
  )

  test(
    'anywhere in a superblock: the other one serves',
    async () => {
      for (const place of [0, 4096]) {
        for (const at of sample(place, place + 256, 5))
          expect([at, await flip('pages.pages', at)]).toEqual([at, 'whole'])
      }
    },
    timeoutMs,
  )

  test(
    'anywhere in the small files: a typed error, or nothing changes',
    async () => {
      for (const name of ['harmonydb', 'lock']) {
        const { length } = whole.get(name)!
        for (let at = 0; at < length; at++) {
          for (const bit of deep ? [0, 1, 2, 3, 4, 5, 6, 7] : [at % 8]) await flip(name, at, bit)
        }
      }
    },
    timeoutMs,
  )
})

describe('pitfall 44: cut off', () => {
  test(
    'the log, at any length: CORRUPT',
    async () => {
      const size = whole.get(log)!.length
      for (const length of [0, 1, 63, 64, headBytes, ...sample(65, headBytes + logUsed, 20), size - 1]) {
        expect([length, await cut(log, length)]).toEqual([length, 'CORRUPT'])
      }
      for (const length of sample(headBytes + logUsed, size, 5).filter(one => !deep || one % 9973 === 0)) {
        expect([length, await cut(log, length)]).toEqual([length, 'CORRUPT'])
      }
    },
    timeoutMs,
  )

  test(
    'the page file, at any length: CORRUPT, unless nothing live was lost',
    async () => {
      const codes = new Set<string>()
      const size = whole.get('pages.pages')!.length
      for (const length of [0, 1, 255, 256, 4096, 8192, ...sample(1, size, 20), size - 1]) {
        const code = await cut('pages.pages', length)
        codes.add(code)
        if (length <= 8192) expect([length, code]).toEqual([length, 'CORRUPT'])
      }
      expect([...codes].every(code => code === 'CORRUPT' || code === 'whole')).toBe(true)
    },
    timeoutMs,
  )

  test(
    'the small files, at any length: a typed error, or nothing changes',
    async () => {
      for (const name of ['harmonydb', 'lock']) {
        for (let length = 0; length < whole.get(name)!.length; length++) {
          const code = await cut(name, length)
          expect([name, length, code]).toEqual([name, length, name === 'lock' ? 'whole' : 'CORRUPT'])
        }
      }
    },
    timeoutMs,
  )

  test('any file gone: a typed error, or nothing changes', async () => {
    for (const name of whole.keys()) {
      fs.rmSync(join(dir, name))
      expect([name, await outcome(`${name} gone`)]).toEqual([name, name === 'lock' ? 'whole' : 'CORRUPT'])
    }
  })
})
