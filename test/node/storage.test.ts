/** What only a file system has: other processes, damaged files, directories of other programs. The rules of the ports are in `test/conformance`. */
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDirectory } from '../../platform/node/storage/directory.ts'
import { systemFiles } from '../../platform/node/storage/files.ts'
import type { HarmonyError } from '../../src/base/errors.ts'
import type { Directory, LogFile, Result } from '../../src/platform.ts'
import { pattern } from '../conformance/storage-harness.ts'
import { until } from './network-kit.ts'

/** `storage-writer.ts` for Node, below `node_modules`, so that the packages that stay imports are found. */
const writerScript = join(import.meta.dirname, `../../node_modules/.cache/storage-writer-${process.pid}.mjs`)
beforeAll(() =>
  build({
    entryPoints: [join(import.meta.dirname, 'storage-writer.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outfile: writerScript,
  }),
)
afterAll(() => rm(writerScript, { force: true }))

let path: string
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'harmony-storage-'))
})
afterEach(() => rm(path, { recursive: true, force: true }))

function answered<T>(start: (done: (value: T) => void) => void): T {
  let values: T[] = []
  start(value => {
    values = [...values, value]
  })
  expect(values).toHaveLength(1)
  return values[0]!
}

const opening = (at = path) => answered<Result<Directory>>(done => openDirectory(at, done))

function open(at = path): Directory {
  const result = opening(at)
  if (!result.ok) throw result.error
  return result.value
}

function failure(result: Result<unknown>): HarmonyError {
  if (result.ok) throw new Error('it did not fail')
  return result.error
}

const openingLog = (directory: Directory, name = 'log') =>
  answered<Result<LogFile>>(done => directory.openLog(name, done))

function openLog(directory: Directory, name = 'log'): LogFile {
  const result = openingLog(directory, name)
  if (!result.ok) throw result.error
  return result.value
}

/** Not `toEqual`: that takes seconds for a million bytes. */
function expectBytes(log: LogFile, offset: number, expected: Uint8Array): void {
  const part = answered<Result<Uint8Array>>(done => log.read(offset, expected.length, done))
  if (!part.ok) throw part.error
  expect(Buffer.compare(part.value, expected)).toBe(0)
}

const synced = (log: LogFile) =>
  new Promise<void>((resolve, reject) => log.sync(error => (error === undefined ? resolve() : reject(error))))

const closed = (directory: Directory) => new Promise<void>(resolve => directory.close(() => resolve()))

/** A log over three segments (1 and 2 MiB, and the rest), closed. */
async function threeSegments(): Promise<string[]> {
  const directory = open()
  const log = openLog(directory)
  for (let i = 0; i < 8; i++) log.append(pattern(i, 500_000))
  await synced(log)
  await closed(directory)
  const names = fs.readdirSync(path).filter(name => name.endsWith('.log'))
  expect(names).toEqual(['log.00000000.log', 'log.00000001.log', 'log.00000002.log'])
  return names
}

describe('a directory', () => {
  test('is made with its parents; an empty one is taken', async () => {
    for (const at of [join(path, 'a/b/c'), path]) {
      const directory = open(at)
      expect(fs.readdirSync(at).sort()).toEqual(expect.arrayContaining(['harmonydb', 'lock']))
      await closed(directory)
      if (at !== path) await rm(join(path, 'a'), { recursive: true })
    }
  })

  test('in use by another process: LOCKED, with its process id and what to do; free once that is killed', async () => {
    const writer = startWriter()
    await until(() => writer.lines() > 0, 'the writer has begun')
    const error = failure(opening())
    expect(error.code).toBe('LOCKED')
    expect(error.message).toContain(`in use by process ${writer.child.pid}:`)
    expect(error.message).toMatch(/close the database there, or choose another directory/)
    await writer.kill()
    await closed(open())
  })

  test('in use by this process: LOCKED as well', async () => {
    const directory = open()
    expect(failure(opening()).message).toContain(`process ${process.pid} (this one)`)
    await closed(directory)
    await closed(open())
  })

  test('pitfall 44: of another program: CORRUPT, and nothing is written into it', () => {
    for (const name of ['photos', 'data.db', 'log.00000000.log', 'harmonydb.txt', 'UPPER.pages']) {
      fs.writeFileSync(join(path, name), 'x')
      const error = failure(opening())
      expect(error.code).toBe('CORRUPT')
      expect(error.message).toContain('is not a HarmonyDB directory')
      expect(error.message).toContain(`"${name}"`)
      expect(fs.readdirSync(path)).toEqual([name])
      fs.rmSync(join(path, name))
    }
  })

  test('pitfall 44: a foreign file in ours: CORRUPT, until it is moved away; hidden files are let be', async () => {
    await closed(open())
    fs.writeFileSync(join(path, '.DS_Store'), 'x')
    await closed(open())
    fs.writeFileSync(join(path, 'notes.txt'), 'x')
    expect(failure(opening()).message).toContain('"notes.txt"')
    fs.rmSync(join(path, 'notes.txt'))
    await closed(open())
  })

  test('pitfall 44: of a newer format: VERSION_MISMATCH; with a strange mark: CORRUPT', async () => {
    await closed(open())
    fs.writeFileSync(join(path, 'harmonydb'), 'HarmonyDB storage 2\n')
    expect(failure(opening()).code).toBe('VERSION_MISMATCH')
    for (const mark of ['', 'HarmonyDB storage 1', 'HarmonyDB storage x\n', 'x'.repeat(100_000)]) {
      fs.writeFileSync(join(path, 'harmonydb'), mark)
      expect(failure(opening()).code).toBe('CORRUPT')
    }
  })

  test('a file in its place, or above it: CORRUPT', () => {
    const file = join(path, 'file')
    fs.writeFileSync(file, 'x')
    expect(failure(opening(file)).code).toBe('CORRUPT')
    expect(failure(opening(join(file, 'below'))).code).toBe('CORRUPT')
  })

  test('unfinished files of a crash are removed', async () => {
    await closed(open())
    fs.writeFileSync(join(path, 'log.00000000.log.new'), 'x')
    fs.writeFileSync(join(path, 'harmonydb.new'), 'x')
    const directory = open()
    expect(fs.readdirSync(path).filter(name => name.endsWith('.new'))).toEqual([])
    expect(openLog(directory).end).toBe(0)
    await closed(directory)
  })
})

describe('pitfall 44: a damaged log is CORRUPT, and the message names the file and what to do', () => {
  async function expectCorrupt(fileName: string, what: RegExp): Promise<void> {
    const directory = open()
    const error = failure(openingLog(directory))
    expect(error.code).toBe('CORRUPT')
    expect(error.message).toContain(join(path, fileName))
    expect(error.message).toMatch(what)
    expect(error.message).toMatch(/Restore the directory from a backup, or delete it/)
    await closed(directory)
  }

  test('a truncated segment, the last one as well', async () => {
    const names = await threeSegments()
    for (const name of names) {
      const file = join(path, name)
      const whole = fs.readFileSync(file)
      for (const bytes of [0, 10, 63, 64, 4_096, whole.length - 1]) {
        fs.truncateSync(file, bytes)
        await expectCorrupt(name, bytes < 64 ? /first bytes/ : /it was truncated/)
        fs.writeFileSync(file, whole)
      }
    }
  })

  test('every byte of a segment’s head flipped', async () => {
    const names = await threeSegments()
    const file = join(path, names[1]!)
    const whole = fs.readFileSync(file)
    for (let at = 0; at < 64; at++) {
      const bad = Buffer.from(whole.subarray(0, 64))
      bad[at]! ^= 0x10
      fs.writeFileSync(file, bad, { flag: 'r+' })
      await expectCorrupt(names[1]!, /first bytes/)
    }
  })

  test('a segment missing in the middle, or one of another log in its place', async () => {
    const [first, second, third] = (await threeSegments()) as [string, string, string]
    const [one, two] = [first, second].map(name => fs.readFileSync(join(path, name)))
    fs.rmSync(join(path, second))
    await expectCorrupt(third, /segment 1 before it is missing/)
    fs.writeFileSync(join(path, second), one!)
    await expectCorrupt(second, /first bytes/)
    fs.writeFileSync(join(path, second), two!)
    const directory = open()
    expect(openLog(directory).end).toBeGreaterThanOrEqual(4_000_000)
    await closed(directory)
  })

  test('a segment of a newer format: VERSION_MISMATCH', async () => {
    const { crc32c } = await import('../../src/base/checksum.ts')
    const names = await threeSegments()
    const file = join(path, names[0]!)
    const head = fs.readFileSync(file).subarray(0, 64)
    head.writeUInt32LE(2, 8)
    head.writeUInt32LE(0, 12)
    head.writeUInt32LE(crc32c(head), 12)
    fs.writeFileSync(file, head, { flag: 'r+' })
    const directory = open()
    expect(failure(openingLog(directory)).code).toBe('VERSION_MISMATCH')
    await closed(directory)
  })
})

describe('a log on the file system', () => {
  test('segments are allocated ahead, 1 MiB first, then doubling; closing gives back what is not used', async () => {
    const sizesOf = (them: readonly string[]) => them.map(name => fs.statSync(join(path, name)).size / 1024)
    const open4 = open()
    const log = openLog(open4)
    for (let i = 0; i < 8; i++) log.append(pattern(i, 500_000))
    const names = fs.readdirSync(path).filter(name => name.endsWith('.log'))
    expect(sizesOf(names)).toEqual([1024, 2048, 4096])
    await synced(log)
    await closed(open4)
    const [, , last] = sizesOf(names)
    expect(sizesOf(names).slice(0, 2)).toEqual([1024, 2048])
    // 4,000,000 bytes but for those in the first two, and room for some more.
    expect(last).toBeGreaterThan((4_000_000 - 3 * 1024 * 1024) / 1024 + 50)
    expect(last).toBeLessThan((4_000_000 - 3 * 1024 * 1024) / 1024 + 100)
    const before = names.map(name => fs.statSync(join(path, name)).mtimeMs)
    const directory = open()
    const again = openLog(directory)
    for (let i = 0; i < 8; i++) expectBytes(again, i * 500_000, pattern(i, 500_000))
    await closed(directory)
    expect(names.map(name => fs.statSync(join(path, name)).mtimeMs)).toEqual(before)
  })

  test('closing keeps what was not dropped, and nothing else; the log goes on there', async () => {
    let expected = 0
    for (let life = 0; life < 5; life++) {
      const directory = open()
      const log = openLog(directory)
      if (life > 0) {
        expectBytes(log, expected, pattern(life - 1, 1000))
        log.truncate(expected + 1000)
      }
      for (let i = 0; i < 6; i++) log.append(pattern(i, 400_000))
      const from = log.end
      log.append(pattern(life, 1000))
      log.dropFront(from)
      // Dropped segments are still there without a sync: those that follow have to adjoin.
      if (life % 2 === 0) await synced(log)
      await closed(directory)
      expected = from
      const logs = fs.readdirSync(path).filter(name => name.endsWith('.log'))
      const bytes = logs.map(name => fs.statSync(join(path, name)).size).reduce((sum, size) => sum + size, 0)
      if (life % 2 === 0) expect(bytes).toBeLessThan(128 * 1024)
    }
  })

  test('a file that cannot be replaced at closing is left as it was', async () => {
    const failing = {
      ...systemFiles,
      rename: (from: string, to: string) => {
        if (to.endsWith('.log') && fs.existsSync(to)) throw Object.assign(new Error('EIO'), { code: 'EIO' })
        systemFiles.rename(from, to)
      },
    }
    const result = answered<Result<Directory>>(done => openDirectory(path, done, failing))
    if (!result.ok) throw result.error
    const log = openLog(result.value)
    log.append(pattern(1, 300_000))
    await synced(log)
    await closed(result.value)
    expect(fs.statSync(join(path, 'log.00000000.log')).size).toBe(1024 * 1024)
    const again = open()
    expectBytes(openLog(again), 0, pattern(1, 300_000))
    await closed(again)
  })

  test('the next segment is prepared ahead, off the main thread, and is gone again if nobody needed it', async () => {
    const filled: number[] = []
    let syncs = 0
    const watched = {
      ...systemFiles,
      write(file: number, bytes: Uint8Array, position: number) {
        filled.push(bytes.length)
        systemFiles.write(file, bytes, position)
      },
      datasync: (file: number, done: (error: unknown) => void) =>
        systemFiles.datasync(file, error => {
          syncs++
          done(error)
        }),
    }
    const result = answered<Result<Directory>>(done => openDirectory(path, done, watched))
    if (!result.ok) throw result.error
    const log = openLog(result.value)
    const names = () => fs.readdirSync(path).filter(name => name.includes('.log') || name.includes('.ahead'))
    log.append(pattern(1, 500_000))
    expect(names()).toEqual(['log.00000000.log'])
    log.append(pattern(2, 100_000))
    await until(() => names().includes('log.00000001.ahead.new'), 'it is being prepared')
    await until(() => syncs === 1, 'it is synced')
    expect(fs.statSync(join(path, 'log.00000001.ahead.new')).size).toBe(2 * 1024 * 1024)
    filled.length = 0
    log.append(pattern(3, 600_000))
    expect(names()).toEqual(['log.00000000.log', 'log.00000001.log'])
    expect(filled.reduce((sum, bytes) => sum + bytes, 0)).toBe(600_000)
    log.append(pattern(4, 1_500_000))
    await closed(result.value)
    expect(names()).toEqual(['log.00000000.log', 'log.00000001.log'])
    const again = open()
    expectBytes(openLog(again), 600_000, pattern(3, 600_000))
    await closed(again)
  })

  test('dropFront deletes whole segments with the next sync, not before', async () => {
    await threeSegments()
    const directory = open()
    const log = openLog(directory)
    const files = () => fs.readdirSync(path).filter(name => name.endsWith('.log')).length
    log.dropFront(3_500_000)
    expect(files()).toBe(3)
    await synced(log)
    expect(files()).toBe(1)
    await closed(directory)
  })

  test('a sync leaves the event loop free', async () => {
    let turns = 0
    let waiting: ((error: unknown) => void) | undefined
    const slow = { ...systemFiles, datasync: (_: number, done: (error: unknown) => void) => (waiting = done) }
    const result = answered<Result<Directory>>(done => openDirectory(path, done, slow))
    if (!result.ok) throw result.error
    const log = openLog(result.value)
    log.append(pattern(1, 10))
    const done = synced(log)
    while (turns < 5) await new Promise<void>(resolve => setImmediate(() => resolve(void turns++)))
    waiting!(undefined)
    await done
    await closed(result.value)
  })

  test('kill -9 in the middle of the writing loses nothing that was acknowledged', async () => {
    for (const lines of [1, 60]) {
      const writer = startWriter()
      await until(() => writer.lines() >= lines, `${lines} syncs`)
      await writer.kill()
      const acknowledged = writer.lines()
      const directory = open()
      const log = openLog(directory)
      for (let i = 0; i < acknowledged * 10; i++) {
        expectBytes(log, i * 500, pattern(i, 500))
      }
      await closed(directory)
      await rm(path, { recursive: true })
    }
  })
})

function startWriter() {
  const child = spawn(process.execPath, [writerScript, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  const ended = new Promise<void>(resolve => child.on('close', () => resolve()))
  return {
    child,
    lines: () => text.split('\n').length - 1,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
