/**
 * The terms of a log in a few numbers: terms only grow along a log, so it is a list of runs (first index, term). A
 * lookup is a binary search over the runs, and the newest run answers at once.
 */
import { assert } from '../base/assert.ts'

export class TermRuns {
  private readonly froms: number[] = []
  private readonly terms: number[] = []

  /** @param base Index and term of the entry before the first one: it counts as a run of its own. */
  constructor(
    base: { readonly index: number; readonly term: number },
    runs: readonly { readonly from: number; readonly term: number }[],
  ) {
    this.append(base.index, base.term)
    assert(runs.length === 0 || runs[0]!.from === base.index + 1, 'the first run starts behind the base')
    for (const { from, term } of runs) this.append(from, term)
  }

  get base(): number {
    return this.froms[0]!
  }

  /** Entries before `base` are forgotten. */
  dropBefore(base: number): void {
    const run = this.runOf(base)
    this.froms.splice(0, run)
    this.terms.splice(0, run)
    this.froms[0] = base
  }

  append(index: number, term: number): void {
    const { length } = this.terms
    if (length > 0) {
      assert(term >= this.terms[length - 1]!, 'terms never fall along a log')
      if (term === this.terms[length - 1]) return
      assert(index > this.froms[length - 1]!, 'runs ascend')
    }
    this.froms.push(index)
    this.terms.push(term)
  }

  /** Entries at or after `from`, which lies behind the base, are gone. */
  truncate(from: number): void {
    while (this.froms.length > 1 && this.froms[this.froms.length - 1]! >= from) {
      this.froms.pop()
      this.terms.pop()
    }
  }

  /** The term of the base or an index behind it. */
  termOf(index: number): number {
    const run = this.runOf(index)
    assert(run >= 0, `the term of entry ${index} was forgotten`)
    return this.terms[run]!
  }

  /** The largest index at or below `index` whose term is at most `term`: the base at least, or `index` where that lies before it. */
  lastAtMost(index: number, term: number): number {
    let run = this.runOf(index)
    if (run < 0 || this.terms[run]! <= term) return index
    while (run > 0 && this.terms[run - 1]! > term) run--
    return run === 0 ? this.base : this.froms[run]! - 1
  }

  private runOf(index: number): number {
    let low = 0
    let high = this.froms.length - 1
    if (this.froms[high]! <= index) return high
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.froms[middle]! <= index) low = middle
      else high = middle - 1
    }
    return this.froms[low] !== undefined && this.froms[low]! <= index ? low : -1
  }
}
