/**
 * One change of a tree that several threads change at once. What it does to pages is what `tree-change.ts` does; here is how it gets at them: it couples
 * exclusive latches, that is it takes hold of a child before it lets go of the parent.
 *
 *  1  First hopefully: it keeps only the leaf. Nine of ten changes need no more.
 *  2  One that would go on to the parent (a split, a neighbour) has changed nothing yet; it lets go of all and comes again, carefully: now it keeps the
 *     ancestors from the last one on that is safe, whatever becomes of its child: room for any separator, or enough left without one. Where something is
 *     removed, the neighbour that an unsafe branch may share or become one with is taken together with it, on the way down.
 *
 * Nobody waits in a circle
 *  - Latches are asked for from the root down, and of branches of one level only by who has their parent. So who waits for a branch waits for
 *    somebody who waits, if at all, further down.
 *  - Of leaves a change has one, and asks for others only in step 2, with their parent latched: for the neighbour under the same parent, then for the one
 *    leaf to the right of both. To the right there is an end. A neighbour on the left is asked for by who has its parent, so nobody else came to
 *    it on the way down who wants more; and who has it as the leaf to the right of his own has asked for his last.
 *  - Nobody asks for a branch once he has a leaf.
 *
 * Nobody reaches a page that is gone: the way to it is a parent, or the leaf before it, and whoever drops a page has both. The root is looked up
 * again once it is latched: who replaces it has the old one's latch.
 */

import type { ChangedTree } from './changed-tree.ts'
import type { LatchedPages } from './latched-pages.ts'
import { corrupt } from './overflow.ts'
import { kindLeaf } from './page.ts'
import { TreeChange } from './tree-change.ts'
import { levelsMax } from './tree-core.ts'

const tooNarrow = { narrow: true }
const letGo = -1

export class CoupledChange extends TreeChange {
  private readonly latched: LatchedPages
  private careful = false

  constructor(tree: ChangedTree, latched: LatchedPages) {
    super(tree, latched)
    this.latched = latched
  }

  override run(key: Uint8Array, value: Uint8Array | undefined): number {
    this.careful = false
    try {
      return super.run(key, value)
    } catch (error) {
      if (error !== tooNarrow) throw error
    }
    this.careful = true
    return super.run(key, value)
  }

  protected override descend(key: Uint8Array, removes: boolean): void {
    const { core, latched, frames } = this
    const { pages } = core
    let page = core.root
    let frame = latched.hold(page)
    while (core.root !== page) {
      latched.finish()
      page = core.root
      frame = latched.hold(page)
    }
    for (let level = 0; level < levelsMax; level++) {
      frames.push(frame)
      this.path.push(page)
      const base = frame * pages.pageBytes
      const isLeaf = pages.kind(base) === kindLeaf
      if (level > 0) {
        if (!this.careful || (!isLeaf && this.isSafe(base, removes))) {
          latched.letGoAbove()
          for (let above = 0; above < level; above++) frames[above] = letGo
        } else if (!isLeaf && removes) this.neighboursOf(level)
      }
      if (isLeaf) return
      const position = pages.childPosition(base, key, core)
      this.positions.push(position)
      page = pages.child(base, position)
      frame = latched.hold(page)
    }
    throw corrupt(page)
  }

  protected override reach(level: number): void {
    if (level >= 0 && this.frames[level] === letGo) throw tooNarrow
  }

  /** Of a branch: its parent will not hear of what becomes of its child. */
  private isSafe(base: number, removes: boolean): boolean {
    const { pages } = this.core
    if (!removes) return this.takesAnySeparator(base)
    return pages.used(base) - pages.cellBytesMax >= pages.usable >>> 2
  }
}
