/** What a write that lost says: which condition did not hold, and what the key is now, so that its caller can decide anew. */
import { HarmonyError } from '../base/errors.ts'
import { versionOf } from '../mvcc/versioned.ts'
import type { Outcome } from '../shard/sessions.ts'

export function failedText({ check, found }: Extract<Outcome, { type: 'conflict' }>, checks: number): string {
  if (check >= checks) return 'a range that was read has changed since; read it again and decide anew'
  const now = found === 0 ? 'the key is absent' : `the key has version ${versionOf(found)}`
  return `check ${check} failed: ${now}; read it again and decide anew`
}

export const conflict = (message: string): HarmonyError => new HarmonyError('CONFLICT', message, { retryable: false })
