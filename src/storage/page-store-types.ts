/** What the page store takes and gives; see `page-store.ts`. */
import type { Done } from '../platform.ts'
import type { PageId } from './page-source.ts'

export interface PageStoreOptions {
  /** Default: true. */
  readonly compress?: boolean
}

export interface PageStoreStats {
  /** That have content in the newest state. */
  readonly pages: number
  readonly fileBytes: number
  /** Of the file, taken by the newest state, those that are durable or pinned, and the superblocks. */
  readonly usedBytes: number
  /** The newest durable one; 0: none. */
  readonly checkpoint: number
  readonly extentsWritten: number
  readonly bytesWritten: number
}

/** A durable checkpoint whose pages stay readable until it is released. */
export interface PinnedCheckpoint {
  readonly checkpoint: number
  readonly meta: Uint8Array
  /** As `PageSource.read`. */
  read(page: PageId, into: Uint8Array, done: Done): void
  /** In the order of their ids. */
  forEachPage(visit: (page: PageId) => void): void
  release(): void
}
