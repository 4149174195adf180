/**
 * A table of extents by number, in pieces that can be written and shared one by one. The page table is one (numbered by page id), the
 * directory of its pieces is another.
 *
 * Versions share pieces: `fork` costs one array of references, and a piece is copied when the newer version changes it first. So the
 * tables of the durable checkpoint, of one that is being written and of pinned ones stay as they were, at the price of what
 * changed since. A piece knows the generation (checkpoint) that made it; only that generation may change it in place.
 *
 * Format of a piece: entries of 16 bytes, all u32 little-endian: first sector, sectors, CRC-32C of the extent, epoch that it was
 * written for. An unused entry is zeros.
 */
import { assert } from '../base/assert.ts'
import type { Extent } from './extent-format.ts'

export const entryBytes = 16

interface Piece {
  readonly words: Uint32Array
  readonly generation: number
  entries: number
}

export class ExtentTable {
  readonly entriesPerPiece: number
  private readonly pieces: (Piece | undefined)[]

  constructor(entriesPerPiece: number, pieces: (Piece | undefined)[] = []) {
    this.entriesPerPiece = entriesPerPiece
    this.pieces = pieces
  }

  /** From now on the two are versions of their own. */
  fork(): ExtentTable {
    return new ExtentTable(this.entriesPerPiece, this.pieces.slice())
  }

  get pieceCount(): number {
    return this.pieces.length
  }

  pieceOf(index: number): number {
    return Math.floor(index / this.entriesPerPiece)
  }

  get(index: number): Extent | undefined {
    const piece = this.pieces[this.pieceOf(index)]
    return piece === undefined ? undefined : entryAt(piece.words, (index % this.entriesPerPiece) * 4)
  }

  /**
   * @param generation The checkpoint that the change belongs to.
   * @param later A newer version that shares pieces with this one: it goes on sharing those that it has not changed itself.
   */
  set(index: number, extent: Extent | undefined, generation: number, later?: ExtentTable): void {
    const number = this.pieceOf(index)
    const piece = this.writable(number, generation, later)
    const at = (index % this.entriesPerPiece) * 4
    const { words } = piece
    piece.entries += (extent === undefined ? 0 : 1) - (words[at] === 0 ? 0 : 1)
    words[at] = extent?.sector ?? 0
    words[at + 1] = extent?.sectors ?? 0
    words[at + 2] = extent?.crc ?? 0
    words[at + 3] = extent?.epoch ?? 0
  }

  forEach(visit: (index: number, extent: Extent) => void): void {
    for (let number = 0; number < this.pieces.length; number++) this.forEachOf(number, visit)
  }

  forEachOf(number: number, visit: (index: number, extent: Extent) => void): void {
    const words = this.pieces[number]?.words
    if (words === undefined) return
    for (let i = 0; i < this.entriesPerPiece; i++) {
      const extent = entryAt(words, i * 4)
      if (extent !== undefined) visit(number * this.entriesPerPiece + i, extent)
    }
  }

  /** Undefined where the piece has no entry. */
  encodePiece(number: number): Uint8Array | undefined {
    const piece = this.pieces[number]
    if (piece === undefined || piece.entries === 0) return undefined
    return encodeWords(piece.words)
  }

  /** Puts a piece that was read in its place. False where an entry cannot be: the piece is then not there. */
  decodePiece(number: number, bytes: Uint8Array, sound: (extent: Extent) => boolean): boolean {
    if (bytes.length !== this.entriesPerPiece * entryBytes) return false
    const words = decodeWords(bytes)
    let entries = 0
    for (let at = 0; at < words.length; at += 4) {
      const extent = entryAt(words, at)
      if (extent === undefined) {
        if (words[at + 1] !== 0 || words[at + 2] !== 0 || words[at + 3] !== 0) return false
      } else if (!sound(extent)) return false
      else entries++
    }
    while (this.pieces.length < number) this.pieces.push(undefined)
    this.pieces[number] = { words, generation: 0, entries }
    return true
  }

  private writable(number: number, generation: number, later: ExtentTable | undefined): Piece {
    const old = this.pieces[number]
    if (old !== undefined && old.generation === generation) return old
    assert(old === undefined || old.generation < generation, 'an old version of a table does not change')
    const words = old === undefined ? new Uint32Array(this.entriesPerPiece * 4) : old.words.slice()
    const made: Piece = { words, generation, entries: old?.entries ?? 0 }
    this.put(number, made)
    if (later !== undefined && later.pieces[number] === old) later.put(number, made)
    return made
  }

  private put(number: number, piece: Piece): void {
    while (this.pieces.length < number) this.pieces.push(undefined)
    this.pieces[number] = piece
  }
}

function entryAt(words: Uint32Array, at: number): Extent | undefined {
  const sector = words[at] as number
  if (sector === 0) return undefined
  return {
    sector,
    sectors: words[at + 1] as number,
    crc: words[at + 2] as number,
    epoch: words[at + 3] as number,
  }
}

export function encodeWords(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(words.length * 4)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < words.length; i++) view.setUint32(i * 4, words[i] as number, true)
  return bytes
}

function decodeWords(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(bytes.length / 4)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let i = 0; i < words.length; i++) words[i] = view.getUint32(i * 4, true)
  return words
}
