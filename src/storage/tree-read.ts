/** Gets and scans, of the tree as it is or as a snapshot saw it. All verbs throw the pool's `PageMiss`. */
import type { Row, Visit } from './engine.ts'
import { corrupt } from './overflow.ts'
import { kindLeaf } from './page.ts'
import type { PageId } from './page-source.ts'
import { levelsMax, type TreeCore } from './tree-core.ts'
import { TreeRow } from './tree-row.ts'
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

/** As `View.find` (`engine.ts`). */
export function findRow(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  key: Uint8Array,
): Row | undefined {
  const base = leafFor(core, root, snapshot, key, false)
  const slot = core.pages.search(base, key, core)
  return slot < 0 ? undefined : core.found.found(base, slot, key)
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
  // Scans may go on within scans: each has a row of its own.
  const row = core.rows.pop() ?? new TreeRow(core.pages, core)
  try {
    visitRange(core, root, snapshot, from, to, reverse, row, visit)
  } finally {
    core.rows.push(row)
  }
}

function visitRange(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  from: Uint8Array | undefined,
  to: Uint8Array | undefined,
  reverse: boolean,
  row: TreeRow,
  visit: Visit,
): void {
  const { pages, pool } = core
  const lowerBound = (base: number, key: Uint8Array): number => {
    const slot = pages.search(base, key, core)
    return slot < 0 ? ~slot : slot
  }
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
