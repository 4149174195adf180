/**
 * Looks at everything in the page file: each extent that a checkpoint reaches is read, its checksum, its owner and its epoch compared,
 * its content decompressed; and the extents together must neither overlap nor leave sectors that are taken for nothing.
 */
import type { HarmonyError } from '../base/errors.ts'
import type { Completion, PageFile } from '../platform.ts'
import { decodeExtent, type Extent, type ExtentKind, headerBytes, kinds } from './extent-format.ts'
import type { ExtentTable } from './extent-table.ts'
import { SectorSpace } from './extents.ts'
import type { PageId } from './page-source.ts'
import { type CheckpointTables, forEachBelow, numbered, readExtent } from './page-store-load.ts'

export interface Finding {
  readonly kind: 'damage' | 'overlap' | 'leak'
  /** What stands there: 'page 7', 'piece 3 of the page table'… */
  readonly what: string
  /** Where it is one. */
  readonly page: PageId | undefined
  /** In the page file, in bytes. */
  readonly offset: number
  readonly length: number
  readonly problem: string
}

export interface VerifySummary {
  readonly pages: number
  readonly extents: number
  /** On disk. */
  readonly bytes: number
}

export interface Owned {
  readonly what: string
  readonly page: PageId | undefined
  readonly extent: Extent
}

interface Read extends Owned {
  readonly kind: ExtentKind
  readonly id: number
}

/** Every extent of a state, or of the parts of one that are given. */
export function allExtents(state: Partial<CheckpointTables> | { root: Extent | undefined }): Read[] {
  const { root, directoryPieces, directory, table }: Partial<Parts> = state
  const found: Read[] = []
  if (root !== undefined) found.push({ what: 'the root', page: undefined, extent: root, kind: kinds.root, id: 0 })
  for (const { id, extent } of numbered(directoryPieces ?? [])) {
    const what = `piece ${id} of the page table's directory`
    found.push({ what, page: undefined, extent, kind: kinds.directory, id })
  }
  directory?.forEach((id, extent) => {
    found.push({ what: `piece ${id} of the page table`, page: undefined, extent, kind: kinds.piece, id })
  })
  table?.forEach((id, extent) => {
    found.push({ what: `page ${id}`, page: id as PageId, extent, kind: kinds.page, id })
  })
  return found
}

interface Parts {
  readonly root: Extent | undefined
  readonly directoryPieces: readonly (Extent | undefined)[]
  readonly directory: ExtentTable
  readonly table: ExtentTable
}

/** States may share extents; two different ones must not share a sector, and `space` must have taken just these. */
export function checkSpace(
  states: readonly (readonly Owned[])[],
  space: SectorSpace,
  pages: PageFile,
  visit: (finding: Finding) => void,
): void {
  const { sectorBytes } = pages
  const reached = new SectorSpace(space.first, pages.extentBytesMax / sectorBytes)
  const lengths = new Map<number, number>()
  const report = (kind: Finding['kind'], { what, page, extent }: Owned, problem: string): void => {
    const { sector, sectors } = extent
    visit({ kind, what, page, offset: sector * sectorBytes, length: sectors * sectorBytes, problem })
  }
  for (const state of states) {
    for (const owned of state) {
      const { sector, sectors } = owned.extent
      if (lengths.get(sector) === sectors) continue
      lengths.set(sector, sectors)
      if (!reached.take(sector, sectors)) report('overlap', owned, 'another extent stands there too')
    }
  }
  const end = Math.max(space.end, reached.end)
  for (let sector = space.first; sector < end; sector++) {
    if (space.isTaken(sector) === reached.isTaken(sector)) continue
    const from = sector
    const leak = space.isTaken(from)
    while (sector + 1 < end && space.isTaken(sector + 1) === leak && reached.isTaken(sector + 1) !== leak) sector++
    const extent = { sector: from, sectors: sector + 1 - from, crc: 0, epoch: 0 }
    const owned = { what: 'space', page: undefined, extent }
    if (leak) report('leak', owned, 'it is taken and nothing stands there')
    else report('overlap', owned, 'it is taken for free and something stands there')
  }
}

/** The checkpoint's extents must not be given away before it is over. */
export function verifyContents(
  tables: CheckpointTables,
  pages: PageFile,
  pageBytes: number,
  visit: (finding: Finding) => void,
  done: Completion<VerifySummary>,
): void {
  const all = allExtents(tables)
  const { sectorBytes } = pages
  let pageCount = 0
  let bytes = 0
  const check = (i: number, next: (error: HarmonyError | undefined) => void): void => {
    const { what, page, extent, kind, id } = all[i] as Read
    const length = extent.sectors * sectorBytes
    bytes += length
    if (page !== undefined) pageCount++
    readExtent(pages, extent, read => {
      // A range that the file cannot give (CORRUPT) is damage to this extent; anything else is the end of the file object.
      if (!read.ok && read.error.code !== 'CORRUPT') return next(read.error)
      const problem = read.ok ? contentProblem(read.value) : read.error.message
      if (problem !== undefined) {
        visit({ kind: 'damage', what, page, offset: extent.sector * sectorBytes, length, problem })
      }
      next(undefined)
    })
    function contentProblem(stored: Uint8Array): string | undefined {
      const lengthMax = kind === kinds.root ? pages.extentBytesMax - headerBytes : pageBytes
      const content = decodeExtent(stored, { kind, id, extent }, lengthMax)
      if (typeof content === 'string') return content
      return kind === kinds.root || content.length === pageBytes ? undefined : `it holds ${content.length} bytes`
    }
  }
  forEachBelow(all.length, check, error => {
    if (error !== undefined) done({ ok: false, error })
    else done({ ok: true, value: { pages: pageCount, extents: all.length, bytes } })
  })
}
