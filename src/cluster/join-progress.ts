/**
 * When a join is complete: this peer is in the configuration, a linearizable read from inside it succeeded (so it has caught up), and
 * the voters had a moment to become as many as they should, so that what follows the join finds the safety that it expects.
 */
import { HarmonyError } from '../base/errors.ts'
import type { Clock, Done } from '../platform.ts'

const barrierMs = 5000
const settleMsMax = 1500
/** A newcomer that nobody admits for so long will not be: most likely the room has lost its majority. */
const admissionMsMax = 60_000

export interface JoinView {
  readonly member: boolean
  readonly newcomer: boolean
  readonly healthy: boolean
  settled(): boolean
  barrier(done: Done): void
  onCaughtUp(): void
}

export class JoinProgress {
  private readonly clock: Clock
  private readonly done: Done
  private readonly startedMs: number
  private askingSinceMs: number | undefined
  private settledByMs: number | undefined

  constructor(clock: Clock, done: Done) {
    this.clock = clock
    this.done = done
    this.startedMs = clock.now()
  }

  finish(error: HarmonyError | undefined): void {
    this.done(error)
  }

  /** Called on every tick. */
  check(view: JoinView): 'pending' | 'done' | HarmonyError {
    const now = this.clock.now()
    if (this.settledByMs !== undefined) return now >= this.settledByMs || view.settled() ? 'done' : 'pending'
    if (view.newcomer && now - this.startedMs > admissionMsMax) {
      return new HarmonyError(
        'NO_QUORUM',
        'the room is there, but no leader admitted this peer: most likely its majority is gone',
      )
    }
    const asking = this.askingSinceMs !== undefined && now - this.askingSinceMs <= barrierMs
    if (!view.member || !view.healthy || asking) return 'pending'
    this.askingSinceMs = now
    view.barrier(error => {
      this.askingSinceMs = undefined
      if (error !== undefined || this.settledByMs !== undefined) return
      this.settledByMs = this.clock.now() + settleMsMax
      view.onCaughtUp()
    })
    return 'pending'
  }
}
