/** The bytes of one simulated file from `start` to `end`: grows on demand, zeros where nothing was written. */
import { assert } from '../../src/base/assert.ts'

const sectorBytes = 512

export class ByteImage {
  private base = 0
  private low = 0
  private high = 0
  private bytes = new Uint8Array(0)

  get start(): number {
    return this.low
  }

  get end(): number {
    return this.high
  }

  write(at: number, bytes: Uint8Array): void {
    assert(at >= this.low, 'a write before the start of a file')
    this.extend(at + bytes.length)
    this.bytes.set(bytes, at - this.base)
  }

  read(at: number, length: number): Uint8Array {
    const copy = new Uint8Array(length)
    const from = at - this.base
    // Beyond the end there are zeros.
    copy.set(this.bytes.subarray(from, Math.min(from + length, this.high - this.base)))
    return copy
  }

  zero(from: number, to: number): void {
    const last = Math.min(to, this.high)
    if (from < last) this.bytes.fill(0, from - this.base, last - this.base)
  }

  /** Moves the end up; what is new holds zeros. */
  extend(end: number): void {
    if (end <= this.high) return
    const needed = end - this.base
    if (needed > this.bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 4096, this.bytes.length * 2))
      grown.set(this.bytes.subarray(0, this.high - this.base))
      this.bytes = grown
    }
    this.high = end
  }

  cut(end: number): void {
    assert(end >= this.low, 'a cut before the start of a file')
    this.zero(end, this.high)
    this.high = Math.min(this.high, end)
  }

  dropFront(start: number): void {
    assert(start >= this.low && start <= this.high, 'a file can lose no more than it has')
    this.low = start
    // The memory goes when half of it is free: each byte is moved once on the average.
    if (start - this.base < this.bytes.length / 2) return
    this.bytes = this.bytes.slice(start - this.base)
    this.base = start
  }

  clone(): ByteImage {
    const copy = new ByteImage()
    copy.base = this.base
    copy.low = this.low
    copy.high = this.high
    copy.bytes = this.bytes.slice()
    return copy
  }

  flipBit(at: number, bit: number): void {
    assert(at >= this.low && at < this.high, 'only a byte that is there can rot')
    const offset = at - this.base
    this.bytes[offset] = this.bytes[offset]! ^ (1 << bit)
  }
}

/** The pieces of [from, to) that lie in one sector each, in order: what a device writes whole or not at all. */
export function forEachSector(from: number, to: number, visit: (from: number, to: number) => void): void {
  let at = from
  while (at < to) {
    const next = Math.min(to, (Math.floor(at / sectorBytes) + 1) * sectorBytes)
    visit(at, next)
    at = next
  }
}
