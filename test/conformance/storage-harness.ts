/** What the suites of Directory, LogFile and PageFile need of a host, and what they share. */
import type { HarmonyError } from '../../src/base/errors.ts'
import type { Directory, Done, LogFile, PageFile, Result } from '../../src/platform.ts'
import { answer, check, type Waiting } from './rule.ts'

export interface StorageHarness extends Waiting {
  /** A new one, the first time; not to be called while it is open. */
  open(): Promise<Directory>
  /** Closes it in order and opens it again. Undefined where the content goes with the directory. */
  readonly reopen?: (directory: Directory) => Promise<Directory>
  /** A power failure: of what was not synced any part may be gone. Opens it again. */
  readonly crash?: (directory: Directory) => Promise<Directory>
  /** The process dies without closing anything; the system goes on. Opens it again. */
  readonly kill?: (directory: Directory) => Promise<Directory>
  /** Of any file of the open directory. */
  readonly failNextSync?: () => void | Promise<void>
  /** From now on nothing that needs more space can be written. */
  readonly fillUp?: () => void | Promise<void>
  /** Tries to open what is open. */
  readonly openAgain?: () => Promise<Result<Directory>>
  /** Crashes are drawn by chance: how often a rule tries. Default 1. */
  readonly crashRounds?: number
}

export const openLog = (harness: Waiting, directory: Directory, name = 'log'): Promise<LogFile> =>
  success(answer<Result<LogFile>>(harness, `opening the log ${name}`, done => directory.openLog(name, done)))

export const openPages = (harness: Waiting, directory: Directory, name = 'pages'): Promise<PageFile> =>
  success(answer<Result<PageFile>>(harness, `opening the page file ${name}`, done => directory.openPages(name, done)))

export async function success<T>(pending: Promise<Result<T>>): Promise<T> {
  const result = await pending
  if (!result.ok) throw result.error
  return result.value
}

/** Waits for a call that answers by `Done`; returns the code of its error, or 'done'. */
export async function outcome(harness: Waiting, what: string, start: (done: Done) => void): Promise<string> {
  const error = await answer<HarmonyError | undefined>(harness, what, start)
  return error?.code ?? 'done'
}

export async function synced(harness: Waiting, file: { sync(done: Done): void }): Promise<void> {
  const error = await answer<HarmonyError | undefined>(harness, 'sync', done => file.sync(done))
  if (error !== undefined) throw error
}

export async function closed(harness: Waiting, what: { close(done: Done): void }): Promise<void> {
  const error = await answer<HarmonyError | undefined>(harness, 'close', done => what.close(done))
  if (error !== undefined) throw error
}

export function readResult(
  harness: Waiting,
  file: LogFile | PageFile,
  offset: number,
  length: number,
): Promise<Result<Uint8Array>> {
  return answer(harness, `reading ${length} bytes at ${offset}`, done => file.read(offset, length, done))
}

/** Checks the length as well (L7). */
export async function read(
  harness: Waiting,
  file: LogFile | PageFile,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = await success(readResult(harness, file, offset, length))
  check(bytes.length === length, `a read of ${length} bytes returned ${bytes.length}`)
  return bytes
}

/** Bytes that are never 0 and tell where they stand. */
export function pattern(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = 1 + ((seed * 31 + i * 7 + (i >> 8)) % 255)
  return bytes
}
