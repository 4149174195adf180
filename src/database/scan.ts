/**
 * A scan: an asynchronous iteration over one state, in pages. The cursor is the place behind the last entry that was
 * handed out, in a form that a later scan, even from another handle of this peer, can go on from.
 *
 * Cursor: base64url of
 *   u8 format (1) | text snapshot | bytes key (encoded, the last one handed out) | u32 FNV-1a
 * where the hash covers all before it, then a byte for the direction, then the range's two ends (bool, bytes). So a
 * cursor that was damaged, or is of another range or direction, is refused. (FNV: a CRC's tables are not worth their place on the page.)
 */
import { assert } from '../base/assert.ts'
import { base64UrlDecode, base64UrlEncode } from '../base/base64.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { HarmonyError } from '../base/errors.ts'
import { fnv1a } from '../base/fnv1a.ts'
import type { CorePage, CoreScan } from './core.ts'
import { EntryReader, mayShare, ownEntries } from './entries.ts'
import { aborted, invalid } from './options.ts'
import { type ByteRange, isEmptyRange } from './range.ts'
import type { AbortSignalLike, Entry, Scan } from './types.ts'

/** An async generator over batches costs a tenth of one over single entries; a page of this many stays well below a frame's time. */
export const pageEntries = 256
const cursorFormat = 1
const cursorLengthMax = 8192

export interface ScanRequest {
  readonly range: ByteRange
  readonly limit: number
  readonly signal: AbortSignalLike | undefined
  readonly cursor: string
  /** All but what changes from page to page. */
  readonly core: Omit<CoreScan, 'from' | 'to' | 'limit' | 'continuation'>
}

export interface ScanSource<V> {
  /** Validates the arguments; called when an iteration starts. @throws HarmonyError */
  prepare(): ScanRequest
  page(request: CoreScan, signal: AbortSignalLike | undefined): CorePage | Promise<CorePage>
  /** The entry that the reader has come to. `shared`: small arrays of bytes may be views of what is read. */
  decode(reader: EntryReader, shared: boolean): Entry<V>
  /** Undefined while the database is open. */
  closed(): HarmonyError | undefined
}

type Position = CoreScan['continuation']

export class PagedScan<V> implements Scan<V> {
  private readonly source: ScanSource<V>
  private place: () => string

  constructor(source: ScanSource<V>, cursor: string) {
    this.source = source
    this.place = () => cursor
  }

  /** Where to go on after the last entry that was handed out; '' when there is nothing more (and before the first). */
  get cursor(): string {
    return this.place()
  }

  /** Every entry that is left, at most `limit`. */
  async toArray(): Promise<Entry<V>[]> {
    const { source } = this
    const entries: Entry<V>[] = []
    const pages = new Pages(source)
    this.place = () => pages.request.cursor
    while (pages.more) {
      const asked = pages.ask()
      const page = asked instanceof Promise ? await asked : asked
      const { entries: packed, snapshot, done } = page
      const shared = mayShare(packed)
      const reader = pages.take({ entries: shared ? ownEntries(packed) : packed, snapshot, done })
      pages.assertGoesOn()
      while (reader.next()) entries.push(source.decode(reader, shared))
      const here = pages.advance(reader)
      this.place = () => (pages.done ? '' : here === undefined ? pages.request.cursor : here())
    }
    if (pages.done) this.place = () => ''
    return entries
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Entry<V>, undefined, undefined> {
    const { source } = this
    const pages = new Pages(source)
    this.place = () => pages.request.cursor
    while (pages.more) {
      const asked = pages.ask()
      const page = asked instanceof Promise ? await asked : asked
      const reader = pages.take(page)
      for (let left = page.entries.count; left > 0; left--) {
        reader.next()
        pages.assertGoesOn()
        const decoded = source.decode(reader, false)
        const here = pages.advance(reader)
        const over = pages.done && left === 1
        this.place = () => (over || here === undefined ? '' : here())
        yield decoded
      }
    }
    if (pages.done) this.place = () => ''
    return undefined
  }
}

/** The pages of one iteration, and where it is. */
class Pages<V> {
  readonly request: ScanRequest
  /** The range has no more entries than were seen. */
  done: boolean
  private readonly source: ScanSource<V>
  private position: Position
  private left: number
  private page: CorePage | undefined

  constructor(source: ScanSource<V>) {
    this.source = source
    this.request = source.prepare()
    this.position = decodeCursor(this.request)
    this.done = isEmptyRange(this.request.range)
    this.left = this.request.limit
  }

  get more(): boolean {
    return this.left > 0 && !this.done
  }

  ask(): CorePage | Promise<CorePage> {
    const { position } = this
    const { range, signal, core } = this.request
    const { consistency, maxStalenessMs, timeoutMs, snapshot, reverse, keysOnly } = core
    const { from, to } = range
    const limit = Math.min(this.left, pageEntries)
    // Written out: to copy objects field by field costs what the reading of ten entries does.
    return this.source.page(
      { consistency, maxStalenessMs, timeoutMs, snapshot, reverse, keysOnly, from, to, limit, continuation: position },
      signal,
    )
  }

  take(page: CorePage): EntryReader {
    this.page = page
    this.done = page.done
    this.left -= page.entries.count
    assert(page.done || page.entries.count > 0, 'a page without entries is the last one')
    return new EntryReader(page.entries)
  }

  /** The reader has come to an entry, and it is handed out. Returns what makes the cursor behind it; nothing where there is no entry. */
  advance(reader: EntryReader): (() => string) | undefined {
    const { request, page } = this
    if (page === undefined || page.entries.count === 0) return undefined
    const { snapshot } = page
    // What is needed once a page must not keep the page's buffer.
    const here = reader.finished ? { snapshot, after: reader.key() } : undefined
    if (here !== undefined) this.position = here
    const { bytes, keyFrom, keyTo } = reader
    return () => encodeCursor(here ?? { snapshot, after: bytes.slice(keyFrom, keyTo) }, request)
  }

  /** @throws CLOSED, ABORTED */
  assertGoesOn(): void {
    const end = this.source.closed()
    if (end !== undefined) throw end
    const { signal } = this.request
    if (signal?.aborted === true) throw aborted(signal, false)
  }
}

function encodeCursor(position: NonNullable<Position>, request: ScanRequest): string {
  const writer = new ByteWriter(64)
  writer.u8(cursorFormat).text(position.snapshot).bytes(position.after)
  writer.u32(cursorHash(writer.peek(), request))
  return base64UrlEncode(writer.finish())
}

/** @throws VALIDATION */
function decodeCursor(request: ScanRequest): Position {
  const { cursor } = request
  if (cursor === '') return undefined
  const bytes = cursor.length <= cursorLengthMax ? base64UrlDecode(cursor) : undefined
  if (bytes !== undefined && bytes.length > 4) {
    const body = bytes.subarray(0, bytes.length - 4)
    const reader = new ByteReader(bytes)
    const format = reader.u8()
    const position = { snapshot: reader.text(), after: reader.bytes().slice() }
    const hash = reader.u32()
    if (reader.done() && format === cursorFormat && hash === cursorHash(body, request)) return position
  }
  throw invalid('cursor is not one that a scan of this range in this direction has given')
}

function cursorHash(body: Uint8Array, { range, core }: ScanRequest): number {
  const writer = new ByteWriter(64).raw(body).bool(core.reverse)
  for (const bound of [range.from, range.to]) {
    writer.bool(bound !== undefined)
    if (bound !== undefined) writer.bytes(bound)
  }
  return fnv1a(writer.peek())
}
