/**
 * Page compression: Snappy's raw format. Chosen on figures (pages of 8 KiB with JSON-like rows, pure JavaScript, no eval, no wasm: it
 * runs synchronously on every host): compresses as fast as LZ4 in JavaScript and smaller.
 *
 * The package's decompressor trusts lengths in its input (a negative one makes it go round for ever), so the stream is
 * walked first: every element must lie within the input, every copy must reach back into what was written, and all
 * together must yield exactly the length expected. Elements with lengths or offsets of three and four bytes are refused: the
 * compressor makes none, for it works in blocks of 64 KiB.
 */
import { SnappyCompressor } from 'snappyjs/snappy_compressor.js'
import { SnappyDecompressor } from 'snappyjs/snappy_decompressor.js'

/** The most that `compress` may need for `bytes` of input. */
export const compressedBytesMax = (bytes: number): number => 32 + bytes + Math.floor(bytes / 6)

/** Compresses into `into`, which has `compressedBytesMax` bytes or more; returns how many were used. */
export function compress(bytes: Uint8Array, into: Uint8Array): number {
  return new SnappyCompressor(bytes).compressToBuffer(into)
}

/** Total: false for input that is not exactly `into.length` bytes compressed; `into` then holds rubbish. */
export function decompress(bytes: Uint8Array, into: Uint8Array): boolean {
  const start = soundFrom(bytes, into.length)
  if (start === 0) return false
  const decompressor = new SnappyDecompressor(bytes)
  return decompressor.readUncompressedLength() === into.length && decompressor.uncompressToBuffer(into)
}

/** Where the elements begin; 0 unless all of them are sound and yield `length` bytes. */
function soundFrom(bytes: Uint8Array, length: number): number {
  const start = lengthBytes(bytes, length)
  const end = bytes.length
  let at = start
  let made = 0
  while (at < end) {
    const tag = bytes[at++] as number
    let count = (tag >>> 2) + 1
    switch (tag & 3) {
      case 0: {
        const extra = count - 60
        if (extra > 2) return 0
        if (extra > 0) {
          if (at + extra > end) return 0
          count = (bytes[at] as number) + (extra === 2 ? (bytes[at + 1] as number) << 8 : 0) + 1
          // The package reads four bytes of length whatever it needs.
          if (at + 3 >= end) return 0
          at += extra
        }
        at += count
        if (at > end) return 0
        break
      }
      case 1: {
        if (at >= end) return 0
        count = ((tag >>> 2) & 7) + 4
        const offset = (bytes[at++] as number) + ((tag >>> 5) << 8)
        if (offset === 0 || offset > made) return 0
        break
      }
      case 2: {
        if (at + 1 >= end) return 0
        const offset = (bytes[at] as number) + ((bytes[at + 1] as number) << 8)
        at += 2
        if (offset === 0 || offset > made) return 0
        break
      }
      default:
        return 0
    }
    made += count
    if (made > length) return 0
  }
  return made === length ? start : 0
}

/** How many bytes the length at the front takes, in its shortest form; more than there are where it is another length. */
function lengthBytes(bytes: Uint8Array, length: number): number {
  let at = 0
  for (let rest = length; ; rest >>>= 7) {
    if (bytes[at] !== (rest < 128 ? rest : (rest & 127) | 128)) return bytes.length + 1
    at++
    if (rest < 128) return at
  }
}
