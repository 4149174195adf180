/** The conditions of a write, and what one that lost says: which condition did not hold, and what the key is now, so that its caller can decide anew. */
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import { timestamp } from '../base/ids.ts'
import { parseVersion, versionOf } from '../mvcc/versioned.ts'
import type { WriteCheck } from '../shard/command.ts'
import { decidedMax, lockedKeysMax, lockedRangesMax, preparedBytesMax, preparedMax } from '../shard/prepared.ts'
import type { Outcome } from '../shard/sessions.ts'
import { invalid, type Name, nameText, shown } from './options.ts'

/** The condition that a key has a version which a read returned, or is absent (null). @throws VALIDATION; CONFLICT for a version that this database never gave out: it matches no key. */
export function checkOf(key: Uint8Array, version: string | null, name: Name): WriteCheck {
  if (version === null) return { key, at: timestamp(0) }
  if (typeof version !== 'string')
    throw invalid(
      `${nameText(name)} must be a version that a read returned, or null for "absent", not ${shown(version)}`,
    )
  const at = parseVersion(version)
  // 0 is that of a transaction's own writes; in a check it would say "absent".
  if (at === undefined || at === 0) throw conflict(`no key ever had the version "${version}"`)
  return { key, at }
}

function failedText({ check, found }: Extract<Outcome, { type: 'conflict' }>, checks: number): string {
  if (check >= checks) return 'a range that was read has changed since; read it again and decide anew'
  const now = found === 0 ? 'the key is absent' : `the key has version ${versionOf(found)}`
  return `check ${check} failed: ${now}; read it again and decide anew`
}

/** What a write that was not done says, and a prepare or a decision about the transaction `id`. */
export function refusalOf(outcome: Outcome, checks: number, id = ''): HarmonyError {
  const name = JSON.stringify(id)
  switch (outcome.type) {
    case 'conflict':
      return conflict(failedText(outcome, checks))
    case 'held': {
      const by = JSON.stringify(outcome.by)
      const message = `the prepared transaction ${by} holds what this would change until somebody decides it (prepared.commit, prepared.rollback) or its time is over; then try again`
      return new HarmonyError('CONFLICT', message, { retryable: true })
    }
    case 'exists':
      return new HarmonyError('EXISTS', `a transaction ${name} is prepared, or was decided lately; choose another id`)
    case 'full': {
      const message = `too much is prepared already (${preparedMax} transactions, ${preparable} at most, all together); decide some of it first (prepared.list)`
      return new HarmonyError('TOO_LARGE', message, { retryable: true })
    }
    case 'unknown': {
      const message = `no transaction ${name} is prepared (prepared.list says which are), and it is not among the newest ${decidedMax} that were decided; if it was prepared once, look at what it was to write`
      return new HarmonyError('VALIDATION', message)
    }
    case 'decided':
      return conflict(`the transaction ${name} ${ends[outcome.decision]}; a decision is final`)
    default: {
      const message = `the write ended as "${outcome.type}"; read the key before you try again`
      return new HarmonyError('COMMIT_UNKNOWN', message)
    }
  }
}

const preparable = `${preparedBytesMax >> 20} MiB, ${lockedKeysMax} keys and ${lockedRangesMax} ranges`

/** What others have prepared has no part in it: it is of no use to try again. */
export const tooLargeToPrepare = (): HarmonyError =>
  new HarmonyError('TOO_LARGE', `a transaction that writes or has read more than ${preparable} cannot be prepared`)

const ends = {
  committed: 'is committed: what it wrote is there',
  rolledBack: 'was rolled back: nothing of it was written',
  expired: 'was rolled back, because nobody had decided it when its holdMs were over: nothing of it was written',
}

export const conflict = (message: string): HarmonyError => new HarmonyError('CONFLICT', message, { retryable: false })

/** A new attempt may do better, whatever this one was refused for. */
export function overtaken(error: unknown): unknown {
  if (!isHarmonyError(error, 'CONFLICT') || error.retryable) return error
  return new HarmonyError('CONFLICT', `another write came first: ${error.message}`, { retryable: true, cause: error })
}
