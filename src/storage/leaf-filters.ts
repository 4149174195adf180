/**
 * Bloom filters (Bloom 1970; two hashes stand for all, Kirsch and Mitzenmacher 2006) of leaves that are not in memory: a key that is surely not
 * in its leaf is answered without reading it.
 *
 * A leaf's filter is made when the leaf leaves the cache, and is forgotten before the leaf changes; so it always speaks of what the file has.
 * Filters are not stored: after a start, a leaf has one once it has been in memory.
 *
 * All filters have the same size, a 64th of a page: ten bits or so for each key of 100 bytes. Their memory is bounded; where there is no more room,
 * filters that were not asked for a while give way (clock).
 */
import type { PageId } from './page-source.ts'
import { PageTable } from './page-table.ts'

const hashes = 6

export interface FilterStatus {
  readonly bytes: number
  /** Leaves that have one. */
  readonly filters: number
  /** Reads of a leaf that were spared. */
  readonly spared: number
  /** Reads of a leaf that a filter let through, and that found nothing. */
  readonly falsePositives: number
}

export class LeafFilters {
  readonly bytesMax: number
  private readonly filterBytes: number
  private readonly bitMask: number
  private readonly bits: Uint8Array
  private readonly pages: Uint32Array
  private readonly asked: Uint8Array
  private readonly table: PageTable
  private readonly free: number[] = []
  private hand = 0
  private count = 0
  private spared = 0
  private falsePositives = 0

  /** @param bytesMax Of the filters themselves; beside them 21 bytes or so for each. */
  constructor(pageBytes: number, bytesMax: number) {
    this.filterBytes = Math.max(8, pageBytes >>> 6)
    this.bitMask = this.filterBytes * 8 - 1
    const slots = Math.max(1, Math.floor(bytesMax / this.filterBytes))
    this.bytesMax = slots * this.filterBytes
    this.bits = new Uint8Array(this.bytesMax)
    this.pages = new Uint32Array(slots)
    this.asked = new Uint8Array(slots)
    this.table = new PageTable(slots, new ArrayBuffer(PageTable.bytesFor(slots)), 0)
    for (let slot = slots - 1; slot >= 0; slot--) this.free.push(slot)
  }

  has(page: PageId): boolean {
    return this.table.find(page) >= 0
  }

  /** An empty one for a leaf that has none; `add` comes next. */
  begin(page: PageId): number {
    const slot = this.free.pop() ?? this.giveWay()
    this.bits.fill(0, slot * this.filterBytes, (slot + 1) * this.filterBytes)
    this.pages[slot] = page
    this.asked[slot] = 0
    this.table.insert(page, slot)
    this.count++
    return slot
  }

  add(slot: number, hash: number): void {
    const base = slot * this.filterBytes
    const step = stepOf(hash)
    let bit = hash
    for (let i = 0; i < hashes; i++) {
      const at = bit & this.bitMask
      this.bits[base + (at >>> 3)]! |= 1 << (at & 7)
      bit = (bit + step) | 0
    }
  }

  /** True: the leaf does not have the key with this hash (`hashOf`), and need not be read. */
  excludes(page: PageId, hash: number): boolean {
    const slot = this.table.find(page)
    if (slot < 0) return false
    this.asked[slot] = 1
    const base = slot * this.filterBytes
    const step = stepOf(hash)
    let bit = hash
    for (let i = 0; i < hashes; i++) {
      const at = bit & this.bitMask
      if ((this.bits[base + (at >>> 3)]! & (1 << (at & 7))) === 0) {
        this.spared++
        return true
      }
      bit = (bit + step) | 0
    }
    return false
  }

  /** A leaf that was read because its filter did not exclude the key did not have it. */
  wasWrong(): void {
    this.falsePositives++
  }

  /** The leaf changes, or is none any more. */
  forget(page: PageId): void {
    const slot = this.table.find(page)
    if (slot < 0) return
    this.remove(slot)
    this.free.push(slot)
  }

  clear(): void {
    for (let slot = 0; slot < this.pages.length; slot++) {
      if (this.pages[slot] === 0) continue
      this.remove(slot)
      this.free.push(slot)
    }
  }

  status(): FilterStatus {
    const { count: filters, spared, falsePositives } = this
    return { bytes: filters * this.filterBytes, filters, spared, falsePositives }
  }

  private remove(slot: number): void {
    this.table.delete(this.pages[slot] as PageId)
    this.pages[slot] = 0
    this.count--
  }

  /** All slots are taken. */
  private giveWay(): number {
    for (;;) {
      const slot = this.hand
      this.hand = (slot + 1) % this.pages.length
      if (this.asked[slot] === 0) {
        this.remove(slot)
        return slot
      }
      this.asked[slot] = 0
    }
  }
}

/** Odd, so that the bits of one key are different ones. */
const stepOf = (hash: number): number => (Math.imul(hash, 0x9e37_79b1) >>> 15) | 1

/** FNV-1a over bytes[from, to), going on from `hash`; `finishHash` when all bytes of the key were seen. */
export function hashBytes(hash: number, bytes: Uint8Array, from: number, to: number): number {
  let h = hash
  for (let i = from; i < to; i++) h = Math.imul(h ^ bytes[i]!, 0x0100_0193)
  return h
}

export const emptyHash = 0x811c_9dc5 | 0

/** FNV leaves the low bits of short keys alike: murmur's finish spreads them. */
export function finishHash(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85eb_ca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2_ae35)
  return h ^ (h >>> 16)
}
