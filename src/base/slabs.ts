/**
 * Small pieces of memory out of larger ones: an array with memory of its own costs more than to fill it. The whole is free once none of its pieces is in
 * use, so pieces of one object should live for about as long. Never for what is posted to another realm: that would clone the whole.
 */
import { copyBytes, copyInto } from './bytes.ts'

const slabBytes = 64 * 1024
const slabPieceBytesMax = 2048

export class Slabs {
  private slab = new Uint8Array(0)
  private used = 0

  copy(bytes: Uint8Array, length: number): Uint8Array {
    if (length > slabPieceBytesMax) return copyBytes(bytes, 0, length)
    if (this.used + length > this.slab.length) {
      this.slab = new Uint8Array(slabBytes)
      this.used = 0
    }
    const { slab, used } = this
    this.used += length
    copyInto(slab, used, bytes, 0, length)
    return slab.subarray(used, used + length)
  }
}
