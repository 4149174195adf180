/**
 * Virtual time: one queue of events for the whole simulated world, run one after the other, with no promise and no timer of the
 * host. What is random comes from the seed, forked by purpose, so that a new consumer does not shift the numbers of the others.
 *
 * Invariants
 *  - Time never goes back; it moves only from one event to the next (or to the end of a `run`).
 *  - Everything that happens is an event and goes into `hash`: two runs of one seed that differ anywhere differ there.
 *  - `soon` events run before any other, in order: what one turn produced leaves together (rule C4).
 *
 * Caveat: an exception in an event comes out of `step` or `run`. The world is not to be used afterwards: a bug was found.
 */
import { assert } from '../../src/base/assert.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import type { Cancel } from '../../src/platform.ts'
import { EventQueue, type ScheduledEvent } from './event-queue.ts'

/** More `soon` events than this without time moving on: two parts keep each other busy for ever. */
const soonInRowMax = 1_000_000

export class Scheduler {
  readonly seed: number | string
  /** If set, hears of every event before it runs. For people who look for a bug. */
  trace: ((line: string) => void) | undefined
  private readonly queue = new EventQueue()
  private immediate: ScheduledEvent[] = []
  private immediateAt = 0
  private timeMs = 0
  private sequence = 0
  private eventCount = 0
  private soonInRow = 0
  private hashA = 0x811c9dc5
  private hashB = 0x01000193

  constructor(seed: number | string) {
    this.seed = seed
  }

  /** Since the world began. */
  get nowMs(): number {
    return this.timeMs
  }

  /** How many have run. */
  get events(): number {
    return this.eventCount
  }

  /** 16 hex digits over everything that has happened. */
  get hash(): string {
    return hex32(this.hashA) + hex32(this.hashB)
  }

  /** Numbers of its own for each purpose; the same purpose twice gives the same numbers twice. */
  random(purpose: string): SeededRandom {
    return seededRandom(`${this.seed}/${purpose}`)
  }

  /** Adds to the hash what an event carries (a checksum, a length…). */
  note(value: number): void {
    this.hashA = Math.imul(this.hashA ^ (value >>> 0), 0x01000193)
    this.hashB = Math.imul(this.hashB ^ (value >>> 0) ^ (this.hashA >>> 15), 0x85ebca6b)
  }

  after(delayMs: number, label: string, run: () => void): Cancel {
    assert(delayMs >= 0 && delayMs < Number.POSITIVE_INFINITY, 'a delay is a finite number from 0 up')
    const event = this.event(this.timeMs + delayMs, label, run)
    this.queue.push(event)
    return () => {
      event.cancelled = true
    }
  }

  soon(label: string, run: () => void): void {
    this.immediate.push(this.event(this.timeMs, label, run))
  }

  /** Runs one event. False: there is none. */
  step(): boolean {
    const event = this.next()
    if (event === undefined) return false
    assert(event.timeMs >= this.timeMs, 'time went back')
    if (event.timeMs > this.timeMs) this.soonInRow = 0
    this.timeMs = event.timeMs
    this.eventCount++
    this.noteEvent(event)
    this.trace?.(`${event.timeMs.toFixed(3)} ${event.label}`)
    event.run()
    return true
  }

  /** Runs everything of the next `durationMs`; time stands exactly at their end then. */
  run(durationMs: number): void {
    const endMs = this.timeMs + durationMs
    while (this.nextTimeMs() <= endMs) this.step()
    this.timeMs = endMs
  }

  /** Looks after every event. False: the time was over, or nothing was left to happen, before the condition held. */
  runUntil(condition: () => boolean, timeoutMs: number): boolean {
    const endMs = this.timeMs + timeoutMs
    for (;;) {
      if (condition()) return true
      if (this.nextTimeMs() > endMs) {
        this.timeMs = endMs
        return false
      }
      this.step()
    }
  }

  private event(timeMs: number, label: string, run: () => void): ScheduledEvent {
    return { timeMs, sequence: this.sequence++, label, run, cancelled: false }
  }

  private next(): ScheduledEvent | undefined {
    const event = this.immediate[this.immediateAt]
    if (event === undefined) return this.queue.pop()
    this.immediateAt++
    if (this.immediateAt === this.immediate.length) {
      this.immediate = []
      this.immediateAt = 0
    }
    this.soonInRow++
    assert(this.soonInRow <= soonInRowMax, `time stands still: ${event.label} and others call each other without end`)
    // It was asked for before time was moved on by the end of a `run`.
    return event.timeMs < this.timeMs ? { ...event, timeMs: this.timeMs } : event
  }

  private nextTimeMs(): number {
    if (this.immediateAt < this.immediate.length) return this.timeMs
    return this.queue.peek()?.timeMs ?? Number.POSITIVE_INFINITY
  }

  private noteEvent(event: ScheduledEvent): void {
    this.note(Math.round(event.timeMs * 1000))
    const { label } = event
    for (let i = 0; i < label.length; i++) this.note(label.charCodeAt(i))
  }
}

const hex32 = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')
