/**
 * The end of a prepared transaction's time: the leader has it rolled back when nobody has decided it for as long as it may be held, by the leader's own monotonic clock since it
 * applied the prepare or came to lead. Whoever wanted to decide it may be dead: no lock outlives that. What this proposes is a decision as any other: the first one in the log wins.
 *
 * A new leader, and a peer alone that starts again, counts from the beginning: a transaction may be held for longer than it asked for, and never for less.
 */
import type { Term } from '../base/ids.ts'
import type { Clock } from '../platform.ts'
import type { Decision } from '../shard/command.ts'
import type { Replica } from '../shard/replica.ts'
import type { WriteRequest, WriteResult } from './writes.ts'

const askTimeoutMs = 5000

export interface PreparedDeadlinesHost {
  readonly clock: Clock
  replica(): Pick<Replica, 'status' | 'prepared'> | undefined
  write(request: WriteRequest, timeoutMs: number, done: (result: WriteResult) => void): void
}

export class PreparedDeadlines {
  private readonly host: PreparedDeadlinesHost
  private term: Term | undefined
  /** Since when this leader has known each. */
  private readonly sinceMs = new Map<string, number>()
  private readonly asked = new Set<string>()

  constructor(host: PreparedDeadlinesHost) {
    this.host = host
  }

  /** Called regularly. */
  tick(): void {
    const { clock } = this.host
    const replica = this.host.replica()
    if (replica === undefined || (replica.prepared.size === 0 && this.sinceMs.size === 0)) return
    const { role, term } = replica.status()
    if (role !== 'leader' || term !== this.term) this.sinceMs.clear()
    this.term = role === 'leader' ? term : undefined
    if (role !== 'leader') return
    const nowMs = clock.now()
    const there = new Set<string>()
    for (const { write } of replica.prepared.list()) {
      const { id, holdMs } = write.phase
      there.add(id)
      const sinceMs = this.sinceMs.get(id)
      if (sinceMs === undefined) this.sinceMs.set(id, nowMs)
      else if (nowMs - sinceMs >= holdMs && !this.asked.has(id)) this.expire(id)
    }
    for (const id of this.sinceMs.keys()) if (!there.has(id)) this.sinceMs.delete(id)
  }

  /** Whatever comes of it: where the transaction is still there, the next tick asks again. */
  private expire(id: string): void {
    this.asked.add(id)
    this.host.write(decisionOf(id, 'expired'), askTimeoutMs, () => void this.asked.delete(id))
  }
}

/** As a client asks for it. */
export const decisionOf = (id: string, decision: Decision): WriteRequest => ({
  ops: [],
  checks: [],
  ranges: [],
  idempotencyKey: undefined,
  phase: { type: 'decide', id, decision },
})
