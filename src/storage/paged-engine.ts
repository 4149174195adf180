/**
 * The engine of every real platform: a B+ tree over the pages of a file, as many of them in memory as the cache takes, made durable by
 * checkpoints. What was applied since the last checkpoint is in the log alone and is applied again at start.
 *
 *   page-waits.ts    operations wait for pages here
 *   btree.ts         the tree
 *   buffer-pool.ts   pages in memory
 *   page-store.ts    pages in the file
 *
 * Format of a checkpoint's meta data (little-endian): u8 1, u32 root page, u64 applied index, u64 keys, u64 bytes of keys and values.
 * The note of the state machine is the value of the key 0x00, which no operation sees: keys begin with 0x01 or more.
 *
 * A checkpoint writes pages in slices of a few milliseconds with the event loop's turns between them; updates go on meanwhile.
 */
import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Index, index } from '../base/ids.ts'
import type { Clock, Completion, Done, Result } from '../platform.ts'
import { BTree, type TreeBatch, type TreeReader } from './btree.ts'
import { BufferPool, framesMin } from './buffer-pool.ts'
import type { Change, Compacted, Engine, EngineSnapshot, EngineStatus, Update, View } from './engine.ts'
import { firstKey, noteKey } from './note-key.ts'
import type { PageId } from './page-source.ts'
import type { OpenedPageStore, PageStore } from './page-store.ts'
import { compact } from './page-store-compact.ts'
import { PageWaits } from './page-waits.ts'
import { TogetherWriter, type WriteHelpers } from './parallel-batch.ts'
import type { SharedPool } from './pool-memory.ts'
import type { PolicyName } from './replacement.ts'

export interface PagedEngineOptions {
  readonly opened: OpenedPageStore
  /** Most memory for pages, in bytes; at least 16 pages are taken. */
  readonly cacheBytes: number
  readonly clock: Pick<Clock, 'now' | 'after'>
  /** Default: clock. */
  readonly policy?: PolicyName
  /** Pages in memory that other threads can map; only where the host has it. */
  readonly shared?: boolean
  /** Starts threads that map `shared` memory and help with large updates. */
  readonly writeHelpers?: ((pool: SharedPool) => WriteHelpers) | undefined
}

/** What stands in a checkpoint besides its pages. */
export interface Meta {
  readonly root: PageId
  readonly applied: Index
  readonly keys: number
  readonly bytes: number
}

const metaVersion = 1
/** What an entry costs in the log besides its keys and values, about. */
const entryBytes = 64
const sliceMs = 2
const slicePagesMax = 256

export class PagedEngine implements Engine {
  readonly note: Uint8Array | undefined
  private readonly store: PageStore
  private readonly pool: BufferPool
  private readonly clock: Pick<Clock, 'now' | 'after'>
  private readonly waits: PageWaits
  private readonly together: TogetherWriter | undefined
  private tree: BTree
  private view: View
  private appliedIndex: Index
  private keys: number
  private bytes: number
  /** Moves on with each reset. */
  private generation = 0
  /** The update that is being made, or the note of a checkpoint. */
  private batch: TreeBatch | undefined
  private updating = false
  private writingNote = false
  /** Between `reset` and the update that ends the filling: operations wait. */
  private filling = false
  /** An update that came while a note was being written: it goes on, or hears that the state was emptied. */
  private deferred: ((go: boolean) => void) | undefined
  /** Who waits for the end of the checkpoint under way; undefined: there is none. */
  private idle: (() => void)[] | undefined
  /** Of a checkpoint: there will be no other one. */
  private failure: HarmonyError | undefined
  /** Written since the last checkpoint. */
  private bytesSince = 0

  private constructor(
    { opened, clock, writeHelpers }: PagedEngineOptions,
    pool: BufferPool,
    tree: BTree,
    meta: Meta | undefined,
    note: Uint8Array | undefined,
  ) {
    this.store = opened.store
    this.clock = clock
    this.pool = pool
    this.tree = tree
    this.view = viewOf(tree)
    this.note = note
    this.appliedIndex = meta?.applied ?? index(0)
    this.keys = meta?.keys ?? 0
    this.bytes = meta?.bytes ?? 0
    this.waits = new PageWaits(pool, tree, () => this.midway)
    const { shared } = pool
    if (shared !== undefined && writeHelpers !== undefined) {
      this.together = new TogetherWriter(shared, writeHelpers(shared))
    }
  }

  /** Errors: CORRUPT, VERSION_MISMATCH, those of the page file. */
  static open(options: PagedEngineOptions, done: Completion<PagedEngine>): void {
    const { opened, cacheBytes, policy = 'clock', shared = false } = options
    const { store: source, checkpoint } = opened
    const frames = Math.max(framesMin, Math.floor(cacheBytes / source.pageBytes))
    const pool = new BufferPool({ source, frames, policy, shared })
    if (checkpoint === undefined) {
      const tree = new BTree({ pool, source, root: undefined })
      return done({ ok: true, value: new PagedEngine(options, pool, tree, undefined, undefined) })
    }
    const meta = decodeMeta(checkpoint.meta)
    if (!meta.ok) return done(meta)
    const { root, applied } = meta.value
    const tree = new BTree({ pool, source, root, applied })
    new PageWaits(pool, tree, () => false).read(
      () => tree.get(noteKey),
      note => {
        if (!note.ok) return done(note)
        if (note.value !== undefined) {
          return done({ ok: true, value: new PagedEngine(options, pool, tree, meta.value, note.value) })
        }
        const message = 'the checkpoint has no note of its state machine: restore this store from a backup'
        done({ ok: false, error: new HarmonyError('CORRUPT', message) })
      },
    )
  }

  get applied(): Index {
    return this.appliedIndex
  }

  /** What is here is no state. */
  private get midway(): boolean {
    return this.filling || this.batch?.midway === true
  }

  get shared(): SharedPool | undefined {
    return this.pool.shared
  }

  peek<T>(operation: (view: View) => T): { readonly value: T } | undefined {
    return this.peekAt(this.view, operation)
  }

  private peekAt<T>(view: View, operation: (view: View) => T): { readonly value: T } | undefined {
    if (this.midway) return undefined
    const { pool } = this
    pool.peeking = true
    try {
      return { value: operation(view) }
    } catch (error) {
      if (error === pool.miss) return undefined
      throw error
    } finally {
      pool.peeking = false
    }
  }

  read<T>(operation: (view: View) => T, done: Completion<T>): void {
    this.waits.read(() => operation(this.view), done)
  }

  snapshot(done: Completion<EngineSnapshot>): void {
    this.waits.read(() => this.takeSnapshot(), done)
  }

  update<T>(operation: (view: View) => Update<T>, applied: Index, done: Completion<T>): void {
    assert(!this.updating && this.deferred === undefined, 'one update at a time')
    if (this.writingNote) {
      this.deferred = go => (go ? this.update(operation, applied, done) : done(givenUp))
      return
    }
    assert(applied > this.appliedIndex, `index ${applied} is applied after ${this.appliedIndex}`)
    this.updating = true
    const { generation } = this
    this.waits.write(
      () => this.still(generation, () => operation(this.view)),
      executed => {
        if (!executed.ok) return done(executed)
        const { changes, result } = executed.value
        const finish = (): void => {
          this.updating = false
          this.filling = false
          this.appliedIndex = applied
          done({ ok: true, value: result })
          this.waits.resume()
        }
        this.bytesSince += entryBytes
        if (changes.length === 0) {
          this.pool.endChange(this.tree.root, applied)
          return finish()
        }
        this.write(changes, applied, ran => {
          if (ran.ok) finish()
          else done(ran)
        })
      },
    )
  }

  private write(changes: readonly Change[], applied: Index | undefined, done: Completion<void>): void {
    const { generation } = this
    for (const { key, value } of changes) this.bytesSince += key.length + (value?.length ?? 0)
    const batch = this.tree.batch(changes, applied, this.together)
    this.batch = batch
    this.waits.write(
      () => this.still(generation, () => batch.run()),
      ran => {
        if (!ran.ok) return done(ran)
        this.batch = undefined
        this.keys += ran.value.keys
        this.bytes += ran.value.bytes
        done(nothing)
      },
    )
  }

  load(changes: readonly Change[], done: Done): void {
    assert(
      this.filling && !this.updating && this.idle === undefined,
      'only an engine that was emptied for it is filled',
    )
    this.updating = true
    this.write(changes, undefined, ran => {
      this.updating = false
      done(ran.ok ? undefined : ran.error)
    })
  }

  get checkpointing(): boolean {
    return this.idle !== undefined
  }

  get uncheckpointedBytes(): number {
    return this.bytesSince
  }

  whenIdle(run: () => void): void {
    if (this.idle === undefined) run()
    else this.idle.push(run)
  }

  checkpoint(note: Uint8Array, logDurable: (done: Done) => void, done: Done): void {
    if (this.failure !== undefined) return done(this.failure)
    assert(!this.updating && !this.checkpointing, 'a checkpoint in the middle of an update, or of another one')
    this.writingNote = true
    this.idle = []
    const { generation } = this
    const batch = this.tree.batch([{ key: noteKey, value: note }])
    this.batch = batch
    const end: Done = error => {
      // Of a state that was given up nobody needs a checkpoint: no failure of the file.
      if (error !== givenUp.error) this.failure ??= error
      const { idle } = this
      this.idle = undefined
      done(error)
      for (const run of idle ?? []) run()
    }
    this.waits.write(
      () => this.still(generation, () => batch.run()),
      ran => {
        if (!ran.ok) return end(ran.error)
        this.batch = undefined
        this.writingNote = false
        const { keys, bytes, applied } = this
        const meta = encodeMeta({ root: this.tree.root, applied, keys, bytes })
        this.bytesSince = 0
        this.pool.beginCheckpoint()
        this.store.beginCheckpoint()
        const { deferred } = this
        this.deferred = undefined
        this.waits.resume()
        deferred?.(true)
        this.writeClosing(() => {
          logDurable(error => {
            if (error !== undefined) end(error)
            else this.store.finishCheckpoint(meta, end)
          })
        })
      },
    )
  }

  compact(checkpoint: (done: Done) => void, done: Completion<Compacted>): void {
    compact(this.store, { checkpoint }, done)
  }

  reset(toBeFilled = false): void {
    this.generation++
    this.filling = toBeFilled
    this.updating = false
    this.writingNote = false
    const { deferred } = this
    this.deferred = undefined
    deferred?.(false)
    this.batch?.abandon()
    this.batch = undefined
    this.pool.beginChange()
    this.pool.show(false)
    this.pool.clear()
    this.store.clear()
    this.tree = new BTree({ pool: this.pool, source: this.store, root: undefined })
    this.view = viewOf(this.tree)
    this.appliedIndex = index(0)
    this.keys = 0
    this.bytes = 0
    this.waits.restart(this.tree)
  }

  show(ready: boolean): void {
    this.pool.show(ready && !this.filling)
  }

  close(): void {
    this.waits.close(new HarmonyError('CLOSED', 'the database was closed before a state was there to be read'))
    this.together?.close()
    this.pool.close()
  }

  status(): EngineStatus {
    const { hits, misses, evictions, writeBacks, frames, resident, dirty } = this.pool.status()
    const { pageBytes } = this.pool
    const filters = this.tree.filterStatus()
    const { fileBytes, usedBytes, checkpoint, bytesWritten } = this.store.stats
    const cache = {
      bytesMax: frames * pageBytes,
      bytes: resident * pageBytes,
      dirtyBytes: dirty * pageBytes,
      hits,
      misses,
      evictions,
      writeBacks,
      filterBytes: filters?.bytes ?? 0,
      readsSpared: filters?.spared ?? 0,
      falsePositives: filters?.falsePositives ?? 0,
    }
    const pages = { pageBytes, fileBytes, usedBytes, bytesWritten, checkpoints: checkpoint }
    const writers = this.together?.status ?? noHelp
    const { states, pages: kept } = this.tree.held
    const held = { states, bytes: kept * pageBytes }
    return { keys: this.keys, bytes: this.bytes, cache, pages, writers, held }
  }

  /** What was begun over a state that was emptied since must not touch the tree again. */
  private still<T>(generation: number, run: () => T): T {
    if (generation !== this.generation) throw givenUp.error
    return run()
  }

  private takeSnapshot(): EngineSnapshot {
    const { generation, applied } = this
    const snapshot = this.tree.snapshot()
    const view = viewOf(snapshot)
    let released = false
    const standing = (): ReturnType<EngineSnapshot['standing']> =>
      generation !== this.generation ? 'gone' : applied === this.applied ? 'present' : 'past'
    return {
      applied,
      standing,
      peek: operation => (generation === this.generation && !released ? this.peekAt(view, operation) : undefined),
      read: (operation, done) => {
        assert(!released, 'a released snapshot is read')
        this.waits.read(() => {
          if (generation === this.generation && !released) return operation(view)
          const message =
            'the state that was read here is gone: this peer has given up its own history for another one, or has closed'
          throw new HarmonyError('SNAPSHOT_TOO_OLD', message)
        }, done)
      },
      release: () => {
        if (released) return
        released = true
        if (generation === this.generation) snapshot.release()
      },
    }
  }

  private writeClosing(then: () => void): void {
    const until = this.clock.now() + sliceMs
    let pages = 0
    let left = this.pool.writeSome(8)
    while (left > 0 && this.clock.now() < until && pages < slicePagesMax) {
      left = this.pool.writeSome(8)
      pages += 8
    }
    if (left === 0) then()
    else this.clock.after(0, () => this.writeClosing(then))
  }
}

const noHelp = { threads: 0, changes: 0 }

const nothing = { ok: true, value: undefined } as const

const givenUp = {
  ok: false,
  error: new HarmonyError('CLOSED', 'the state was emptied before this came to its end'),
} as const

/** Everything but the note. */
const viewOf = (tree: TreeReader): View => ({
  get: key => tree.get(key),
  find: key => tree.find(key),
  scan: (from, to, reverse, visit) => tree.scan(from === undefined ? firstKey : from, to, reverse, visit),
})

function encodeMeta({ root, applied, keys, bytes }: Meta): Uint8Array {
  return new ByteWriter(32).u8(metaVersion).u32(root).u64(applied).u64(keys).u64(bytes).finish()
}

/** Total. */
export function decodeMeta(from: Uint8Array): Result<Meta> {
  const reader = new ByteReader(from)
  const version = reader.u8()
  if (version > metaVersion && !reader.failed) {
    const message = `the checkpoint has format ${version}, this program knows formats up to ${metaVersion}: open it with a newer HarmonyDB`
    return { ok: false, error: new HarmonyError('VERSION_MISMATCH', message) }
  }
  const root = reader.u32() as PageId
  const applied = index(reader.u64())
  const keys = reader.u64()
  const bytes = reader.u64()
  if (reader.done() && version === metaVersion && root > 0) return { ok: true, value: { root, applied, keys, bytes } }
  const error = new HarmonyError('CORRUPT', 'the meta data of the checkpoint are malformed: restore from a backup')
  return { ok: false, error }
}
