/** `readers` and `peek` in Node: what threads answer is what the database would; they stop nothing from ending. */
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { isHarmonyError, open } from '../../platform/node/entry.ts'
import { poolThreadSource } from '../../platform/node/pool-thread-source.ts'
import { loadReaders } from '../../platform/node/pool-threads.ts'
import { timestamp } from '../../src/base/ids.ts'
import { EntryReader } from '../../src/database/entries.ts'
import type { Database, OpenOptions } from '../../src/database/types.ts'
import { StoredValues } from '../../src/mvcc/versioned.ts'
import { BTree } from '../../src/storage/btree.ts'
import { BufferPool } from '../../src/storage/buffer-pool.ts'
import { MemorySource } from '../unit/storage/memory-source.ts'
import { until } from './network-kit.ts'

let databases: Database[] = []
afterEach(async () => {
  await Promise.all(databases.map(db => db.close()))
  databases = []
})

async function opened(options: Partial<OpenOptions> = {}): Promise<Database> {
  const db = await open({ name: 'threads', storage: 'memory', readers: 2, ...options })
  databases.push(db)
  return db
}

const keyOf = (i: number): [string, number] => ['item', i]

async function fill(db: Database, count: number, value: (i: number) => unknown): Promise<void> {
  for (let from = 0; from < count; from += 2000) {
    const ops = Array.from({ length: Math.min(2000, count - from) }, (_, i) => ({
      type: 'put' as const,
      key: keyOf(from + i),
      value: value(from + i),
    }))
    await db.batch(ops)
  }
}

describe('reader threads', () => {
  test('answer large reads, with the values and versions that the database gives', async () => {
    const db = await opened()
    const plain = await opened({ readers: 0 })
    for (const one of [db, plain]) await fill(one, 5000, i => ({ i, text: 'x'.repeat(i % 50 === 0 ? 20_000 : i % 90) }))
    const keys = Array.from({ length: 3000 }, (_, i) => keyOf((i * 7) % 5300))
    expect(await db.getMany(keys)).toEqual(await plain.getMany(keys))
    const prefix = { prefix: 'item' }
    for (const reverse of [false, true]) {
      const entries = await db.scan(prefix, { reverse, limit: 2500 }).toArray()
      const expected = await plain.scan(prefix, { reverse, limit: 2500 }).toArray()
      expect(entries.map(({ key, value }) => ({ key, value }))).toEqual(
        expected.map(({ key, value }) => ({ key, value })),
      )
      expect(await db.getEntry(entries[7]!.key)).toEqual(entries[7])
    }
    const bare = await db.scan(prefix, { keysOnly: true }).toArray()
    expect(bare).toHaveLength(5000)
    expect(bare.every(({ value }) => value === undefined)).toBe(true)
    await until(() => db.status().readers.answered > 20, 'threads have answered')
    expect(db.status().readers).toMatchObject({ threads: 2 })
    expect(plain.status().readers).toEqual({ threads: 0, answered: 0, declined: 0 })
  })

  test('see every write that was acknowledged before the read, and no half of a batch', {
    timeout: 60_000,
  }, async () => {
    const db = await opened()
    await fill(db, 1200, () => 0)
    const keys = Array.from({ length: 600 }, (_, i) => keyOf(2 * i))
    const leastMs = performance.now() + (process.env.DEEP === '1' ? 30_000 : 1500)
    let acknowledged = 0
    let reads = 0
    const mostMs = leastMs + 30_000
    const goesOn = () => performance.now() < leastMs || ((reads < 10 || acknowledged < 5) && performance.now() < mostMs)
    const write = async () => {
      for (let round = 1; goesOn(); round++) {
        await db.batch(keys.map(key => ({ type: 'put' as const, key, value: round })))
        acknowledged = round
        // In memory a write ends within its turn of the event loop, and threads are heard between turns.
        await setImmediate()
      }
    }
    const check = (values: readonly unknown[], least: number) => {
      expect(new Set(values).size).toBe(1)
      expect(values[0]).toBeGreaterThanOrEqual(least)
      reads++
    }
    const read = async () => {
      while (goesOn()) {
        const least = acknowledged
        check(await db.getMany(keys), least)
      }
    }
    const scan = async () => {
      while (goesOn()) {
        const least = acknowledged
        const entries = await db.scan({ prefix: 'item' }).toArray()
        expect(entries).toHaveLength(1200)
        check(
          entries.filter(({ key }) => (key[1] as number) % 2 === 0).map(({ value }) => value),
          least,
        )
      }
    }
    await Promise.all([write(), read(), read(), scan()])
    await until(() => db.status().readers.answered > 0, 'a thread has answered')
  })

  test('decline what is not in memory; the database reads it', async () => {
    const db = await opened({ cacheBytes: 1024 * 1024 })
    await fill(db, 6000, i => `${i}`.padEnd(900, '.'))
    const keys = Array.from({ length: 6000 }, (_, i) => keyOf(i))
    for (let round = 0; round < 3; round++) {
      const values = await db.getMany<string>(keys)
      expect(values.every((value, i) => value?.startsWith(`${i}.`))).toBe(true)
    }
    expect(await db.scan({ prefix: 'item' }).toArray()).toHaveLength(6000)
    await until(() => db.status().readers.declined > 0, 'threads have declined')
  })

  test('that are gone leave the reading to the database', async () => {
    const source = new MemorySource(512)
    const pool = new BufferPool({ source, frames: 64, shared: true })
    const tree = new BTree({ pool, source, root: undefined })
    const key = Uint8Array.of(1, 2)
    tree.set(key, new StoredValues().make(timestamp(7), Uint8Array.of(9)))
    const threads = (await loadReaders(1))(pool.shared!)
    const entries = new EntryReader((await threads.getMany([key, Uint8Array.of(3)], 0))!)
    expect(entries.next() && entries.present).toBe(true)
    expect(entries.key()).toEqual(key)
    expect(entries.version()).toBe('00000000000007')
    expect(entries.bytes.slice(entries.valueFrom, entries.valueTo)).toEqual(Uint8Array.of(9))
    expect(entries.next() && entries.present).toBe(false)
    expect(entries.next()).toBe(false)
    expect(await threads.getMany([key], 1)).toBeUndefined()
    const pending = threads.getMany([key], 0)
    threads.close()
    expect(await pending).toBeUndefined()
    expect(await threads.getMany([key], 0)).toBeUndefined()
    expect(threads.counts).toEqual({ answered: 1, declined: 3 })
  })

  test('are 0 to 16, in whole numbers', async () => {
    for (const readers of [-1, 17, 1.5, '2', null]) {
      const error = await open({ name: 'x', storage: 'memory', readers: readers as number }).catch(caught => caught)
      expect(isHarmonyError(error, 'VALIDATION')).toBe(true)
    }
  })

  test('keep no process alive, and end with their database', { timeout: 60_000 }, async () => {
    const { build } = await import('esbuild')
    const script = join(import.meta.dirname, `../../node_modules/.cache/readers-${process.pid}.mjs`)
    const code = (closing: string) => `
      import { open } from './platform/node/entry.ts'
      const db = await open({ name: 'x', storage: 'memory', readers: 2, writers: 1 })
      for (let round = 0; round < 2; round++) await db.batch(Array.from({ length: 5000 }, (_, i) => ({ type: 'put', key: ['k', i], value: i })))
      const values = await db.getMany(Array.from({ length: 500 }, (_, i) => ['k', i]))
      console.log(values.length, db.status().readers.threads)
      ${closing}`
    const source = await poolThreadSource()
    try {
      for (const closing of ['', 'await db.close()']) {
        await build({
          stdin: { contents: code(closing), resolveDir: join(import.meta.dirname, '../..'), loader: 'ts' },
          bundle: true,
          platform: 'node',
          format: 'esm',
          packages: 'external',
          outfile: script,
          plugins: [
            {
              name: 'pool-thread-source',
              setup: ({ onLoad }) => {
                onLoad({ filter: /pool-thread-source\.ts$/ }, () => ({
                  contents: `export const poolThreadSource = async () => ${JSON.stringify(source)}`,
                }))
              },
            },
          ],
        })
        const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', timeout: 20_000 })
        expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '500 2\n', stderr: '' })
      }
    } finally {
      await rm(script, { force: true })
    }
  })
})

describe('peek', () => {
  test('answers at once: the entry, null for no such key', async () => {
    const db = await opened({ readers: 0 })
    await db.put('lamp', { left: 3 })
    expect(db.peek('lamp')).toEqual(await db.getEntry('lamp'))
    expect(db.peek('chair')).toBeNull()
    await db.delete('lamp')
    expect(db.peek('lamp')).toBeNull()
    expect(() => db.peek([])).toThrowError(expect.objectContaining({ code: 'INVALID_KEY' }))
    await db.close()
    expect(() => db.peek('lamp')).toThrowError(expect.objectContaining({ code: 'CLOSED' }))
  })

  test('is undefined for what is not in memory, and asks for no page', async () => {
    const db = await opened({ cacheBytes: 1024 * 1024, readers: 0 })
    await fill(db, 4000, i => `${i}`.padEnd(900, '.'))
    const found = Array.from({ length: 4000 }, (_, i) => db.peek<string>(keyOf(i)))
    expect(found.some(entry => entry === undefined)).toBe(true)
    expect(found.some(entry => entry?.value.length === 900)).toBe(true)
    expect(found.every((entry, i) => entry === undefined || entry?.value.startsWith(`${i}.`) === true)).toBe(true)
    const again = Array.from({ length: 4000 }, (_, i) => db.peek(keyOf(i)) === undefined)
    expect(again).toEqual(found.map(entry => entry === undefined))
  })
})
