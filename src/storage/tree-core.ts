/** What reading and changing a tree have in common: its root, its pages in the pool, its chains, its snapshots. */
import { compareBytes, copyInto } from '../base/bytes.ts'
import type { BufferPool } from './buffer-pool.ts'
import { KeyPlaces } from './key-places.ts'
import { emptyHash, finishHash, hashBytes, LeafFilters } from './leaf-filters.ts'
import { Chains, corrupt } from './overflow.ts'
import { kindBranch, kindLeaf, Pages, type RestOrder } from './page.ts'
import type { PageId, PageSource } from './page-source.ts'
import { TreeRow } from './tree-row.ts'
import { TreeSnapshots } from './tree-snapshots.ts'

/** More levels than any tree has: whoever gets there goes round in a circle of damaged pages. */
export const levelsMax = 40
const placesMax = 8192
const slabBytes = 16384
const slabShareMax = 2048
/** Memory of filters: so much less than the cache's frames. */
const filterShare = 8
const filterBytesMin = 1024

export class TreeCore implements RestOrder {
  root: PageId
  readonly pool: BufferPool
  readonly source: PageSource
  readonly pages: Pages
  readonly chains: Chains
  readonly snapshots: TreeSnapshots
  /** Rows of scans that are over, for the next ones. */
  readonly rows: TreeRow[] = []
  /** What `find` hands out. */
  readonly found: TreeRow
  /** Chains that nothing leads to any more: freed when the batch under way is through. */
  private readonly unlinked: { first: PageId; readonly total: number }[] = []
  private slab = new Uint8Array(slabBytes)
  private slabUsed = 0

  /** The leaf that was last read because its filter did not exclude the key. */
  private letThrough = 0 as PageId
  readonly places = new KeyPlaces(placesMax)
  /** Where the last key stood that was looked for: the page that the way down led to, and the slot in it. */
  leaf = 0 as PageId
  slot = 0
  /** Undefined where memory for them is too little to be worth it. */
  readonly filters: LeafFilters | undefined

  constructor(pool: BufferPool, source: PageSource, root: PageId) {
    this.pool = pool
    const filterBytes = Math.floor((pool.frames * pool.pageBytes) / filterShare)
    this.filters = filterBytes < filterBytesMin ? undefined : new LeafFilters(pool.pageBytes, filterBytes)
    pool.onEvict = this.filters === undefined ? undefined : (page, frame) => this.makeFilter(page, frame)
    this.source = source
    this.pages = new Pages(pool.arena, pool.pageBytes)
    this.chains = new Chains(pool, source)
    this.found = new TreeRow(this.pages, this)
    this.snapshots = new TreeSnapshots(page => {
      this.chains.forget(page)
      this.filters?.forget(page)
      pool.discard(page)
      source.free(page)
    })
    this.root = root
    if (root !== 0) return
    this.root = source.allocate()
    this.pages.format(pool.create(this.root) * pool.pageBytes, kindLeaf, 0)
  }

  /** Frame of a leaf or a branch. @throws PageMiss */
  node(page: PageId): number {
    const frame = this.pool.frameOf(page)
    const kind = this.pages.kind(frame * this.pool.pageBytes)
    if (kind !== kindLeaf && kind !== kindBranch) throw corrupt(page)
    return frame
  }

  /** As a filter knows a key: by what stands of it in the page. */
  hashOf(key: Uint8Array): number {
    return finishHash(hashBytes(emptyHash, key, 0, Math.min(key.length, this.pages.keyInlineMax)))
  }

  /** The leaf that holds the key does not have it, as far as that can be told without reading the leaf. */
  excludes(leaf: PageId, key: Uint8Array): boolean {
    const { filters, pool } = this
    if (filters === undefined || pool.find(leaf) >= 0 || !filters.has(leaf)) return false
    if (filters.excludes(leaf, this.hashOf(key))) return true
    this.letThrough = leaf
    return false
  }

  /** The leaf at `base` does not have a key that was looked for there. */
  notFound(base: number): void {
    if (this.letThrough === 0) return
    if (this.pool.find(this.letThrough) * this.pages.pageBytes === base) this.filters?.wasWrong()
    this.letThrough = 0 as PageId
  }

  private makeFilter(page: PageId, frame: number): void {
    const { pages, filters } = this
    const base = frame * pages.pageBytes
    if (filters === undefined || pages.kind(base) !== kindLeaf || filters.has(page)) return
    const slot = filters.begin(page)
    const { bytes } = pages
    const prefixEnd = base + pages.pageBytes
    const prefix = hashBytes(emptyHash, bytes, prefixEnd - pages.prefixBytes(base), prefixEnd)
    const count = pages.count(base)
    for (let i = 0; i < count; i++) {
      const cell = pages.cell(base, i)
      const from = cell + 2 + pages.fixedBytes(base, pages.isLong(cell))
      const to = from + pages.localBytes(base, cell) - pages.prefixBytes(base)
      filters.add(slot, finishHash(hashBytes(prefix, bytes, from, to)))
    }
  }

  compareRest(
    base: number,
    key: Uint8Array,
    from: number,
    restBytes: number,
    valueBytes: number,
    chain: PageId,
  ): number {
    return compareBytes(key.subarray(from), this.restOf(base, chain, restBytes, valueBytes))
  }

  /** The whole key in a slot, in bytes of its own. @throws PageMiss */
  keyAt(base: number, slot: number): Uint8Array {
    const { pages } = this
    const cell = pages.cell(base, slot)
    const local = pages.localBytes(base, cell)
    const restBytes = pages.restBytes(base, cell)
    const key = new Uint8Array(local + restBytes)
    pages.copyLocal(base, cell, key, 0)
    if (restBytes > 0) {
      const valueBytes = pages.kind(base) === kindLeaf ? pages.valueBytes(cell) : 0
      key.set(this.restOf(base, pages.chain(cell), restBytes, valueBytes), local)
    }
    return key
  }

  /** The value in a leaf's slot, in bytes that stay. @throws PageMiss */
  valueAt(base: number, slot: number): Uint8Array {
    const { pages } = this
    const cell = pages.cell(base, slot)
    const length = pages.valueBytes(cell)
    if (!pages.isLong(cell)) return this.copyOut(pages.inlineValue(cell), length)
    const restBytes = pages.restBytes(base, cell)
    const total = restBytes + length
    const frame = base / this.pool.pageBytes
    this.pool.pin(frame)
    try {
      return this.chains.read(pages.chain(cell), total, total).subarray(restBytes)
    } finally {
      this.pool.unpin(frame)
    }
  }

  /** Small pieces share larger arrays: a typed array of its own costs more than a whole lookup. */
  copyOut(at: number, length: number): Uint8Array {
    const { bytes } = this.pages
    if (length > slabShareMax) {
      const copy = new Uint8Array(length)
      copy.set(bytes.subarray(at, at + length))
      return copy
    }
    const to = this.take(length)
    const { slab } = this
    copyInto(slab, to, bytes, at, at + length)
    return slab.subarray(to, to + length)
  }

  unlink(first: PageId, total: number): void {
    this.unlinked.push({ first, total })
  }

  /** Frees the pages of chains that were unlinked. What is done stays done. @throws PageMiss */
  freeUnlinked(): void {
    for (let chain = this.unlinked.at(-1); chain !== undefined; chain = this.unlinked.at(-1)) {
      const page = chain.first
      if (chain.total > this.chains.dataBytes) {
        const ids = this.chains.idsOf(page)
        chain.first = this.chains.nextOf(page)
        for (const id of ids) this.snapshots.free(id)
      } else chain.first = 0 as PageId
      this.snapshots.free(page)
      if (chain.first === 0) this.unlinked.pop()
    }
  }

  /** Pages that are neither free nor reached from the root. */
  *keptPages(): Generator<PageId> {
    yield* this.snapshots.kept()
    for (const chain of this.unlinked) yield chain.first
  }

  private restOf(base: number, chain: PageId, restBytes: number, valueBytes: number): Uint8Array {
    const frame = base / this.pool.pageBytes
    this.pool.pin(frame)
    try {
      return this.chains.read(chain, restBytes + valueBytes, restBytes)
    } finally {
      this.pool.unpin(frame)
    }
  }

  private take(length: number): number {
    if (this.slabUsed + length > slabBytes) {
      this.slab = new Uint8Array(slabBytes)
      this.slabUsed = 0
    }
    const at = this.slabUsed
    this.slabUsed += length
    return at
  }
}
