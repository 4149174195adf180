/**
 * When a leader says that entries are committed to followers for whom nobody waits: with the next append, and where none follows, a moment later. Callers that
 * are answered write again at once, as a rule; so most of these messages, and their answers, are spared.
 */
import type { Clock } from '../platform.ts'
import type { RaftCore } from '../raft/types.ts'

const waitMs = 2

export interface CommitNoticesHost {
  readonly clock: Clock
  readonly raft: Pick<RaftCore, 'hasUntold' | 'tellCommit'>
  /** There is a Ready. */
  told(): void
}

export class CommitNotices {
  private readonly host: CommitNoticesHost
  private waiting = false

  constructor(host: CommitNoticesHost) {
    this.host = host
  }

  /** After every change of the core. */
  look(): void {
    const { clock, raft, told } = this.host
    if (this.waiting || !raft.hasUntold) return
    this.waiting = true
    clock.after(waitMs, () => {
      this.waiting = false
      if (raft.tellCommit()) told()
    })
  }
}
