/**
 * The pages that one change of a tree has its hands on: pinned while it looks around, marked as being written from its first change of each
 * until it is through, so that readers in other threads never see a split half done. What snapshots need is copied before.
 */
import { exhausted } from './buffer-pool.ts'
import type { ChangeHands } from './changed-tree.ts'
import type { PageId } from './page-source.ts'
import type { TreeCore } from './tree-core.ts'

export class HeldPages implements ChangeHands {
  private readonly core: TreeCore
  private readonly frames: number[] = []
  private readonly pages: PageId[] = []
  private readonly writing: number[] = []
  private readonly dropped: PageId[] = []

  constructor(core: TreeCore) {
    this.core = core
  }

  /** Pins a page; returns its frame. @throws PageMiss */
  hold(page: PageId): number {
    const frame = this.core.node(page)
    this.core.pool.pin(frame)
    this.frames.push(frame)
    this.pages.push(page)
    return frame
  }

  /** Frames for `made` new pages, and for copies that snapshots need of what is held. @throws HarmonyError TOO_LARGE */
  reserve(made: number): void {
    const { pool, snapshots } = this.core
    let count = made
    if (snapshots.any) for (const page of this.pages) if (snapshots.needsCopy(page)) count++
    if (count > 0 && !pool.reserve(count)) throw exhausted(pool.frames)
  }

  /** From here on the page may change. */
  edit(page: PageId, frame: number): void {
    const { pool, snapshots, source } = this.core
    if (this.writing.includes(frame)) return
    if (snapshots.needsCopy(page)) {
      const copy = source.allocate()
      pool.bytes(pool.create(copy)).set(pool.bytes(frame))
      snapshots.copied(page, copy)
    }
    this.core.filters?.forget(page)
    pool.beginWrite(frame)
    this.writing.push(frame)
  }

  /** A new, empty page. */
  create(kind: number, level: number): { page: PageId; base: number } {
    const { pool, source, snapshots, pages } = this.core
    const page = source.allocate()
    const frame = pool.create(page)
    pool.pin(frame)
    this.frames.push(frame)
    this.pages.push(page)
    snapshots.made(page)
    this.core.places.reshape()
    pool.beginWrite(frame)
    this.writing.push(frame)
    const base = frame * pages.pageBytes
    pages.format(base, kind, level)
    return { page, base }
  }

  made(page: PageId): void {
    this.core.snapshots.made(page)
  }

  /** The tree does not use the page any more. */
  drop(page: PageId): void {
    this.dropped.push(page)
  }

  /** The change is through, or was given up before it changed anything. */
  finish(): void {
    const { pool, snapshots } = this.core
    for (const frame of this.writing) pool.endWrite(frame)
    for (const frame of this.frames) pool.unpin(frame)
    for (const page of this.dropped) snapshots.free(page)
    if (this.dropped.length > 0) this.core.places.reshape()
    clear(this.frames)
    clear(this.pages)
    clear(this.writing)
    clear(this.dropped)
  }
}

/** To set the length of so short a list takes a call into the engine, and longer. */
export function clear(list: unknown[]): void {
  while (list.length > 0) list.pop()
}
