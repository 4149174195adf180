/**
 * Which sectors of the page file are taken: one bit each. Runs are found first-fit from low offsets, so the file grows only
 * when no hole fits and its end becomes free as its content shrinks.
 *
 * For every run length there is a mark below which no free run of that length begins; it moves up with searches and down
 * when sectors come free, and only for lengths that the hole, merged with its neighbours, can serve. So the taken front of a
 * large file is not searched again and again.
 */
import { assert } from '../base/assert.ts'

export class SectorSpace {
  /** Sectors below this one belong to the superblocks. */
  readonly first: number
  private readonly longest: number
  private readonly marks: Float64Array
  private words = new Uint32Array(64)
  private takenSectors = 0

  /** Runs have 1 to `longest` sectors. */
  constructor(first: number, longest: number) {
    this.first = first
    this.longest = longest
    this.marks = new Float64Array(longest + 1).fill(first)
  }

  /** Sectors taken, without those of the superblocks. */
  get taken(): number {
    return this.takenSectors
  }

  /** One past the last sector that is taken. */
  get end(): number {
    for (let i = this.words.length - 1; i >= 0; i--) {
      const word = this.words[i] as number
      if (word !== 0) return i * 32 + 32 - Math.clz32(word)
    }
    return this.first
  }

  /** The lowest place where so many sectors are free; does not take them. */
  find(count: number): number {
    assert(count > 0 && count <= this.longest, 'a run has 1 to `longest` sectors')
    let at = this.marks[count] as number
    for (;;) {
      at = this.nextFree(at)
      const obstacle = this.lastTaken(at, at + count)
      if (obstacle < 0) break
      at = obstacle + 1
    }
    this.marks[count] = at
    return at
  }

  /** False, and nothing is changed, where one of them is taken already or is the superblocks'. */
  take(at: number, count: number): boolean {
    if (at < this.first || this.lastTaken(at, at + count) >= 0) return false
    this.grow(at + count)
    for (let i = at; i < at + count; i++) this.words[i >>> 5] = (this.words[i >>> 5] as number) | (1 << (i & 31))
    this.takenSectors += count
    return true
  }

  release(at: number, count: number): void {
    for (let i = at; i < at + count; i++) {
      assert(this.isTaken(i), 'only what is taken can be released')
      this.words[i >>> 5] = (this.words[i >>> 5] as number) & ~(1 << (i & 31))
    }
    this.takenSectors -= count
    let from = at
    while (from > this.first && at - from < this.longest && !this.isTaken(from - 1)) from--
    let to = at + count
    while (to - from < this.longest && !this.isTaken(to)) to++
    for (let length = Math.min(to - from, this.longest); length > 0; length--) {
      if ((this.marks[length] as number) > from) this.marks[length] = from
    }
  }

  isTaken(sector: number): boolean {
    return ((this.words[sector >>> 5] ?? 0) & (1 << (sector & 31))) !== 0
  }

  private nextFree(from: number): number {
    let at = from
    for (;;) {
      const free = ~(this.words[at >>> 5] ?? 0) & (-1 << (at & 31))
      if (free !== 0) return (at & ~31) + 31 - Math.clz32(free & -free)
      at = (at & ~31) + 32
    }
  }

  /** The last taken sector in [from, to), or -1. */
  private lastTaken(from: number, to: number): number {
    for (let at = to - 1; at >= from; at--) if (this.isTaken(at)) return at
    return -1
  }

  private grow(sectors: number): void {
    const needed = (sectors + 31) >>> 5
    if (needed <= this.words.length) return
    const grown = new Uint32Array(Math.max(needed, this.words.length * 2))
    grown.set(this.words)
    this.words = grown
  }
}
