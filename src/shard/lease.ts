/**
 * A leader's lease (thesis, 6.4.1): for a while after a majority has confirmed a read round, nobody else can be elected, and reads need no round of their own.
 *
 * Who hears a leader keeps its vote back for `electionTicks` - 1 ticks at least, counted by its own clock, through restarts and later terms (`keepsVoteBack` in `raft/state.ts`). So the lease
 * begins when its round was *sent*, not when it was answered, and is as long as that promise divided by the drift that is allowed for:
 *
 *  D1  While no voter's clock runs more than `driftMax` times as fast as the leader's, no read under a lease is stale. Beyond that nothing is promised.
 *  D2  How long ago the round was sent is the greater of what both clocks say: a monotonic clock may stand still while the machine sleeps, a wall clock may be set. If the wall clock went
 *      back, nothing is known, and there is no lease.
 *  D3  It is looked at between the question and its answer, in one step with the commit index. A process that stops behind that look answers late, not wrongly: what it shows was the newest state
 *      after the question came.
 *  D4  No lease after a transfer of leadership was begun in this term, none before an entry of it is committed, and none but from a majority of the configuration in force
 *      (`leaseRound` in `raft/leader.ts`).
 */
import type { Clock } from '../platform.ts'

/** Rounds that are under way, and some. */
const sentMax = 16

interface Sent {
  readonly round: number
  readonly nowMs: number
  readonly wallMs: number
}

export class Lease {
  private readonly clock: Pick<Clock, 'now' | 'wall'>
  private readonly ms: number
  /** Oldest first. */
  private sent: Sent[] = []

  /** @param ms How long it lasts from when its round was sent; 0: there are none. */
  constructor(clock: Pick<Clock, 'now' | 'wall'>, ms: number) {
    this.clock = clock
    this.ms = ms
  }

  get isOffered(): boolean {
    return this.ms > 0
  }

  /** A round leaves now, perhaps again: the first time counts. */
  leaves(round: number): void {
    if (!this.isOffered || round <= (this.sent.at(-1)?.round ?? 0)) return
    this.sent.push({ round, nowMs: this.clock.now(), wallMs: this.clock.wall() })
    if (this.sent.length > sentMax) this.sent.shift()
  }

  /** @param confirmed The newest round that counts (`Raft.leaseRound`); 0: none. */
  holds(confirmed: number): boolean {
    if (confirmed === 0) return false
    while (this.sent.length > 1 && this.sent[1]!.round <= confirmed) this.sent.shift()
    const [newest] = this.sent
    if (newest === undefined || newest.round > confirmed) return false
    const wallMs = this.clock.wall() - newest.wallMs
    return wallMs >= 0 && Math.max(wallMs, this.clock.now() - newest.nowMs) < this.ms
  }
}
