/**
 * Ranges of keys as ranges of bytes: from ≤ k < to, either undefined where the range is open.
 *
 * A prefix P takes P and everything that extends it: from P to P followed by FF, because no tag is FF (`key.ts`,
 * invariant 1). With `start` or `end` beside it (full keys, not relative to it) the two ranges are intersected. A range whose
 * start is not below its end is valid and empty.
 */
import { compareBytes, concatBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { encodeKey } from './key.ts'
import type { Key, Range } from './types.ts'

export interface ByteRange {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
}

const behindEveryTag = Uint8Array.of(0xff)

/**
 * @param range Undefined or `{}`: everything.
 * @throws HarmonyError INVALID_KEY, TOO_LARGE: naming `range.prefix`, `range.start` or `range.end`.
 */
export function encodeRange(range: Range | undefined): ByteRange {
  if (range === undefined) return { from: undefined, to: undefined }
  if (typeof range !== 'object' || range === null || Array.isArray(range) || ArrayBuffer.isView(range)) {
    throw new HarmonyError(
      'INVALID_KEY',
      'a range is an object: { prefix }, { start, end } or both; a key alone is not one',
    )
  }
  for (const field of Object.keys(range)) {
    if (field !== 'prefix' && field !== 'start' && field !== 'end') {
      throw new HarmonyError('INVALID_KEY', `range.${field} is not known; a range has prefix, start and end`)
    }
  }
  const { start, end } = range as { start?: Key; end?: Key }
  let from = start === undefined ? undefined : encodeKey(start, 'range.start')
  let to = end === undefined ? undefined : encodeKey(end, 'range.end')
  // A prefix that is there but undefined is a mistake of the caller's: it would mean everything.
  if ('prefix' in range) {
    const prefix = encodeKey(range.prefix, 'range.prefix')
    const behind = concatBytes(prefix, behindEveryTag)
    if (from === undefined || compareBytes(from, prefix) < 0) from = prefix
    if (to === undefined || compareBytes(to, behind) > 0) to = behind
  }
  return { from, to }
}

/** No key can be in it. */
export function isEmptyRange({ from, to }: ByteRange): boolean {
  return from !== undefined && to !== undefined && compareBytes(from, to) >= 0
}

export function isInRange(key: Uint8Array, { from, to }: ByteRange): boolean {
  return (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0)
}
