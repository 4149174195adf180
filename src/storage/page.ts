/**
 * Slotted pages: how the nodes of the B+ tree lie in the frames of the pool. No object per page or per entry: every verb takes the
 * offset of the page in the arena (`base`) and works on the bytes there.
 *
 * Format (integers little-endian)
 *    0 u8   kind: 1 leaf, 2 branch (3 and 4: `overflow.ts`)
 *    1 u8   level: 0 for leaves, one more than the children's for branches
 *    2 u16  count of slots
 *    4 u32  leaf: the leaf before, 0 for none; branch: the first child
 *    8 u32  leaf: the leaf after, 0 for none; branch: 0
 *   12 u32  where the lowest cell begins
 *   16 u32  bytes of dead cells among the cells
 *   20 u16  length of the prefix that all keys of the page share, which stands at the very end of the page
 *   22 u16  0
 *   24      slots in the order of keys, 6 bytes each: u32 hint, u16 offset of the cell
 *   …       free, then the cells, then the prefix
 *   cell    u16: length of the key's suffix, bit 15 `long`; then
 *           leaf          u16 value bytes | suffix | value
 *           leaf, long    u16 key rest bytes, u32 value bytes, u32 chain | suffix         (the chain holds the key's rest, then the value)
 *           branch        u32 child | suffix
 *           branch, long  u32 child, u16 key rest bytes, u32 chain | suffix
 *
 * A hint is the first four bytes of the suffix, zeros after its end, most significant first: it orders most keys without a look at their cells.
 * Of a key only the first `keyInlineMax` bytes (its local part) stand in the page; the prefix is cut from that. Keys under child i of a
 * branch are ≥ separator i-1 and < separator i.
 *
 * Invariant: a cell takes, without prefix compression and with its slot, at most a quarter of the page; so a page that overflows by one cell
 * can be cut into two that fit. Caveat: bytes are believed, the store has verified their checksum; `btree-verify.ts` looks closer.
 */
import type { PageId } from './page-source.ts'

export const kindLeaf = 1
export const kindBranch = 2
export const pageHeaderBytes = 24
export const slotBytes = 6
export const longFlag = 0x8000

/** Order of `key` beyond its local part against the rest of the key whose cell is at `cell`. */
export interface RestOrder {
  compareRest(
    base: number,
    key: Uint8Array,
    keyFrom: number,
    restBytes: number,
    valueBytes: number,
    chain: PageId,
  ): number
}

/** What an entry is made of, in the form in which it goes into a cell. */
export interface Cell {
  /** Only the first `local` bytes are used. */
  key: Uint8Array
  local: number
  /** Long: the rest of the key (and in a leaf the value) is in the chain. */
  long: boolean
  restBytes: number
  valueBytes: number
  chain: number
  /** Leaf, not long. */
  value: Uint8Array
  /** Branch. */
  child: number
}

export class Pages {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly pageBytes: number
  /** What is left of a page for prefix, slots and cells. */
  readonly usable: number
  /** With its slot. */
  readonly cellBytesMax: number
  readonly keyInlineMax: number

  constructor(arena: Uint8Array, pageBytes: number) {
    this.bytes = arena
    this.view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
    this.pageBytes = pageBytes
    this.usable = pageBytes - pageHeaderBytes
    this.cellBytesMax = this.usable >>> 2
    this.keyInlineMax = this.cellBytesMax - slotBytes - 12
  }

  format(base: number, kind: number, level: number): void {
    this.bytes.fill(0, base, base + pageHeaderBytes)
    this.bytes[base] = kind
    this.bytes[base + 1] = level
    this.view.setUint32(base + 12, this.pageBytes, true)
  }

  kind(base: number): number {
    return this.bytes[base]!
  }
  level(base: number): number {
    return this.bytes[base + 1]!
  }
  count(base: number): number {
    return this.view.getUint16(base + 2, true)
  }
  /** Leaf: the one before. Branch: the first child. */
  left(base: number): PageId {
    return this.view.getUint32(base + 4, true) as PageId
  }
  setLeft(base: number, page: number): void {
    this.view.setUint32(base + 4, page, true)
  }
  right(base: number): PageId {
    return this.view.getUint32(base + 8, true) as PageId
  }
  setRight(base: number, page: number): void {
    this.view.setUint32(base + 8, page, true)
  }
  heap(base: number): number {
    return this.view.getUint32(base + 12, true)
  }
  dead(base: number): number {
    return this.view.getUint32(base + 16, true)
  }
  prefixBytes(base: number): number {
    return this.view.getUint16(base + 20, true)
  }
  /** Bytes between slots and cells. */
  gap(base: number): number {
    return this.heap(base) - pageHeaderBytes - slotBytes * this.count(base)
  }
  /** Bytes of prefix, slots and live cells. */
  used(base: number): number {
    return this.usable - this.gap(base) - this.dead(base)
  }

  /** Where the cell begins, in the arena. */
  cell(base: number, slot: number): number {
    return base + this.view.getUint16(base + pageHeaderBytes + slotBytes * slot + 4, true)
  }

  fixedBytes(base: number, long: boolean): number {
    return this.bytes[base] === kindLeaf ? (long ? 10 : 2) : long ? 10 : 4
  }

  /** Without its slot. */
  cellBytes(base: number, cell: number): number {
    const head = this.view.getUint16(cell, true)
    const suffix = head & 0x7fff
    if (head >= longFlag) return 12 + suffix
    return this.bytes[base] === kindLeaf ? 4 + suffix + this.view.getUint16(cell + 2, true) : 6 + suffix
  }

  isLong(cell: number): boolean {
    return this.bytes[cell + 1]! >= 0x80
  }
  restBytes(base: number, cell: number): number {
    if (!this.isLong(cell)) return 0
    return this.view.getUint16(cell + (this.bytes[base] === kindLeaf ? 2 : 6), true)
  }
  valueBytes(cell: number): number {
    return this.isLong(cell) ? this.view.getUint32(cell + 4, true) : this.view.getUint16(cell + 2, true)
  }
  chain(cell: number): PageId {
    return this.view.getUint32(cell + 8, true) as PageId
  }
  childOf(cell: number): PageId {
    return this.view.getUint32(cell + 2, true) as PageId
  }
  /** The child in place `position` + 1: -1 is the first. */
  child(base: number, position: number): PageId {
    return position < 0 ? this.left(base) : this.childOf(this.cell(base, position))
  }

  /** Length of the local part of a key. */
  localBytes(base: number, cell: number): number {
    return this.prefixBytes(base) + (this.view.getUint16(cell, true) & 0x7fff)
  }

  copyLocal(base: number, cell: number, into: Uint8Array, at: number): number {
    const { bytes } = this
    const prefix = this.prefixBytes(base)
    const suffix = this.view.getUint16(cell, true) & 0x7fff
    let from = base + this.pageBytes - prefix
    let to = at
    for (let i = 0; i < prefix; i++) into[to++] = bytes[from++]!
    from = cell + 2 + this.fixedBytes(base, this.isLong(cell))
    for (let i = 0; i < suffix; i++) into[to++] = bytes[from++]!
    return to
  }

  /** Where the value of a leaf's cell begins that is not long. */
  inlineValue(cell: number): number {
    return cell + 4 + (this.view.getUint16(cell, true) & 0x7fff)
  }

  /** Order of the key's beginning against the prefix: 0 if it begins with it. */
  comparePrefix(base: number, key: Uint8Array): number {
    const { bytes } = this
    const prefix = this.prefixBytes(base)
    const from = base + this.pageBytes - prefix
    const length = Math.min(prefix, key.length)
    for (let i = 0; i < length; i++) {
      const difference = key[i]! - bytes[from + i]!
      if (difference !== 0) return difference
    }
    return key.length < prefix ? -1 : 0
  }

  /** Slot of `key`; where it is not, ~slot of the first greater one. */
  search(base: number, key: Uint8Array, rest: RestOrder): number {
    const { view } = this
    const count = view.getUint16(base + 2, true)
    const prefix = view.getUint16(base + 20, true)
    if (prefix > 0) {
      const order = this.comparePrefix(base, key)
      if (order !== 0) return order < 0 ? ~0 : ~count
    }
    // Only of the local part: a hint knows nothing of a key's rest.
    const probe = hintOf(key, prefix, Math.min(key.length, this.keyInlineMax))
    const slots = base + pageHeaderBytes
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      const hint = view.getUint32(slots + slotBytes * middle, true)
      if (hint < probe) low = middle + 1
      else if (hint > probe) high = middle
      else {
        const order = this.compareCell(base, this.cell(base, middle), key, prefix, rest)
        if (order === 0) return middle
        if (order > 0) low = middle + 1
        else high = middle
      }
    }
    return ~low
  }

  /** Does the key stand in this slot of a leaf, if there is such a slot? */
  stands(base: number, slot: number, key: Uint8Array, rest: RestOrder): boolean {
    return (
      this.bytes[base] === kindLeaf &&
      slot < this.count(base) &&
      this.comparePrefix(base, key) === 0 &&
      this.compareCell(base, this.cell(base, slot), key, this.prefixBytes(base), rest) === 0
    )
  }

  /** Place of the child under which the key belongs: -1 is the first. */
  childPosition(base: number, key: Uint8Array, rest: RestOrder): number {
    const slot = this.search(base, key, rest)
    return slot >= 0 ? slot : ~slot - 1
  }

  private compareCell(base: number, cell: number, key: Uint8Array, prefix: number, rest: RestOrder): number {
    const { bytes } = this
    const head = this.view.getUint16(cell, true)
    const suffix = head & 0x7fff
    const long = head >= longFlag
    const from = cell + 2 + this.fixedBytes(base, long)
    const length = Math.min(suffix, key.length - prefix)
    for (let i = 0; i < length; i++) {
      const difference = key[prefix + i]! - bytes[from + i]!
      if (difference !== 0) return difference
    }
    const restBytes = long ? this.restBytes(base, cell) : 0
    const local = prefix + suffix
    if (restBytes === 0 || key.length <= local) return key.length - local - restBytes
    const valueBytes = bytes[base] === kindLeaf ? this.valueBytes(cell) : 0
    return rest.compareRest(base, key, local, restBytes, valueBytes, this.chain(cell))
  }

  /** Bytes that the cell would take in this page, without a slot. Its key begins with the page's prefix. */
  bytesFor(base: number, cell: Cell): number {
    const tail = this.bytes[base] === kindLeaf && !cell.long ? cell.value.length : 0
    return 2 + this.fixedBytes(base, cell.long) + cell.local - this.prefixBytes(base) + tail
  }

  /** The gap has room for it, and its key begins with the prefix. */
  insertCell(base: number, slot: number, cell: Cell): void {
    const count = this.count(base)
    const from = base + pageHeaderBytes + slotBytes * slot
    this.bytes.copyWithin(from + slotBytes, from, base + pageHeaderBytes + slotBytes * count)
    this.view.setUint16(base + 2, count + 1, true)
    this.writeCell(base, slot, cell)
  }

  /** The slot stays; the old cell is dead. The gap has room. */
  replaceCell(base: number, slot: number, cell: Cell): void {
    this.bury(base, this.cell(base, slot))
    this.writeCell(base, slot, cell)
  }

  removeCell(base: number, slot: number): void {
    this.bury(base, this.cell(base, slot))
    const count = this.count(base)
    const from = base + pageHeaderBytes + slotBytes * slot
    this.bytes.copyWithin(from, from + slotBytes, base + pageHeaderBytes + slotBytes * count)
    this.view.setUint16(base + 2, count - 1, true)
  }

  private bury(base: number, cell: number): void {
    const length = this.cellBytes(base, cell)
    if (cell - base === this.heap(base)) this.view.setUint32(base + 12, cell - base + length, true)
    else this.view.setUint32(base + 16, this.dead(base) + length, true)
  }

  private writeCell(base: number, slot: number, cell: Cell): void {
    const { bytes, view } = this
    const prefix = this.prefixBytes(base)
    const suffix = cell.local - prefix
    const at = this.heap(base) - this.bytesFor(base, cell)
    view.setUint32(base + 12, at, true)
    const slotAt = base + pageHeaderBytes + slotBytes * slot
    view.setUint32(slotAt, hintOf(cell.key, prefix, cell.local), true)
    view.setUint16(slotAt + 4, at, true)
    let to = base + at
    view.setUint16(to, suffix | (cell.long ? longFlag : 0), true)
    if (bytes[base] === kindLeaf) {
      if (cell.long) {
        view.setUint16(to + 2, cell.restBytes, true)
        view.setUint32(to + 4, cell.valueBytes, true)
        view.setUint32(to + 8, cell.chain, true)
        to += 12
      } else {
        view.setUint16(to + 2, cell.value.length, true)
        to += 4
      }
    } else {
      view.setUint32(to + 2, cell.child, true)
      if (cell.long) {
        view.setUint16(to + 6, cell.restBytes, true)
        view.setUint32(to + 8, cell.chain, true)
        to += 12
      } else to += 6
    }
    for (let i = prefix; i < cell.local; i++) bytes[to++] = cell.key[i]!
    if (bytes[base] === kindLeaf && !cell.long) bytes.set(cell.value, to)
  }
}

/** Of bytes[from, to). */
export function hintOf(bytes: Uint8Array, from: number, to: number): number {
  const length = to - from
  if (length >= 4) {
    return ((bytes[from]! << 24) | (bytes[from + 1]! << 16) | (bytes[from + 2]! << 8) | bytes[from + 3]!) >>> 0
  }
  let hint = 0
  for (let i = 0; i < 4; i++) hint = (hint << 8) | (i < length ? bytes[from + i]! : 0)
  return hint >>> 0
}
