/** Checks what callers pass besides keys and values, once, at the edge: below this everything is complete and of the right type. */
import { HarmonyError } from '../base/errors.ts'
import type { CoreReadOptions } from './core.ts'
import type { AbortSignalLike, Consistency, ReadOptions, ScanOptions, WriteOptions } from './types.ts'

/** What messages call something; a function where it would take a string for each of many. */
export type Name = string | (() => string)

export const nameText = (name: Name): string => (typeof name === 'string' ? name : name())

export const timeoutMsDefault = 10_000
export const stalenessMsDefault = 10_000
/** What timers of every host can count. */
const durationMsMax = 2 ** 31 - 1
const idempotencyKeyLengthMax = 256

const consistencies: readonly Consistency[] = ['linearizable', 'bounded', 'session', 'local']

export function invalid(message: string): HarmonyError {
  return new HarmonyError('VALIDATION', message)
}

/** A description of any value for a message, short and safe. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object'
  return typeof value === 'function' ? 'a function' : String(value)
}

const nothingGiven: object = Object.freeze({})

/** An options object, an empty one for undefined. @throws VALIDATION for anything else. */
export function record<T extends object>(options: T | undefined, name: Name): T {
  if (options === undefined) return nothingGiven as T
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw invalid(`${nameText(name)} must be an object, not ${shown(options)}`)
  }
  return options
}

export function oneOf<T>(value: T, allowed: readonly T[], name: Name): T {
  if (allowed.includes(value)) return value
  throw invalid(`${nameText(name)} is ${shown(value)}; it can be ${allowed.map(shown).join(', ')}`)
}

export function flag(value: boolean | undefined, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value === true
  throw invalid(`${name} must be true or false, not ${shown(value)}`)
}

function duration(value: number | undefined, least: number, fallback: number, name: string): number {
  if (value === undefined) return fallback
  if (typeof value === 'number' && value >= least && value <= durationMsMax) return value
  throw invalid(`${name} must be ${least} to ${durationMsMax} milliseconds, not ${shown(value)}`)
}

export function timeoutOf(options: { readonly timeoutMs?: number }): number {
  return duration(options.timeoutMs, 1, timeoutMsDefault, 'timeoutMs')
}

/** @throws VALIDATION for what is no signal; ABORTED where it is aborted already. */
export function signalOf(options: { readonly signal?: AbortSignalLike }): AbortSignalLike | undefined {
  const { signal } = options
  if (signal === undefined) return undefined
  if (typeof signal !== 'object' || signal === null || typeof signal.addEventListener !== 'function') {
    throw invalid(`signal must be an AbortSignal, not ${shown(signal)}`)
  }
  if (signal.aborted) throw aborted(signal, false)
  return signal
}

export function aborted(signal: AbortSignalLike, maybeCommitted: boolean): HarmonyError {
  const effect = maybeCommitted ? '; it was on its way already and may be committed all the same' : ''
  return new HarmonyError('ABORTED', `the call was aborted by its signal${effect}`, {
    cause: signal.reason,
    maybeCommitted,
  })
}

export function readOptions(options: ReadOptions): CoreReadOptions {
  return {
    consistency: oneOf(options.consistency ?? 'linearizable', consistencies, 'consistency'),
    maxStalenessMs: duration(options.maxStalenessMs, 0, stalenessMsDefault, 'maxStalenessMs'),
    timeoutMs: timeoutOf(options),
  }
}

/** Reads this state, whatever the options say. Written out: a spread costs as much as finding the key. */
export const inState = (
  { consistency, maxStalenessMs, timeoutMs }: CoreReadOptions,
  snapshot: string,
): CoreReadOptions => ({
  consistency,
  maxStalenessMs,
  timeoutMs,
  snapshot,
})

/** Infinity where there is none. */
export function limitOf({ limit }: ScanOptions): number {
  if (limit === undefined || limit === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
  if (Number.isSafeInteger(limit) && limit >= 0) return limit
  throw invalid(`limit must be an integer from 0, not ${shown(limit)}`)
}

export function idempotencyKeyOf({ idempotencyKey }: WriteOptions): string | undefined {
  if (idempotencyKey === undefined) return undefined
  if (
    typeof idempotencyKey === 'string' &&
    idempotencyKey.length > 0 &&
    idempotencyKey.length <= idempotencyKeyLengthMax
  ) {
    return idempotencyKey
  }
  throw invalid(`idempotencyKey must be a string of 1 to ${idempotencyKeyLengthMax} characters`)
}
