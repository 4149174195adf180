/** Gets and scans, of the tree as it is or as a snapshot saw it. All verbs throw the pool's `PageMiss`. */
import type { Row, Visit } from './engine.ts'
import { corrupt } from './overflow.ts'
import { kindLeaf } from './page.ts'
import type { PageId } from './page-source.ts'
import { levelsMax, type TreeCore } from './tree-core.ts'
import { TreeRow } from './tree-row.ts'
import type { TreeSnapshot } from './tree-snapshots.ts'

const absent = -1
/** Leaves that a scan which had to wait before will want, after the first. */
const leavesAhead = 4

/** As `leafFor`, for a key; -1 where the leaf need not be read: it does not have it. */
function leafOf(core: TreeCore, root: PageId, snapshot: TreeSnapshot | undefined, key: Uint8Array): number {
  const { pages } = core
  let page = root
  for (let level = 0; level < levelsMax; level++) {
    const base = core.node(snapshot === undefined ? page : snapshot.resolve(page)) * pages.pageBytes
    if (pages.kind(base) === kindLeaf) {
      core.leaf = page
      return base
    }
    page = pages.child(base, pages.childPosition(base, key, core))
    if (pages.level(base) === 1 && core.excludes(snapshot === undefined ? page : snapshot.resolve(page), key)) {
      return absent
    }
  }
  throw corrupt(root)
}

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
    const position = key !== undefined ? pages.childPosition(base, key, core) : last ? pages.count(base) - 1 : -1
    page = pages.child(base, position)
    if (pages.level(base) === 1) readAhead(core, snapshot, base, position, last)
  }
  throw corrupt(root)
}

/** An operation that had to wait before will want the leaves that follow, too: they are brought in at the same time. */
function readAhead(
  core: TreeCore,
  snapshot: TreeSnapshot | undefined,
  base: number,
  position: number,
  reverse: boolean,
): void {
  const { pages, pool, chains } = core
  if (!pool.waits || chains.memo === undefined) return
  const count = pages.count(base)
  for (let i = 1; i <= leavesAhead; i++) {
    const next = reverse ? position - i : position + i
    if (next < -1 || next >= count) return
    const page = pages.child(base, next)
    pool.prefetch(snapshot === undefined ? page : snapshot.resolve(page))
  }
}

export function readKey(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  key: Uint8Array,
): Uint8Array | undefined {
  const base = leafWith(core, root, snapshot, key)
  return base === absent ? undefined : core.valueAt(base, core.slot)
}

/** As `View.find` (`engine.ts`). */
export function findRow(
  core: TreeCore,
  root: PageId,
  snapshot: TreeSnapshot | undefined,
  key: Uint8Array,
): Row | undefined {
  const base = leafWith(core, root, snapshot, key)
  return base === absent ? undefined : core.found.found(base, core.slot, key)
}

/** Offset of the leaf that has the key, in `core.slot`; -1: none has it. */
function leafWith(core: TreeCore, root: PageId, snapshot: TreeSnapshot | undefined, key: Uint8Array): number {
  const { places, pages, pool } = core
  const shape = snapshot === undefined ? places.shape : snapshot.shape
  const near = places.find(key, shape)
  const page = near === 0 || snapshot === undefined ? near : snapshot.resolve(near)
  // Not worth a wait: the key may be elsewhere by now, or gone, which a filter of that leaf knows.
  if (page !== 0 && pool.find(page) >= 0) {
    const base = core.node(page) * pages.pageBytes
    core.slot = places.slot
    if (pages.stands(base, core.slot, key, core)) return base
  }
  const base = leafOf(core, root, snapshot, key)
  if (base === absent) return absent
  core.slot = pages.search(base, key, core)
  if (core.slot >= 0) {
    places.found(core.leaf, core.slot, shape)
    return base
  }
  core.notFound(base)
  return absent
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
