/** What every Database refuses (rule A8 of `database-suite.ts`): a name, the code, and the call. */
import { expect } from 'vitest'
import { type ErrorCode, isHarmonyError } from '../../src/base/errors.ts'
import type { Database, Key, Op, Range } from '../../src/database/types.ts'

/** What a program without types passes. */
export const as = <T>(value: unknown): T => value as T

/** What `promise` fails with, which has that code. */
export async function failure(
  promise: Promise<unknown>,
  code: ErrorCode,
): Promise<Error & { cause?: unknown; maybeCommitted: boolean }> {
  try {
    await promise
  } catch (error) {
    if (isHarmonyError(error, code)) return error
    expect.fail(`expected ${code}, got ${String((error as { code?: string })?.code)}: ${String(error)}`)
  }
  expect.fail(`expected ${code}, but nothing failed`)
}

type Refusal = [name: string, code: ErrorCode, run: (db: Database) => Promise<unknown>]

export const refusals: Refusal[] = [
  ['no key', 'INVALID_KEY', db => db.get(as<Key>(undefined))],
  ['an empty key', 'INVALID_KEY', db => db.put([], 1)],
  ['a NaN key', 'INVALID_KEY', db => db.put(['a', Number.NaN], 1)],
  ['an object as key', 'INVALID_KEY', db => db.delete(as<Key>({}))],
  ['a nested key', 'INVALID_KEY', db => db.get(as<Key>([['a']]))],
  ['a long key', 'TOO_LARGE', db => db.put('x'.repeat(3000), 1)],
  ['an undefined value', 'INVALID_VALUE', db => db.put('k', undefined)],
  ['a function in a value', 'INVALID_VALUE', db => db.put('k', { items: [{ fn: () => 1 }] })],
  ['a bare key as range', 'INVALID_KEY', db => db.scan(as<Range>('user')).toArray()],
  ['a misspelt range', 'INVALID_KEY', db => db.scan(as<Range>({ form: 'user' })).toArray()],
  ['an unknown consistency', 'VALIDATION', db => db.get('k', { consistency: as<'local'>('strong') })],
  ['a negative staleness', 'VALIDATION', db => db.get('k', { consistency: 'bounded', maxStalenessMs: -1 })],
  ['a negative timeout', 'VALIDATION', db => db.put('k', 1, { timeoutMs: -1 })],
  ['no timeout', 'VALIDATION', db => db.get('k', { timeoutMs: Number.NaN })],
  ['a negative limit', 'VALIDATION', db => db.scan({}, { limit: -1 }).toArray()],
  ['half a limit', 'VALIDATION', db => db.scan({}, { limit: 0.5 }).toArray()],
  ['a text as reverse', 'VALIDATION', db => db.scan({}, { reverse: as<boolean>('yes') }).toArray()],
  ['a text as options', 'VALIDATION', db => db.get('k', as('local'))],
  ['null as options', 'VALIDATION', db => db.put('k', 1, as(null))],
  ['a signal that is none', 'VALIDATION', db => db.get('k', { signal: as({}) })],
  ['a number as version', 'VALIDATION', db => db.put('k', 1, { ifVersion: as<string>(1) })],
  ['an empty idempotency key', 'VALIDATION', db => db.put('k', 1, { idempotencyKey: '' })],
  ['no keys', 'VALIDATION', db => db.getMany(as<Key[]>('ab'))],
  ['a bad key among keys', 'INVALID_KEY', db => db.getMany(['a', as<Key>(null)])],
  ['too many keys', 'TOO_LARGE', db => db.getMany(new Array<Key>(10_001).fill('k'))],
  ['an empty batch', 'VALIDATION', db => db.batch([])],
  ['a batch that is no array', 'VALIDATION', db => db.batch(as<Op[]>({ type: 'put', key: 'k', value: 1 }))],
  ['an unknown operation', 'VALIDATION', db => db.batch([as<Op>({ type: 'merge', key: 'k' })])],
  ['null as operation', 'VALIDATION', db => db.batch([as<Op>(null)])],
  ['a put without a value', 'INVALID_VALUE', db => db.batch([as<Op>({ type: 'put', key: 'k' })])],
  [
    'a check without a version',
    'VALIDATION',
    db => db.batch([{ type: 'delete', key: 'k' }], { check: [as({ key: 'k' })] }),
  ],
  ['ifVersion on a batch', 'VALIDATION', db => db.batch([{ type: 'delete', key: 'k' }], { ifVersion: null })],
  ['a batch of too many', 'TOO_LARGE', db => db.batch(new Array<Op>(10_001).fill({ type: 'delete', key: 'k' }))],
  [
    'a batch of too much',
    'TOO_LARGE',
    db => db.batch(new Array<Op>(3).fill({ type: 'put', key: 'k', value: new Uint8Array(8 * 1024 * 1024) })),
  ],
  ['a room that is none', 'VALIDATION', db => db.cluster.join({ room: '', secret: 'long enough' })],
  ['a long room', 'VALIDATION', db => db.cluster.join({ room: 'r'.repeat(129), secret: 'long enough' })],
  ['a short secret', 'VALIDATION', db => db.cluster.join({ room: 'r', secret: 'short' })],
  ['no secret', 'VALIDATION', db => db.cluster.join(as({ room: 'r' }))],
  ['no join options', 'VALIDATION', db => db.cluster.join(as(undefined))],
  [
    'an unknown role',
    'VALIDATION',
    db => db.cluster.join({ room: 'r', secret: 'long enough', role: as<'auto'>('king') }),
  ],
  [
    'an address of another kind',
    'VALIDATION',
    db => db.cluster.join({ room: 'r', secret: 'long enough', signaling: 'ftp://x' }),
  ],
  ['odd signaling', 'VALIDATION', db => db.cluster.join({ room: 'r', secret: 'long enough', signaling: as({}) })],
  [
    'odd bootstrap',
    'VALIDATION',
    db => db.cluster.join({ room: 'r', secret: 'long enough', bootstrap: as<'auto'>('no') }),
  ],
  [
    'odd ice servers',
    'VALIDATION',
    db => db.cluster.join({ room: 'r', secret: 'long enough', rtc: { iceServers: as([1]) } }),
  ],
  ['an odd member', 'VALIDATION', db => db.cluster.transferLeadership('somebody')],
]
