/** The seam between the buffer pool, which holds pages in memory, and the store, which holds them in a file. */
import type { Done } from '../platform.ts'

declare const brand: unique symbol
/** Logical page number, 1 to 2^32 - 2. */
export type PageId = number & { readonly [brand]: 'PageId' }
export const pageIdMax = 0xffff_fffe

export interface PageSource {
  /** 512 to 65,536, a power of two. */
  readonly pageBytes: number
  /**
   * Fills `into` (`pageBytes` long) with the page's newest written content, its checksum verified. May complete before it returns. Errors:
   * CORRUPT (names the page and the place), those of the page file.
   */
  read(page: PageId, into: Uint8Array, done: Done): void
  /** The content is taken over before the call returns: `bytes` is a frame and may change afterwards. It becomes part of `epoch`. */
  write(page: PageId, bytes: Uint8Array, epoch: 'closing' | 'current'): void
  allocate(): PageId
  free(page: PageId): void
}
