/**
 * A Directory in a directory of the file system:
 *
 *   harmonydb             'HarmonyDB storage 1\n': makes it ours, and says which format
 *   lock                  held by the process that has it open; its process id, for people
 *   <log>.<number>.log    `segment.ts`
 *   <name>.pages          `page-file.ts`
 *   *.new                 unfinished; removed when the directory is opened
 *
 * A name that is none of these, and does not begin with a dot, means that somebody else uses the directory: it is refused, and so is one
 * without `harmonydb` in which anything but `lock` stands. An empty one, or none, becomes a new one.
 *
 * Every call completes before it returns, but for `close` while something is being synced.
 */

import fs from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { tryLock } from 'fs-native-extensions'
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../../../src/platform.ts'
import { type Files, storageError, systemCode, systemFiles } from './files.ts'
import { openLogFile } from './log-file.ts'
import { openPageFile } from './page-file.ts'
import { isUnfinishedSegment, parseSegmentName } from './segment.ts'

const nameForm = /^[a-z0-9-]{1,32}$/
const pagesForm = /^([a-z0-9-]{1,32})\.pages$/
const markName = 'harmonydb'
const lockName = 'lock'
const markForm = /^HarmonyDB storage (\d{1,6})\n$/
const format = 1

/** Errors: LOCKED, CORRUPT (not one of ours, or damaged), VERSION_MISMATCH, QUOTA, STORAGE_LOST. */
export function openDirectory(path: string, done: Completion<Directory>, files: Files = systemFiles): void {
  let opened: Directory
  try {
    opened = open(resolve(path), files)
  } catch (cause) {
    const error = isHarmonyError(cause) ? cause : storageError(cause, `opening the directory ${path}`)
    return done({ ok: false, error })
  }
  done({ ok: true, value: opened })
}

function open(path: string, files: Files): Directory {
  create(path, files)
  const names = files.list(path)
  // Before anything is written into it.
  refuseForeign(path, names)
  const lock = takeLock(path)
  try {
    if (!names.includes(markName)) writeMark(path, files)
    else checkMark(path)
    for (const name of files.list(path)) if (name.endsWith('.new')) files.remove(join(path, name))
    return new NodeDirectory(path, files, lock)
  } catch (error) {
    fs.closeSync(lock)
    throw error
  }
}

function create(path: string, files: Files): void {
  try {
    const first = fs.mkdirSync(path, { recursive: true, mode: 0o700 })
    if (first === undefined) return
    // Every new directory's name, from the first that was made down to ours.
    for (let made = path; made.length >= first.length; made = dirname(made)) files.syncDirectory(dirname(made))
  } catch (cause) {
    const code = systemCode(cause)
    if (code === 'EEXIST' || code === 'ENOTDIR') throw notOurs(path, 'it is a file, or lies below one')
    throw cause
  }
}

function refuseForeign(path: string, names: readonly string[]): void {
  const foreign = names.find(name => !isOurs(name))
  if (foreign !== undefined) throw notOurs(path, `it holds "${foreign}"`)
  if (names.includes(markName)) return
  const unmarked = names.find(name => name !== lockName && !name.startsWith('.') && !name.endsWith('.new'))
  if (unmarked !== undefined) throw notOurs(path, `it holds "${unmarked}" and no file "${markName}"`)
}

function isOurs(name: string): boolean {
  const whole = name.endsWith('.new') ? name.slice(0, -4) : name
  return (
    name.startsWith('.') ||
    isUnfinishedSegment(name) ||
    whole === markName ||
    whole === lockName ||
    pagesForm.test(whole) ||
    parseSegmentName(whole) !== undefined
  )
}

function notOurs(path: string, how: string): HarmonyError {
  return new HarmonyError(
    'CORRUPT',
    `${path} is not a HarmonyDB directory: ${how}. Choose an empty directory or a new one, or move away what is not HarmonyDB's.`,
  )
}

/** Returns the descriptor that holds the lock. */
function takeLock(path: string): number {
  const lockPath = join(path, lockName)
  const lock = fs.openSync(lockPath, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
  try {
    if (!tryLock(lock)) {
      const holder = fs.readFileSync(lockPath, 'latin1').trim()
      const who = /^\d+$/.test(holder)
        ? `process ${holder}${holder === String(process.pid) ? ' (this one)' : ''}`
        : 'another process'
      throw new HarmonyError(
        'LOCKED',
        `${path} is in use by ${who}: close the database there, or choose another directory`,
      )
    }
    fs.ftruncateSync(lock, 0)
    fs.writeSync(lock, `${process.pid}\n`, 0)
    return lock
  } catch (error) {
    fs.closeSync(lock)
    throw error
  }
}

function writeMark(path: string, files: Files): void {
  const mark = join(path, markName)
  const file = files.open(`${mark}.new`, exists(`${mark}.new`) ? 'existing' : 'new')
  try {
    files.truncate(file, 0)
    files.write(file, Buffer.from(`HarmonyDB storage ${format}\n`), 0)
    files.datasyncNow(file)
  } finally {
    files.close(file)
  }
  files.rename(`${mark}.new`, mark)
  files.syncDirectory(path)
}

function checkMark(path: string): void {
  const mark = join(path, markName)
  const text = fs.statSync(mark).size > 64 ? '' : fs.readFileSync(mark, 'latin1')
  const version = markForm.exec(text)
  if (version === null) throw notOurs(path, `its file "${markName}" does not say so`)
  if (Number(version[1]) > format) {
    throw new HarmonyError('VERSION_MISMATCH', `${path} was written by a newer version of HarmonyDB: upgrade this one`)
  }
}

function exists(path: string): boolean {
  return fs.existsSync(path)
}

class NodeDirectory implements Directory {
  private readonly path: string
  private readonly files: Files
  private readonly lock: number
  private readonly openFiles = new Map<string, LogFile | PageFile>()
  private closed = false

  constructor(path: string, files: Files, lock: number) {
    this.path = path
    this.files = files
    this.lock = lock
  }

  openLog(name: string, done: Completion<LogFile>): void {
    this.complete(done, `opening the log ${name}`, () => {
      const kept = this.fileNames(name)
      if (kept.pages) throw otherKind(name, 'a page file')
      const place = { files: this.files, directory: this.path, name }
      return this.opened(
        name,
        openLogFile(place, kept.segments, () => this.openFiles.delete(name)),
      )
    })
  }

  openPages(name: string, done: Completion<PageFile>): void {
    this.complete(done, `opening the page file ${name}`, () => {
      const kept = this.fileNames(name)
      if (kept.segments.length > 0) throw otherKind(name, 'a log')
      const path = join(this.path, `${name}.pages`)
      return this.opened(
        name,
        openPageFile(this.files, path, kept.pages, () => this.openFiles.delete(name)),
      )
    })
  }

  list(done: Completion<readonly string[]>): void {
    this.complete(done, `listing ${this.path}`, () => {
      const names = new Set<string>()
      for (const fileName of this.files.list(this.path)) {
        const name = parseSegmentName(fileName)?.log ?? pagesForm.exec(fileName)?.[1]
        if (name !== undefined) names.add(name)
      }
      return [...names].sort()
    })
  }

  remove(name: string, done: Done): void {
    this.complete<undefined>(
      result => done(result.ok ? undefined : result.error),
      `removing ${name}`,
      () => {
        if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open: close it first`)
        const gone = this.files
          .list(this.path)
          .filter(one => one === `${name}.pages` || parseSegmentName(one)?.log === name)
        // The last segment first: a crash in between leaves a log without a gap.
        for (const fileName of gone.sort().reverse()) {
          this.files.remove(join(this.path, fileName))
          this.files.syncDirectory(this.path)
        }
        return undefined
      },
    )
  }

  close(done: Done): void {
    if (this.closed) return done(closedError(this.path))
    this.closed = true
    let left = this.openFiles.size
    let failure: HarmonyError | undefined
    const oneClosed: Done = error => {
      failure ??= error
      if (left-- > 0) return
      fs.closeSync(this.lock)
      done(failure)
    }
    for (const file of [...this.openFiles.values()]) file.close(oneClosed)
    oneClosed(undefined)
  }

  private fileNames(name: string): { readonly segments: readonly number[]; readonly pages: boolean } {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    if (this.openFiles.has(name)) throw new HarmonyError('LOCKED', `the file ${name} is open already`)
    const names = this.files.list(this.path)
    const segments: number[] = []
    for (const one of names) {
      const parsed = parseSegmentName(one)
      if (parsed?.log === name) segments.push(parsed.number)
    }
    return { segments: segments.sort((a, b) => a - b), pages: names.includes(`${name}.pages`) }
  }

  private opened<F extends LogFile | PageFile>(name: string, file: F): F {
    this.openFiles.set(name, file)
    return file
  }

  private complete<T>(done: Completion<T>, doing: string, run: () => T): void {
    let value: T
    try {
      if (this.closed) throw closedError(this.path)
      value = run()
    } catch (cause) {
      return done({ ok: false, error: isHarmonyError(cause) ? cause : storageError(cause, doing) })
    }
    done({ ok: true, value })
  }
}

function otherKind(name: string, kind: string): HarmonyError {
  return new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${kind}`)
}

function closedError(path: string): HarmonyError {
  return new HarmonyError('CLOSED', `the directory ${path} was closed`)
}
