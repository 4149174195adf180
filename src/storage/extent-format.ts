/**
 * What stands at the front of every extent of the page file, so that a wrong, old or damaged one is never taken for the right one: the
 * page table knows each extent's checksum and epoch, the extent itself knows whose it is.
 *
 * Format (integers little-endian), then the stored bytes, then zeros to the end of the sector:
 *    0   4  CRC-32C of bytes 4 to 24 and the stored bytes
 *    4   4  id: page id; number of the piece of a table; 0 for the root
 *    8   4  epoch: the checkpoint that it was written for
 *   12   1  kind: 1 page, 2 piece of the page table, 3 piece of the table of those pieces, 4 root
 *   13   1  codec: 0 as it is, 1 Snappy
 *   14   2  zeros
 *   16   4  bytes after decompression
 *   20   4  bytes stored
 *
 * Content is compressed only where that saves a sector at least.
 */
import { copyBytes } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { compress, compressedBytesMax, decompress } from './compression.ts'

export const headerBytes = 24

export const kinds = { page: 1, piece: 2, directory: 3, root: 4 } as const
export type ExtentKind = (typeof kinds)[keyof typeof kinds]

const raw = 0
const snappy = 1

/** Where something stands, and what to expect there. */
export interface Extent {
  /** Offset in sectors; never 0. */
  readonly sector: number
  readonly sectors: number
  readonly crc: number
  readonly epoch: number
}

export interface EncodedExtent {
  /** Whole sectors, in a buffer of its own. */
  readonly bytes: Uint8Array
  readonly crc: number
}

export class ExtentEncoder {
  private readonly sectorBytes: number
  private readonly compressing: boolean
  private scratch = new Uint8Array(0)

  constructor(sectorBytes: number, compressing: boolean) {
    this.sectorBytes = sectorBytes
    this.compressing = compressing
  }

  encode(kind: ExtentKind, id: number, epoch: number, content: Uint8Array): EncodedExtent {
    const plain = this.sectors(content.length)
    let stored = content
    let codec = raw
    if (this.compressing && plain > 1) {
      const needed = compressedBytesMax(content.length)
      if (this.scratch.length < needed) this.scratch = new Uint8Array(needed)
      const length = compress(content, this.scratch)
      if (this.sectors(length) < plain) {
        stored = this.scratch.subarray(0, length)
        codec = snappy
      }
    }
    const bytes = new Uint8Array(this.sectors(stored.length) * this.sectorBytes)
    const view = new DataView(bytes.buffer)
    view.setUint32(4, id, true)
    view.setUint32(8, epoch, true)
    bytes[12] = kind
    bytes[13] = codec
    view.setUint32(16, content.length, true)
    view.setUint32(20, stored.length, true)
    bytes.set(stored, headerBytes)
    const crc = crc32c(bytes, 0, 4, headerBytes + stored.length)
    view.setUint32(0, crc, true)
    return { bytes, crc }
  }

  private sectors(storedBytes: number): number {
    return Math.ceil((headerBytes + storedBytes) / this.sectorBytes)
  }
}

export interface Expected {
  readonly kind: ExtentKind
  readonly id: number
  readonly extent: Extent
}

/** Total. The content in bytes of its own, at most `lengthMax`; otherwise what is wrong, as the end of a sentence. */
export function decodeExtent(bytes: Uint8Array, expected: Expected, lengthMax: number): Uint8Array | string {
  const header = decodeHeader(bytes, expected)
  if (typeof header === 'string') return header
  if (header.length > lengthMax) return `it holds ${header.length} bytes, more than the ${lengthMax} possible`
  if (header.codec === raw) return copyBytes(header.stored)
  const content = new Uint8Array(header.length)
  return decompress(header.stored, content) ? content : 'its bytes cannot be decompressed'
}

/** Total. Fills `into` with content of exactly that length; otherwise what is wrong. */
export function decodeExtentInto(bytes: Uint8Array, expected: Expected, into: Uint8Array): string | undefined {
  const header = decodeHeader(bytes, expected)
  if (typeof header === 'string') return header
  if (header.length !== into.length) return `it holds ${header.length} bytes instead of ${into.length}`
  if (header.codec === snappy) {
    return decompress(header.stored, into) ? undefined : 'its bytes cannot be decompressed'
  }
  into.set(header.stored)
  return undefined
}

interface Header {
  readonly codec: number
  readonly length: number
  readonly stored: Uint8Array
}

function decodeHeader(bytes: Uint8Array, { kind, id, extent }: Expected): Header | string {
  if (bytes.length < headerBytes) return 'it is shorter than its header'
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const storedBytes = view.getUint32(20, true)
  const crc = view.getUint32(0, true)
  const whole = storedBytes <= bytes.length - headerBytes
  if (!whole || crc32c(bytes, 0, 4, headerBytes + storedBytes) !== crc) return 'its checksum is wrong'
  // Sound in itself, and all the same not what was written there last: a misdirected write, or a lost one.
  const epoch = view.getUint32(8, true)
  if (bytes[12] !== kind || view.getUint32(4, true) !== id) return 'something else stands there'
  if (epoch !== extent.epoch) return `it is of checkpoint ${epoch} instead of ${extent.epoch}`
  if (crc !== extent.crc) return 'it has another content than the one last written'
  const codec = bytes[13] as number
  const length = view.getUint32(16, true)
  if (codec > snappy || bytes[14] !== 0 || bytes[15] !== 0) return `its codec ${codec} is unknown`
  if (codec === raw && length !== storedBytes) return 'its lengths contradict each other'
  return { codec, length, stored: bytes.subarray(headerBytes, headerBytes + storedBytes) }
}
