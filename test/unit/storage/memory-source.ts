/** A page source in memory, which knows what is allocated, and what a checkpoint holds. */
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Done } from '../../../src/platform.ts'
import type { PageId, PageSource } from '../../../src/storage/page-source.ts'

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
