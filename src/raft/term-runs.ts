/**
 * The terms of a whole log in a few numbers: terms only grow along a log, so it is a list of runs (first index, term). A
 * lookup is a binary search over the runs, and the newest run answers at once.
 */
import { assert } from '../base/assert.ts'

export class TermRuns {
  private readonly froms: number[] = []
  private readonly terms: number[] = []

  constructor(runs: readonly { readonly from: number; readonly term: number }[]) {
    for (const { from, term } of runs) this.append(from, term)
    assert(this.froms.length === 0 || this.froms[0] === 1, 'the first run starts at index 1')
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

  /** Entries at or after `from` are gone. */
  truncate(from: number): void {
    while (this.froms.length > 0 && this.froms[this.froms.length - 1]! >= from) {
      this.froms.pop()
      this.terms.pop()
    }
  }

  /** The term of an index within the log; 0 for index 0. */
  termOf(index: number): number {
    const run = this.runOf(index)
    return run < 0 ? 0 : this.terms[run]!
  }

  /** The largest index at or below `index` whose term is at most `term`. */
  lastAtMost(index: number, term: number): number {
    let run = this.runOf(index)
    if (run < 0 || this.terms[run]! <= term) return index
    while (run > 0 && this.terms[run - 1]! > term) run--
    return this.froms[run]! - 1
  }

  private runOf(index: number): number {
    let low = 0
    let high = this.froms.length - 1
    if (high < 0 || this.froms[high]! <= index) return high
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.froms[middle]! <= index) low = middle
      else high = middle - 1
    }
    return this.froms[low] !== undefined && this.froms[low]! <= index ? low : -1
  }
}
