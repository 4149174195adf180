/**
 * A B+ tree over the pages of a buffer pool: keys and values are bytes, keys order as unsigned bytes. Nothing here waits: where a page
 * is not resident the pool's `miss` is thrown, and the driver loads `miss.page` and calls the same function again.
 *
 *   page.ts, page-entries.ts   how a page lies in memory; cutting and joining pages
 *   overflow.ts                long values and keys
 *   tree-read.ts               gets and scans
 *   tree-change.ts             one change: splits, merges, borrowing
 *   leaf-filters.ts            what a leaf that is not in memory surely does not have
 *   tree-section.ts            several threads change the tree
 *   tree-snapshots.ts          what readers of an older state see
 *   btree-verify.ts            walks everything
 *
 * Invariants
 *  - A single change is whole or not there. A batch is a row of changes; it first touches and pins what it will need, and only where that does
 *    not fit into the pool can a miss come up between its changes. Then `midway` is true until it is through: the tree is sound, but whoever must
 *    not see half a batch waits, or reads a snapshot taken before.
 *  - Leaves are linked both ways; all leaves have the same depth; what `get` hands out is a copy.
 *
 * Caveats: a scan begins anew after each miss, so within one operation the leaves that it visits should fit into the pool. The root moves:
 * whoever makes it durable reads `root` at that moment.
 */
import { assert } from '../base/assert.ts'
import { HarmonyError } from '../base/errors.ts'
import { TreeVerification } from './btree-verify.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { Change, Row, Visit } from './engine.ts'
import type { FilterStatus } from './leaf-filters.ts'
import { ReadMemo } from './overflow.ts'
import type { PageId, PageSource } from './page-source.ts'
import type { TogetherWriter } from './parallel-batch.ts'
import { TreeChange } from './tree-change.ts'
import { TreeCore } from './tree-core.ts'
import { HeldPages } from './tree-held-pages.ts'
import { findRow, readKey, readRange } from './tree-read.ts'
import { type SectionOptions, TreeSection } from './tree-section.ts'
import type { TreeSnapshot } from './tree-snapshots.ts'

/** What can be read, of the tree or of a snapshot. */
export interface TreeReader {
  /** @throws PageMiss */
  get(key: Uint8Array): Uint8Array | undefined
  /** As `View.find` (`engine.ts`). @throws PageMiss */
  find(key: Uint8Array): Row | undefined
  /** As `View.scan` (`engine.ts`). @throws PageMiss */
  scan(from: Uint8Array | undefined, to: Uint8Array | undefined, reverse: boolean, visit: Visit): void
}

/** The tree as it was; reads as `TreeReader`. */
export interface BTreeSnapshot extends TreeReader {
  readonly root: PageId
  /** Its copies of pages are freed. Not to be read afterwards. */
  release(): void
}

/** What a batch changed in all: `bytes` sums keys and values. */
export interface BatchDelta {
  readonly keys: number
  readonly bytes: number
}

/** A batch of changes under way. */
export interface TreeBatch {
  /** Goes on, and returns what was changed once everything is. @throws PageMiss: load the page and call again. */
  run(): BatchDelta
  /** Some changes are in the tree and some are not yet. */
  readonly midway: boolean
  /** Gives up pins after an error; the tree keeps what was changed. Not needed after `run` has returned. */
  abandon(): void
}

export interface BTreeOptions {
  readonly pool: BufferPool
  /** The one that the pool reads from. */
  readonly source: PageSource
  /** None: an empty tree is made. */
  readonly root: PageId | undefined
  /** What readers in other threads are told that this tree is the state after. Default: 0. */
  readonly applied?: number
}

export class BTree implements TreeReader {
  private readonly core: TreeCore
  private readonly change: TreeChange

  constructor({ pool, source, root, applied = 0 }: BTreeOptions) {
    this.core = new TreeCore(pool, source, root ?? (0 as PageId))
    this.change = new TreeChange(this.core, new HeldPages(this.core))
    pool.endChange(this.core.root, applied)
  }

  get root(): PageId {
    return this.core.root
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return readKey(this.core, this.core.root, undefined, key)
  }

  find(key: Uint8Array): Row | undefined {
    return findRow(this.core, this.core.root, undefined, key)
  }

  scan(from: Uint8Array | undefined, to: Uint8Array | undefined, reverse: boolean, visit: Visit): void {
    readRange(this.core, this.core.root, undefined, from, to, reverse, visit)
  }

  /** Returns the length of the value that was there. For sources that never make one wait; others use `batch`. */
  set(key: Uint8Array, value: Uint8Array): number | undefined {
    return this.one(key, value)
  }

  /** Returns the length of the value that was there. As `set`. */
  delete(key: Uint8Array): number | undefined {
    return this.one(key, undefined)
  }

  /**
   * @param applied What readers in other threads are told once it is through; undefined: nothing new.
   * @param together Threads that may help.
   */
  batch(changes: readonly Change[], applied?: number, together?: TogetherWriter): TreeBatch {
    return new Batch(this.core, this.change, changes, applied, together)
  }

  /** Other threads change the tree, too; undefined: not now. Nothing else is done here until it is closed. */
  section(options: SectionOptions): TreeSection | undefined {
    return TreeSection.open(this.core, options)
  }

  /** As the tree is now; not while a batch is midway. Costs nothing until pages change. */
  snapshot(): BTreeSnapshot {
    const { core } = this
    return new Snapshot(core, core.snapshots.take(core.root, core.places.shape))
  }

  /**
   * Keeps what an operation reads of long values and keys from one run to the next, so that a value larger than the pool can be read: made at
   * the operation's first miss, given to `within` for each run, closed at its end.
   */
  openMemo(): ReadMemo {
    const memo = new ReadMemo()
    this.core.chains.memos.add(memo)
    return memo
  }

  within<T>(memo: ReadMemo | undefined, operation: () => T): T {
    const { chains } = this.core
    const outer = chains.memo
    chains.memo = memo
    try {
      return operation()
    } finally {
      chains.memo = outer
    }
  }

  closeMemo(memo: ReadMemo): void {
    this.core.chains.memos.delete(memo)
  }

  /** Undefined where the cache is too small for any. */
  filterStatus(): FilterStatus | undefined {
    return this.core.filters?.status()
  }

  /** Walks the whole tree; nothing may change it meanwhile. */
  verify(): TreeVerification {
    return new TreeVerification(this.core)
  }

  /** States that are held, and pages that are kept for them alone. */
  get held(): { readonly states: number; readonly pages: number } {
    const { count, pagesKept } = this.core.snapshots
    return { states: count, pages: pagesKept }
  }

  /** Allocated pages that the root does not reach: copies for snapshots and what is freed when those go. A reopened tree has none. */
  keptPages(): Iterable<PageId> {
    return this.core.keptPages()
  }

  private one(key: Uint8Array, value: Uint8Array | undefined): number | undefined {
    checkKey(key)
    const previous = this.change.run(key, value)
    this.core.pool.endChange(this.core.root, undefined)
    this.core.freeUnlinked()
    return previous < 0 ? undefined : previous
  }
}

class Batch implements TreeBatch {
  private readonly core: TreeCore
  private readonly change: TreeChange
  private changes: readonly Change[]
  private readonly applied: number | undefined
  /** Until it has been asked for its part. */
  private together: TogetherWriter | undefined
  /** Other threads have made some of the changes. */
  private begun = false
  private told = false
  private readonly pins = new Set<number>()
  private memo: ReadMemo | undefined
  private touched = 0
  private at = 0
  private keys = 0
  private bytes = 0

  constructor(
    core: TreeCore,
    change: TreeChange,
    changes: readonly Change[],
    applied: number | undefined,
    together: TogetherWriter | undefined,
  ) {
    this.together = together
    this.core = core
    this.change = change
    this.changes = changes
    this.applied = applied
    for (const { key } of changes) checkKey(key)
  }

  get midway(): boolean {
    return this.begun ? !this.told : this.at > 0 && this.at < this.changes.length
  }

  run(): BatchDelta {
    const { core } = this
    const { chains, pool } = core
    chains.memo = this.memo
    try {
      if (this.together !== undefined) this.writeTogether(this.together)
      const { changes } = this
      if (pool.waits && changes.length > 1) this.touch()
      for (; this.at < changes.length; this.at++) this.apply(changes[this.at]!)
      if (!this.told) pool.endChange(core.root, this.applied)
      this.told = true
      core.freeUnlinked()
    } catch (error) {
      if (error !== pool.miss) this.abandon()
      else if (this.memo === undefined) {
        this.memo = new ReadMemo()
        chains.memos.add(this.memo)
      }
      throw error
    } finally {
      chains.memo = undefined
    }
    this.abandon()
    return { keys: this.keys, bytes: this.bytes }
  }

  abandon(): void {
    for (const frame of this.pins) this.core.pool.unpin(frame)
    this.pins.clear()
    if (this.memo !== undefined) this.core.chains.memos.delete(this.memo)
  }

  private writeTogether(together: TogetherWriter): void {
    this.together = undefined
    // Should it fail, what is here is no state.
    this.begun = true
    const written = together.write(options => TreeSection.open(this.core, options), this.changes)
    this.begun = written !== undefined
    if (written === undefined) return
    this.changes = written.rest
    this.keys = written.keys
    this.bytes = written.bytes
  }

  /** Half of the frames at most, so that there is room for the changes themselves. */
  private touch(): void {
    const { pool } = this.core
    while (this.touched < this.changes.length && this.at === 0) {
      if (this.pins.size > pool.frames / 2 - 8) return
      this.change.touch(this.changes[this.touched]!.key, frame => {
        if (this.pins.has(frame)) return
        this.pins.add(frame)
        pool.pin(frame)
      })
      this.touched++
    }
  }

  private apply({ key, value }: Change): void {
    const previous = this.change.run(key, value)
    if (previous >= 0) {
      this.keys--
      this.bytes -= key.length + previous
    }
    if (value !== undefined) {
      this.keys++
      this.bytes += key.length + value.length
    }
  }
}

class Snapshot implements BTreeSnapshot {
  private readonly core: TreeCore
  private readonly state: TreeSnapshot

  constructor(core: TreeCore, state: TreeSnapshot) {
    this.core = core
    this.state = state
  }

  get root(): PageId {
    return this.state.root
  }

  get(key: Uint8Array): Uint8Array | undefined {
    assert(!this.state.released, 'a released snapshot is read')
    return readKey(this.core, this.state.root, this.state, key)
  }

  find(key: Uint8Array): Row | undefined {
    assert(!this.state.released, 'a released snapshot is read')
    return findRow(this.core, this.state.root, this.state, key)
  }

  scan(from: Uint8Array | undefined, to: Uint8Array | undefined, reverse: boolean, visit: Visit): void {
    assert(!this.state.released, 'a released snapshot is read')
    readRange(this.core, this.state.root, this.state, from, to, reverse, visit)
  }

  release(): void {
    if (!this.state.released) this.core.snapshots.release(this.state)
  }
}

function checkKey(key: Uint8Array): void {
  if (key.length > 0xffff) throw new HarmonyError('TOO_LARGE', 'a key takes more than 65,535 bytes')
}
