/**
 * Gives free space back to the host: pages from the end of the file move into holes further down, a checkpoint makes that durable and
 * their old places free, the free end is cut off. In rounds of bounded size, each a few milliseconds of work, with the owner's own
 * checkpoints in between; the store works on meanwhile. Stops when a round no longer makes the file shorter.
 */
import type { Completion, Done } from '../platform.ts'
import type { Compacted } from './engine.ts'
import type { PageStore } from './page-store.ts'
import { forEachBelow } from './page-store-load.ts'

/** Beyond those that its pages need: for the tables, and for what others write meanwhile. */
const roundsMore = 16

export interface CompactOptions {
  /** Takes a checkpoint as the owner does (pool, log and all); called once a round. */
  checkpoint(done: Done): void
  /** Default: 256. */
  readonly pagesPerRoundMax?: number
}

export interface CompactSummary extends Compacted {
  readonly pagesMoved: number
}

/** Errors: those of the checkpoint, of the page file, CORRUPT where a page that has to move is damaged. */
export function compact(store: PageStore, options: CompactOptions, done: Completion<CompactSummary>): void {
  const { pagesPerRoundMax = 256 } = options
  const bytesBefore = store.stats.fileBytes
  const roundsMax = Math.ceil(store.pagesBeyond(store.packedEnd).length / pagesPerRoundMax) + roundsMore
  let pagesMoved = 0
  /** Rounds in a row that cut nothing: one is usual, since the root and the tables stay behind until the next checkpoint. */
  let idleRounds = 0
  const round = (next: Completion<'more' | 'enough'>): void => {
    const end = store.packedEnd
    const tail = store.pagesBeyond(end).slice(0, pagesPerRoundMax)
    store.rewriteTablesBeyond(end)
    let movedNow = 0
    const move = (i: number, one: Done): void =>
      store.moveDown(tail[i] as (typeof tail)[number], moved => {
        if (!moved.ok) return one(moved.error)
        if (moved.value) movedNow++
        one(undefined)
      })
    forEachBelow(tail.length, move, moveError => {
      if (moveError !== undefined) return next({ ok: false, error: moveError })
      options.checkpoint(error => {
        if (error !== undefined) return next({ ok: false, error })
        pagesMoved += movedNow
        idleRounds = store.trim() > 0 || movedNow > 0 ? 0 : idleRounds + 1
        next({ ok: true, value: idleRounds < 2 ? 'more' : 'enough' })
      })
    })
  }
  let rounds = 0
  // A round may complete before it returns: then the next one starts here and not within it.
  const go = (): void => {
    let again = true
    while (again) {
      again = false
      let returned = false
      round(result => {
        if (!result.ok) return done(result)
        if (result.value === 'enough' || ++rounds === roundsMax) {
          return done({ ok: true, value: { bytesBefore, bytesAfter: store.stats.fileBytes, pagesMoved } })
        }
        if (returned) go()
        else again = true
      })
      returned = true
    }
  }
  go()
}
