/** How the command line ends: one exit status for each kind of failure, so that scripts can tell them apart without reading text. */
import { type ErrorCode, HarmonyError, isHarmonyError } from '../../../src/index.ts'

export const exitStatus = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unavailable: 4,
  locked: 5,
  corrupt: 6,
  conflict: 7,
  refused: 8,
} as const

export type ExitStatus = (typeof exitStatus)[keyof typeof exitStatus]

export const exitStatusHelp = `Exit status:
  0  done
  1  failed in another way (the message says how); import: some lines were not imported; check: the history is not allowed
  2  usage: unknown options, or a key, value or file that cannot be read as one
  3  the key is not there
  4  unavailable for now: no quorum, time-out, outcome unknown; check: undecided
  5  locked: another process holds the directory, or the port is taken
  6  the stored data is damaged, lost, or of another version
  7  conflict: a condition does not hold, or two rooms cannot merge
  8  refused: wrong secret, not a member`

/** Ends the command with this status; the message, if any, goes to standard error. */
export class CommandExit extends Error {
  override readonly name = 'CommandExit'
  readonly status: ExitStatus

  constructor(status: ExitStatus, message: string) {
    super(message)
    this.status = status
  }
}

export const usage = (message: string): CommandExit => new CommandExit(exitStatus.usage, message)

export function statusOfCode(code: ErrorCode): ExitStatus {
  switch (code) {
    case 'VALIDATION':
    case 'INVALID_KEY':
    case 'INVALID_VALUE':
    case 'TOO_LARGE':
      return exitStatus.usage
    case 'NO_QUORUM':
    case 'TIMEOUT':
    case 'COMMIT_UNKNOWN':
    case 'DEADLOCK':
    case 'ABORTED':
    case 'CLOSED':
    case 'SNAPSHOT_TOO_OLD':
      return exitStatus.unavailable
    case 'LOCKED':
      return exitStatus.locked
    case 'CORRUPT':
    case 'STORAGE_LOST':
    case 'VERSION_MISMATCH':
      return exitStatus.corrupt
    case 'CONFLICT':
    case 'UNIQUE':
    case 'EXISTS':
    case 'ROOM_CONFLICT':
      return exitStatus.conflict
    case 'UNAUTHORIZED':
    case 'NOT_MEMBER':
    case 'READ_ONLY':
      return exitStatus.refused
    case 'QUOTA':
      return exitStatus.failed
  }
}

export interface Failure {
  readonly status: ExitStatus
  /** For standard error; '' for none. */
  readonly text: string
}

export function failureOf(error: unknown): Failure {
  if (error instanceof CommandExit) return { status: error.status, text: error.message }
  if (isHarmonyError(error)) return { status: statusOfCode(error.code), text: describe(error) }
  // A bug, or the system: its stack helps whoever reads the report.
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { status: exitStatus.failed, text }
}

export function describe(error: unknown): string {
  if (!isHarmonyError(error)) return error instanceof Error ? error.message : String(error)
  const effect = error.maybeCommitted ? ' (the write may have been committed)' : ''
  return `${error.code}: ${error.message}${effect}`
}

/** What a system call failed with, in a code of ours. */
export function systemFailure(what: string, cause: unknown): HarmonyError {
  const { code = '', message = String(cause) } = cause as NodeJS.ErrnoException
  return new HarmonyError(code === 'ENOSPC' ? 'QUOTA' : 'VALIDATION', `${what}: ${code === '' ? message : code}`, {
    cause,
  })
}
