/** Gets and scans, of the tree as it is or as a snapshot saw it. All verbs throw the pool's `PageMiss`. */
import type { Row, Visit } from './engine.ts'
import { corrupt } from './overflow.ts'
import { kindLeaf } from './page.ts'
import type { PageId } from './page-source.ts'
import { levelsMax, type TreeCore } from './tree-core.ts'
import type { TreeSnapshot } from './tree-snapshots.ts'

/** Offset in the arena of the leaf where the key belongs; without a key the first or the last leaf. */
function leafFor(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  key: Uint8Array | undefined,
  last: boolean,
): number {
  const { pages } = core
  let page = root
  for (let level = 0; level < levelsMax; level++) {
    const base = core.node(snapshot === undefined ? page : snapshot.resolve(page)) * pages.pageBytes
    if (pages.kind(base) === kindLeaf) return base
    if (key !== undefined) page = pages.child(base, pages.childPosition(base, key, core))
    else page = pages.child(base, last ? pages.count(base) - 1 : -1)
  }
  throw corrupt(root)
}

export function readKey(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  key: Uint8Array,
): Uint8Array | undefined {
  const base = leafFor(core, root, snapshot, key, false)
  const slot = core.pages.search(base, key, core)
  return slot < 0 ? undefined : core.valueAt(base, slot)
}

/** As `View.scan` (`engine.ts`). */
export function readRange(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  from: Uint8Array | undefined,
  to: Uint8Array | undefined,
  reverse: boolean,
  visit: Visit,
): void {
  const { pages, pool } = core
  const lowerBound = (base: number, key: Uint8Array): number => {
    const slot = pages.search(base, key, core)
    return slot < 0 ? ~slot : slot
  }
  const row = new TreeRow(core)
  let base = leafFor(core, root, snapshot, reverse ? to : from, reverse)
  let begun = false
  while (true) {
    const frame = base / pages.pageBytes
    // The visitor may read on its own and so push pages out.
    pool.pin(frame)
    let next: PageId
    try {
      const count = pages.count(base)
      // Only the leaf that a bound leads to can hold what is beyond it.
      const nearBound = reverse ? to : from
      const farBound = reverse ? from : to
      const near = begun || nearBound === undefined ? (reverse ? count : 0) : lowerBound(base, nearBound)
      const far = farBound === undefined ? (reverse ? 0 : count) : lowerBound(base, farBound)
      begun = true
      row.enter(base)
      if (reverse) {
        for (let slot = near - 1; slot >= far; slot--) if (!visit(row.at(slot))) return
        if (far > 0) return
        next = pages.left(base)
      } else {
        for (let slot = near; slot < far; slot++) if (!visit(row.at(slot))) return
        if (far < count) return
        next = pages.right(base)
      }
    } finally {
      pool.unpin(frame)
    }
    if (next === 0) return
    base = core.node(snapshot === undefined ? next : snapshot.resolve(next)) * pages.pageBytes
    if (pages.kind(base) !== kindLeaf) throw corrupt(next)
  }
}

/** What a scan hands out. The prefix that the keys of a page share is copied once for the page. */
class TreeRow implements Row {
  key: Uint8Array
  keyBytes = 0
  value: Uint8Array
  valueFrom = 0
  valueTo = 0
  private readonly core: TreeCore
  private readonly scratch: Uint8Array
  private base = 0
  private prefix = 0

  constructor(core: TreeCore) {
    this.core = core
    this.scratch = new Uint8Array(core.pages.keyInlineMax)
    this.key = this.scratch
    this.value = core.pages.bytes
  }

  enter(base: number): void {
    const { pages } = this.core
    this.base = base
    this.prefix = pages.prefixBytes(base)
    const from = base + pages.pageBytes - this.prefix
    for (let i = 0; i < this.prefix; i++) this.scratch[i] = pages.bytes[from + i]!
  }

  at(slot: number): this {
    const { core, base, prefix } = this
    const { pages } = core
    const cell = pages.cell(base, slot)
    if (pages.isLong(cell)) {
      this.key = core.keyAt(base, slot)
      this.keyBytes = this.key.length
      this.value = core.valueAt(base, slot)
      this.valueFrom = 0
      this.valueTo = this.value.length
      return this
    }
    const { bytes } = pages
    const { scratch } = this
    const valueFrom = pages.inlineValue(cell)
    // The suffix stands before the value.
    let from = cell + 4
    let to = prefix
    while (from < valueFrom) scratch[to++] = bytes[from++]!
    this.key = scratch
    this.keyBytes = to
    this.value = bytes
    this.valueFrom = valueFrom
    this.valueTo = valueFrom + pages.valueBytes(cell)
    return this
  }
}
