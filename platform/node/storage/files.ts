/**
 * The file system as the storage adapter uses it: few calls, all of them synchronous but for `datasync`, which may wait for the device in
 * another thread. Tests put a file system that loses what was not synced in its place.
 *
 * Every call throws the system's error (with `code`); `storageError` makes a HarmonyError of it.
 */
import fs from 'node:fs'
import { AssertionError } from '../../../src/base/assert.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { SyncPace } from './sync-pace.ts'

export interface Files {
  /** Throws where there is none, or where there is one already. */
  open(path: string, mode: 'existing' | 'new'): number
  size(file: number): number
  /** Fills `bytes` from `position`; returns how many there were before the end of the file. */
  read(file: number, bytes: Uint8Array, position: number): number
  /** All of them. */
  write(file: number, bytes: Uint8Array, position: number): void
  /** Writes zeros to [from, to), not on this thread; errors go to the callback. */
  zero(file: number, from: number, to: number, done: (error: unknown) => void): void
  truncate(file: number, bytes: number): void
  /**
   * Content and length are on the device when it answers, never before it returns; errors go to the callback. Not on this thread, unless so few `bytes` are to be
   * written that this is quicker (`sync-pace.ts`).
   */
  datasync(file: number, done: (error: unknown) => void, bytes?: number): void
  /** Runs `begin` when what the system has ready has come, as long as syncs are made on this thread; else at once. */
  gather(begin: () => void): void
  datasyncNow(file: number): void
  close(file: number): void
  rename(from: string, to: string): void
  remove(path: string): void
  list(directory: string): string[]
  /** The names in it are on the device when it returns. */
  syncDirectory(directory: string): void
}

/** Of all files of this process: they are on one device as a rule. */
const pace = new SyncPace()

export const systemFiles: Files = {
  open: (path, mode) => fs.openSync(path, mode === 'new' ? 'wx+' : 'r+', 0o600),
  size: file => fs.fstatSync(file).size,
  read(file, bytes, position) {
    let done = 0
    while (done < bytes.length) {
      const count = fs.readSync(file, bytes, done, bytes.length - done, position + done)
      if (count === 0) break
      done += count
    }
    return done
  },
  write(file, bytes, position) {
    let done = 0
    while (done < bytes.length) done += fs.writeSync(file, bytes, done, bytes.length - done, position + done)
  },
  zero: writeZeros,
  truncate: (file, bytes) => fs.ftruncateSync(file, bytes),
  datasync(file, done, bytes = Number.POSITIVE_INFINITY) {
    if (!pace.here(bytes)) return fs.fdatasync(file, error => done(error ?? undefined))
    const beganMs = performance.now()
    let failure: unknown
    try {
      fs.fdatasyncSync(file)
    } catch (error) {
      failure = error
    }
    pace.took(performance.now() - beganMs)
    queueMicrotask(() => done(failure))
  },
  gather(begin) {
    if (pace.isHere) setImmediate(begin)
    else begin()
  },
  datasyncNow: file => fs.fdatasyncSync(file),
  close: file => fs.closeSync(file),
  rename: (from, to) => fs.renameSync(from, to),
  remove: path => fs.unlinkSync(path),
  list: directory => fs.readdirSync(directory),
  syncDirectory(directory) {
    // Windows opens no directories; there a rename is durable with the volume's journal.
    if (process.platform === 'win32') return
    const handle = fs.openSync(directory, 'r')
    try {
      fs.fsyncSync(handle)
    } finally {
      fs.closeSync(handle)
    }
  },
}

export const zeros = new Uint8Array(256 * 1024)

function writeZeros(file: number, from: number, to: number, done: (error: unknown) => void): void {
  if (from >= to) return done(undefined)
  fs.write(file, zeros, 0, Math.min(zeros.length, to - from), from, (error, count) => {
    if (error !== null) done(error)
    else writeZeros(file, from + count, to, done)
  })
}

const outOfSpace: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

export const systemCode = (cause: unknown): unknown =>
  typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined

/**
 * QUOTA where the device is full, STORAGE_LOST otherwise. `doing` completes "while …".
 * @throws AssertionError where that is the cause: a bug is no failure of the file system.
 */
export function storageError(cause: unknown, doing: string): HarmonyError {
  if (cause instanceof AssertionError) throw cause
  const reason = cause instanceof Error ? cause.message : String(cause)
  if (outOfSpace.has(systemCode(cause))) {
    return new HarmonyError(
      'QUOTA',
      `no space was left while ${doing}: free some, then open the database again (${reason})`,
      { cause },
    )
  }
  return new HarmonyError(
    'STORAGE_LOST',
    `the file system failed while ${doing}: open the database again (${reason})`,
    { cause },
  )
}
