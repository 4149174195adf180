/**
 * The pages that one change of one writer among several has its hands on: each is latched, so that it is this thread's alone.
 *
 * The latch of a page is the version of its frame (`pool-memory.ts`): whoever makes an even version odd, in one step, has it, and letting go makes it
 * even again: another number where the page was changed, and the same as before where it was not, so that readers do not restart for it. Who finds it odd
 * looks again for a moment and then sleeps at that word.
 *
 * A thread that dies with a latch is found out by those who sleep there for ten seconds: they count how often they woke, not the time, so a program
 * that was stopped and goes on finds nobody dead. Nothing can be saved then: the section is poisoned, its owner fails with STORAGE_LOST and is opened anew.
 */

import type { ChangeHands } from './changed-tree.ts'
import { corrupt } from './overflow.ts'
import { kindBranch, kindLeaf, type Pages } from './page.ts'
import type { PageId } from './page-source.ts'
import { PageTable } from './page-table.ts'
import {
  pageWord,
  poolMemory,
  type SharedPool,
  slotsInUseWord,
  slotWords,
  versionWord,
  headerWords as words,
} from './pool-memory.ts'
import {
  asleepWord,
  markChanged,
  markDropped,
  markMade,
  reserveWord,
  type SectionMemory,
  type SharedSection,
  sectionMemory,
  sectionPoisoned,
  sectionStateWord,
} from './shared-section.ts'

/** Thrown before anything is changed. */
export const pageMissing = { missing: true }
export const reserveEmpty = { empty: true }
/** Somebody died with a latch, or failed: nothing is to be done any more. */
export const sectionLost = { lost: true }

const looksMax = 200
const sleepMs = 20
const sleepsMax = 500

export class LatchedPages implements ChangeHands {
  readonly arena: Uint8Array
  readonly pageBytes: number
  private readonly pages: Pages
  private readonly header: Int32Array
  private readonly poolControl: Int32Array
  private readonly slots: Int32Array
  private readonly table: PageTable
  private readonly section: SectionMemory
  private readonly shown: boolean
  private readonly frames: number[] = []
  private readonly edited: boolean[] = []
  /** Frames from the reserve that are this writer's, and no page's yet. */
  private readonly spare: number[] = []
  private told = false

  constructor(pages: Pages, pool: SharedPool, section: SharedSection) {
    const { arena, header, control, slots, memory, tableOffset } = poolMemory(pool.frames, pool.pageBytes, pool.memory)
    this.pages = pages
    this.arena = arena
    this.pageBytes = pool.pageBytes
    this.header = header
    this.poolControl = control
    this.slots = slots
    this.table = new PageTable(pool.frames, memory, tableOffset)
    this.section = sectionMemory(pool, section)
    this.shown = section.shown
  }

  /** @throws pageMissing, sectionLost, HarmonyError CORRUPT */
  hold(page: PageId): number {
    const frame = this.frameOf(page)
    if (this.frames.includes(frame)) return frame
    this.latch(frame)
    this.frames.push(frame)
    this.edited.push(false)
    const kind = this.pages.kind(frame * this.pageBytes)
    if (kind !== kindLeaf && kind !== kindBranch) throw corrupt(page)
    return frame
  }

  /** Lets go of all that was taken hold of but the newest. */
  letGoAbove(): void {
    const { frames, edited } = this
    const last = frames.length - 1
    for (let i = 0; i < last; i++) this.unlatch(frames[i]!, edited[i]!)
    frames[0] = frames[last]!
    edited[0] = edited[last]!
    frames.length = edited.length = 1
  }

  /** @throws reserveEmpty */
  reserve(made: number): void {
    const { reserve, control } = this.section
    while (this.spare.length < made) {
      if (Atomics.load(control, reserveWord) >= reserve.length) throw reserveEmpty
      const at = Atomics.add(control, reserveWord, 1)
      if (at >= reserve.length) throw reserveEmpty
      this.spare.push(reserve[at]!)
    }
  }

  edit(_: PageId, frame: number): void {
    const at = this.frames.indexOf(frame)
    if (this.edited[at]!) return
    this.tellReaders()
    this.edited[at] = true
    this.mark(frame, markChanged)
  }

  create(kind: number, level: number): { page: PageId; base: number } {
    const page = this.allocate()
    const frame = this.frameOf(page)
    this.frames.push(frame)
    this.edited.push(true)
    this.mark(frame, markMade)
    const base = frame * this.pageBytes
    this.pages.format(base, kind, level)
    return { page, base }
  }

  made(_: PageId): void {}

  drop(page: PageId): void {
    this.mark(this.frameOf(page), markDropped)
  }

  finish(): void {
    const { frames, edited } = this
    for (let i = 0; i < frames.length; i++) this.unlatch(frames[i]!, edited[i]!)
    frames.length = edited.length = 0
    this.told = false
  }

  /** All pages that the change will touch are latched by now. Only where readers may believe what they see meanwhile. */
  tellReaders(again = false): void {
    if (!this.shown || (this.told && !again)) return
    this.told = true
    const count = Atomics.load(this.poolControl, slotsInUseWord)
    for (let slot = 0; slot < count; slot++) Atomics.add(this.slots, slot * slotWords, 1)
  }

  /** The page of a chain that is being written: nobody sees it yet. */
  createData(page: PageId): number {
    const frame = this.frameOf(page)
    const base = frame * this.pageBytes
    this.arena.fill(0, base, base + this.pageBytes)
    this.mark(frame, markMade)
    Atomics.add(this.header, frame * words + versionWord, 1)
    return frame
  }

  discardData(page: PageId): void {
    const frame = this.frameOf(page)
    this.section.marks[frame] = 0
    Atomics.add(this.header, frame * words + versionWord, 1)
  }

  /** @throws reserveEmpty */
  allocate(): PageId {
    this.reserve(1)
    return (this.header[this.spare.pop()! * words + pageWord]! >>> 0) as PageId
  }

  free(page: PageId): void {
    this.spare.push(this.frameOf(page))
  }

  /** @throws pageMissing */
  frameOf(page: PageId): number {
    const frame = this.table.findBounded(page)
    if (frame < 0 || this.header[frame * words + pageWord]! >>> 0 !== page) throw pageMissing
    return frame
  }

  private mark(frame: number, mark: number): void {
    const { marks } = this.section
    marks[frame] = marks[frame]! | mark
  }

  private latch(frame: number): void {
    const { header } = this
    const { control } = this.section
    const at = frame * words + versionWord
    let before = 0
    for (let looks = 0, sleeps = 0; ; looks++) {
      const version = Atomics.load(header, at)
      if ((version & 1) === 0) {
        if (Atomics.compareExchange(header, at, version, version + 1) === version) return
        continue
      }
      if (looks < looksMax) continue
      if (Atomics.load(control, sectionStateWord) === sectionPoisoned) throw sectionLost
      sleeps = version === before ? sleeps + 1 : 0
      if (sleeps > sleepsMax) throw sectionLost
      before = version
      Atomics.add(control, asleepWord, 1)
      Atomics.wait(header, at, version, sleepMs)
      Atomics.sub(control, asleepWord, 1)
    }
  }

  private unlatch(frame: number, edited: boolean): void {
    const at = frame * words + versionWord
    if (edited) Atomics.add(this.header, at, 1)
    else Atomics.sub(this.header, at, 1)
    // Who goes to sleep from now on finds another version there, and does not.
    if (Atomics.load(this.section.control, asleepWord) > 0) Atomics.notify(this.header, at)
  }
}
