/** Where each entry of one group's log stands in the write-ahead log: twelve bytes an entry, in arrays that double; no object per entry. */
import { assert } from '../base/assert.ts'
import { type Index, type Lsn, lsn } from '../base/ids.ts'
import type { Position } from '../storage/wal-types.ts'

export class Positions {
  private lsns = new Float64Array(1024)
  private sizes = new Uint32Array(1024)
  private last = 0

  get lastIndex(): Index {
    return this.last as Index
  }

  /** Replaces everything at or after `index`. */
  set(index: Index, position: Position): void {
    assert(index >= 1 && index <= this.last + 1, `position of entry ${index} after ${this.last}`)
    if (index > this.lsns.length) this.grow()
    this.lsns[index - 1] = position.lsn
    this.sizes[index - 1] = position.bytes
    this.last = index
  }

  get(index: Index): Position {
    assert(index >= 1 && index <= this.last, `no position for entry ${index} of ${this.last}`)
    return { lsn: lsn(this.lsns[index - 1] as number) as Lsn, bytes: this.sizes[index - 1] as number }
  }

  private grow(): void {
    const lsns = new Float64Array(this.lsns.length * 2)
    lsns.set(this.lsns)
    this.lsns = lsns
    const sizes = new Uint32Array(this.sizes.length * 2)
    sizes.set(this.sizes)
    this.sizes = sizes
  }
}
