/**
 * The one error type that users see. Recognised by a brand, not by `instanceof`: it must survive a worker boundary and
 * two copies of the package in one program.
 */

export const errorCodes = [
  'CONFLICT',
  'DEADLOCK',
  'NO_QUORUM',
  'COMMIT_UNKNOWN',
  'TIMEOUT',
  'ABORTED',
  'READ_ONLY',
  'SNAPSHOT_TOO_OLD',
  'QUOTA',
  'STORAGE_LOST',
  'CORRUPT',
  'LOCKED',
  'VALIDATION',
  'UNIQUE',
  'EXISTS',
  'TOO_LARGE',
  'INVALID_KEY',
  'INVALID_VALUE',
  'NOT_MEMBER',
  'ROOM_CONFLICT',
  'UNAUTHORIZED',
  'VERSION_MISMATCH',
  'CLOSED',
] as const

export type ErrorCode = (typeof errorCodes)[number]

/** Codes whose cause may be gone a moment later; the same call can simply be made again. */
const retryableByNature: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['DEADLOCK', 'NO_QUORUM', 'TIMEOUT'])

const brand = '@harmonydb/error'

export interface ErrorDetails {
  /** May the same call succeed if it is made again unchanged? Default: by the code. */
  readonly retryable?: boolean
  /** May the write have been committed all the same? Default: only for COMMIT_UNKNOWN. */
  readonly maybeCommitted?: boolean
  readonly cause?: unknown
}

/** Every failure that a user can meet: a `code`, what is known of its effect, and a message that says what to do next. */
export class HarmonyError extends Error {
  override readonly name = 'HarmonyError'
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly maybeCommitted: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retryable = details.retryable ?? retryableByNature.has(code)
    this.maybeCommitted = details.maybeCommitted ?? code === 'COMMIT_UNKNOWN'
    Object.defineProperty(this, brand, { value: true })
  }
}

/**
 * Makes an error where only frames of our own could be in its stack: to collect them costs ten times what the rest does, and of some errors there are thousands a
 * second. V8 alone knows the limit; other hosts pay.
 */
export function withoutStack<E extends Error>(make: () => E): E {
  const host = Error as { stackTraceLimit?: number }
  const { stackTraceLimit } = host
  // Hardened realms do not let it be changed.
  const isWritable = Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')?.writable === true
  if (stackTraceLimit === undefined || !isWritable) return make()
  host.stackTraceLimit = 0
  try {
    return make()
  } finally {
    host.stackTraceLimit = stackTraceLimit
  }
}

/** True for a HarmonyError of any copy of the package (and of this `code`, if given). */
export function isHarmonyError(error: unknown, code?: ErrorCode): error is HarmonyError {
  if (typeof error !== 'object' || error === null) return false
  if ((error as Record<string, unknown>)[brand] !== true) return false
  return code === undefined || (error as HarmonyError).code === code
}

/** What crosses a worker boundary in place of an error: structured clone drops `code` and the brand. */
export interface ErrorRecord {
  readonly code: ErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly maybeCommitted: boolean
  readonly stack?: string
}

export function errorToRecord(error: HarmonyError): ErrorRecord {
  const { code, message, retryable, maybeCommitted, stack } = error
  return { code, message, retryable, maybeCommitted, ...(stack === undefined ? {} : { stack }) }
}

export function errorFromRecord(record: ErrorRecord): HarmonyError {
  const error = new HarmonyError(record.code, record.message, record)
  if (record.stack !== undefined) error.stack = record.stack
  return error
}
