/** Where each entry of one group's log stands in the write-ahead log: twelve bytes an entry, in arrays that double; no object per entry. */
import { assert } from '../base/assert.ts'
import { type Index, index, lsn } from '../base/ids.ts'
import type { Position } from '../storage/wal-types.ts'

const slotsMin = 1024

export class Positions {
  private lsns = new Float64Array(slotsMin)
  private sizes = new Uint32Array(slotsMin)
  /** Entry i stands in slot i - first. */
  private first: number
  private base: number
  private last: number

  /** @param base The log begins behind this entry. */
  constructor(base = index(0)) {
    this.base = base
    this.first = base + 1
    this.last = base
  }

  get firstIndex(): Index {
    return (this.base + 1) as Index
  }

  get lastIndex(): Index {
    return this.last as Index
  }

  /** Replaces everything at or after `index`. */
  set(index: Index, position: Position): void {
    assert(index > this.base && index <= this.last + 1, `position of entry ${index} after ${this.last}`)
    if (index - this.first >= this.lsns.length) this.move(this.lsns.length * 2)
    this.lsns[index - this.first] = position.lsn
    this.sizes[index - this.first] = position.bytes
    this.last = index
  }

  get(index: Index): Position {
    assert(index > this.base && index <= this.last, `no position for entry ${index} of ${this.base}…${this.last}`)
    return { lsn: lsn(this.lsns[index - this.first] as number), bytes: this.sizes[index - this.first] as number }
  }

  /** The last entry that begins before `at`; the base where none does. */
  before(at: number): Index {
    let low = this.base
    let high = this.last
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.lsns[middle - this.first] as number) < at) low = middle
      else high = middle - 1
    }
    return low as Index
  }

  /** Forgets everything through `base`. */
  compact(base: Index): void {
    assert(base <= this.last, `no entry ${base} to begin behind`)
    if (base <= this.base) return
    this.base = base
    const kept = this.last - base
    if (base + 1 - this.first > this.lsns.length / 2) this.move(Math.max(slotsMin, 2 ** Math.ceil(Math.log2(kept + 1))))
  }

  private move(slots: number): void {
    const from = this.base + 1 - this.first
    const to = this.last + 1 - this.first
    const lsns = new Float64Array(slots)
    lsns.set(this.lsns.subarray(from, to))
    this.lsns = lsns
    const sizes = new Uint32Array(slots)
    sizes.set(this.sizes.subarray(from, to))
    this.sizes = sizes
    this.first = this.base + 1
  }
}
