/** A page source in memory, and drivers for operations that may meet page misses. */
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Done } from '../../../src/platform.ts'
import type { BTree, BTreeSnapshot } from '../../../src/storage/btree.ts'
import { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { Change } from '../../../src/storage/engine.ts'
import type { PageId, PageSource } from '../../../src/storage/page-source.ts'
import type { PolicyName } from '../../../src/storage/replacement.ts'
import { entryOf } from './engine-kit.ts'

export class MemorySource implements PageSource {
  readonly pageBytes: number
  /** Reads complete at once; else with `settle`. */
  eager = true
  readonly allocated = new Set<PageId>()
  private readonly content = new Map<PageId, Uint8Array>()
  /** What the checkpoint under way holds. */
  private closing: Map<PageId, Uint8Array> | undefined
  private next = 1
  private readonly unused: PageId[] = []
  private readonly waiting: (() => void)[] = []

  constructor(pageBytes: number) {
    this.pageBytes = pageBytes
  }

  read(page: PageId, into: Uint8Array, done: Done): void {
    const run = (): void => {
      const bytes = this.content.get(page)
      if (bytes === undefined) return done(new HarmonyError('CORRUPT', `page ${page} was never written`))
      into.set(bytes)
      done(undefined)
    }
    if (this.eager) run()
    else this.waiting.push(run)
  }

  write(page: PageId, bytes: Uint8Array, epoch: 'closing' | 'current'): void {
    assert(epoch === 'closing' || this.allocated.has(page), `page ${page} is written after it was freed`)
    const copy = bytes.slice()
    if (epoch === 'closing') {
      assert(this.closing !== undefined, 'no checkpoint is under way')
      this.closing.set(page, copy)
    }
    this.content.set(page, copy)
  }

  allocate(): PageId {
    const page = this.unused.pop() ?? (this.next++ as PageId)
    this.allocated.add(page)
    return page
  }

  free(page: PageId): void {
    assert(this.allocated.delete(page), `page ${page} is freed twice`)
    this.content.delete(page)
    this.unused.push(page)
  }

  settle(): void {
    for (let run = this.waiting.shift(); run !== undefined; run = this.waiting.shift()) run()
  }

  beginCheckpoint(): void {
    this.closing = new Map([...this.content].filter(([page]) => this.allocated.has(page)))
  }

  /** A source that holds what the checkpoint holds. */
  reopened(pages: ReadonlySet<PageId>): MemorySource {
    assert(this.closing !== undefined, 'no checkpoint is under way')
    const source = new MemorySource(this.pageBytes)
    source.eager = this.eager
    for (const page of pages) {
      const bytes = this.closing.get(page)
      if (bytes !== undefined) source.content.set(page, bytes)
      source.allocated.add(page)
      source.next = Math.max(source.next, page + 1)
    }
    for (let page = 1; page < source.next; page++) if (!pages.has(page as PageId)) source.unused.push(page as PageId)
    return source
  }

  endCheckpoint(): void {
    this.closing = undefined
  }

  /** Everything that stands in the checkpoint. */
  closingPages(): ReadonlySet<PageId> {
    assert(this.closing !== undefined, 'no checkpoint is under way')
    return new Set(this.closing.keys())
  }
}

export const poolOf = (source: MemorySource, frames: number, policy: PolicyName = 'clock'): BufferPool =>
  new BufferPool({ source, frames, policy })

/** Runs until no page is missing. */
export function drive<T>(
  tree: BTree,
  pool: BufferPool,
  source: MemorySource,
  operation: () => T,
  between?: () => void,
): T {
  const memo = tree.openMemo()
  try {
    for (let tries = 0; tries < 100_000; tries++) {
      try {
        return tree.within(memo, operation)
      } catch (error) {
        if (error !== pool.miss) throw error
        let failure: HarmonyError | undefined
        pool.load(pool.miss.page, problem => {
          failure = problem
        })
        between?.()
        source.settle()
        if (failure !== undefined) throw failure
      }
    }
    throw new Error('the operation does not come to an end')
  } finally {
    tree.closeMemo(memo)
  }
}

export function apply(
  tree: BTree,
  pool: BufferPool,
  source: MemorySource,
  changes: readonly Change[],
): { keys: number; bytes: number } {
  const batch = tree.batch(changes)
  return drive(tree, pool, source, () => batch.run())
}

export function entriesOf(
  reader: BTree | BTreeSnapshot,
  from?: Uint8Array,
  to?: Uint8Array,
  reverse = false,
): [string, string][] {
  const entries: [string, string][] = []
  reader.scan(from, to, reverse, row => {
    const [key, value] = entryOf(row)
    entries.push([hex(key), hex(value)])
    return true
  })
  return entries
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
