/**
 * A stored value with the commit timestamp that wrote it.
 *
 * Format 1: u8 format = 1 | u64 timestamp | value bytes. The timestamp stands in front so that a version check reads
 * eight bytes, whatever the size of the value. One version a key for now; chains of versions will keep this head.
 */
import { hexOfByte } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Timestamp, timestamp } from '../base/ids.ts'

const format = 1
/** What stands before the value. */
export const headBytes = 9
const two32 = 0x1_0000_0000
const keptBytesMax = 64 * 1024

/** Where stored values are made, one after the other; each stays until `reset`. To make an array for each would cost more. */
export class StoredValues {
  private buffer = new Uint8Array(4096)
  private used = 0

  reset(): void {
    this.used = 0
  }

  /** A view. */
  make(at: Timestamp, value: Uint8Array): Uint8Array {
    const from = this.used
    const to = from + headBytes + value.length
    if (to > this.buffer.length) {
      // What was made before keeps the old one.
      this.buffer = new Uint8Array(Math.max(keptBytesMax, headBytes + value.length))
      this.used = 0
      return this.make(at, value)
    }
    this.used = to
    const { buffer } = this
    buffer[from] = format
    let low = at % two32
    let high = (at - low) / two32
    for (let i = from + 1; i < from + 5; i++) {
      buffer[i] = low
      low >>>= 8
      buffer[i + 4] = high
      high >>>= 8
    }
    buffer.set(value, from + headBytes)
    const stored = buffer.subarray(from, to)
    if (buffer.length > keptBytesMax) {
      this.buffer = new Uint8Array(keptBytesMax)
      this.used = 0
    }
    return stored
  }
}

/** Of stored[from, to). @throws HarmonyError CORRUPT: the engine handed out what this code never wrote. */
export function timestampOf(stored: Uint8Array, from = 0, to = stored.length): Timestamp {
  const high =
    (stored[from + 5]! | (stored[from + 6]! << 8) | (stored[from + 7]! << 16) | (stored[from + 8]! << 24)) >>> 0
  if (to - from < headBytes || stored[from] !== format || high > 0x1f_ffff) {
    throw new HarmonyError(
      'CORRUPT',
      `a stored value has format ${stored[from]} and ${to - from} bytes; expected format ${format}`,
    )
  }
  const low =
    (stored[from + 1]! | (stored[from + 2]! << 8) | (stored[from + 3]! << 16) | (stored[from + 4]! << 24)) >>> 0
  return timestamp(high * two32 + low)
}

/** Total: whether `timestampOf` can read it. */
export function isStored(stored: Uint8Array): boolean {
  // The timestamp has 53 bits.
  return stored.length >= headBytes && stored[0] === format && stored[8] === 0 && stored[7]! <= 0x1f
}

/** A view, not a copy. */
export const payloadOf = (stored: Uint8Array): Uint8Array => stored.subarray(headBytes)

/** Versions as users see them: fixed width, so that they compare as strings. */
export function versionOf(at: Timestamp): string {
  const low = at % 0x1_0000
  const high = (at - low) / 0x1_0000
  if (high !== lastHigh) {
    lastHigh = high
    lastDigits = high.toString(16).padStart(10, '0')
  }
  return lastDigits + hexOfByte[low >>> 8]! + hexOfByte[low & 0xff]!
}

/** Versions that are asked for one after the other were given out at about the same time. */
let lastHigh = 0
let lastDigits = '0000000000'

/** The timestamp behind a user's version string; undefined for anything that `versionOf` did not make. */
export function parseVersion(version: string): Timestamp | undefined {
  if (version.length !== 14) return undefined
  let value = 0
  for (let i = 0; i < 14; i++) {
    const code = version.charCodeAt(i)
    if (code >= 0x30 && code <= 0x39) value = value * 16 + code - 0x30
    else if (code >= 0x61 && code <= 0x66) value = value * 16 + code - 0x57
    else return undefined
  }
  // Fourteen digits say more than any timestamp is.
  return value > Number.MAX_SAFE_INTEGER ? undefined : timestamp(value)
}
