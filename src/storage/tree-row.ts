/** What reads of a tree hand out: one object for many rows, over the page itself (`engine.ts`). */
import type { Row } from './engine.ts'
import type { Pages } from './page.ts'

/** Whole keys and values that do not stand in the page. */
export interface LongEntries {
  keyAt(base: number, slot: number): Uint8Array
  valueAt(base: number, slot: number): Uint8Array
}

export class TreeRow implements Row {
  key: Uint8Array
  keyBytes = 0
  value: Uint8Array
  valueFrom = 0
  valueTo = 0
  private readonly pages: Pages
  private readonly long: LongEntries
  private readonly scratch: Uint8Array
  private base = 0
  private prefix = 0

  constructor(pages: Pages, long: LongEntries) {
    this.pages = pages
    this.long = long
    this.scratch = new Uint8Array(pages.keyInlineMax)
    this.key = this.scratch
    this.value = pages.bytes
  }

  /** Rows of this leaf come next. The prefix that its keys share is copied once. */
  enter(base: number): void {
    const { pages, scratch } = this
    this.base = base
    this.prefix = pages.prefixBytes(base)
    const from = base + pages.pageBytes - this.prefix
    for (let i = 0; i < this.prefix; i++) scratch[i] = pages.bytes[from + i]!
  }

  /** @throws PageMiss */
  at(slot: number): this {
    const { pages, base, scratch } = this
    const cell = pages.cell(base, slot)
    if (pages.isLong(cell)) {
      this.key = this.long.keyAt(base, slot)
      this.keyBytes = this.key.length
      return this.valueOf(slot, cell, true)
    }
    const { bytes } = pages
    const end = pages.inlineValue(cell)
    let to = this.prefix
    // The suffix stands before the value.
    for (let from = cell + 4; from < end; from++) scratch[to++] = bytes[from]!
    this.key = scratch
    this.keyBytes = to
    return this.valueOf(slot, cell, false)
  }

  /** The row in a slot whose key the caller has. @throws PageMiss */
  found(base: number, slot: number, key: Uint8Array): this {
    const cell = this.pages.cell(base, slot)
    this.base = base
    this.key = key
    this.keyBytes = key.length
    return this.valueOf(slot, cell, this.pages.isLong(cell))
  }

  private valueOf(slot: number, cell: number, isLong: boolean): this {
    if (isLong) {
      this.value = this.long.valueAt(this.base, slot)
      this.valueFrom = 0
      this.valueTo = this.value.length
    } else {
      this.value = this.pages.bytes
      this.valueFrom = this.pages.inlineValue(cell)
      this.valueTo = this.valueFrom + this.pages.valueBytes(cell)
    }
    return this
  }
}
