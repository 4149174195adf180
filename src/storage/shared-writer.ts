/**
 * Changes the tree in a shared pool from any thread that may sleep, together with others, while its owner has a section open (`tree-section.ts`).
 *
 *   coupled-change.ts   one change: exclusive latches from the root down, early release; why nobody waits in a circle
 *   latched-pages.ts    latches
 *   shared-section.ts   what writers share beside the pool
 *
 * A change is whole or not there. Readers in other threads (`shared-reader.ts`), where the section is `shown`, see each as one step: all pages that it
 * touches are odd at one moment, before the first is changed. Else they see none of them until the owner closes the section.
 *
 * What a writer cannot do, its owner does afterwards: `miss`, something is not in memory (or is damaged, which the owner finds and says); `full`, the
 * reserve has no frame left for a new page. Pages that go, and chains that nothing leads to any more, stay until the owner frees them. There is one rule for the
 * caller: two changes of one key are made in one thread, and after one that was declined the next is the owner's too.
 */
import { compareBytes } from '../base/bytes.ts'
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import type { ChangedTree } from './changed-tree.ts'
import { CoupledChange } from './coupled-change.ts'
import { LatchedPages, pageMissing, reserveEmpty, sectionLost } from './latched-pages.ts'
import { Chains } from './overflow.ts'
import { Pages } from './page.ts'
import type { PageId } from './page-source.ts'
import { poolMemory, rootWord, type SharedPool } from './pool-memory.ts'
import {
  insideWord,
  type SectionMemory,
  type SharedSection,
  sectionMemory,
  sectionOpen,
  sectionPoisoned,
  sectionStateWord,
  unlinkedAtOnce,
  unlinkedWord,
} from './shared-section.ts'
import { levelsMax } from './tree-core.ts'

/** `lost`: a writer died or failed, and so has the section; nothing was or will be changed. */
export type WriteAnswer = 'done' | 'miss' | 'full' | 'lost'

export class SharedTreeWriter {
  private readonly section: SectionMemory
  private readonly tree: SharedTree
  private readonly change: CoupledChange
  private keys = 0
  private bytes = 0

  constructor(pool: SharedPool, section: SharedSection) {
    this.section = sectionMemory(pool, section)
    const pages = new Pages(poolMemory(pool.frames, pool.pageBytes, pool.memory).arena, pool.pageBytes)
    const latched = new LatchedPages(pages, pool, section)
    this.tree = new SharedTree(pages, latched, pool, this.section)
    this.change = new CoupledChange(this.tree, latched)
  }

  /** Before the first `write`. False: the section takes nobody any more. */
  enter(): boolean {
    const { control } = this.section
    Atomics.add(control, insideWord, 1)
    if (this.isOpen) return true
    this.signOff()
    return false
  }

  /** False: whoever is inside should come to an end, or is taken for dead after some seconds. */
  get isOpen(): boolean {
    return Atomics.load(this.section.control, sectionStateWord) === sectionOpen
  }

  /** Value undefined removes. */
  write(key: Uint8Array, value: Uint8Array | undefined): WriteAnswer {
    if (key.length > 0xffff) throw new HarmonyError('TOO_LARGE', 'a key takes more than 65,535 bytes')
    if (!this.tree.canUnlink()) return 'full'
    let previous: number
    try {
      previous = this.change.run(key, value)
    } catch (error) {
      if (error === reserveEmpty) return 'full'
      if (error === pageMissing || isHarmonyError(error, 'CORRUPT')) return 'miss'
      Atomics.store(this.section.control, sectionStateWord, sectionPoisoned)
      if (error === sectionLost) return 'lost'
      throw error
    }
    if (previous >= 0) {
      this.keys--
      this.bytes -= key.length + previous
    }
    if (value !== undefined) {
      this.keys++
      this.bytes += key.length + value.length
    }
    return 'done'
  }

  /** After the last `write`: until then the owner waits. */
  leave(): void {
    const { sums } = this.section
    Atomics.add(sums, 0, BigInt(this.keys))
    Atomics.add(sums, 1, BigInt(this.bytes))
    this.keys = this.bytes = 0
    this.signOff()
  }

  private signOff(): void {
    const { control } = this.section
    Atomics.sub(control, insideWord, 1)
    Atomics.notify(control, insideWord)
  }
}

/** The tree as a writer changes it. */
class SharedTree implements ChangedTree {
  readonly pages: Pages
  readonly chains: Chains
  private readonly latched: LatchedPages
  private readonly control: Int32Array
  private readonly section: SectionMemory
  private unlinkedAt = 0
  private unlinkedEnd = 0

  constructor(pages: Pages, latched: LatchedPages, pool: SharedPool, section: SectionMemory) {
    this.pages = pages
    this.latched = latched
    this.control = poolMemory(pool.frames, pool.pageBytes, pool.memory).control
    this.section = section
    this.chains = new Chains(
      {
        pageBytes: pool.pageBytes,
        arena: latched.arena,
        frameOf: page => latched.frameOf(page),
        create: page => latched.createData(page),
        discard: page => latched.discardData(page),
      },
      latched,
    )
  }

  get root(): PageId {
    return (Atomics.load(this.control, rootWord) >>> 0) as PageId
  }

  /** Who does this has the old root's latch. A reader that comes between the change and this one must not believe the old root. */
  set root(page: PageId) {
    Atomics.store(this.control, rootWord, page)
    this.latched.tellReaders(true)
  }

  /** Before each change: is there room for whatever it unlinks? */
  canUnlink(): boolean {
    if (this.unlinkedEnd - this.unlinkedAt > levelsMax) return true
    const { control, unlinked } = this.section
    const max = unlinked.length / 2
    if (Atomics.load(control, unlinkedWord) + unlinkedAtOnce > max) return false
    const at = Atomics.add(control, unlinkedWord, unlinkedAtOnce)
    if (at + unlinkedAtOnce > max) return false
    this.unlinkedAt = at
    this.unlinkedEnd = at + unlinkedAtOnce
    return true
  }

  unlink(first: PageId, total: number): void {
    const { unlinked } = this.section
    unlinked[2 * this.unlinkedAt] = first
    unlinked[2 * this.unlinkedAt + 1] = total
    this.unlinkedAt++
  }

  compareRest(_: number, key: Uint8Array, from: number, restBytes: number, valueBytes: number, chain: PageId): number {
    return compareBytes(key.subarray(from), this.chains.read(chain, restBytes + valueBytes, restBytes))
  }
}
