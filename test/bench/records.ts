/**
 * The data of the benchmarks, the same for every engine: 16-byte keys, 100-byte values, and who is asked for next.
 *
 * Keys are `user` and twelve digits: record i has the number i * step mod 10^12, so keys come in no order, are spread evenly, and never meet twice.
 * Values: record (4 bytes, little-endian), version (4), 46 printable bytes, the same 46 again: compressible to about half, as LevelDB's own
 * benchmark has it. The first 4 bytes let every read be checked.
 */
export const keyBytes = 16
export const valueBytes = 100

const numbers = 1e12
/** The golden section of `numbers`, without a divisor in common. */
const step = 618_033_988_749
const templateCount = 1024

export class Records {
  /** Loaded before anything is measured: 0 … count - 1. */
  readonly count: number
  /** Put while measuring: count … count + spare - 1. The numbers behind them, as many as `absentCount`, never get a record. */
  readonly spare: number
  readonly absentCount: number
  private readonly keys: Buffer
  private readonly templates: readonly Buffer[]

  constructor(count: number) {
    this.count = count
    this.spare = Math.min(400_000, Math.max(2000, 4 * count))
    this.absentCount = Math.min(65_536, Math.max(1000, count))
    const all = count + this.spare + this.absentCount
    this.keys = Buffer.allocUnsafe(all * keyBytes)
    for (let i = 0, number = 0; i < all; i++, number = (number + step) % numbers) {
      this.keys.write(`user${String(number).padStart(12, '0')}`, i * keyBytes, 'latin1')
    }
    const random = randomOf(1)
    this.templates = Array.from({ length: templateCount }, () => {
      const value = Buffer.alloc(valueBytes)
      for (let at = 8; at < 54; at++) value[at] = 32 + (random() % 95)
      value.copyWithin(54, 8, 54)
      return value
    })
  }

  key(record: number): Buffer {
    return this.keys.subarray(record * keyBytes, (record + 1) * keyBytes)
  }

  absentKey(n: number): Buffer {
    return this.key(this.count + this.spare + (n % this.absentCount))
  }

  value(record: number, version: number): Buffer {
    const value = Buffer.from(this.templates[record % templateCount]!)
    value.writeUInt32LE(record, 0)
    value.writeUInt32LE(version >>> 0, 4)
    return value
  }

  /** @param whole Compare every byte, not only the length and the record's number. @throws Error if `value` is not the record's. */
  check(record: number, value: Uint8Array | undefined, whole: boolean): void {
    if (value === undefined) throw new Error(`record ${record} is missing`)
    if (value.length !== valueBytes || recordOf(value) !== record) {
      throw new Error(`record ${record} was asked for, another value came: ${value.length} bytes of ${recordOf(value)}`)
    }
    if (!whole) return
    const template = this.templates[record % templateCount]!
    for (let at = 8; at < valueBytes; at++) {
      if (value[at] !== template[at]) throw new Error(`record ${record} came with byte ${at} changed`)
    }
  }

  /** What a scan from this record's key must find, where that can be told: behind it lie evenly spread keys. */
  scanned(record: number, limit: number): number | undefined {
    const number = Number(this.key(record).toString('latin1', 4))
    return number < numbers - (2 * limit * numbers) / this.count ? limit : undefined
  }
}

export const recordOf = (value: Uint8Array): number =>
  (value[0]! | (value[1]! << 8) | (value[2]! << 16) | (value[3]! << 24)) >>> 0

/** 32-bit numbers, repeatable (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

const picksCount = 1 << 18

/** Drawn before the clock runs; used again from the start when they are used up. */
export function picks(draw: () => number): (n: number) => number {
  const drawn = Uint32Array.from({ length: picksCount }, draw)
  return n => drawn[n & (picksCount - 1)]!
}

export const uniform =
  (random: () => number, count: number): (() => number) =>
  () =>
    Math.floor((random() / 2 ** 32) * count)

/**
 * Ranks 0 … count - 1, small ones most often: the generator of YCSB, with its constant 0.99 (Gray et al., "Quickly generating
 * billion-record synthetic databases", SIGMOD 1994). Records come in no order of keys, so hot ones lie apart.
 */
export function zipf(random: () => number, count: number): () => number {
  const theta = 0.99
  let zeta = 0
  for (let rank = 1; rank <= count; rank++) zeta += rank ** -theta
  const zetaOf2 = 1 + 0.5 ** theta
  const alpha = 1 / (1 - theta)
  const eta = (1 - (2 / count) ** (1 - theta)) / (1 - zetaOf2 / zeta)
  return () => {
    const u = random() / 2 ** 32
    if (u * zeta < 1) return 0
    if (u * zeta < zetaOf2) return Math.min(1, count - 1)
    return Math.min(count - 1, Math.floor(count * (eta * u - eta + 1) ** alpha))
  }
}
