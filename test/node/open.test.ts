/** `open` in Node: a directory that keeps what was acknowledged, refuses what it should refuse, and lets the process go. */
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, type DatabaseEvent, isHarmonyError, type OpenOptions, open } from '../../platform/node/entry.ts'
import { type Bundle, bundle, runText, type TemporaryFolder, temporaryFolder, Watched } from './cli-kit.ts'

let folder: TemporaryFolder
const opened: Database[] = []

async function openIn(name: string, more: Partial<OpenOptions> = {}): Promise<Database> {
  const db = await open({ name: 'test', storage: { dir: folder.in(name) }, ...more })
  opened.push(db)
  return db
}

/** The code and message it is refused with. */
async function refusal(opening: Promise<Database>): Promise<{ code: string; message: string }> {
  try {
    opened.push(await opening)
  } catch (error) {
    if (isHarmonyError(error)) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('it was opened')
}

let built: Bundle

beforeAll(async () => {
  built = await bundle()
})

afterAll(() => built.remove())

beforeEach(() => {
  folder = temporaryFolder()
})

afterEach(async () => {
  for (const db of opened.splice(0)) await db.close()
  folder.remove()
})

describe('a database in a directory', () => {
  test('keeps what was put, deleted and batched across closing and reopening', async () => {
    const first = await openIn('db')
    const bytes = Uint8Array.of(0, 255, 7)
    await first.put(['user', 1], { name: 'Ada', at: new Date(5), tags: new Set(['x']), big: 2n ** 70n, bytes })
    await first.put(['user', 2], 'gone')
    await first.delete(['user', 2])
    await first.batch([
      { type: 'put', key: ['user', 3], value: null },
      { type: 'put', key: 'plain', value: [1, undefined, 3] },
    ])
    const before = await first.scan().toArray()
    await first.close()

    const second = await openIn('db')
    expect(await second.scan().toArray()).toEqual(before)
    expect(before.map(entry => entry.key)).toEqual([['plain'], ['user', 1], ['user', 3]])
    expect(await second.get(['user', 1])).toEqual({
      name: 'Ada',
      at: new Date(5),
      tags: new Set(['x']),
      big: 2n ** 70n,
      bytes,
    })
    expect(await second.get(['user', 2])).toBeUndefined()
    const { version } = await second.put('later', 1)
    expect(version > (before.at(-1)?.version ?? '')).toBe(true)
  })

  test('is the same peer of the same cluster after reopening', async () => {
    const first = await openIn('db')
    const { self, clusterId } = first.cluster.status()
    await first.close()
    const second = await openIn('db')
    expect(second.cluster.status()).toMatchObject({ self, clusterId, health: 'solo' })
    expect(second.cluster.members()).toMatchObject([{ id: self, kind: 'node', self: true, role: 'voter' }])
  })

  test('scans in pages, both ways, and goes on at a cursor', async () => {
    const db = await openIn('db')
    const ops = Array.from({ length: 2_500 }, (_, n) => ({ type: 'put', key: ['n', n], value: n }) as const)
    await db.batch(ops)
    const scan = db.scan<number>({ prefix: 'n', start: ['n', 100] }, { limit: 1_500 })
    const entries = await scan.toArray()
    expect(entries.map(entry => entry.value)).toEqual(Array.from({ length: 1_500 }, (_, n) => n + 100))
    const [next] = await db
      .scan<number>({ prefix: 'n', start: ['n', 100] }, { cursor: scan.cursor, limit: 1 })
      .toArray()
    expect(next?.value).toBe(1_600)
    const [last] = await db.scan<number>({ prefix: 'n' }, { reverse: true, limit: 1 }).toArray()
    expect(last?.value).toBe(2_499)
  })

  test('is LOCKED while it is open, and free once it is closed', async () => {
    const first = await openIn('db')
    const { code, message } = await refusal(openIn('db'))
    expect(code).toBe('LOCKED')
    expect(message).toContain(String(process.pid))
    await first.put('a', 1) // the refusal has not harmed it
    await first.close()
    expect(await (await openIn('db')).get('a')).toBe(1)
  })

  test('every call after close rejects with CLOSED', async () => {
    const db = await openIn('db')
    await db.close()
    for (const call of [() => db.get('a'), () => db.put('a', 1), () => db.scan().toArray()]) {
      await expect(call()).rejects.toMatchObject({ code: 'CLOSED' })
    }
    await db.close()
  })

  test('`await using` closes it', async () => {
    {
      await using db = await open({ name: 'test', storage: { dir: folder.in('db') } })
      await db.put('a', 1)
    }
    expect(await (await openIn('db')).get('a')).toBe(1)
  })
})

describe('pitfall 44: files that are not as they should be', () => {
  test('a foreign file in the directory: CORRUPT, and the file is left alone', async () => {
    const { mkdirSync } = await import('node:fs')
    mkdirSync(folder.in('db'))
    writeFileSync(folder.in('db/thesis.txt'), 'precious')
    const { code, message } = await refusal(openIn('db'))
    expect(code).toBe('CORRUPT')
    expect(message).toContain('thesis.txt')
    expect(readdirSync(folder.in('db'))).toEqual(['thesis.txt'])
    expect(readFileSync(folder.in('db/thesis.txt'), 'utf8')).toBe('precious')
  })

  test('a path that is a file: CORRUPT', async () => {
    writeFileSync(folder.in('db'), 'a file')
    expect((await refusal(openIn('db'))).code).toBe('CORRUPT')
  })

  test('a truncated log: CORRUPT, at every kind of length, and a copy put back opens again', async () => {
    const db = await openIn('db')
    for (let n = 0; n < 50; n++) await db.put(['n', n], n)
    await db.close()
    const log = logOf('db')
    const whole = readFileSync(log)
    for (const bytes of [0, 1, 63, 4096, 4200, whole.length - 1]) {
      truncateSync(log, bytes)
      expect((await refusal(openIn('db'))).code, `${bytes} bytes`).toBe('CORRUPT')
      writeFileSync(log, whole)
    }
    const again = await openIn('db')
    expect(await again.scan().toArray()).toHaveLength(50)
  })

  test('a page file, or a log, that is gone or empty while the other one is there: CORRUPT, never a new database', async () => {
    const db = await openIn('db')
    await db.put('a', 1)
    // Enough for a checkpoint at the end.
    await db.put('large', new Uint8Array(100_000))
    await db.close()
    for (const path of [folder.in('db/pages.pages'), logOf('db')]) {
      const whole = readFileSync(path)
      truncateSync(path, 0)
      expect((await refusal(openIn('db'))).code, path).toBe('CORRUPT')
      rmSync(path)
      expect((await refusal(openIn('db'))).code, path).toBe('CORRUPT')
      writeFileSync(path, whole)
      for (const name of readdirSync(folder.in('db'))) if (name.endsWith('.new')) rmSync(folder.in(`db/${name}`))
    }
    expect(await (await openIn('db')).get('a')).toBe(1)
  })

  test.each([
    { puts: 2, checkpointBytes: 1_000_000 },
    { puts: 400, checkpointBytes: 8_192 },
  ])(
    'a log that is gone after a kill behind $puts puts: CORRUPT, never an empty database',
    async ({ puts, checkpointBytes }) => {
      const child = new Watched(built.childPuts, [folder.in('db'), '10000', '1', String(checkpointBytes)])
      await child.line(line => (line === String(puts) ? true : undefined), `put ${puts}`)
      child.process.kill('SIGKILL')
      await child.ended()
      rmSync(logOf('db'))
      expect((await refusal(openIn('db'))).code).toBe('CORRUPT')
    },
  )

  test('garbage in place of the log, of the superblock or of the mark: CORRUPT', async () => {
    const db = await openIn('db')
    await db.put('a', 1)
    await db.close()
    const log = logOf('db')
    for (const path of [log, folder.in('db/pages.pages'), folder.in('db/harmonydb')]) {
      const whole = readFileSync(path)
      writeFileSync(path, Buffer.from(whole).fill(0xa5))
      expect((await refusal(openIn('db'))).code, path).toBe('CORRUPT')
      writeFileSync(path, whole)
    }
    expect(await (await openIn('db')).get('a')).toBe(1)
  })

  test('a flipped byte before the last acknowledged record: CORRUPT, never fewer records than were acknowledged', async () => {
    const db = await openIn('db')
    for (let n = 0; n < 20; n++) await db.put(['n', n], n)
    const { logBytes } = db.status().storage
    await db.close()
    const log = logOf('db')
    const whole = readFileSync(log)
    for (let at = 4096; at < 4096 + logBytes; at += 97) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] as number) ^ 0x10
      writeFileSync(log, flipped)
      expect((await refusal(openIn('db'))).code, `byte ${at}`).toBe('CORRUPT')
    }
  })

  test('no log beside a superblock that says there was one: CORRUPT', async () => {
    const { rmSync } = await import('node:fs')
    const db = await openIn('db')
    await db.put('a', 1)
    await db.close()
    rmSync(logOf('db'))
    expect((await refusal(openIn('db'))).code).toBe('CORRUPT')
  })

  test('a directory of a newer format: VERSION_MISMATCH', async () => {
    const db = await openIn('db')
    await db.close()
    writeFileSync(folder.in('db/harmonydb'), 'HarmonyDB storage 2\n')
    expect((await refusal(openIn('db'))).code).toBe('VERSION_MISMATCH')
  })

  function logOf(name: string): string {
    const logs = readdirSync(folder.in(name)).filter(file => file.endsWith('.log'))
    expect(logs).toHaveLength(1)
    return folder.in(`${name}/${logs[0]}`)
  }
})

describe('space', () => {
  test('what was deleted is used again; compact gives it back, beside writes', async () => {
    const db = await openIn('db')
    const fill = async (): Promise<void> => {
      for (let from = 0; from < 4000; from += 500) {
        const value = (i: number): string => Math.sin(i).toString().repeat(50)
        await db.batch(Array.from({ length: 500 }, (_, i) => ({ type: 'put', key: from + i, value: value(from + i) })))
      }
      await db.compact()
    }
    const clear = async (): Promise<void> => {
      for (let from = 0; from < 4000; from += 500) {
        await db.batch(Array.from({ length: 500 }, (_, i) => ({ type: 'delete', key: from + i })))
      }
    }
    await fill()
    const full = db.status().storage
    expect(full.fileBytes).toBeGreaterThan(500_000)
    for (let round = 0; round < 4; round++) {
      await clear()
      await fill()
    }
    // The last checkpoint's pages stay until the next one stands: two of everything at most.
    expect(db.status().storage.fileBytes).toBeLessThan(2.2 * full.fileBytes)
    await clear()
    await db.put('last', 1)
    const writing = (async () => {
      for (let i = 0; i < 50; i++) await db.put(['beside', i], i)
    })()
    const { bytesBefore, bytesAfter } = await db.compact()
    await writing
    expect(bytesBefore).toBeGreaterThan(500_000)
    expect(bytesAfter).toBeLessThan(200_000)
    await db.close()
    const again = await openIn('db')
    expect(await again.scan({ prefix: 'beside' }).toArray()).toHaveLength(50)
    expect(await again.get('last')).toBe(1)
  })
})

describe('options', () => {
  test('storage for browsers is refused with VALIDATION', async () => {
    const { code, message } = await refusal(open({ name: 'test', storage: 'indexeddb' }))
    expect(code).toBe('VALIDATION')
    expect(message).toContain('dir')
  })

  test('names that are no names of files are refused with VALIDATION', async () => {
    for (const name of ['', '..', '../up', 'a/b', 'a\0b', 'x'.repeat(65), 7 as unknown as string]) {
      expect((await refusal(open(name))).code, JSON.stringify(name)).toBe('VALIDATION')
    }
  })

  test('memory: nothing on disk, nothing kept', async () => {
    const db = await open({ name: 'test', storage: 'memory' })
    await db.put('a', 1)
    expect(await db.get('a')).toBe(1)
    expect(db.status().storage).toMatchObject({ kind: 'memory', durability: 'relaxed' })
    await db.close()
    const again = await open({ name: 'test', storage: 'memory' })
    opened.push(again)
    expect(await again.get('a')).toBeUndefined()
  })

  test('a join without signaling is refused with VALIDATION, and the database goes on alone', async () => {
    const db = await openIn('db')
    const joining = db.cluster.join({ room: 'r', secret: 'correct horse battery' })
    await expect(joining).rejects.toMatchObject({ code: 'VALIDATION', message: expect.stringContaining('signaling') })
    await db.put('a', 1)
    expect(db.cluster.status()).toMatchObject({ health: 'solo', room: undefined })
  })

  test('`cluster` without signaling: open rejects with VALIDATION and lets go of the directory', async () => {
    const cluster = { room: 'r', secret: 'correct horse battery' }
    expect((await refusal(openIn('db', { cluster }))).code).toBe('VALIDATION')
    await openIn('db')
  })

  test('events tell where it was opened', async () => {
    const events: DatabaseEvent[] = []
    await openIn('db', { onEvent: event => events.push(event) })
    expect(events[0]).toEqual({ type: 'opened', storage: folder.in('db') })
  })
})

describe('processes', () => {
  test.each([
    { writers: 1, after: 137 },
    { writers: 1, after: 611 },
    { writers: 16, after: 420 },
  ])('kill -9 in the middle of 1,000 puts by $writers: every acknowledged put is there', async ({ writers, after }) => {
    const dir = folder.in('db')
    const child = new Watched(built.childPuts, [dir, '1000', String(writers)])
    await child.line(line => (line === 'open' ? true : undefined), 'open')
    await child.line(
      line => (child.lines.length > after && line !== 'open' ? true : undefined),
      `${after} acknowledgements`,
    )
    child.process.kill('SIGKILL')
    expect(await child.ended()).toBeNull()
    const acknowledged = child.lines.filter(line => /^\d+$/.test(line)).map(Number)
    expect(acknowledged.length).toBeGreaterThanOrEqual(after)
    expect(acknowledged.length).toBeLessThan(1_000)

    const db = await openIn('db')
    const found = new Map((await db.scan<string>().toArray()).map(({ key, value }) => [key[1], value]))
    for (const n of acknowledged) expect(found.get(n), `put ${n}`).toBe(`value ${n} ${'x'.repeat(n % 500)}`)
    // What was never acknowledged may be there: at most what was in flight.
    expect(found.size).toBeLessThanOrEqual(acknowledged.length + writers)
    await db.put('after', 1)
  })

  test('a script that forgets to close ends by itself, with everything acknowledged', async () => {
    const script = `
      const { open } = await import(${JSON.stringify(built.index)})
      const db = await open({ name: 'x', storage: { dir: ${JSON.stringify(folder.in('db'))} } })
      for (let n = 0; n < 10; n++) await db.put(['n', n], n)
      console.log((await db.scan().toArray()).length)`
    expect(await runText(script)).toEqual({ status: 0, out: '10\n', err: '' })
    expect(await (await openIn('db')).scan().toArray()).toHaveLength(10)
  })

  test('a call that waits for an answer keeps the process up until it has it', async () => {
    const script = `
      const { open } = await import(${JSON.stringify(built.index)})
      const db = await open({ name: 'x', storage: 'memory' })
      const room = { room: 'r', secret: 'correct horse battery', bootstrap: false, signaling: 'ws://127.0.0.1:9' }
      setTimeout(() => db.close(), 1500).unref()
      await db.cluster.join(room).catch(error => console.log(error.code))`
    expect(await runText(script)).toEqual({ status: 0, out: 'CLOSED\n', err: '' })
  })

  test('a directory that another process has open is LOCKED, and free once that was killed', async () => {
    const child = new Watched(built.childPuts, [folder.in('db'), '1000000', '1'])
    await child.line(line => (line === 'open' ? true : undefined), 'open')
    const { code, message } = await refusal(openIn('db'))
    expect(code).toBe('LOCKED')
    expect(message).toContain(String(child.process.pid))
    child.process.kill('SIGKILL')
    await child.ended()
    await openIn('db')
  })
})
