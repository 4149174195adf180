/**
 * The engine that keeps everything in memory and is filled again from the write-ahead log at start. Nothing here is durable, and no
 * checkpoint is ever due. It is the model that the paged engine is tested against, behind the same interface (`engine.ts`).
 *
 * All pages are "resident": every read runs once, at once. Snapshots hold an old root of the tree (`memory-tree.ts`) and cost nothing
 * until something changes; then the changed paths are kept twice for as long as the snapshot lives.
 *
 */
import { assert } from '../base/assert.ts'
import { copyBytes } from '../base/bytes.ts'
import { type Index, index } from '../base/ids.ts'
import type { Completion, Done } from '../platform.ts'
import type { Change, Compacted, Engine, EngineSnapshot, EngineStatus, Update, View } from './engine.ts'
import { type Changed, emptyTree, type Node, treeDelete, treeGet, treeScan, treeSet } from './memory-tree.ts'

const noCache = {
  bytesMax: 0,
  bytes: 0,
  dirtyBytes: 0,
  hits: 0,
  misses: 0,
  evictions: 0,
  writeBacks: 0,
  filterBytes: 0,
  readsSpared: 0,
  falsePositives: 0,
}
const noPages = { pageBytes: 0, fileBytes: 0, usedBytes: 0, bytesWritten: 0, checkpoints: 0 }
const noWriters = { threads: 0, changes: 0 }

export class MemoryEngine implements Engine {
  readonly note = undefined
  readonly shared = undefined
  readonly uncheckpointedBytes = 0
  readonly checkpointing = false
  private root: Node = emptyTree(0)
  private appliedIndex = index(0)
  private keys = 0
  private bytes = 0
  /** Moves on with each snapshot: what is made later is not shared with it. */
  private epoch = 0
  /** Live snapshots' epochs, in the order in which they were taken: ascending. */
  private readonly live = new Set<number>()
  /** The newest live one, or -1. */
  private newestLive = -1

  get applied(): Index {
    return this.appliedIndex
  }

  read<T>(operation: (view: View) => T, done: Completion<T>): void {
    done({ ok: true, value: operation(viewOf(this.root)) })
  }

  peek<T>(operation: (view: View) => T): { readonly value: T } {
    return { value: operation(viewOf(this.root)) }
  }

  snapshot(done: Completion<EngineSnapshot>): void {
    done({ ok: true, value: this.takeSnapshot() })
  }

  private takeSnapshot(): EngineSnapshot {
    const { root, applied, epoch } = this
    this.live.add(epoch)
    this.newestLive = epoch
    this.epoch++
    let released = false
    return {
      applied,
      standing: () => (root === this.root ? 'present' : 'past'),
      peek: operation => (released ? undefined : { value: operation(viewOf(root)) }),
      read: (operation, done) => {
        assert(!released, 'a released snapshot is read')
        done({ ok: true, value: operation(viewOf(root)) })
      },
      release: () => {
        if (released) return
        released = true
        this.live.delete(epoch)
        this.newestLive = -1
        for (const other of this.live) this.newestLive = Math.max(this.newestLive, other)
      },
    }
  }

  update<T>(operation: (view: View) => Update<T>, applied: Index, done: Completion<T>): void {
    const { changes, result } = operation(viewOf(this.root))
    this.apply(changes, applied)
    done({ ok: true, value: result })
  }

  load(changes: readonly Change[], done: Done): void {
    assert(this.appliedIndex === 0, 'only an empty engine is loaded')
    this.change(changes)
    done(undefined)
  }

  compact(_checkpoint: (done: Done) => void, done: Completion<Compacted>): void {
    done({ ok: true, value: { bytesBefore: 0, bytesAfter: 0 } })
  }

  whenIdle(run: () => void): void {
    run()
  }

  checkpoint(_note: Uint8Array, logDurable: (done: Done) => void, done: Done): void {
    logDurable(done)
  }

  private apply(changes: readonly Change[], applied: Index): void {
    assert(applied > this.appliedIndex, `index ${applied} is applied after ${this.appliedIndex}`)
    this.change(changes)
    this.appliedIndex = applied
  }

  private change(changes: readonly Change[]): void {
    const { newestLive: shared, epoch } = this
    for (const change of changes) {
      const key = copyBytes(change.key)
      const value = change.value && copyBytes(change.value)
      const changed: Changed =
        value === undefined
          ? treeDelete(this.root, key, { shared, epoch })
          : treeSet(this.root, key, value, { shared, epoch })
      this.root = changed.root
      this.count(key, changed.previous, value)
    }
  }

  /** Snapshots taken before go on to see what they saw. */
  reset(): void {
    this.root = emptyTree(this.epoch)
    this.appliedIndex = index(0)
    this.keys = 0
    this.bytes = 0
  }

  show(): void {}

  close(): void {}

  /** `bytes` sums keys and values, without what the tree itself takes. */
  status(): EngineStatus {
    return { keys: this.keys, bytes: this.bytes, cache: noCache, pages: noPages, writers: noWriters, held: noneHeld }
  }

  private count(key: Uint8Array, previous: Uint8Array | undefined, value: Uint8Array | undefined): void {
    if (previous !== undefined) {
      this.keys--
      this.bytes -= key.length + previous.length
    }
    if (value !== undefined) {
      this.keys++
      this.bytes += key.length + value.length
    }
  }
}

/** Not known: it shares what did not change with them. */
const noneHeld = { states: 0, bytes: 0 }
const none: Uint8Array = new Uint8Array(0)

const viewOf = (root: Node): View => ({
  get: key => treeGet(root, key),
  find: key => {
    const value = treeGet(root, key)
    return value && { key, keyBytes: key.length, value, valueFrom: 0, valueTo: value.length }
  },
  scan: (from, to, reverse, visit) => {
    const row = { key: none, keyBytes: 0, value: none, valueFrom: 0, valueTo: 0 }
    treeScan(root, from, to, reverse, (key, value) => {
      row.key = key
      row.keyBytes = key.length
      row.value = value
      row.valueTo = value.length
      return visit(row)
    })
  },
})
