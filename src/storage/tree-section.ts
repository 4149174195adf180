/**
 * A section: a time in which several threads change one tree at once (`shared-writer.ts`). The owner opens it, hands `shared` to them, may write as one
 * of them, and closes it; meanwhile it does nothing else with the pool.
 *
 * What only the owner may do is done before or after: writers get a reserve of empty frames with page numbers of their own, which stand in the page table already, and nothing is
 * evicted, loaded or written out; so the table does not change, and pages that are in memory stay there. There is no section while snapshots are read (a page that
 * changes would have to be copied) or while the closing epoch of a checkpoint has pages that are not written.
 *
 * `close` waits for the writers that are inside, and takes over what they did: the root, dirty pages, pages that are gone, chains to be freed, counts. A
 * writer that does not leave has died: STORAGE_LOST, what is in memory is not to be believed, and the database is opened anew from its file and its log.
 */
import { HarmonyError } from '../base/errors.ts'
import type { PageId } from './page-source.ts'
import { poolMemory, rootWord, type SharedPool } from './pool-memory.ts'
import {
  insideWord,
  makeSection,
  markDropped,
  markMade,
  type SectionMemory,
  type SharedSection,
  sectionClosing,
  sectionMemory,
  sectionPoisoned,
  sectionStateWord,
  unlinkedMaxFor,
  unlinkedWord,
} from './shared-section.ts'
import type { TreeCore } from './tree-core.ts'

export interface SectionOptions {
  /** New pages that the changes may take. */
  readonly pages: number
  /** At most, by all threads together. */
  readonly changes: number
  readonly writers: number
  /** Readers see each change at once; else all of them, when the owner's next batch is through. */
  readonly shown: boolean
}

const waitMs = 20
const waitsMax = 600

export class TreeSection {
  readonly shared: SharedSection
  private readonly core: TreeCore
  private readonly pool: SharedPool
  private readonly reserve: readonly number[]
  private readonly memory: SectionMemory

  private constructor(core: TreeCore, pool: SharedPool, { pages, changes, writers, shown }: SectionOptions) {
    this.core = core
    this.pool = pool
    if (!shown) core.pool.beginChange()
    this.reserve = Array.from({ length: pages }, () => core.pool.lend(core.source.allocate()))
    this.shared = makeSection(pool, this.reserve, unlinkedMaxFor(changes, writers), shown)
    this.memory = sectionMemory(pool, this.shared)
  }

  /** Undefined: not now, or not here. */
  static open(core: TreeCore, options: SectionOptions): TreeSection | undefined {
    const { pool, snapshots } = core
    if (pool.shared === undefined || snapshots.any || pool.writeSome(0) > 0 || !pool.reserve(options.pages)) return
    return new TreeSection(core, pool.shared, options)
  }

  /**
   * What was changed in all. The tree's next batch tells it to readers, and frees chains.
   *
   * @throws HarmonyError STORAGE_LOST
   */
  close(): { readonly keys: number; readonly bytes: number } {
    const { core, memory, reserve } = this
    const { control, marks, sums, unlinked } = memory
    this.awaitWriters()
    core.places.reshape()
    core.root = (this.control[rootWord]! >>> 0) as PageId
    for (const frame of reserve) {
      const made = (marks[frame]! & markMade) !== 0
      const page = core.pool.takeBack(frame, made)
      if (!made) core.source.free(page)
    }
    for (let frame = 0; frame < marks.length; frame++) {
      const mark = marks[frame]!
      if (mark === 0) continue
      const page = core.pool.changedElsewhere(frame)
      core.filters?.forget(page)
      if ((mark & markDropped) !== 0) core.snapshots.free(page)
    }
    const taken = Math.min(control[unlinkedWord]!, unlinked.length / 2)
    for (let at = 0; at < taken; at++) {
      const first = unlinked[2 * at] as PageId
      if (first !== 0) core.unlink(first, unlinked[2 * at + 1]!)
    }
    return { keys: Number(sums[0]), bytes: Number(sums[1]) }
  }

  private get control(): Int32Array {
    const { memory, frames, pageBytes } = this.pool
    return poolMemory(frames, pageBytes, memory).control
  }

  private awaitWriters(): void {
    const { control } = this.memory
    Atomics.compareExchange(control, sectionStateWord, 0, sectionClosing)
    for (let waits = 0; waits < waitsMax; waits++) {
      const inside = Atomics.load(control, insideWord)
      if (Atomics.load(control, sectionStateWord) === sectionPoisoned) break
      if (inside === 0) return
      Atomics.wait(control, insideWord, inside, waitMs)
    }
    Atomics.store(control, sectionStateWord, sectionPoisoned)
    const message = 'a thread that was writing died or failed in the middle of a change: open the database anew'
    throw new HarmonyError('STORAGE_LOST', message)
  }
}
