/**
 * Which ranges contain a key: an interval tree without pointers. Ranges are sorted by where they begin, with the greatest end of each subtree beside it (an implicit
 * balanced tree over the sorted array; Cormen et al., "Introduction to algorithms", 14.3). New ranges wait in a short list that is looked through, and are sorted in
 * once there are many of them: so opening thousands, one after the other, costs no thousands of sorts.
 */
import { compareBytes } from '../base/bytes.ts'

interface Range {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
}

interface Item<T> {
  readonly range: Range
  readonly value: T
}

const youngMin = 32

export class RangeIndex<T> {
  private sorted: Item<T>[] = []
  /** Of the subtree whose root is this item; undefined: without end. */
  private ends: (Uint8Array | undefined)[] = []
  private young: Item<T>[] = []
  private readonly gone = new Set<Range>()

  /** A range object stands for itself: it is removed by being the same. */
  add(range: Range, value: T): void {
    this.young.push({ range, value })
    if (this.young.length > youngMin + Math.sqrt(this.sorted.length) * 4) this.settle()
  }

  remove(range: Range): void {
    const at = this.young.findIndex(item => item.range === range)
    if (at >= 0) {
      this.young.splice(at, 1)
      return
    }
    this.gone.add(range)
    if (this.gone.size > youngMin + this.sorted.length / 4) this.settle()
  }

  /** Calls `visit` for each range that contains the key. */
  at(key: Uint8Array, visit: (value: T) => void): void {
    for (const { range, value } of this.young) if (contains(range, key)) visit(value)
    this.search(key, 0, this.sorted.length, visit)
  }

  private search(key: Uint8Array, low: number, high: number, visit: (value: T) => void): void {
    if (low >= high) return
    const middle = (low + high) >>> 1
    const end = this.ends[middle]
    // Everything here ends before it.
    if (end !== undefined && compareBytes(end, key) <= 0) return
    this.search(key, low, middle, visit)
    const { range, value } = this.sorted[middle]!
    if (range.from !== undefined && compareBytes(range.from, key) > 0) return
    if (contains(range, key) && !this.gone.has(range)) visit(value)
    this.search(key, middle + 1, high, visit)
  }

  private settle(): void {
    this.sorted = [...this.sorted.filter(({ range }) => !this.gone.has(range)), ...this.young].sort((a, b) =>
      compareStarts(a.range.from, b.range.from),
    )
    this.young = []
    this.gone.clear()
    this.ends = new Array<Uint8Array | undefined>(this.sorted.length)
    if (this.sorted.length > 0) this.measure(0, this.sorted.length)
  }

  private measure(low: number, high: number): Uint8Array | undefined {
    const middle = (low + high) >>> 1
    let end = this.sorted[middle]!.range.to
    if (low < middle) end = later(end, this.measure(low, middle))
    if (middle + 1 < high) end = later(end, this.measure(middle + 1, high))
    this.ends[middle] = end
    return end
  }
}

function contains({ from, to }: Range, key: Uint8Array): boolean {
  return (from === undefined || compareBytes(from, key) <= 0) && (to === undefined || compareBytes(to, key) > 0)
}

function compareStarts(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1
  return compareBytes(a, b)
}

const later = (a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined =>
  a === undefined || b === undefined ? undefined : compareBytes(a, b) >= 0 ? a : b
