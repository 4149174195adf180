/**
 * Which frame holds a page: open addressing with linear probing over one typed array (shared memory where the pool is), no object per
 * page. At most half full, so probes are short; deletion shifts followers back, so there are no tombstones.
 *
 * Layout: pairs of u32 (page id, frame); page id 0 is an empty place.
 */
import { assert } from '../base/assert.ts'
import type { PageId } from './page-source.ts'

export class PageTable {
  private readonly places: Uint32Array
  private readonly mask: number
  private readonly shift: number
  private used = 0
  private readonly most: number

  /** `memory` has `PageTable.bytesFor(most)` bytes, all zero. */
  constructor(most: number, memory: ArrayBufferLike, offset: number) {
    const size = sizeFor(most)
    this.places = new Uint32Array(memory, offset, 2 * size)
    this.mask = size - 1
    this.shift = 32 - Math.log2(size)
    this.most = most
  }

  static bytesFor(most: number): number {
    return sizeFor(most) * 8
  }

  /** -1 where it is not. */
  find(page: PageId): number {
    for (let place = this.home(page); ; place = (place + 1) & this.mask) {
      const there = this.places[2 * place]
      if (there === page) return this.places[2 * place + 1] as number
      if (there === 0) return -1
    }
  }

  /** As `find`, while another thread moves entries: it comes to an end, and may miss a page or name the frame of another one. */
  findBounded(page: PageId): number {
    let place = this.home(page)
    for (let steps = 0; steps <= this.mask; steps++) {
      const there = this.places[2 * place]
      if (there === page) return this.places[2 * place + 1] as number
      if (there === 0) return -1
      place = (place + 1) & this.mask
    }
    return -1
  }

  /** The page must not be there. */
  insert(page: PageId, frame: number): void {
    assert(this.used < this.most, 'the page table is full')
    let place = this.home(page)
    while (this.places[2 * place] !== 0) {
      assert(this.places[2 * place] !== page, `page ${page} is in the pool already`)
      place = (place + 1) & this.mask
    }
    this.places[2 * place + 1] = frame
    this.places[2 * place] = page
    this.used++
  }

  /** The page must be there. */
  delete(page: PageId): void {
    let hole = this.home(page)
    while (this.places[2 * hole] !== page) {
      assert(this.places[2 * hole] !== 0, `page ${page} is not in the pool`)
      hole = (hole + 1) & this.mask
    }
    // Whoever was pushed past the hole by the probing moves into it.
    for (let place = (hole + 1) & this.mask; this.places[2 * place] !== 0; place = (place + 1) & this.mask) {
      const home = this.home(this.places[2 * place] as PageId)
      if (((place - home) & this.mask) < ((place - hole) & this.mask)) continue
      this.places[2 * hole + 1] = this.places[2 * place + 1] as number
      this.places[2 * hole] = this.places[2 * place] as number
      hole = place
    }
    this.places[2 * hole] = 0
    this.used--
  }

  private home(page: PageId): number {
    // Fibonacci hashing: neighbouring ids spread.
    return Math.imul(page, 0x9e37_79b1) >>> this.shift
  }
}

function sizeFor(most: number): number {
  let size = 2
  while (size < 2 * most) size *= 2
  return size
}
