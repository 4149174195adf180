/**
 * Linearizable reads from any peer: ReadIndex (Ongaro's thesis, 6.4). All reads of one turn of the event loop share one round; a round
 * gives an index, and once this replica has applied it, everything acknowledged before the round began is visible here.
 *
 *  R1  A context is used once. A round that was refused is asked again under a new one.
 *  R2  A `bounded` read may use the last round that succeeded if that one *began* no longer ago than it allows.
 */
import { HarmonyError } from '../base/errors.ts'
import type { Index } from '../base/ids.ts'
import type { Clock } from '../platform.ts'

const askAgainAfterMs = 50
const readsMax = 100_000

interface Waiter {
  readonly deadlineMs: number
  readonly done: (error: HarmonyError | undefined) => void
}

interface Round {
  readonly startedMs: number
  readonly waiters: Waiter[]
}

export interface ReadsHost {
  readonly clock: Clock
  readIndex(context: number): void
  whenApplied(index: Index, run: () => void): void
}

export class Reads {
  private readonly host: ReadsHost
  private nextContext = 1
  private gathering: Waiter[] = []
  private readonly rounds = new Map<number, Round>()
  /** Read rounds that have their index and wait for this replica to apply it. */
  private readonly applying = new Set<Round>()
  private lastFreshMs = Number.NEGATIVE_INFINITY
  private asking = false

  constructor(host: ReadsHost) {
    this.host = host
  }

  get count(): number {
    let count = this.gathering.length
    for (const round of this.rounds.values()) count += round.waiters.length
    for (const round of this.applying) count += round.waiters.length
    return count
  }

  /** `done(undefined)`: this replica may answer now, in this turn. */
  barrier(timeoutMs: number, done: (error: HarmonyError | undefined) => void): void {
    if (this.gathering.length >= readsMax) {
      return done(
        new HarmonyError('TIMEOUT', `${readsMax} reads wait already; await some of them before you send more`),
      )
    }
    this.gathering.push({ deadlineMs: this.host.clock.now() + timeoutMs, done })
    this.askSoon()
  }

  boundedBarrier(maxStalenessMs: number, timeoutMs: number, done: (error: HarmonyError | undefined) => void): void {
    if (this.host.clock.now() - this.lastFreshMs <= maxStalenessMs) done(undefined)
    else this.barrier(timeoutMs, done)
  }

  onReadIndex(context: number, index: Index | undefined): void {
    const round = this.rounds.get(context)
    if (round === undefined) return
    this.rounds.delete(context)
    if (index === undefined) {
      this.gathering.push(...round.waiters)
      this.host.clock.after(askAgainAfterMs, () => this.askSoon())
      return
    }
    this.applying.add(round)
    this.host.whenApplied(index, () => {
      if (!this.applying.delete(round)) return
      this.lastFreshMs = Math.max(this.lastFreshMs, round.startedMs)
      for (const waiter of round.waiters) waiter.done(undefined)
    })
  }

  /** There is a leader: what was refused while there was none need not wait any longer. */
  kick(): void {
    this.askSoon()
  }

  tick(): void {
    const now = this.host.clock.now()
    const late = (waiter: Waiter): boolean => waiter.deadlineMs <= now
    const error = (): HarmonyError =>
      new HarmonyError('TIMEOUT', "no leader confirmed the read in time; try again, or read with consistency 'local'")
    this.drop(late, error)
  }

  failAll(error: () => HarmonyError): void {
    this.drop(() => true, error)
  }

  /** The replica begins a new history: rounds of the old one mean nothing. */
  restart(): void {
    for (const round of [...this.rounds.values(), ...this.applying]) this.gathering.push(...round.waiters)
    this.rounds.clear()
    this.applying.clear()
    this.lastFreshMs = Number.NEGATIVE_INFINITY
    this.askSoon()
  }

  private askSoon(): void {
    if (this.asking) return
    this.asking = true
    this.host.clock.soon(() => {
      this.asking = false
      this.ask()
    })
  }

  private ask(): void {
    if (this.gathering.length === 0) return
    const context = this.nextContext++
    this.rounds.set(context, { startedMs: this.host.clock.now(), waiters: this.gathering })
    this.gathering = []
    this.host.readIndex(context)
  }

  private drop(which: (waiter: Waiter) => boolean, error: () => HarmonyError): void {
    const dropped: Waiter[] = []
    const sift = (waiters: Waiter[]): Waiter[] => {
      const kept = waiters.filter(waiter => !which(waiter))
      if (kept.length < waiters.length) dropped.push(...waiters.filter(which))
      return kept
    }
    this.gathering = sift(this.gathering)
    for (const [context, round] of this.rounds) {
      const kept = sift(round.waiters)
      if (kept.length < round.waiters.length) this.rounds.set(context, { ...round, waiters: kept })
      if (kept.length === 0) this.rounds.delete(context)
    }
    for (const round of this.applying) {
      const kept = sift(round.waiters)
      round.waiters.splice(0, round.waiters.length, ...kept)
    }
    for (const waiter of dropped) waiter.done(error())
  }
}
