/**
 * The data of the benchmarks, the same for every engine: 16-byte keys, 100-byte values, and who is asked for next.
 *
 * Keys are `user` (or another four letters) and twelve digits: record i has the number i * step mod 10^12, so keys come in no order, are spread evenly, and never meet twice.
 * Values: record (4 bytes, little-endian), version (4), 46 printable bytes, the same 46 again: compressible to about half, as LevelDB's own
 * benchmark has it. The first 4 bytes let every read be checked. Larger ones are made in the same way.
 */
export const keyBytes = 16
export const valueBytes = 100

const numbers = 1e12
/** The golden section of `numbers`, without a divisor in common. */
const step = 618_033_988_749
const templateCount = 1024
const templateBytesMax = 4 * 1024 * 1024
const zero = 0x30

/** How a realm makes bytes: Node's engines want Buffers, a browser has none. */
export interface BytesOf<B extends Uint8Array> {
  /** Zeros. */
  allocate(length: number): B
  copy(bytes: B): B
}

export const buffers: BytesOf<Buffer> = { allocate: length => Buffer.alloc(length), copy: bytes => Buffer.from(bytes) }
export const byteArrays: BytesOf<Uint8Array> = {
  allocate: length => new Uint8Array(length),
  copy: bytes => bytes.slice(),
}

export interface RecordsOptions {
  /** An even number. */
  readonly valueBytes?: number
  /** Four letters. */
  readonly prefix?: string
}

export class Records<B extends Uint8Array = Buffer> {
  /** Loaded before anything is measured: 0 … count - 1. */
  readonly count: number
  /** Put while measuring: count … count + spare - 1. The numbers behind them, as many as `absentCount`, never get a record. */
  readonly spare: number
  readonly absentCount: number
  private readonly valueBytes: number
  private readonly bytesOf: BytesOf<B>
  private readonly keys: B
  private readonly templates: readonly B[]

  constructor(count: number, bytesOf: BytesOf<B>, options: RecordsOptions = {}) {
    const { valueBytes: bytesEach = valueBytes, prefix = 'user' } = options
    this.bytesOf = bytesOf
    this.count = count
    this.valueBytes = bytesEach
    this.spare = Math.min(400_000, Math.max(2000, 4 * count))
    this.absentCount = Math.min(65_536, Math.max(1000, count))
    const all = count + this.spare + this.absentCount
    this.keys = bytesOf.allocate(all * keyBytes)
    for (let record = 0, number = 0; record < all; record++, number = (number + step) % numbers) {
      const at = record * keyBytes
      for (let i = 0; i < prefix.length; i++) this.keys[at + i] = prefix.charCodeAt(i)
      writeDigits(this.keys, at + 4, Math.floor(number / 1e6))
      writeDigits(this.keys, at + 10, number % 1e6)
    }
    const random = randomOf(1)
    const length = Math.max(1, Math.min(templateCount, Math.floor(templateBytesMax / bytesEach)))
    this.templates = Array.from({ length }, () => {
      const value = bytesOf.allocate(bytesEach)
      const middle = 4 + bytesEach / 2
      for (let at = 8; at < middle; at++) value[at] = 32 + (random() % 95)
      value.copyWithin(middle, 8, middle)
      return value
    })
  }

  /** A view into the bytes of all keys. */
  key(record: number): B {
    return this.keys.subarray(record * keyBytes, (record + 1) * keyBytes) as B
  }

  absentKey(n: number): B {
    return this.key(this.count + this.spare + (n % this.absentCount))
  }

  value(record: number, version: number): B {
    const value = this.bytesOf.copy(this.template(record))
    write32(value, 0, record)
    write32(value, 4, version)
    return value
  }

  /** @param whole Compare every byte, not only the length and the record's number. @throws Error if `value` is not the record's. */
  check(record: number, value: Uint8Array | undefined, whole: boolean): void {
    if (value === undefined) throw new Error(`record ${record} is missing`)
    if (value.length !== this.valueBytes || recordOf(value) !== record) {
      throw new Error(`record ${record} was asked for, another value came: ${value.length} bytes of ${recordOf(value)}`)
    }
    if (!whole) return
    const template = this.template(record)
    for (let at = 8; at < template.length; at++) {
      if (value[at] !== template[at]) throw new Error(`record ${record} came with byte ${at} changed`)
    }
  }

  private template(record: number): B {
    return this.templates[record % this.templates.length]!
  }

  /** What a scan from this record's key must find, where that can be told: behind it lie evenly spread keys. */
  scanned(record: number, limit: number): number | undefined {
    let number = 0
    for (const digit of this.key(record).subarray(4)) number = number * 10 + digit - zero
    return number < numbers - (2 * limit * numbers) / this.count ? limit : undefined
  }
}

function writeDigits(bytes: Uint8Array, at: number, six: number): void {
  for (let i = 5, rest = six; i >= 0; i--, rest = Math.floor(rest / 10)) bytes[at + i] = zero + (rest % 10)
}

function write32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

/** Negative where `a` comes first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < a.length && at < b.length; at++) {
    if (a[at] !== b[at]) return a[at]! - b[at]!
  }
  return a.length - b.length
}

function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

export const recordOf = (value: Uint8Array): number => read32(value, 0)
export const versionOf = (value: Uint8Array): number => read32(value, 4)

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
