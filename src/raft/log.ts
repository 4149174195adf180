/**
 * One group's log as the consensus core sees it: the terms of all entries (as runs), and in memory the newest entries.
 *
 *   base | base + 1 ………… cached.first ………… handed ………… last
 *   its term only | in the log file only | in memory   | in memory, not yet in a Ready
 *
 * Invariants
 *   - `durable` ≤ `handed` ≤ `last`. What is not durable or not applied is in memory, always.
 *   - (index, term) names an entry for good: who has both has the entry (log matching, paper 5.3).
 *   - Entries that left memory are read back through one *window*: the last answer to a fetch. It is checked against the
 *     term runs on arrival, and cut with the log.
 *
 * Sizes: an entry costs its data and a fixed sum for what is around it, so that empty entries are bounded as well.
 */
import { assert } from '../base/assert.ts'
import { type Index, index, type Term } from '../base/ids.ts'
import { TermRuns } from './term-runs.ts'
import type { Entry, RestoredLog } from './types.ts'

const entryOverheadBytes = 32
/** Slots of evicted entries that may stay empty at the front before the list is moved together. */
const emptySlotsMax = 1024

export const entryBytes = (entry: Entry): number => entry.data.length + entryOverheadBytes

export class RaftLog {
  private readonly runs: TermRuns
  /** Slots before `head` are empty; entries[head] has index `first`. */
  private cached: (Entry | undefined)[] = []
  private head = 0
  private first: number
  private lastAt: number
  private handedThrough: number
  private durableThrough: number
  private cachedBytes = 0
  private window: readonly Entry[] = []
  private windowBytes = 0

  constructor(restored: RestoredLog) {
    this.runs = new TermRuns(restored.base, restored.termRuns)
    this.lastAt = restored.lastIndex
    this.first = this.lastAt + 1
    this.handedThrough = this.lastAt
    this.durableThrough = this.lastAt
  }

  /** The log begins behind this entry; all through it is applied. */
  get base(): Index {
    return index(this.runs.base)
  }
  get last(): Index {
    return index(this.lastAt)
  }
  get lastTerm(): Term {
    return this.termOf(this.lastAt)
  }
  get durable(): Index {
    return index(this.durableThrough)
  }
  get bytesInMemory(): number {
    return this.cachedBytes + this.windowBytes
  }
  /** Entries that no Ready has handed out for the log file. */
  get hasUnhanded(): boolean {
    return this.handedThrough < this.lastAt
  }

  /** @param at From the base to the end. */
  termOf(at: number): Term {
    assert(at <= this.lastAt, `term of entry ${at} beyond ${this.lastAt}`)
    return this.runs.termOf(at) as Term
  }

  /** True if the entry of this index and term is the base or in the log. */
  matches(at: number, term: number): boolean {
    return at >= this.base && at <= this.lastAt && this.runs.termOf(at) === term
  }

  /** The largest index at or below `at` (and the log's end) whose term is at most `term`; never before the base, unless `at` is. */
  lastAtMost(at: number, term: number): Index {
    return index(this.runs.lastAtMost(Math.min(at, this.lastAt), term))
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastAt + 1, `entry ${entry.index} after ${this.lastAt}`)
    this.runs.append(entry.index, entry.term)
    this.cached.push(entry)
    this.cachedBytes += entryBytes(entry)
    this.lastAt = entry.index
  }

  /** Cuts off every entry at or after `from`. */
  truncate(from: Index): void {
    assert(from > this.base && from <= this.lastAt, `cut at ${from} of ${this.base}…${this.lastAt}`)
    while (this.lastAt >= from) {
      if (this.lastAt >= this.first) this.cachedBytes -= entryBytes(this.cached.pop()!)
      else break
      this.lastAt--
    }
    this.lastAt = from - 1
    this.first = Math.min(this.first, from)
    this.runs.truncate(from)
    this.handedThrough = Math.min(this.handedThrough, this.lastAt)
    this.durableThrough = Math.min(this.durableThrough, this.lastAt)
    const windowFrom = this.window[0]?.index
    if (windowFrom !== undefined && windowFrom + this.window.length > from) {
      this.setWindow(this.window.slice(0, Math.max(0, from - windowFrom)))
    }
  }

  /** The entries that the log file does not have yet; counts them as handed out. */
  takeUnhanded(): readonly Entry[] {
    if (this.handedThrough === this.lastAt) return []
    const entries = this.copyCached(this.handedThrough + 1, this.lastAt)
    this.handedThrough = this.lastAt
    return entries
  }

  /** Everything through `through` is known to be on disk, as it stands in this log now. */
  becameDurable(through: number): void {
    assert(through <= this.handedThrough, 'durable before it was handed out')
    if (through > this.durableThrough) this.durableThrough = through
  }

  inMemory(at: number): boolean {
    return at >= this.first || this.inWindow(at)
  }

  /** The entry before which everything must be fetched, to tell how far a fetch may reach. */
  get firstCached(): Index {
    return index(this.first)
  }

  /**
   * Entries from `from` on, at least one, then while they stay under `bytesMax`, none after `through`. Undefined if the first
   * one is not in memory; fewer than possible where memory ends.
   */
  slice(from: number, through: number, bytesMax: number): readonly Entry[] | undefined {
    assert(from > this.base && from <= through && through <= this.lastAt, `slice ${from}…${through} of ${this.lastAt}`)
    const windowed = from < this.first
    if (windowed && !this.inWindow(from)) return undefined
    const source = windowed ? this.window : this.cached
    const start = windowed ? from - this.window[0]!.index : this.head + from - this.first
    const end = Math.min(source.length, start + through - from + 1)
    let bytes = 0
    let to = start
    while (to < end) {
      bytes += entryBytes(source[to]!)
      if (bytes > bytesMax && to > start) break
      to++
    }
    return source.slice(start, to) as readonly Entry[]
  }

  /** For entries that are certainly in memory: not yet committed ones that were appended since the start. */
  cachedEntry(at: number): Entry {
    assert(at >= this.first && at <= this.lastAt, `entry ${at} is not in memory`)
    return this.cached[this.head + at - this.first]!
  }

  /** Takes what a fetch brought, as far as it is what this log holds. */
  fetched(from: Index, entries: readonly Entry[]): void {
    let valid = 0
    while (valid < entries.length) {
      const entry = entries[valid]!
      if (entry.index !== from + valid || !this.matches(entry.index, entry.term)) break
      valid++
    }
    this.setWindow(valid === entries.length ? entries : entries.slice(0, valid))
  }

  dropWindow(): void {
    if (this.window.length > 0) this.setWindow([])
  }

  /** Lets go of the oldest entries, durable and applied ones only, until memory is within its bound. */
  evict(applied: Index, bytesMax: number): void {
    const limit = Math.min(applied, this.durableThrough)
    while (this.cachedBytes > bytesMax && this.first <= limit) this.evictFirst()
    if (this.head > emptySlotsMax && this.head * 2 > this.cached.length) {
      this.cached = this.cached.slice(this.head)
      this.head = 0
    }
  }

  private evictFirst(): void {
    this.cachedBytes -= entryBytes(this.cached[this.head]!)
    this.cached[this.head] = undefined
    this.head++
    this.first++
  }

  /** Forgets everything before `base`, which is durable and applied. */
  compact(base: Index): void {
    assert(base <= this.durableThrough, `compacted to ${base}, durable through ${this.durableThrough}`)
    if (base <= this.base) return
    this.runs.dropBefore(base)
    while (this.first <= base) this.evictFirst()
    if ((this.window[0]?.index ?? base + 1) <= base) this.setWindow([])
  }

  private copyCached(from: number, through: number): readonly Entry[] {
    assert(from >= this.first, `entry ${from} left memory before it was durable`)
    return this.cached.slice(this.head + from - this.first, this.head + through - this.first + 1) as readonly Entry[]
  }

  private inWindow(at: number): boolean {
    const from = this.window[0]?.index
    return from !== undefined && at >= from && at < from + this.window.length
  }

  private setWindow(entries: readonly Entry[]): void {
    this.window = entries
    this.windowBytes = 0
    for (const entry of entries) this.windowBytes += entryBytes(entry)
  }
}
