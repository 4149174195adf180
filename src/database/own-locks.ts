/** What one attempt of a transaction has locked, and the way to lock more: nothing is asked for that it has. */
import type { LockMode } from '../txn/lock-table.ts'
import { covers, isEmpty, isOneKey, type Span } from '../txn/spans.ts'
import type { Core } from './core.ts'
import type { DeadlockPolicy } from './types.ts'

export class OwnLocks {
  /** Of the transaction, through all its attempts; 0: not known yet. */
  age: number
  private readonly core: Core
  private readonly transaction: number
  private readonly policy: DeadlockPolicy
  private readonly keys = new Map<string, LockMode>()
  private readonly ranges: { readonly span: Span; readonly mode: LockMode }[] = []

  constructor(core: Core, transaction: number, policy: DeadlockPolicy, age: number) {
    this.core = core
    this.transaction = transaction
    this.policy = policy
    this.age = age
  }

  missing(spans: readonly Span[], mode: LockMode): Span[] {
    return spans.filter(span => !isEmpty(span) && !this.has(span, mode))
  }

  /** @throws As `Core.lock`. */
  async lock(spans: readonly Span[], mode: LockMode, timeoutMs: number): Promise<void> {
    const { transaction, policy, age } = this
    const answer = await this.core.lock({ transaction, mode, policy, age, spans, timeoutMs })
    this.age = answer.age
    for (const span of spans) {
      if (isOneKey(span)) this.keys.set(span.from, mode)
      else this.ranges.push({ span, mode })
    }
  }

  /** All of them, also those that are still asked for. */
  release(): void {
    this.core.unlock(this.transaction)
  }

  private has(span: Span, mode: LockMode): boolean {
    const enough = (held: LockMode | undefined): boolean => held === 'exclusive' || held === mode
    return (
      (isOneKey(span) && enough(this.keys.get(span.from))) ||
      this.ranges.some(held => enough(held.mode) && covers(held.span, span))
    )
  }
}
