/**
 * Entries of one or more pages taken out of them, local keys whole, to be cut and built into pages again: for splits, merges, borrowing and
 * for the compaction of a page. One object is used again and again; it makes no garbage once it has grown.
 *
 * An entry is [fixed part of its cell | local key | value if it stands in the cell], one after the other in `buffer`, in any order;
 * the arrays hold the order of keys.
 */
import { type Cell, hintOf, longFlag, type Pages, pageHeaderBytes, slotBytes } from './page.ts'

export class PageEntries {
  count = 0
  private readonly pages: Pages
  private leaf = true
  private buffer: Uint8Array
  private view: DataView
  private used = 0
  private at: Int32Array
  private long: Uint8Array
  private local: Int32Array
  private value: Int32Array
  private readonly sums: number[] = []

  constructor(pages: Pages) {
    this.pages = pages
    this.buffer = new Uint8Array(2 * pages.pageBytes)
    this.view = new DataView(this.buffer.buffer)
    this.at = new Int32Array(64)
    this.long = new Uint8Array(64)
    this.local = new Int32Array(64)
    this.value = new Int32Array(64)
  }

  clear(leaf: boolean): void {
    this.leaf = leaf
    this.count = 0
    this.used = 0
  }

  /** Adds all of a page's entries after those here. */
  append(base: number): void {
    const { pages } = this
    const count = pages.count(base)
    for (let slot = 0; slot < count; slot++) {
      const cell = pages.cell(base, slot)
      const long = pages.isLong(cell)
      const fixed = pages.fixedBytes(base, long)
      const local = pages.localBytes(base, cell)
      const value = this.leaf && !long ? pages.valueBytes(cell) : 0
      this.reserve(fixed + local + value)
      const at = this.used
      for (let i = 0; i < fixed; i++) this.buffer[at + i] = pages.bytes[cell + 2 + i]!
      const end = pages.copyLocal(base, cell, this.buffer, at + fixed)
      if (value > 0) {
        const from = pages.inlineValue(cell)
        this.buffer.set(pages.bytes.subarray(from, from + value), end)
      }
      this.used = end + value
      this.place(this.count, at, long, local, value)
    }
  }

  insert(index: number, cell: Cell): void {
    const fixed = this.fixed(cell.long)
    const value = this.leaf && !cell.long ? cell.value.length : 0
    this.reserve(fixed + cell.local + value)
    const at = this.used
    this.used += fixed + cell.local + value
    const { view } = this
    if (!this.leaf) view.setUint32(at, cell.child, true)
    if (cell.long) {
      view.setUint16(at + (this.leaf ? 0 : 4), cell.restBytes, true)
      if (this.leaf) view.setUint32(at + 2, cell.valueBytes, true)
      view.setUint32(at + 6, cell.chain, true)
    } else if (this.leaf) view.setUint16(at, value, true)
    this.buffer.set(cell.key.subarray(0, cell.local), at + fixed)
    if (value > 0) this.buffer.set(cell.value, at + fixed + cell.local)
    this.place(index, at, cell.long, cell.local, value)
  }

  remove(index: number): void {
    for (const array of [this.at, this.long, this.local, this.value]) array.copyWithin(index, index + 1, this.count)
    this.count--
  }

  /** The chain of a long entry came to be only after it was put in here. */
  setChain(index: number, chain: number): void {
    this.view.setUint32(this.at[index]! + 6, chain, true)
  }

  /** A key of its own: the local part. */
  key(index: number): Uint8Array {
    const from = this.keyAt(index)
    return this.buffer.slice(from, from + this.local[index]!)
  }
  isLong(index: number): boolean {
    return this.long[index] === 1
  }
  restBytes(index: number): number {
    return this.isLong(index) ? this.view.getUint16(this.at[index]! + (this.leaf ? 0 : 4), true) : 0
  }
  valueBytes(index: number): number {
    return this.isLong(index) ? this.view.getUint32(this.at[index]! + 2, true) : this.value[index]!
  }
  chain(index: number): number {
    return this.view.getUint32(this.at[index]! + 6, true)
  }
  child(index: number): number {
    return this.view.getUint32(this.at[index]!, true)
  }

  /** Bytes that entries [a, b) take in a page of their own (prefix, slots, cells). */
  size(a: number, b: number): number {
    this.sum()
    return this.sizeOf(a, b)
  }

  /** Length of what the local parts of two entries' keys have in common. */
  shared(a: number, b: number): number {
    const { buffer } = this
    const [x, y] = [this.keyAt(a), this.keyAt(b)]
    const length = Math.min(this.local[a]!, this.local[b]!)
    let i = 0
    while (i < length && buffer[x + i] === buffer[y + i]) i++
    return i
  }

  /**
   * Where to cut in two: [0, cut) and [cut, count), or without the entry at the cut where that goes up to the parent (`up`). Both
   * parts fit into a page each; -1 where there is no such place. `ascending`: the left part is filled up nearly.
   */
  cut(up: boolean, ascending: boolean): number {
    const { usable } = this.pages
    const skip = up ? 1 : 0
    this.sum()
    const full = usable - (usable >>> 4)
    let best = -1
    let bestWeight = Number.POSITIVE_INFINITY
    for (let cut = 1; cut < this.count - skip; cut++) {
      const left = this.sizeOf(0, cut)
      const right = this.sizeOf(cut + skip, this.count)
      if (left > usable || right > usable) continue
      const weight = ascending && left <= full ? usable - left : Math.max(left, right) + (ascending ? usable : 0)
      if (weight >= bestWeight) continue
      best = cut
      bestWeight = weight
    }
    return best
  }

  /** Makes entries [a, b) the content of a page whose kind, level and links stand already. They fit. */
  build(base: number, a: number, b: number): void {
    const { pages, buffer } = this
    const { bytes, view, pageBytes } = pages
    const prefix = a === b ? 0 : a + 1 === b ? 0 : this.shared(a, b - 1)
    view.setUint16(base + 2, b - a, true)
    view.setUint32(base + 16, 0, true)
    view.setUint16(base + 20, prefix, true)
    let heap = pageBytes - prefix
    if (prefix > 0) {
      const from = this.keyAt(a)
      for (let i = 0; i < prefix; i++) bytes[base + heap + i] = buffer[from + i]!
    }
    let slotAt = base + pageHeaderBytes
    for (let i = a; i < b; i++) {
      const long = this.long[i] === 1
      const fixed = this.fixed(long)
      const tail = this.local[i]! - prefix + this.value[i]!
      heap -= 2 + fixed + tail
      let from = this.at[i]!
      let to = base + heap
      view.setUint16(to, (this.local[i]! - prefix) | (long ? longFlag : 0), true)
      to += 2
      for (let n = 0; n < fixed; n++) bytes[to++] = buffer[from++]!
      view.setUint32(slotAt, hintOf(buffer, from + prefix, from + this.local[i]!), true)
      view.setUint16(slotAt + 4, heap, true)
      slotAt += slotBytes
      from += prefix
      if (tail < 40) for (let n = 0; n < tail; n++) bytes[to++] = buffer[from++]!
      else bytes.set(buffer.subarray(from, from + tail), to)
    }
    view.setUint32(base + 12, heap, true)
  }

  private sizeOf(a: number, b: number): number {
    if (a >= b) return 0
    const prefix = a + 1 === b ? 0 : this.shared(a, b - 1)
    return this.sums[b]! - this.sums[a]! - (b - a - 1) * prefix
  }

  private sum(): void {
    this.sums[0] = 0
    for (let i = 0; i < this.count; i++) {
      const bytes = slotBytes + 2 + this.fixed(this.long[i] === 1) + this.local[i]! + this.value[i]!
      this.sums[i + 1] = this.sums[i]! + bytes
    }
  }

  private keyAt(index: number): number {
    return this.at[index]! + this.fixed(this.long[index] === 1)
  }

  private fixed(long: boolean): number {
    return long ? 10 : this.leaf ? 2 : 4
  }

  private place(index: number, at: number, long: boolean, local: number, value: number): void {
    if (this.count === this.at.length) this.growArrays()
    if (index < this.count) {
      this.at.copyWithin(index + 1, index, this.count)
      this.long.copyWithin(index + 1, index, this.count)
      this.local.copyWithin(index + 1, index, this.count)
      this.value.copyWithin(index + 1, index, this.count)
    }
    this.at[index] = at
    this.long[index] = long ? 1 : 0
    this.local[index] = local
    this.value[index] = value
    this.count++
  }

  private growArrays(): void {
    const grown = (old: Int32Array): Int32Array => {
      const larger = new Int32Array(2 * old.length)
      larger.set(old)
      return larger
    }
    this.at = grown(this.at)
    this.local = grown(this.local)
    this.value = grown(this.value)
    const long = new Uint8Array(2 * this.long.length)
    long.set(this.long)
    this.long = long
  }

  private reserve(more: number): void {
    if (this.used + more <= this.buffer.length) return
    const larger = new Uint8Array(Math.max(this.used + more, 2 * this.buffer.length))
    larger.set(this.buffer.subarray(0, this.used))
    this.buffer = larger
    this.view = new DataView(larger.buffer)
  }
}
