/**
 * Threads that read beside the peer's own: the seam between a core, which decides what may be answered, and whatever runs the threads
 * (`rpc/read-threads.ts`). They read the pages that are in memory, and nothing else: what they cannot answer they decline, and the core reads it itself.
 */
import type { SharedPool } from '../storage/pool-memory.ts'
import type { PackedEntries } from './entries.ts'
import type { Page, PageRequest } from './page-read.ts'

export interface ReadThreads {
  readonly threads: number
  readonly counts: { readonly answered: number; readonly declined: number }
  /** Entries of one state, that after `appliedMin` or a later one; undefined: declined. Never rejects. */
  getMany(keys: readonly Uint8Array[], appliedMin: number): Promise<PackedEntries | undefined>
  /** A page of the state after exactly `applied`; undefined: declined. Never rejects. */
  page(request: PageRequest, applied: number): Promise<Page | undefined>
  close(): void
}

export type StartReadThreads = (pool: SharedPool) => ReadThreads

/** After so many refusals in a row the threads are left alone for a while: a data set that is much larger than the cache. */
const refusalsMax = 8
const restCalls = 200

/** Whether asking the threads is worth while. */
export class ReadThreadsUse {
  private refusals = 0
  private resting = 0

  /** Asked before each call that threads might take. */
  worthwhile(): boolean {
    if (this.resting === 0) return true
    this.resting--
    return false
  }

  told(answered: boolean): void {
    if (answered) this.refusals = 0
    else if (++this.refusals >= refusalsMax) {
      this.refusals = 0
      this.resting = restCalls
    }
  }
}
