/**
 * One life of a simulated process, from its start to its crash: the gate that every callback into the process passes. After
 * `kill` none gets through; while frozen they are held back, and `thaw` lets them run in the order in which they came.
 */
import { assert } from '../../src/base/assert.ts'
import type { Cancel } from '../../src/platform.ts'
import type { Scheduler } from './scheduler.ts'

export class Incarnation {
  readonly name: string
  /** 1 for the first life. */
  readonly life: number
  private readonly scheduler: Scheduler
  private living = true
  private stopped = false
  private held: { label: string; run: () => void }[] = []

  constructor(scheduler: Scheduler, name: string, life: number) {
    this.scheduler = scheduler
    this.name = name
    this.life = life
  }

  get alive(): boolean {
    return this.living
  }

  get frozen(): boolean {
    return this.stopped
  }

  /** Lets a callback in now, or later, or never. Only from within an event. */
  deliver(label: string, run: () => void): void {
    if (!this.living) return
    if (this.stopped) this.held.push({ label, run })
    else run()
  }

  after(delayMs: number, label: string, run: () => void): Cancel {
    let cancelled = false
    const whole = `${this.name} ${label}`
    const cancel = this.scheduler.after(delayMs, whole, () =>
      this.deliver(whole, () => {
        if (!cancelled) run()
      }),
    )
    return () => {
      cancelled = true
      cancel()
    }
  }

  soon(label: string, run: () => void): void {
    const whole = `${this.name} ${label}`
    this.scheduler.soon(whole, () => this.deliver(whole, run))
  }

  /** Comes before everything that is held back. */
  interrupt(label: string, run: () => void): void {
    const whole = `${this.name} ${label}`
    if (this.stopped) this.held.unshift({ label: whole, run })
    else this.soon(label, run)
  }

  freeze(): void {
    assert(this.living, `${this.name} is not running`)
    this.stopped = true
  }

  thaw(): void {
    assert(this.living, `${this.name} is not running`)
    this.stopped = false
    const held = this.held
    this.held = []
    for (const { label, run } of held) this.scheduler.soon(label, () => this.deliver(label, run))
  }

  kill(): void {
    this.living = false
    this.held = []
  }
}
