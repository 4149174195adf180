/**
 * What does not fit into a leaf or a branch: long values, and what a long key has beyond its local part. A chain holds a key's rest
 * followed by the value. Chains never change: they are written whole, read, and freed whole.
 *
 * Format (integers little-endian)
 *   data page    u8 kind 3, three zeros, u32 bytes that follow
 *   index page   u8 kind 4, u8 0, u16 count, u32 next index page or 0, then u32 page ids of data pages
 * A chain that fits into one data page is that page. A longer one begins with an index page: it can be freed, or read ahead, without a look
 * at its data.
 *
 * A chain may be larger than the cache, so reading it must not begin from its start after each page miss: a `ReadMemo` keeps what was
 * read so far, for the time of one operation.
 */
import { HarmonyError } from '../base/errors.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { PageId, PageSource } from './page-source.ts'

export const kindData = 3
export const kindIndex = 4
const headerBytes = 8

interface Progress {
  readonly bytes: Uint8Array
  at: number
  /** Data pages still to be read of the index page read last, the next one at the end. */
  ids: PageId[]
  next: PageId
}

/** What one operation has read of chains. It is forgotten for a chain that is freed. Close it when the operation is over. */
export class ReadMemo {
  readonly chains = new Map<PageId, Progress>()
  readonly rests = new Map<PageId, Progress>()
}

/** Where chains lie: the owner's pool, or what another thread has of it. */
export type ChainPool = Pick<BufferPool, 'pageBytes' | 'arena' | 'frameOf' | 'create' | 'discard'>

const noBytes = new Uint8Array(0)

export class Chains {
  /** Where the operation under way keeps what it has read; none where it cannot miss. */
  memo: ReadMemo | undefined
  readonly memos = new Set<ReadMemo>()
  readonly dataBytes: number
  readonly idsMax: number
  private readonly pool: ChainPool
  private readonly source: Pick<PageSource, 'allocate' | 'free'>
  private readonly view: DataView

  constructor(pool: ChainPool, source: Pick<PageSource, 'allocate' | 'free'>) {
    this.pool = pool
    this.source = source
    this.dataBytes = pool.pageBytes - headerBytes
    this.idsMax = this.dataBytes >>> 2
    this.view = new DataView(pool.arena.buffer, pool.arena.byteOffset, pool.arena.byteLength)
  }

  /** Writes `key` from `keyFrom` on, then `value`. Either all of it, or it throws and nothing is left. */
  write(key: Uint8Array, keyFrom: number, value: Uint8Array, made: (page: PageId) => void): PageId {
    const { pool, source, dataBytes, view } = this
    const rest = key.length - keyFrom
    const total = rest + value.length
    const pages: PageId[] = []
    const create = (kind: number): number => {
      const page = source.allocate()
      pages.push(page)
      const base = pool.create(page) * pool.pageBytes
      pool.arena[base] = kind
      return base
    }
    try {
      for (let from = 0; from < total; from += dataBytes) {
        const end = Math.min(total, from + dataBytes)
        const base = create(kindData)
        view.setUint32(base + 4, end - from, true)
        let to = base + headerBytes
        if (from < rest) {
          const part = key.subarray(keyFrom + from, keyFrom + Math.min(end, rest))
          pool.arena.set(part, to)
          to += part.length
        }
        if (end > rest) pool.arena.set(value.subarray(Math.max(0, from - rest), end - rest), to)
      }
      const dataPages = pages.length
      let first = pages[0] as PageId
      if (dataPages > 1) {
        first = 0 as PageId
        let end = dataPages
        while (end > 0) {
          const from = Math.floor((end - 1) / this.idsMax) * this.idsMax
          const base = create(kindIndex)
          view.setUint16(base + 2, end - from, true)
          view.setUint32(base + 4, first, true)
          for (let i = from; i < end; i++) view.setUint32(base + headerBytes + 4 * (i - from), pages[i]!, true)
          first = pages[pages.length - 1] as PageId
          end = from
        }
      }
      for (const page of pages) made(page)
      return first
    } catch (error) {
      for (const page of pages) {
        pool.discard(page)
        source.free(page)
      }
      throw error
    }
  }

  /** The first `wanted` of the chain's `total` bytes. @throws PageMiss */
  read(first: PageId, total: number, wanted: number): Uint8Array {
    if (wanted === 0) return noBytes
    const kept = wanted === total ? this.memo?.chains : this.memo?.rests
    let progress = kept?.get(first)
    if (progress === undefined || progress.bytes.length !== wanted) {
      if (total > this.dataBytes) progress = { bytes: new Uint8Array(wanted), at: 0, ids: [], next: first }
      else progress = { bytes: new Uint8Array(wanted), at: 0, ids: [first], next: 0 as PageId }
      kept?.set(first, progress)
    }
    const { bytes } = progress
    while (progress.at < wanted) {
      const page = progress.ids.at(-1)
      if (page === undefined) {
        const next = progress.next
        if (next === 0) throw corrupt(first)
        progress.ids = this.idsOf(next).reverse()
        progress.next = this.nextOf(next)
        continue
      }
      const base = this.open(page, kindData)
      const length = Math.min(this.view.getUint32(base + 4, true), wanted - progress.at)
      if (length === 0 || length > this.dataBytes) throw corrupt(page)
      bytes.set(this.pool.arena.subarray(base + headerBytes, base + headerBytes + length), progress.at)
      progress.at += length
      progress.ids.pop()
    }
    return bytes
  }

  /** Ids of the data pages that an index page names. @throws PageMiss */
  idsOf(page: PageId): PageId[] {
    const base = this.open(page, kindIndex)
    const count = this.view.getUint16(base + 2, true)
    if (count === 0 || count > this.idsMax) throw corrupt(page)
    const ids: PageId[] = []
    for (let i = 0; i < count; i++) ids.push(this.view.getUint32(base + headerBytes + 4 * i, true) as PageId)
    return ids
  }

  /** The index page after this one, or 0. @throws PageMiss */
  nextOf(page: PageId): PageId {
    return this.view.getUint32(this.open(page, kindIndex) + 4, true) as PageId
  }

  forget(first: PageId): void {
    for (const memo of this.memos) {
      memo.chains.delete(first)
      memo.rests.delete(first)
    }
  }

  private open(page: PageId, kind: number): number {
    const base = this.pool.frameOf(page) * this.pool.pageBytes
    if (this.pool.arena[base] !== kind) throw corrupt(page)
    return base
  }
}

export function corrupt(page: PageId): HarmonyError {
  return new HarmonyError(
    'CORRUPT',
    `page ${page} is not what the tree expects there: restore the database or repair it from a peer`,
  )
}
