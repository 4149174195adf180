/**
 * The buffer pool: a fixed number of frames, each of which holds one page in memory. No object per frame, no garbage: frames, header
 * words and the page table are typed arrays over one piece of memory, a SharedArrayBuffer where the host allows one, so that other
 * threads can read what is here.
 *
 * Whoever wants a page calls `frameOf`. A page that is not here is read at once where the file answers at once; otherwise `frameOf` throws
 * the pool's `miss`, and the driver of the operation calls `load(miss.page)` and runs the operation again from its beginning.
 * What must not go away between two steps is pinned; pins belong to operations.
 *
 * Invariants
 *  - A page is in at most one frame. A frame that is pinned is never given to another page.
 *  - A dirty frame's content exists nowhere else: it is handed to the source before the frame is given away.
 *  - Never more frames than at the start: this is the hard limit of memory.
 *  - Checkpoint: `beginCheckpoint` marks what is dirty as of the closing epoch. A marked frame is written out, to the closing epoch, before
 *    its content changes or its frame is given away, or by `writeSome`. So the closing epoch is the state as it was at the mark, without a
 *    copy of any frame, and updates go on.
 *
 * The layout of the memory, and what of it readers in other threads may believe, stands in `pool-memory.ts`. Flags of a frame: 1 dirty, 2 closing.
 */
import { assert } from '../base/assert.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Done } from '../platform.ts'
import type { PageId, PageSource } from './page-source.ts'
import { PageTable } from './page-table.ts'
import {
  appliedHighWord,
  appliedLowWord,
  flagsWord,
  pageWord,
  pinsWord,
  poolMemory,
  rootWord,
  type SharedPool,
  sequenceWord,
  slotsInUseWord,
  slotWords,
  stateClosed,
  stateReady,
  stateUnready,
  stateWord,
  tableSequenceWord,
  versionWord,
  headerWords as words,
} from './pool-memory.ts'
import { createReplacement, type PolicyName, type Replacement } from './replacement.ts'

export interface BufferPoolOptions {
  readonly source: PageSource
  /** At least `framesMin`. */
  readonly frames: number
  readonly policy?: PolicyName
  /** Memory that other threads can map; the caller knows whether the host allows it. */
  readonly shared?: boolean
}

export interface PoolStatus {
  readonly frames: number
  readonly resident: number
  readonly dirty: number
  readonly hits: number
  readonly misses: number
  readonly evictions: number
  readonly writeBacks: number
}

/** What is thrown out of an operation that needs a page which is not here. One object, made once. */
export class PageMiss {
  page = 0 as PageId
}

/** Deep trees, a split on every level and a neighbour each. */
export const framesMin = 16

const dirty = 1
const closing = 2

export class BufferPool {
  readonly miss = new PageMiss()
  readonly pageBytes: number
  readonly frames: number
  /** All frames, one after the other. */
  readonly arena: Uint8Array
  /** What other threads need to read here; undefined where the memory is this thread's alone. */
  readonly shared: SharedPool | undefined
  private readonly header: Int32Array
  private readonly control: Int32Array
  private readonly slots: Int32Array
  private readonly table: PageTable
  private readonly source: PageSource
  private readonly replacement: Replacement
  private readonly views: Uint8Array[] = []
  private free: number[] = []
  private readonly loading = new Map<PageId, Done[]>()
  /** Set while nobody may wait: what is not here is a miss at once, and is not asked for. */
  peeking = false
  /** A batch of changes is in the tree half done, as far as other threads are told. */
  private changing = false
  /** True once a page had to be waited for. Where that never happens, nobody needs to look ahead for what an operation will touch. */
  waits = false
  /** Told of a page before its frame is given to another one: its last moment in memory. */
  onEvict: ((page: PageId, frame: number) => void) | undefined
  /** Frames of the closing epoch that are not written yet. */
  private readonly unwritten = new Set<number>()
  private dirtyCount = 0
  private readonly counts = { hits: 0, misses: 0, evictions: 0, writeBacks: 0 }

  constructor({ source, frames, policy = 'clock', shared = false }: BufferPoolOptions) {
    assert(frames >= framesMin, `a pool has at least ${framesMin} frames, not ${frames}`)
    this.source = source
    this.pageBytes = source.pageBytes
    this.frames = frames
    const { arena, header, used, control, slots, memory, tableOffset } = poolMemory(
      frames,
      source.pageBytes,
      shared ? 'shared' : 'own',
    )
    this.arena = arena
    this.header = header
    this.control = control
    this.slots = slots
    this.shared = shared ? { memory: memory as SharedArrayBuffer, frames, pageBytes: source.pageBytes } : undefined
    this.table = new PageTable(frames, memory, tableOffset)
    this.replacement = createReplacement(policy, used)
    for (let at = versionWord; at < header.length; at += words) header[at] = 1
    for (let frame = frames - 1; frame >= 0; frame--) this.free.push(frame)
    for (let frame = 0; frame < frames; frame++) {
      this.views.push(this.arena.subarray(frame * this.pageBytes, (frame + 1) * this.pageBytes))
    }
  }

  /** The bytes of a frame: valid until the frame is given away, so not beyond the step that asked, unless it is pinned. */
  bytes(frame: number): Uint8Array {
    return this.views[frame] as Uint8Array
  }

  /** -1 where the page is not here; counts nothing. */
  find(page: PageId): number {
    return this.table.find(page)
  }

  /**
   * @throws PageMiss (this pool's `miss`) where the page has to be waited for.
   * @throws HarmonyError of the source where reading it failed at once.
   */
  frameOf(page: PageId): number {
    const frame = this.table.find(page)
    if (frame >= 0) {
      this.counts.hits++
      this.replacement.touched(frame)
      return frame
    }
    if (this.peeking) throw this.miss
    let failure: HarmonyError | undefined
    this.load(page, error => {
      failure = error
    })
    if (failure !== undefined) throw failure
    const loaded = this.table.find(page)
    if (loaded >= 0) return loaded
    this.waits = true
    this.miss.page = page
    throw this.miss
  }

  /** Brings a page in. Completes at once where it is here, or where the file answers at once. */
  load(page: PageId, done: Done): void {
    if (this.table.find(page) >= 0) return done(undefined)
    const waiting = this.loading.get(page)
    if (waiting !== undefined) {
      waiting.push(done)
      return
    }
    this.counts.misses++
    const frame = this.take()
    if (frame === -1) return done(exhausted(this.frames))
    // Nobody else gets the frame meanwhile.
    this.header[frame * words + pinsWord] = 1
    const dones = [done]
    this.loading.set(page, dones)
    this.source.read(page, this.bytes(frame), error => {
      this.header[frame * words + pinsWord] = 0
      if (this.loading.get(page) === dones) {
        this.loading.delete(page)
        if (error === undefined) this.settle(frame, page)
        else this.free.push(frame)
        for (const waiter of dones) waiter(error)
      } else {
        // Discarded meanwhile: who waited looks for what it wants anew.
        this.free.push(frame)
        for (const waiter of dones) waiter(undefined)
      }
    })
  }

  /** Begins to bring pages in that will be wanted soon, where that takes time; what becomes of it shows when they are asked for. */
  prefetch(page: PageId): void {
    if (this.waits && this.table.find(page) < 0 && this.loading.size < this.frames >>> 4) this.load(page, () => {})
  }

  /** A new page, all zeros, dirty. @throws HarmonyError where every frame is in use. */
  create(page: PageId): number {
    const frame = this.take()
    if (frame === -1) throw exhausted(this.frames)
    this.bytes(frame).fill(0)
    this.settle(frame, page)
    this.setDirty(frame)
    return frame
  }

  /**
   * The page is gone for good: what it held need not be written, unless the closing epoch has it. A frame that is pinned keeps the bytes
   * until it is not, but is no page's any more; a read under way comes to nothing.
   */
  discard(page: PageId): void {
    this.loading.delete(page)
    const frame = this.table.find(page)
    if (frame === -1) return
    this.writeClosing(frame)
    this.setClean(frame)
    this.empty(frame)
    if (this.header[frame * words + pinsWord] === 0) this.free.push(frame)
  }

  /** Discards every page; what is being read comes to nothing. */
  clear(): void {
    this.loading.clear()
    for (let frame = 0; frame < this.frames; frame++) {
      const page = this.pageIn(frame)
      if (page !== 0) this.discard(page)
    }
  }

  pin(frame: number): void {
    const at = frame * words + pinsWord
    this.header[at] = (this.header[at] as number) + 1
  }

  unpin(frame: number): void {
    const at = frame * words + pinsWord
    assert((this.header[at] as number) > 0, `frame ${frame} is not pinned`)
    const pins = (this.header[at] as number) - 1
    this.header[at] = pins
    if (pins === 0 && this.header[frame * words + pageWord] === 0) this.free.push(frame)
  }

  /** Before the first change of a frame's content by an operation; `endWrite` after the last. */
  beginWrite(frame: number): void {
    this.writeClosing(frame)
    this.setDirty(frame)
    this.beginChange()
    Atomics.add(this.header, frame * words + versionWord, 1)
  }

  endWrite(frame: number): void {
    Atomics.add(this.header, frame * words + versionWord, 1)
  }

  /** A frame of a page that another thread may make (`tree-section.ts`): odd and pinned, neither dirty nor clean, until `takeBack`. */
  lend(page: PageId): number {
    const frame = this.take()
    assert(frame !== -1, 'frames that are lent are reserved before')
    this.settle(frame, page)
    this.pin(frame)
    Atomics.add(this.header, frame * words + versionWord, 1)
    return frame
  }

  /** The frame's page: made, and even by now, or still odd, and given up. */
  takeBack(frame: number, made: boolean): PageId {
    const page = this.pageIn(frame)
    if (!made) Atomics.add(this.header, frame * words + versionWord, 1)
    this.unpin(frame)
    if (made) this.setDirty(frame)
    else this.discard(page)
    return page
  }

  /** Another thread changed the frame's page, which the closing epoch does not need any more. */
  changedElsewhere(frame: number): PageId {
    this.setDirty(frame)
    return this.pageIn(frame)
  }

  /** Before the first change of a batch (`beginWrite` does it): until `endChange` readers in other threads believe nothing that they see. */
  beginChange(): void {
    if (this.shared === undefined || this.changing) return
    this.changing = true
    Atomics.add(this.control, sequenceWord, 1)
    this.tellReaders()
  }

  /** The tree is as it should be after `applied` (undefined: as before). Without `beginChange` there was nothing but these two to change. */
  endChange(root: PageId, applied: number | undefined): void {
    if (this.shared === undefined) return
    this.beginChange()
    this.control[rootWord] = root
    if (applied !== undefined) {
      this.control[appliedLowWord] = applied
      this.control[appliedHighWord] = applied / 2 ** 32
    }
    this.changing = false
    Atomics.add(this.control, sequenceWord, 1)
  }

  /** May readers in other threads show this to whoever asks for whatever there is? */
  show(ready: boolean): void {
    const state = ready ? stateReady : stateUnready
    if (this.shared === undefined || this.control[stateWord] === stateClosed) return
    if (this.control[stateWord] !== state) Atomics.store(this.control, stateWord, state)
  }

  /** Readers in other threads hear that there is nothing to read any more. */
  close(): void {
    Atomics.store(this.control, stateWord, stateClosed)
  }

  /** Makes sure that so many frames can be taken without a write-back, before a mutation begins. False: too few can ever be. */
  reserve(count: number): boolean {
    while (this.free.length < count) {
      const frame = this.evict()
      if (frame === -1) return false
      this.free.push(frame)
    }
    return true
  }

  /** What is dirty now belongs to the closing epoch. Returns how many frames that are. */
  beginCheckpoint(): number {
    assert(this.unwritten.size === 0, 'a checkpoint begins before the last one is written')
    for (let frame = 0; frame < this.frames; frame++) {
      const at = frame * words + flagsWord
      if (((this.header[at] as number) & dirty) === 0) continue
      this.header[at] = dirty | closing
      this.unwritten.add(frame)
    }
    return this.unwritten.size
  }

  /** Writes up to so many frames of the closing epoch; returns how many are left. */
  writeSome(count: number): number {
    let left = count
    for (const frame of this.unwritten) {
      if (left-- === 0) break
      this.writeClosing(frame)
    }
    return this.unwritten.size
  }

  status(): PoolStatus {
    const resident = this.frames - this.free.length - this.loading.size
    return { frames: this.frames, resident, dirty: this.dirtyCount, ...this.counts }
  }

  private settle(frame: number, page: PageId): void {
    this.header[frame * words + pageWord] = page
    Atomics.add(this.header, frame * words + versionWord, 1)
    this.table.insert(page, frame)
    this.replacement.admitted(frame, page)
  }

  /** A frame that belongs to nobody any more, or -1. */
  private take(): number {
    const frame = this.free.pop()
    return frame === undefined ? this.evict() : frame
  }

  private readonly mayGo = (frame: number): boolean => {
    const at = frame * words
    return this.header[at + pageWord] !== 0 && this.header[at + pinsWord] === 0
  }

  private evict(): number {
    const frame = this.replacement.victim(this.mayGo)
    if (frame === -1) return -1
    this.onEvict?.(this.pageIn(frame), frame)
    this.writeClosing(frame)
    if (this.isDirty(frame)) {
      this.source.write(this.pageIn(frame), this.bytes(frame), 'current')
      this.counts.writeBacks++
      this.setClean(frame)
    }
    this.empty(frame)
    this.counts.evictions++
    return frame
  }

  /** The frame is not the closing epoch's any more: what that needs is written. It is clean then. */
  private writeClosing(frame: number): void {
    if (!this.unwritten.delete(frame)) return
    this.source.write(this.pageIn(frame), this.bytes(frame), 'closing')
    this.counts.writeBacks++
    this.setClean(frame)
  }

  private empty(frame: number): void {
    const page = this.pageIn(frame)
    // Odd until the frame is the next page's: who looked it up before must not believe what is there from now on.
    Atomics.add(this.header, frame * words + versionWord, 1)
    if (this.shared === undefined) {
      this.header[frame * words + pageWord] = 0
      this.table.delete(page)
    } else {
      this.tellReaders()
      this.header[frame * words + pageWord] = 0
      Atomics.add(this.control, tableSequenceWord, 1)
      this.table.delete(page)
      Atomics.add(this.control, tableSequenceWord, 1)
    }
    this.replacement.removed(frame, page)
  }

  /** After the sequence or a version says so, and before anything is changed that a reader may have begun to read. */
  private tellReaders(): void {
    const count = Atomics.load(this.control, slotsInUseWord)
    for (let slot = 0; slot < count; slot++) Atomics.add(this.slots, slot * slotWords, 1)
  }

  private pageIn(frame: number): PageId {
    return ((this.header[frame * words + pageWord] as number) >>> 0) as PageId
  }

  private isDirty(frame: number): boolean {
    return ((this.header[frame * words + flagsWord] as number) & dirty) !== 0
  }

  private setDirty(frame: number): void {
    if (this.isDirty(frame)) return
    this.header[frame * words + flagsWord] = dirty
    this.dirtyCount++
  }

  private setClean(frame: number): void {
    if (!this.isDirty(frame)) return
    this.header[frame * words + flagsWord] = 0
    this.dirtyCount--
  }
}

export function exhausted(frames: number): HarmonyError {
  const message = `all ${frames} frames of the cache are in use by operations under way: open the database with a larger cacheBytes`
  return new HarmonyError('TOO_LARGE', message)
}
