/**
 * Pages in a file: logical page ids map to extents by a page table; a checkpoint makes a whole state durable at once.
 *
 * Invariants
 *  - Nothing that the last durable superblock, or a pinned checkpoint, reaches is ever overwritten: content always goes to a free
 *    extent. So a crash at any write leaves the last finished checkpoint as it was.
 *  - An extent is free as soon as no checkpoint reaches it: it was written for checkpoint b ("born") and replaced in checkpoint
 *    d ("died"), so the checkpoints b ≤ c < d reach it. It is free once checkpoint d is durable and no c in between is pinned; at
 *    once where b = d.
 *  - Free space is what the tables do not reach: nothing has to be recovered after a crash, and nothing leaks.
 *
 * A checkpoint, in the owner's hands: `beginCheckpoint` closes the epoch; pages of the closed state are still written ('closing') while others
 * go on changing ('current', as do `allocate` and `free`: they belong to the next checkpoint); `finishCheckpoint` writes the
 * changed pieces of the tables and the root, syncs, writes both superblocks, each with a sync. The owner sees to it that the log is durable as far as the
 * state reaches before it calls that.
 *
 * Memory: 16 bytes for every page in the file, and as much again for what changed since the oldest pinned checkpoint.
 */
import { assert } from '../base/assert.ts'
import { copyBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Completion, Done, PageFile } from '../platform.ts'
import { decodeExtentInto, type Extent, ExtentEncoder, type ExtentKind, headerBytes, kinds } from './extent-format.ts'
import { ExtentTable, entryBytes } from './extent-table.ts'
import { SectorSpace } from './extents.ts'
import { type PageId, type PageSource, pageIdMax } from './page-source.ts'
import {
  type CheckpointTables,
  countedIn,
  damage,
  emptySpace,
  encodeRoot,
  entriesPerPiece,
  type LoadedTables,
  loadTables,
  metaBytesMax,
  type Numbered,
  readExtent,
} from './page-store-load.ts'
import type { PageStoreOptions, PageStoreStats, PinnedCheckpoint } from './page-store-types.ts'
import {
  allExtents,
  checkSpace,
  type Finding,
  type Owned,
  type VerifySummary,
  verifyContents,
} from './page-store-verify.ts'
import { checkpointMax, type SuperblockStore } from './superblock.ts'

export interface OpenedPageStore {
  readonly store: PageStore
  /** Undefined: no checkpoint was ever finished, the store is empty. */
  readonly checkpoint: { readonly number: number; readonly meta: Uint8Array } | undefined
}

interface Closing {
  readonly epoch: number
  readonly table: ExtentTable
  /** Pieces of the page table that differ from those on disk. */
  readonly changed: Set<number>
  /** Its root, from the moment that it is being finished. */
  root: Extent | undefined
}

interface Dying {
  readonly extent: Extent
  readonly died: number
}

const sectorMax = 0x7fff_ffff
const unsyncedBytesMax = 8 * 1024 * 1024

export class PageStore implements PageSource {
  readonly pageBytes: number
  private readonly pages: PageFile
  private readonly superblock: SuperblockStore
  private readonly encoder: ExtentEncoder
  private readonly space: SectorSpace
  /** Page ids that are allocated. */
  private readonly ids = new SectorSpace(1, 1)
  /** The newest state. */
  private table: ExtentTable
  private changed = new Set<number>()
  private readonly directory: ExtentTable
  private directoryPieces: (Extent | undefined)[]
  private durable: CheckpointTables | undefined
  private closing: Closing | undefined
  /** The checkpoint that 'current' changes belong to. */
  private epoch: number
  /** By first sector. */
  private readonly dying = new Map<number, Dying>()
  private readonly pins = new Set<number[]>()
  private pageCount = 0
  private extentsWritten = 0
  private bytesWritten = 0
  /** Since a sync was begun. Some page files keep in memory what is not synced. */
  private unsynced = 0

  private constructor(
    pages: PageFile,
    superblock: SuperblockStore,
    pageBytes: number,
    options: PageStoreOptions,
    loaded: LoadedTables | undefined,
  ) {
    this.pages = pages
    this.superblock = superblock
    this.pageBytes = pageBytes
    this.encoder = new ExtentEncoder(pages.sectorBytes, options.compress ?? true)
    const perPiece = entriesPerPiece(pageBytes)
    this.space = loaded?.space ?? emptySpace(pages)
    this.durable = loaded
    this.table = loaded?.table.fork() ?? new ExtentTable(perPiece)
    this.directory = loaded?.directory.fork() ?? new ExtentTable(perPiece)
    this.directoryPieces = loaded?.directoryPieces.slice() ?? []
    this.epoch = (loaded?.checkpoint ?? 0) + 1
    loaded?.table.forEach(page => {
      this.ids.take(page, 1)
      this.pageCount++
    })
  }

  /** The superblock must have been written once (it holds the page size). Errors: CORRUPT, those of the page file; it stays open then. */
  static open(
    file: PageFile,
    superblock: SuperblockStore,
    options: PageStoreOptions,
    done: Completion<OpenedPageStore>,
  ): void {
    const block = superblock.current
    assert(block !== undefined, 'a page store needs a superblock')
    const { pageBytes, root } = block
    const pages = countedIn(file, superblock.sectorBytes)
    const powerOfTwo = (pageBytes & (pageBytes - 1)) === 0
    const multiple = pages.sectorBytes % file.sectorBytes === 0 && pages.extentBytesMax % pages.sectorBytes === 0
    if (!multiple) {
      const message = `sectors of ${pages.sectorBytes} bytes cannot be used here: open this store on the kind of storage that made it`
      return done({ ok: false, error: new HarmonyError('CORRUPT', message) })
    }
    if (!powerOfTwo || pageBytes < 512 || pageBytes > 65_536 || pageBytes + headerBytes > pages.extentBytesMax) {
      const message = `the page size of ${pageBytes} bytes cannot be used here: open this store on the kind of storage that made it`
      return done({ ok: false, error: new HarmonyError('CORRUPT', message) })
    }
    if (root === undefined) {
      const store = new PageStore(pages, superblock, pageBytes, options, undefined)
      return done({ ok: true, value: { store, checkpoint: undefined } })
    }
    loadTables(pages, pageBytes, root, loaded => {
      if (!loaded.ok) return done(loaded)
      const { checkpoint: number, meta } = loaded.value
      const store = new PageStore(pages, superblock, pageBytes, options, loaded.value)
      done({ ok: true, value: { store, checkpoint: { number, meta: copyBytes(meta) } } })
    })
  }

  get stats(): PageStoreStats {
    const { pages, space, pageCount, extentsWritten, bytesWritten } = this
    return {
      pages: pageCount,
      fileBytes: pages.bytes,
      usedBytes: (space.first + space.taken) * pages.sectorBytes,
      checkpoint: this.durable?.checkpoint ?? 0,
      extentsWritten,
      bytesWritten,
    }
  }

  get checkpointing(): boolean {
    return this.closing !== undefined
  }

  read(page: PageId, into: Uint8Array, done: Done): void {
    assert(into.length === this.pageBytes, 'a frame has the size of a page')
    this.readFrom(() => this.table.get(page), page, into, done)
  }

  /**
   * A page that was freed meanwhile may still be written for the checkpoint that is closing. Nothing is reported here: a write that
   * fails fails the checkpoint (G5).
   */
  write(page: PageId, bytes: Uint8Array, epoch: 'closing' | 'current'): void {
    assert(bytes.length === this.pageBytes, 'a frame has the size of a page')
    if (epoch === 'closing') this.writeClosing(page, bytes)
    else {
      assert(this.ids.isTaken(page), 'only an allocated page is written')
      this.replace(page, this.put(kinds.page, page, this.epoch, bytes))
    }
  }

  allocate(): PageId {
    const page = this.ids.find(1)
    const { entriesPerPiece: perPiece } = this.directory
    const rootEntriesMax = (this.pages.extentBytesMax - headerBytes - metaBytesMax - 12) / entryBytes
    assert(page <= pageIdMax && page < Math.floor(rootEntriesMax) * perPiece * perPiece, 'no page ids are left')
    this.ids.take(page, 1)
    return page as PageId
  }

  free(page: PageId): void {
    this.replace(page, undefined)
    this.ids.release(page, 1)
  }

  /** Frees every page. */
  clear(): void {
    for (let page = this.ids.first; page < this.ids.end; page++) if (this.ids.isTaken(page)) this.free(page as PageId)
  }

  /** Whether the page has content in the newest state. */
  has(page: PageId): boolean {
    return this.table.get(page) !== undefined
  }

  /** Whether a sector of the file may not be written now: some state reaches it. */
  taken(sector: number): boolean {
    return this.space.isTaken(sector)
  }

  /** Pages with content in the newest state, in the order of their ids. */
  forEachPage(visit: (page: PageId) => void): void {
    this.table.forEach(page => {
      visit(page as PageId)
    })
  }

  /** Not while another one is under way. */
  beginCheckpoint(): void {
    assert(this.closing === undefined, 'one checkpoint at a time')
    assert(this.epoch < checkpointMax, 'no checkpoint numbers are left')
    this.closing = { epoch: this.epoch, table: this.table, changed: this.changed, root: undefined }
    this.table = this.table.fork()
    this.changed = new Set()
    this.epoch++
  }

  /**
   * All pages of the state that was closed have been written. `meta` (at most 1024 bytes) is handed back when the store is opened.
   * Completes when the checkpoint is durable. An error (QUOTA, STORAGE_LOST) is the end of the file object: reopen.
   */
  finishCheckpoint(meta: Uint8Array, done: Done): void {
    const { closing, superblock } = this
    assert(closing !== undefined && closing.root === undefined, 'a checkpoint is begun, then finished once')
    assert(meta.length <= metaBytesMax, 'too much meta data')
    const { epoch, table } = closing
    this.writeTables(closing)
    const root = this.put(kinds.root, 0, epoch, encodeRoot(this.pageBytes, meta, this.directoryPieces))
    closing.root = root
    const next: CheckpointTables = {
      checkpoint: epoch,
      meta: copyBytes(meta),
      root,
      table,
      directory: this.directory.fork(),
      directoryPieces: this.directoryPieces.slice(),
    }
    this.pages.sync(syncError => {
      if (syncError !== undefined) return done(syncError)
      const { sector, sectors, crc } = root
      const written = { checkpoint: epoch, sector, sectors, crc }
      superblock.writeRoot(written, firstError => {
        if (firstError !== undefined) return done(firstError)
        // Into the other place too, before anything of the old state is given away: then damage to either costs nothing.
        superblock.writeRoot(written, error => {
          if (error !== undefined) return done(error)
          const old = this.durable
          this.durable = next
          this.closing = undefined
          this.bury(old?.root, epoch)
          this.releaseDead()
          done(undefined)
        })
      })
    })
  }

  /** Undefined where no checkpoint was ever finished. */
  pin(): PinnedCheckpoint | undefined {
    const { durable } = this
    if (durable === undefined) return undefined
    const { checkpoint, meta, table } = durable
    // An array has an identity of its own: the same checkpoint may be pinned twice.
    const pin = [checkpoint]
    this.pins.add(pin)
    return {
      checkpoint,
      meta: copyBytes(meta),
      read: (page, into, done) => {
        this.readFrom(
          () => table.get(page),
          page,
          into,
          error => {
            if (this.pins.has(pin)) return done(error)
            done(new HarmonyError('CLOSED', `checkpoint ${checkpoint} was released before page ${page} was read`))
          },
        )
      },
      forEachPage: visit => {
        table.forEach(page => {
          visit(page as PageId)
        })
      },
      release: () => {
        if (this.pins.delete(pin)) this.releaseDead()
      },
    }
  }

  /** Pages of the newest state whose extents end beyond this sector, the last ones first. For `compact`. */
  pagesBeyond(sector: number): readonly PageId[] {
    const found: Numbered[] = []
    this.table.forEach((id, extent) => {
      if (extent.sector + extent.sectors > sector) found.push({ id, extent })
    })
    found.sort((a, b) => b.extent.sector - a.extent.sector)
    return found.map(({ id }) => id as PageId)
  }

  /** The next checkpoint writes again the pieces of the tables that stand beyond this sector. For `compact`. */
  rewriteTablesBeyond(sector: number): void {
    const beyond = (extent: Extent | undefined): boolean =>
      extent !== undefined && extent.sector + extent.sectors > sector
    this.directory.forEach((piece, extent) => {
      // A directory piece is written again where one of its pieces is.
      if (beyond(extent) || beyond(this.directoryPieces[this.directory.pieceOf(piece)])) this.changed.add(piece)
    })
  }

  /**
   * Moves a page's stored content to a lower place, where there is one; part of the 'current' epoch. Does nothing while a checkpoint is
   * under way: what the pool still writes for the closing epoch has to become the newest state too. Errors: CORRUPT, those of the file.
   */
  moveDown(page: PageId, done: Completion<boolean>): void {
    const extent = this.table.get(page)
    const moves = (): boolean =>
      extent !== undefined &&
      this.closing === undefined &&
      sameExtent(this.table.get(page), extent) &&
      this.space.find(extent.sectors) < extent.sector
    if (extent === undefined || !moves()) return done({ ok: true, value: false })
    readExtent(this.pages, extent, read => {
      if (!read.ok) return done(read)
      if (!moves()) return done({ ok: true, value: false })
      const bytes = new Uint8Array(this.pageBytes)
      const problem = decodeExtentInto(read.value, { kind: kinds.page, id: page, extent }, bytes)
      if (problem !== undefined) return done({ ok: false, error: damage(`page ${page}`, extent, this.pages, problem) })
      this.replace(page, this.put(kinds.page, page, this.epoch, bytes))
      done({ ok: true, value: true })
    })
  }

  /** Where the file would end if nothing lay free in it, in sectors. */
  get packedEnd(): number {
    return this.space.first + this.space.taken
  }

  /** Cuts off what lies free at the end of the file; returns how many bytes. */
  trim(): number {
    const { pages, space } = this
    const before = pages.bytes
    const end = space.end * pages.sectorBytes
    if (end >= before) return 0
    pages.truncate(end)
    return before - end
  }

  /**
   * Reads everything that the durable checkpoint reaches and says what is damaged; finds extents over each other and sectors that are
   * taken for nothing. The store may go on working meanwhile. Errors: those of the page file; damage is not one.
   */
  verify(visit: (finding: Finding) => void, done: Completion<VerifySummary>): void {
    const { durable, closing, pages, pageBytes } = this
    const states: (readonly Owned[])[] = [
      ...(durable === undefined ? [] : [allExtents(durable)]),
      allExtents({ table: this.table }),
    ]
    if (closing !== undefined) states.push(allExtents({ table: closing.table, root: closing.root }))
    const { directory, directoryPieces } = this
    states.push(allExtents({ directory, directoryPieces }))
    states.push([...this.dying.values()].map(({ extent }) => ({ what: 'an old version', page: undefined, extent })))
    checkSpace(states, this.space, pages, visit)
    const pin = this.pin()
    if (durable === undefined || pin === undefined) return done({ ok: true, value: { pages: 0, extents: 0, bytes: 0 } })
    verifyContents(durable, pages, pageBytes, visit, result => {
      pin.release()
      done(result)
    })
  }

  private writeClosing(page: PageId, bytes: Uint8Array): void {
    const { closing, table } = this
    assert(closing !== undefined && closing.root === undefined, 'nothing is closing')
    const extent = this.put(kinds.page, page, closing.epoch, bytes)
    const old = closing.table.get(page)
    const newest = table.get(page)
    closing.table.set(page, extent, closing.epoch, table)
    closing.changed.add(closing.table.pieceOf(page))
    // The newest state follows, unless the page was written or freed since the epoch was closed.
    const follows = newest?.sector === old?.sector && this.ids.isTaken(page)
    this.setNewest(page, newest, follows ? extent : newest)
    if (!follows) this.bury(extent, this.epoch)
    this.bury(old, closing.epoch)
  }

  private replace(page: PageId, extent: Extent | undefined): void {
    const old = this.table.get(page)
    if (old === undefined && extent === undefined) return
    this.setNewest(page, old, extent)
    this.bury(old, this.epoch)
  }

  private setNewest(page: PageId, old: Extent | undefined, extent: Extent | undefined): void {
    const { table } = this
    this.pageCount += (extent === undefined ? 0 : 1) - (old === undefined ? 0 : 1)
    if (table.get(page)?.sector === extent?.sector) return
    table.set(page, extent, this.epoch)
    this.changed.add(table.pieceOf(page))
  }

  /** Reads again where the page moved while it was read: its old extent may have been given to another one. */
  private readFrom(find: () => Extent | undefined, page: PageId, into: Uint8Array, done: Done): void {
    const extent = find()
    if (extent === undefined) {
      return done(new HarmonyError('CORRUPT', `page ${page} is asked for and the page table does not have it`))
    }
    readExtent(this.pages, extent, read => {
      if (!read.ok) return done(read.error)
      if (!sameExtent(find(), extent)) return this.readFrom(find, page, into, done)
      const problem = decodeExtentInto(read.value, { kind: kinds.page, id: page, extent }, into)
      done(problem === undefined ? undefined : damage(`page ${page}`, extent, this.pages, problem))
    })
  }

  private put(kind: ExtentKind, id: number, epoch: number, content: Uint8Array): Extent {
    const { bytes, crc } = this.encoder.encode(kind, id, epoch, content)
    const { sectorBytes } = this.pages
    const sectors = bytes.length / sectorBytes
    const sector = this.space.find(sectors)
    assert(sector + sectors <= sectorMax, 'the page file has reached its largest size')
    this.space.take(sector, sectors)
    this.pages.write(sector * sectorBytes, bytes)
    this.extentsWritten++
    this.bytesWritten += bytes.length
    this.unsynced += bytes.length
    if (this.unsynced >= unsyncedBytesMax) {
      this.unsynced = 0
      // A failure is final (G5): the next checkpoint meets it.
      this.pages.sync(() => {})
    }
    return { sector, sectors, crc, epoch }
  }

  private writeTables({ epoch, table, changed }: Closing): void {
    const { directory } = this
    const changedDirectories = new Set<number>()
    for (const piece of changed) {
      const content = table.encodePiece(piece)
      const extent = content === undefined ? undefined : this.put(kinds.piece, piece, epoch, content)
      this.bury(directory.get(piece), epoch)
      directory.set(piece, extent, epoch)
      changedDirectories.add(directory.pieceOf(piece))
    }
    for (const number of changedDirectories) {
      const content = directory.encodePiece(number)
      this.bury(this.directoryPieces[number], epoch)
      while (this.directoryPieces.length < number) this.directoryPieces.push(undefined)
      this.directoryPieces[number] =
        content === undefined ? undefined : this.put(kinds.directory, number, epoch, content)
    }
    while (this.directoryPieces.length > 0 && this.directoryPieces.at(-1) === undefined) this.directoryPieces.pop()
  }

  /** Of an extent that the current state let go, the closing one may do so later: the earlier death counts. */
  private bury(extent: Extent | undefined, died: number): void {
    if (extent === undefined) return
    const { sector, sectors, epoch } = extent
    if (epoch < died) this.dying.set(sector, { extent, died })
    else {
      this.dying.delete(sector)
      this.space.release(sector, sectors)
    }
  }

  private releaseDead(): void {
    const durable = this.durable?.checkpoint ?? 0
    const pinned = [...this.pins].flat()
    for (const [sector, { extent, died }] of this.dying) {
      if (died > durable || pinned.some(pin => extent.epoch <= pin && pin < died)) continue
      this.dying.delete(sector)
      this.space.release(sector, extent.sectors)
    }
  }
}

function sameExtent(a: Extent | undefined, b: Extent): boolean {
  return a !== undefined && a.sector === b.sector && a.crc === b.crc && a.epoch === b.epoch
}
