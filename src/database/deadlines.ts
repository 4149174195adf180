/**
 * One timer for the deadlines of many that are open at the same time, and nearly all of which end before: a timer for each would cost more than what it guards. They stand in
 * an array, not in a set, for the reason that `base/serial-window.ts` tells.
 */
import type { Cancel, Clock } from '../platform.ts'

export interface Expiring {
  /** By the clock's `now`. */
  readonly deadlineMs: number
  /** For `Deadlines` alone: where it stands. Undefined: nowhere. */
  slot: number | undefined
  /** Called once, if it was not taken out before. */
  expire(): void
}

export class Deadlines {
  private readonly clock: Pick<Clock, 'now' | 'after'>
  private readonly open: Expiring[] = []
  private cancel: Cancel | undefined
  /** When the timer comes: not later than the first deadline. */
  private comesMs = Number.POSITIVE_INFINITY

  constructor(clock: Pick<Clock, 'now' | 'after'>) {
    this.clock = clock
  }

  add(item: Expiring): void {
    item.slot = this.open.length
    this.open.push(item)
    if (item.deadlineMs < this.comesMs) this.comeAt(item.deadlineMs)
  }

  delete(item: Expiring): void {
    const { slot } = item
    if (slot === undefined) return
    item.slot = undefined
    const last = this.open.pop() as Expiring
    if (last !== item) {
      this.open[slot] = last
      last.slot = slot
    }
    if (this.open.length === 0) this.rest()
  }

  private comeAt(ms: number): void {
    this.cancel?.()
    this.comesMs = ms
    this.cancel = this.clock.after(Math.max(0, ms - this.clock.now()), () => this.come())
  }

  private rest(): void {
    this.cancel?.()
    this.cancel = undefined
    this.comesMs = Number.POSITIVE_INFINITY
  }

  private come(): void {
    this.rest()
    const now = this.clock.now()
    let first = Number.POSITIVE_INFINITY
    const due: Expiring[] = []
    for (const item of this.open) {
      if (item.deadlineMs <= now) due.push(item)
      else first = Math.min(first, item.deadlineMs)
    }
    for (const item of due) {
      if (item.slot === undefined) continue
      this.delete(item)
      item.expire()
    }
    // What expired may have begun anew.
    if (this.open.length > 0 && first < this.comesMs) this.comeAt(first)
  }
}
