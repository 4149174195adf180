/**
 * The engines to compare with, as their users would open them for durable writes, all else by default.
 *
 *   lmdb             keys and values binary; `put` resolves after the flush (its default); `getBinary` copies
 *   better-sqlite3   WAL, synchronous FULL; one table WITHOUT ROWID; every put its own transaction, or 64 in a hand-made one
 *   classic-level    `sync: true`; `getSync`
 *   raw              no engine: a write of 128 bytes and an fdatasync, into a file of zeros that is already there
 *
 * better-sqlite3 has its binary not in npm but on another host, or compiles one: it is no dependency of the checkout but of
 * `test/bench/peers`, where who wants it installs it.
 */
import { closeSync, existsSync, fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { ClassicLevel } from 'classic-level'
import type { open as openLmdbDatabase } from 'lmdb'
import { createRecords, getRecord, putRecord, scanRecords } from './sql.ts'
import { type Change, NotInstalled, type OpenedFrom, type Row, type Store, together } from './store.ts'

/** What is used of better-sqlite3. */
interface Sqlite {
  pragma(text: string): unknown
  exec(sql: string): unknown
  prepare(sql: string): {
    run(...values: unknown[]): unknown
    get(...values: unknown[]): unknown
    all(...values: unknown[]): unknown[]
  }
  transaction<T>(run: (argument: T) => void): (argument: T) => void
  close(): void
}

/** From the checkout's packages or from those of `peers/`. */
function load(root: string, name: string): unknown {
  const advice = existsSync(join(root, 'node_modules', name))
    ? 'npm ci'
    : name === 'better-sqlite3'
      ? 'npm ci --prefix test/bench/peers'
      : 'npm ci'
  for (const from of ['package.json', 'test/bench/peers/package.json']) {
    const require = createRequire(join(root, from))
    try {
      require.resolve(name)
    } catch {
      continue
    }
    try {
      return require(name)
    } catch (error) {
      throw new NotInstalled(`${name} is installed and cannot be loaded (${firstLine(error)}): ${advice}`)
    }
  }
  throw new NotInstalled(`${name} is not installed: ${advice}`)
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split('\n', 1)[0]!

export function openLmdb({ dir, root }: OpenedFrom): Store {
  const { open } = load(root, 'lmdb') as { open: typeof openLmdbDatabase }
  const db = open<Buffer, Buffer>({ path: dir, keyEncoding: 'binary', encoding: 'binary' })
  return {
    put: (key, value) => db.put(key, value),
    get: key => db.getBinary(key),
    scan: (start, limit) => Array.from(db.getRange({ start, limit })),
    row: scanned => scanned as Row,
    batch: rows =>
      db.batch(() => {
        for (const { key, value } of rows) void db.put(key, value)
      }),
    transact: (keys, change) =>
      db.transaction(() => {
        const values = change(keys.map(key => db.getBinary(key)))
        for (const [i, key] of keys.entries()) void db.put(key, values[i]!)
      }),
    close: () => db.close(),
  }
}

export function openSqlite({ dir, root, cacheBytes }: OpenedFrom): Store {
  const Database = load(root, 'better-sqlite3') as new (path: string) => Sqlite
  let db: Sqlite
  try {
    db = new Database(join(dir, 'data.sqlite'))
  } catch (error) {
    // The binary is loaded here, not by `require`.
    if (!/bindings|NODE_MODULE_VERSION|dlopen/i.test(String(error))) throw error
    throw new NotInstalled(
      `better-sqlite3 is installed without its binary (${firstLine(error)}): npm ci --prefix test/bench/peers`,
    )
  }
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  if (cacheBytes !== undefined) db.pragma(`cache_size = -${Math.ceil(cacheBytes / 1024)}`)
  db.exec(createRecords)
  const put = db.prepare(putRecord)
  const get = db.prepare(getRecord)
  const scan = db.prepare(scanRecords)
  const batch = db.transaction((rows: readonly { key: Buffer; value: Buffer }[]) => {
    for (const { key, value } of rows) put.run(key, value)
  })
  const read = (key: Buffer): Buffer | undefined => (get.get(key) as { value: Buffer } | undefined)?.value
  const transact = db.transaction(({ keys, change }: { keys: readonly Buffer[]; change: Change<Buffer> }) => {
    const values = change(keys.map(read))
    for (const [i, key] of keys.entries()) put.run(key, values[i])
  })
  return {
    put: (key, value) => put.run(key, value),
    putTogether: together(batch, setImmediate),
    get: read,
    scan: (start, limit) => scan.all(start, limit),
    row: scanned => scanned as Row,
    batch,
    transact: (keys, change) => transact({ keys, change }),
    close: () => db.close(),
  }
}

export async function openLevel({ dir, root, cacheBytes }: OpenedFrom): Promise<Store> {
  const { ClassicLevel: Level } = load(root, 'classic-level') as { ClassicLevel: typeof ClassicLevel }
  const db = new Level<Buffer, Buffer>(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  await db.open(cacheBytes === undefined ? {} : { cacheSize: cacheBytes })
  const durably = { sync: true }
  return {
    put: (key, value) => db.put(key, value, durably),
    get: key => db.getSync(key),
    scan: (gte, limit) => db.iterator({ gte, limit }).all(),
    row: scanned => {
      const [key, value] = scanned as [Buffer, Buffer]
      return { key, value }
    },
    batch: rows =>
      db.batch(
        rows.map(({ key, value }) => ({ type: 'put', key, value })),
        durably,
      ),
    close: () => db.close(),
  }
}

const rawFileBytes = 32 * 1024 * 1024
const rawRecordBytes = 128

export function openRaw({ dir }: OpenedFrom): Store {
  const file = openSync(join(dir, 'raw'), 'w+')
  const zeros = Buffer.alloc(1024 * 1024)
  for (let at = 0; at < rawFileBytes; at += zeros.length) writeSync(file, zeros, 0, zeros.length, at)
  fsyncSync(file)
  let end = 0
  const write = (rows: readonly { key: Buffer; value: Buffer }[]): void => {
    const bytes = Buffer.alloc(rows.length * rawRecordBytes)
    for (const [i, { key, value }] of rows.entries()) {
      key.copy(bytes, i * rawRecordBytes)
      value.copy(bytes, i * rawRecordBytes + key.length)
    }
    if (end + bytes.length > rawFileBytes) end = 0
    writeSync(file, bytes, 0, bytes.length, end)
    fdatasyncSync(file)
    end += bytes.length
  }
  const none = (): never => {
    throw new Error('there is nothing to read in raw')
  }
  return {
    put: (key, value) => write([{ key, value }]),
    putTogether: together(write, setImmediate),
    get: none,
    scan: none,
    row: none,
    batch: write,
    close: () => closeSync(file),
  }
}
