/** The conditions of a write, and what one that lost says: which condition did not hold, and what the key is now, so that its caller can decide anew. */
import { HarmonyError } from '../base/errors.ts'
import { timestamp } from '../base/ids.ts'
import { parseVersion, versionOf } from '../mvcc/versioned.ts'
import type { RangeCheck, WriteCheck } from '../shard/command.ts'
import type { Outcome } from '../shard/sessions.ts'
import type { CoreWrite } from './core.ts'

const noChecks: readonly WriteCheck[] = []
const noRanges: readonly RangeCheck[] = []

export function checksOf(request: CoreWrite): readonly WriteCheck[] | HarmonyError {
  if (request.checks.length === 0) return noChecks
  const checks: WriteCheck[] = []
  for (const { key, version } of request.checks) {
    const at = version === null ? timestamp(0) : parseVersion(version)
    // A version that this database never gave out matches no key.
    if (at === undefined) return conflict(`no key ever had the version "${version}"`)
    checks.push({ key, at })
  }
  return checks
}

export function rangesOf(request: CoreWrite): readonly RangeCheck[] | HarmonyError {
  if (request.ranges === undefined) return noRanges
  const ranges: RangeCheck[] = []
  for (const { from, to, version, count } of request.ranges) {
    const at = parseVersion(version)
    if (at === undefined) return conflict(`there never was a state of the version "${version}"`)
    ranges.push({ from, to, at, count })
  }
  return ranges
}

export function failedText({ check, found }: Extract<Outcome, { type: 'conflict' }>, checks: number): string {
  if (check >= checks) return 'a range that was read has changed since; read it again and decide anew'
  const now = found === 0 ? 'the key is absent' : `the key has version ${versionOf(found)}`
  return `check ${check} failed: ${now}; read it again and decide anew`
}

export const conflict = (message: string): HarmonyError => new HarmonyError('CONFLICT', message, { retryable: false })
