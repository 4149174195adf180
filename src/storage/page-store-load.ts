/**
 * Reads the tables of the page store's newest checkpoint when it is opened. Everything that they reach is marked as taken; what they
 * do not reach is free, whatever a crash left there. An extent that lies outside of the file, or over another one, is damage.
 *
 * Format of the root's content (u32 little-endian): page size, length of the meta bytes, these, number of directory pieces, an entry
 * of 16 bytes for each (`extent-table.ts`; zeros where there is none). A directory piece has the entries of page table pieces.
 */
import { ByteReader, ByteWriter, copyBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Completion, Done, PageFile } from '../platform.ts'
import { decodeExtent, type Expected, type Extent, headerBytes, kinds } from './extent-format.ts'
import { ExtentTable, entryBytes } from './extent-table.ts'
import { SectorSpace } from './extents.ts'
import { type PageRoot, superblocksBytes } from './superblock.ts'

export const metaBytesMax = 1024
const readsInFlight = 8
const remedy = 'Restore this store from a backup, or delete it and let the peer join again as a new one.'

/** What one checkpoint consists of. */
export interface CheckpointTables {
  readonly checkpoint: number
  readonly meta: Uint8Array
  readonly root: Extent
  /** Extents of pages, by page id. */
  readonly table: ExtentTable
  /** Extents of pieces of `table`, by their number. */
  readonly directory: ExtentTable
  /** Extents of pieces of `directory`, by their number. */
  readonly directoryPieces: readonly (Extent | undefined)[]
}

export interface LoadedTables extends CheckpointTables {
  readonly space: SectorSpace
}

export const entriesPerPiece = (pageBytes: number): number => pageBytes / entryBytes

/** The same file in sectors of the store's size, which may be larger than the file's own. */
export function countedIn(file: PageFile, sectorBytes: number): PageFile {
  if (sectorBytes === file.sectorBytes) return file
  return {
    sectorBytes,
    extentBytesMax: file.extentBytesMax,
    pageBytesPreferred: file.pageBytesPreferred,
    get bytes() {
      return Math.ceil(file.bytes / sectorBytes) * sectorBytes
    },
    write: (offset, bytes) => file.write(offset, bytes),
    read: (offset, length, done) => file.read(offset, length, done),
    sync: done => file.sync(done),
    truncate: bytes => file.truncate(bytes),
    close: done => file.close(done),
  }
}

export function emptySpace(pages: PageFile): SectorSpace {
  return new SectorSpace(superblocksBytes(pages) / pages.sectorBytes, pages.extentBytesMax / pages.sectorBytes)
}

export const damage = (what: string, extent: Extent, pages: PageFile, problem: string): HarmonyError =>
  new HarmonyError('CORRUPT', `${what} at byte ${extent.sector * pages.sectorBytes} is damaged: ${problem}. ${remedy}`)

export function readExtent(pages: PageFile, { sector, sectors }: Extent, done: Completion<Uint8Array>): void {
  pages.read(sector * pages.sectorBytes, sectors * pages.sectorBytes, done)
}

/** `what` names it in messages. */
export function readContent(
  pages: PageFile,
  what: string,
  expected: Expected,
  bytesMax: number,
  done: Completion<Uint8Array>,
): void {
  readExtent(pages, expected.extent, read => {
    if (!read.ok) return done(read)
    const content = decodeExtent(read.value, expected, bytesMax)
    if (typeof content !== 'string') return done({ ok: true, value: content })
    done({ ok: false, error: damage(what, expected.extent, pages, content) })
  })
}

/** Runs a step for each number below `count`, some at once, and ends with the first error. Steps may complete before they return. */
export function forEachBelow(count: number, step: (i: number, next: Done) => void, done: Done): void {
  let started = 0
  let finished = 0
  let failure: HarmonyError | undefined
  let running = false
  let ended = false
  const pump = (): void => {
    if (running || ended) return
    running = true
    while (failure === undefined && started < count && started - finished < readsInFlight) {
      step(started++, error => {
        finished++
        failure ??= error
        pump()
      })
    }
    running = false
    if (finished < (failure === undefined ? count : started)) return
    ended = true
    done(failure)
  }
  pump()
}

/** Errors: CORRUPT, those of the page file. */
export function loadTables(
  pages: PageFile,
  pageBytes: number,
  { checkpoint, sector, sectors, crc }: PageRoot,
  done: Completion<LoadedTables>,
): void {
  const space = emptySpace(pages)
  const sound = (extent: Extent): boolean =>
    fits(extent, pages) && extent.epoch > 0 && extent.epoch <= checkpoint && space.take(extent.sector, extent.sectors)
  const root: Extent = { sector, sectors, crc, epoch: checkpoint }
  const what = 'the root of the page table'
  const fail = (error: HarmonyError): void => done({ ok: false, error })
  if (!sound(root)) return fail(damage(what, root, pages, 'the file does not reach so far'))
  const bytesMax = pages.extentBytesMax - headerBytes
  readContent(pages, what, { kind: kinds.root, id: 0, extent: root }, bytesMax, read => {
    if (!read.ok) return done(read)
    const decoded = decodeRoot(read.value, pageBytes)
    if (decoded === undefined) return fail(damage(what, root, pages, 'its content makes no sense'))
    const { meta, directoryPieces } = decoded
    const table = new ExtentTable(entriesPerPiece(pageBytes))
    const directory = new ExtentTable(entriesPerPiece(pageBytes))
    for (const extent of directoryPieces) {
      if (extent !== undefined && !sound(extent)) return fail(damage(what, root, pages, 'an entry cannot be'))
    }
    const load = (into: ExtentTable, kind: 2 | 3, from: readonly Numbered[], next: Done): void =>
      forEachBelow(from.length, (i, one) => loadPiece(into, kind, from[i] as Numbered, one), next)
    const loadPiece = (into: ExtentTable, kind: 2 | 3, { id, extent }: Numbered, next: Done): void => {
      const name = `piece ${id} of the ${kind === kinds.piece ? 'page table' : "page table's directory"}`
      readContent(pages, name, { kind, id, extent }, pageBytes, piece => {
        if (!piece.ok) return next(piece.error)
        if (into.decodePiece(id, piece.value, sound)) return next(undefined)
        next(damage(name, extent, pages, 'an entry lies outside of the file, or over another one'))
      })
    }
    load(directory, kinds.directory, numbered(directoryPieces), directoryError => {
      if (directoryError !== undefined) return fail(directoryError)
      const pieces: Numbered[] = []
      directory.forEach((id, extent) => {
        pieces.push({ id, extent })
      })
      load(table, kinds.piece, pieces, error => {
        if (error !== undefined) return fail(error)
        done({ ok: true, value: { checkpoint, meta, root, table, directory, directoryPieces, space } })
      })
    })
  })
}

export interface Numbered {
  readonly id: number
  readonly extent: Extent
}

export function numbered(extents: readonly (Extent | undefined)[]): Numbered[] {
  return extents.flatMap((extent, id) => (extent === undefined ? [] : [{ id, extent }]))
}

function fits({ sector, sectors }: Extent, pages: PageFile): boolean {
  const { sectorBytes, extentBytesMax } = pages
  return sectors > 0 && sectors * sectorBytes <= extentBytesMax && (sector + sectors) * sectorBytes <= pages.bytes
}

/** Total. */
export function decodeRoot(
  bytes: Uint8Array,
  pageBytes: number,
): { readonly meta: Uint8Array; readonly directoryPieces: readonly (Extent | undefined)[] } | undefined {
  const reader = new ByteReader(bytes)
  if (reader.u32() !== pageBytes) return undefined
  const metaBytes = reader.u32()
  if (metaBytes > metaBytesMax) return undefined
  const meta = copyBytes(reader.raw(metaBytes))
  const count = reader.u32()
  if (count * entryBytes !== reader.remaining) return undefined
  const directoryPieces: (Extent | undefined)[] = []
  for (let i = 0; i < count; i++) {
    const extent = { sector: reader.u32(), sectors: reader.u32(), crc: reader.u32(), epoch: reader.u32() }
    directoryPieces.push(extent.sector === 0 ? undefined : extent)
  }
  return reader.failed ? undefined : { meta, directoryPieces }
}

export function encodeRoot(
  pageBytes: number,
  meta: Uint8Array,
  directoryPieces: readonly (Extent | undefined)[],
): Uint8Array {
  const writer = new ByteWriter(64 + meta.length + directoryPieces.length * entryBytes)
  writer.u32(pageBytes).u32(meta.length).raw(meta).u32(directoryPieces.length)
  for (const extent of directoryPieces) {
    writer.u32(extent?.sector ?? 0).u32(extent?.sectors ?? 0)
    writer.u32(extent?.crc ?? 0).u32(extent?.epoch ?? 0)
  }
  return writer.finish()
}
