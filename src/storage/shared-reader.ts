/**
 * Reads the tree in a shared pool from any thread, while its owner changes it. Nothing is written there but versions, unchanged, and the
 * marks for the clock; so a thread that dies in the middle harms nobody, and the owner never waits for one.
 *
 * An operation reads optimistically and is run again where something came between. Every frame that it reads goes into its read set with the version
 * that the frame had before the first byte was read. At the end
 *   1  the sequence of changes must be even: no batch is half done;
 *   2  every frame of the set must still have its version. This look is a read-modify-write: plain reads may pass an atomic read (ARM), but not one
 *      that writes; and a writer, which begins by changing the same word, cannot have begun before reads that this look comes after;
 *   3  the sequence must still be what it was in 1.
 * So at the moment of 1 all of these pages were as they were read, between two batches: the operation saw one state, that after `applied`.
 *
 * That look costs more the more threads look at the same frames: each takes the word away from the others. So there is a shorter way: the reader
 * has a slot, a word that the owner changes after it has made the sequence or a version odd and before it changes anything. A slot that still is, read and
 * written in one step, what it was before the sequence was found even: nothing that was read has begun to change.
 *
 * Until then bytes may be rubbish, half of one page and half of another. What is taken from them is used as follows:
 *  - Offsets, lengths and counts have 16 bits; wherever they lead lies inside of the memory (`slackBytes` in `pool-memory.ts`). Loops end: a search
 *    halves at most 65,536 slots, the way down has `levelsMax` levels, a scan looks at the version before each entry.
 *  - A page number is looked up in the table, in a bounded number of steps; a frame is a frame.
 *  - The length of a long value is checked against the size of the cache before memory is taken for it, and every page of its chain must be as full as it has to be.
 *  - Whatever is thrown counts only if the read set still holds. So the operation's own function must bear rubbish in one way: by returning or throwing.
 *
 * A page that is not in memory is the owner's to bring: `miss`. After so many attempts in vain: `busy`.
 */
import { assert } from '../base/assert.ts'
import { compareBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Row, View, Visit } from './engine.ts'
import { firstKey } from './note-key.ts'
import { corrupt, kindData, kindIndex } from './overflow.ts'
import { kindBranch, kindLeaf, Pages, type RestOrder } from './page.ts'
import type { PageId } from './page-source.ts'
import { PageTable } from './page-table.ts'
import {
  appliedHighWord,
  appliedLowWord,
  pageWord,
  poolMemory,
  rootWord,
  type SharedPool,
  sequenceWord,
  slotsInUseWord,
  slotsMax,
  slotWords,
  stateClosed,
  stateReady,
  stateWord,
  tableSequenceWord,
  versionWord,
  headerWords as words,
} from './pool-memory.ts'
import { levelsMax } from './tree-core.ts'
import { TreeRow } from './tree-row.ts'

export type SharedAnswer<T> =
  | { readonly state: 'read'; readonly value: T; readonly applied: number }
  /** `miss`: something is not in memory. `busy`: changes came in between again and again. `unready`: only where `readyOnly` is asked for. */
  | { readonly state: 'miss' | 'busy' | 'unready' | 'closed' }

export interface SharedReaderOptions {
  /** How often an operation is begun. */
  readonly attemptsMax: number
  /** This thread may sleep for a moment between attempts: never the one of a page. */
  readonly maySleep: boolean
  /** Reads nothing that its owner would not answer a `local` read from. */
  readonly readyOnly?: boolean
  /** Below `slotsMax`; best one of its own. Default: 0. */
  readonly slot?: number
}

export interface SharedReaderCounts {
  reads: number
  restarts: number
  misses: number
  busy: number
}

const conflict = { conflict: true }
/** More than a page can hold. */
const rubbish = new HarmonyError('CORRUPT', 'a page in memory is damaged: close the database and open it again')
const miss = { miss: true }
const answers = {
  miss: { state: 'miss' },
  busy: { state: 'busy' },
  unready: { state: 'unready' },
  closed: { state: 'closed' },
} as const

/** At a sequence that is odd, before an attempt is given up. */
const looksMax = 200
const chainHeaderBytes = 8

export class SharedTreeReader implements View, RestOrder {
  readonly counts: SharedReaderCounts = { reads: 0, restarts: 0, misses: 0, busy: 0 }
  private readonly options: SharedReaderOptions
  private readonly pages: Pages
  private readonly header: Int32Array
  private readonly control: Int32Array
  private readonly slots: Int32Array
  private readonly slotAt: number
  private slotBefore = 0
  private readonly used: Uint8Array
  private readonly table: PageTable
  private readonly frames: number
  private readonly pageBytes: number
  /** Number of the attempt in which a frame came into the read set, and the version that it had. */
  private readonly seenIn: Int32Array
  private readonly seen: Int32Array
  private readonly readSet: Int32Array
  private readCount = 0
  private root = 0
  private applied = 0
  private attempt = 0
  private readonly sleeper = new Int32Array(new SharedArrayBuffer(4))
  private readonly row: TreeRow

  constructor({ memory, frames, pageBytes }: SharedPool, options: SharedReaderOptions) {
    const { header, control, slots, used, tableOffset } = poolMemory(frames, pageBytes, memory)
    // Over all of the memory: offsets of a torn page lead behind the arena.
    this.pages = new Pages(new Uint8Array(memory), pageBytes)
    this.row = new TreeRow(this.pages, {
      keyAt: (base, slot) => this.keyAt(base, slot),
      valueAt: (base, slot) => this.valueAt(base, slot),
    })
    this.header = header
    this.control = control
    this.used = used
    this.table = new PageTable(frames, memory, tableOffset)
    this.frames = frames
    this.pageBytes = pageBytes
    this.options = options
    this.seenIn = new Int32Array(frames)
    this.seen = new Int32Array(frames)
    this.readSet = new Int32Array(frames)
    const { slot = 0 } = options
    assert(slot < slotsMax, 'no such slot')
    this.slots = slots
    this.slotAt = slot * slotWords
    for (let used = 0; used <= slot; ) used = Atomics.compareExchange(control, slotsInUseWord, used, slot + 1)
  }

  /**
   * Runs `operation` over one state of the tree, that after `appliedMin` or later. It may be run several times, over rubbish too (see above); what
   * it returns or throws counts once.
   */
  read<T>(operation: (view: View) => T, appliedMin = 0): SharedAnswer<T> {
    const { control, counts } = this
    for (let tried = 0; tried < this.options.attemptsMax; tried++) {
      if (tried > 0) this.pause(tried)
      if (!this.begin()) continue
      const state = Atomics.load(control, stateWord)
      if (state === stateClosed) return answers.closed
      if (this.options.readyOnly === true && state !== stateReady) return answers.unready
      let value: T
      try {
        value = operation(this)
      } catch (error) {
        if (error !== conflict && this.isOneState()) {
          if (error !== miss) throw error
          counts.misses++
          return answers.miss
        }
        counts.restarts++
        continue
      }
      if (this.isOneState()) {
        // The owner began anew: what the caller knew of is gone.
        if (this.applied < appliedMin) break
        counts.reads++
        return { state: 'read', value, applied: this.applied }
      }
      counts.restarts++
    }
    counts.busy++
    return answers.busy
  }

  /** Within `read`. */
  get(key: Uint8Array): Uint8Array | undefined {
    const row = this.find(key)
    if (row === undefined) return undefined
    return row.value.slice(row.valueFrom, row.valueTo)
  }

  /** Within `read`. */
  find(key: Uint8Array): Row | undefined {
    const base = this.leafFor(key, false)
    const slot = this.pages.search(base, key, this)
    if (slot < 0) return undefined
    this.checkCell(this.pages.cell(base, slot))
    return this.row.found(base, slot, key)
  }

  /** Within `read`; as `View.scan`. */
  scan(from: Uint8Array | undefined, to: Uint8Array | undefined, reverse: boolean, visit: Visit): void {
    const { pages } = this
    const start = from ?? firstKey
    let base = this.leafFor(reverse ? to : start, reverse)
    for (let leaves = 0; leaves <= this.frames; leaves++) {
      const begun = leaves > 0
      const count = pages.count(base)
      if (count > pages.pageBytes >> 1) throw rubbish
      const near = begun ? (reverse ? count : 0) : this.lowerBound(base, reverse ? to : start)
      const far = this.lowerBound(base, reverse ? start : to)
      this.row.enter(base)
      let next: PageId
      if (reverse) {
        for (let slot = near - 1; slot >= far; slot--) if (!this.visitSlot(base, slot, visit)) return
        if (far > 0) return
        next = pages.left(base)
      } else {
        for (let slot = near; slot < far; slot++) if (!this.visitSlot(base, slot, visit)) return
        if (far < count) return
        next = pages.right(base)
      }
      this.check(base)
      if (next === 0) return
      base = this.open(next)
      if (pages.kind(base) !== kindLeaf) throw corrupt(next)
    }
    throw corrupt(this.root as PageId)
  }

  /** Of a long key's rest, for `Pages.search`. */
  compareRest(
    base: number,
    key: Uint8Array,
    from: number,
    restBytes: number,
    valueBytes: number,
    chain: PageId,
  ): number {
    this.check(base)
    return compareBytes(key.subarray(from), this.readChain(chain, restBytes + valueBytes, restBytes))
  }

  /** False: changes are under way. */
  private begin(): boolean {
    const { control } = this
    this.slotBefore = Atomics.load(this.slots, this.slotAt)
    for (let looks = 0; (Atomics.load(control, sequenceWord) & 1) !== 0; looks++) if (looks === looksMax) return false
    if (this.attempt === 0x7fff_ffff) {
      this.attempt = 0
      this.seenIn.fill(0)
    }
    this.attempt++
    this.readCount = 0
    this.readState()
    return true
  }

  private readState(): void {
    const { control } = this
    this.root = Atomics.load(control, rootWord) >>> 0
    const low = Atomics.load(control, appliedLowWord) >>> 0
    this.applied = (Atomics.load(control, appliedHighWord) >>> 0) * 2 ** 32 + low
  }

  /** Did what was read belong to one state? Then `applied` says which. */
  private isOneState(): boolean {
    const { control, header, readSet, seen, root } = this
    if (Atomics.add(this.slots, this.slotAt, 0) === this.slotBefore) return true
    const sequence = Atomics.load(control, sequenceWord)
    if ((sequence & 1) !== 0) return false
    this.readState()
    if (this.root !== root) return false
    for (let i = 0; i < this.readCount; i++) {
      const frame = readSet[i]!
      if (Atomics.add(header, frame * words + versionWord, 0) !== seen[frame]) return false
    }
    return Atomics.load(control, sequenceWord) === sequence
  }

  /** Others get a chance to end what they do. */
  private pause(tried: number): void {
    if (this.options.maySleep && tried > 3) Atomics.wait(this.sleeper, 0, 0, Math.min(2, 0.01 * 2 ** tried))
  }

  /** Offset of the page in the arena; it belongs to the read set from now on. */
  private open(page: PageId): number {
    const { header } = this
    const frame = this.frameOf(page)
    const version = Atomics.load(header, frame * words + versionWord)
    if ((version & 1) !== 0 || Atomics.load(header, frame * words + pageWord) >>> 0 !== page) throw conflict
    if (this.seenIn[frame] === this.attempt) {
      if (this.seen[frame] !== version) throw conflict
    } else {
      this.seenIn[frame] = this.attempt
      this.seen[frame] = version
      this.readSet[this.readCount++] = frame
      if (this.used[frame] === 0) this.used[frame] = 1
    }
    return frame * this.pageBytes
  }

  private frameOf(page: PageId): number {
    const sequence = Atomics.load(this.control, tableSequenceWord)
    const frame = this.table.findBounded(page)
    if (frame >= 0 && frame < this.frames) return frame
    // While entries move, one may be passed by.
    if ((sequence & 1) !== 0 || Atomics.load(this.control, tableSequenceWord) !== sequence) throw conflict
    throw miss
  }

  /** Ends an attempt early that is lost already. What it does not see, the look at the end does. */
  private check(base: number): void {
    const frame = base / this.pageBytes
    if (Atomics.load(this.header, frame * words + versionWord) !== this.seen[frame]) throw conflict
  }

  private leafFor(key: Uint8Array | undefined, last: boolean): number {
    const { pages } = this
    let page = this.root as PageId
    for (let level = 0; level < levelsMax; level++) {
      const base = this.open(page)
      const kind = pages.kind(base)
      if (kind === kindLeaf) return base
      if (kind !== kindBranch) throw corrupt(page)
      if (key !== undefined) page = pages.child(base, pages.childPosition(base, key, this))
      else page = pages.child(base, last ? pages.count(base) - 1 : -1)
      this.check(base)
    }
    throw corrupt(page)
  }

  /** First slot that is not below the key; without a key behind the last, or 0: where a scan that way begins or ends. */
  private lowerBound(base: number, key: Uint8Array | undefined): number {
    if (key === undefined) return this.pages.count(base)
    const slot = this.pages.search(base, key, this)
    return slot < 0 ? ~slot : slot
  }

  private visitSlot(base: number, slot: number, visit: Visit): boolean {
    this.checkCell(this.pages.cell(base, slot))
    const row = this.row.at(slot)
    this.check(base)
    return visit(row)
  }

  /** To copy 64 KiB for each slot of a torn page would take seconds. */
  private checkCell(cell: number): void {
    const { pages } = this
    if (!pages.isLong(cell) && pages.inlineValue(cell) - cell + pages.valueBytes(cell) > pages.pageBytes) throw rubbish
  }

  /** Of a row whose key or value goes on in a chain: all of it. */
  private keyAt(base: number, slot: number): Uint8Array {
    const { pages } = this
    const cell = pages.cell(base, slot)
    const local = pages.localBytes(base, cell)
    const restBytes = pages.restBytes(base, cell)
    const valueBytes = pages.valueBytes(cell)
    const chain = pages.chain(cell)
    this.check(base)
    const key = new Uint8Array(local + restBytes)
    pages.copyLocal(base, cell, key, 0)
    if (restBytes > 0) key.set(this.readChain(chain, restBytes + valueBytes, restBytes), local)
    return key
  }

  private valueAt(base: number, slot: number): Uint8Array {
    const { pages } = this
    const cell = pages.cell(base, slot)
    const length = pages.valueBytes(cell)
    const restBytes = pages.restBytes(base, cell)
    const chain = pages.chain(cell)
    this.check(base)
    return this.readChain(chain, restBytes + length, restBytes + length).subarray(restBytes)
  }

  /** The first `wanted` of the chain's `total` bytes. */
  private readChain(first: PageId, total: number, wanted: number): Uint8Array {
    const { bytes, view } = this.pages
    const dataBytes = this.pageBytes - chainHeaderBytes
    if (total > this.frames * dataBytes) throw miss
    const into = new Uint8Array(wanted)
    const copy = (page: PageId, at: number): void => {
      const base = this.open(page)
      if (bytes[base] !== kindData || view.getUint32(base + 4, true) !== Math.min(dataBytes, total - at))
        throw corrupt(page)
      const length = Math.min(dataBytes, wanted - at)
      into.set(bytes.subarray(base + chainHeaderBytes, base + chainHeaderBytes + length), at)
      this.check(base)
    }
    if (total <= dataBytes) {
      if (wanted > 0) copy(first, 0)
      return into
    }
    let page = first
    for (let at = 0; at < wanted; ) {
      const base = this.open(page)
      const count = view.getUint16(base + 2, true)
      const next = view.getUint32(base + 4, true) as PageId
      if (bytes[base] !== kindIndex || count === 0 || count > dataBytes >>> 2) throw corrupt(page)
      for (let i = 0; i < count && at < wanted; i++, at += dataBytes) {
        copy(view.getUint32(base + chainHeaderBytes + 4 * i, true) as PageId, at)
      }
      this.check(base)
      page = next
    }
    return into
  }
}
