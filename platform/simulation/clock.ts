/**
 * A process's idea of time. `now` runs at a rate of its own from an origin of its own; `wall` is set by its user, to any time. Timers
 * fire late as the seed says, and on a grid while the process is a hidden, throttled tab (pitfalls 20 and 21). Shown again, it fires at once what is overdue.
 */
import { assert } from '../../src/base/assert.ts'
import type { SeededRandom } from '../../src/base/random.ts'
import type { Cancel, Clock } from '../../src/platform.ts'
import type { Incarnation } from './incarnation.ts'
import type { Scheduler } from './scheduler.ts'

/** Where every simulated wall clock begins: 2026-01-01T00:00:00Z. */
const wallOriginMs = 1_767_225_600_000
/** Even an idle host fires a timer a little late. */
const lateMsMax = 1

/** Belongs to the machine: goes on through crashes, as a real one does. */
export class SimulatedTime {
  private readonly scheduler: Scheduler
  private readonly random: SeededRandom
  private rateNow = 1
  private throttleMs = 0
  private wallOffsetMs = 0
  /** `now` was `baseNowMs` when the world's time was `baseMs`. */
  private baseMs: number
  private baseNowMs: number
  /** Arms a timer that waits anew. */
  private readonly waiting = new Set<() => void>()

  constructor(scheduler: Scheduler, random: SeededRandom) {
    this.scheduler = scheduler
    this.random = random
    this.baseMs = scheduler.nowMs
    this.baseNowMs = random.below(1_000_000)
  }

  now(): number {
    return this.baseNowMs + (this.scheduler.nowMs - this.baseMs) * this.rateNow
  }

  wall(): number {
    return wallOriginMs + this.scheduler.nowMs + this.wallOffsetMs
  }

  /** From here on a second of the world is `rate` seconds here. */
  setRate(rate: number): void {
    assert(rate > 0 && rate < Number.POSITIVE_INFINITY, 'a rate is a positive number')
    this.baseNowMs = this.now()
    this.baseMs = this.scheduler.nowMs
    this.rateNow = rate
  }

  /** The user, or the network's time, sets the clock: forward or back. `now` is not touched. */
  jumpWall(byMs: number): void {
    this.wallOffsetMs += byMs
  }

  /** Timers fire on multiples of this only; 0 ends it. */
  throttle(gridMs: number): void {
    assert(gridMs >= 0, 'a grid has a width from 0 up')
    if (gridMs === this.throttleMs) return
    this.throttleMs = gridMs
    for (const rearm of [...this.waiting]) rearm()
  }

  /** The clock that a life of the process sees. */
  clockOf(incarnation: Incarnation): Clock {
    // Those of the life before are over.
    this.waiting.clear()
    return {
      now: () => this.now(),
      wall: () => this.wall(),
      after: (delayMs, run) => this.after(incarnation, delayMs, run),
      soon: run => incarnation.soon('soon', run),
    }
  }

  private after(incarnation: Incarnation, delayMs: number, run: () => void): Cancel {
    const dueMs = this.now() + Math.max(0, delayMs)
    let cancel: Cancel
    const arm = (): void => {
      cancel = incarnation.after(this.worldDelayMs(dueMs), 'timer', () => {
        // The rate may have changed meanwhile.
        if (this.now() < dueMs) return arm()
        this.waiting.delete(rearm)
        run()
      })
    }
    const rearm = (): void => {
      cancel()
      // Of a process that died it is never called off.
      if (incarnation.alive) arm()
      else this.waiting.delete(rearm)
    }
    arm()
    this.waiting.add(rearm)
    return () => {
      this.waiting.delete(rearm)
      cancel()
    }
  }

  private worldDelayMs(dueMs: number): number {
    const late = this.random.unit() * lateMsMax
    const delayMs = Math.max(0, dueMs - this.now()) / this.rateNow + late
    if (this.throttleMs === 0) return delayMs
    const atMs = this.scheduler.nowMs + delayMs
    return Math.ceil(atMs / this.throttleMs) * this.throttleMs - this.scheduler.nowMs
  }
}
