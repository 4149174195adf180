/**
 * Snapshots of a tree, page by page. Taking one costs nothing; a page that changes while one lives is copied once to a page of its own
 * before the change, and snapshots find the copy by the number of the page that it was made of.
 *
 * Invariants
 *  - `copies` of a snapshot holds what pages looked like that changed after it and before the next younger one was taken. So a
 *    page as a snapshot sees it is the copy in the first of these maps, from its own on to younger ones, or else the page itself.
 *  - `fresh` holds pages made since the snapshot was taken: no snapshot sees them, they are neither copied nor kept.
 *  - `freed` holds pages given up since then that it or an older one may still read: they are really freed when those are gone.
 *  - Chains (`overflow.ts`) never change, so their pages are never copied.
 */
import { assert } from '../base/assert.ts'
import type { PageId } from './page-source.ts'

export class TreeSnapshot {
  readonly root: PageId
  readonly shape: number
  readonly copies = new Map<PageId, PageId>()
  readonly fresh = new Set<PageId>()
  readonly freed: PageId[] = []
  /** Next older and younger live ones. */
  older: TreeSnapshot | undefined
  younger: TreeSnapshot | undefined
  released = false

  constructor(root: PageId, shape: number, older: TreeSnapshot | undefined) {
    this.root = root
    this.shape = shape
    this.older = older
  }

  /** Which page holds what `page` held when this was taken. */
  resolve(page: PageId): PageId {
    let at: TreeSnapshot | undefined = this
    while (at !== undefined) {
      const copy = at.copies.get(page)
      if (copy !== undefined) return copy
      at = at.younger
    }
    return page
  }
}

export class TreeSnapshots {
  private newest: TreeSnapshot | undefined
  /** How many live. */
  count = 0
  /** Of copies and of what is freed later, in all of them. */
  pagesKept = 0
  private readonly reallyFree: (page: PageId) => void

  constructor(reallyFree: (page: PageId) => void) {
    this.reallyFree = reallyFree
  }

  get any(): boolean {
    return this.newest !== undefined
  }

  take(root: PageId, shape: number): TreeSnapshot {
    const snapshot = new TreeSnapshot(root, shape, this.newest)
    if (this.newest !== undefined) this.newest.younger = snapshot
    this.newest = snapshot
    this.count++
    return snapshot
  }

  /** Must the page be copied before it changes? */
  needsCopy(page: PageId): boolean {
    const { newest } = this
    return newest !== undefined && !newest.fresh.has(page) && !newest.copies.has(page)
  }

  copied(page: PageId, copy: PageId): void {
    assert(this.newest !== undefined, 'a copy without a snapshot')
    this.newest.copies.set(page, copy)
    this.pagesKept++
  }

  made(page: PageId): void {
    this.newest?.fresh.add(page)
  }

  /** The current tree does not use the page any more. */
  free(page: PageId): void {
    const { newest } = this
    if (newest === undefined) return this.reallyFree(page)
    // Its content as the snapshot knew it is in the copy already.
    if (newest.fresh.delete(page) || newest.copies.has(page)) this.reallyFree(page)
    else {
      newest.freed.push(page)
      this.pagesKept++
    }
  }

  release(snapshot: TreeSnapshot): void {
    assert(!snapshot.released, 'a snapshot is released twice')
    snapshot.released = true
    this.count--
    const { older, younger } = snapshot
    if (older === undefined) {
      this.pagesKept -= snapshot.copies.size + snapshot.freed.length
      for (const copy of snapshot.copies.values()) this.reallyFree(copy)
      for (const page of snapshot.freed) this.reallyFree(page)
    } else {
      for (const [page, copy] of snapshot.copies) {
        // Made since the older one was taken, or copied for it before: only this snapshot saw that copy.
        if (older.copies.has(page) || older.fresh.has(page)) {
          this.pagesKept--
          this.reallyFree(copy)
        } else older.copies.set(page, copy)
      }
      for (const page of snapshot.freed) {
        if (older.fresh.delete(page) || older.copies.has(page)) {
          this.pagesKept--
          this.reallyFree(page)
        } else older.freed.push(page)
      }
      for (const page of snapshot.fresh) older.fresh.add(page)
      older.younger = younger
    }
    if (younger !== undefined) younger.older = older
    else this.newest = older
  }

  /** Pages that no root reaches but that are not free yet: copies, and what is kept for snapshots. */
  *kept(): Generator<PageId> {
    for (let at = this.newest; at !== undefined; at = at.older) {
      yield* at.copies.values()
      yield* at.freed
    }
  }
}
