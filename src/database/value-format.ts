/**
 * Values as bytes: the format, for `value-encode.ts` and `value-decode.ts`.
 *
 * Format: the version byte 01, then one item. An item is a tag and what belongs to it (`base/bytes.ts`: varint, text = varint
 * length and WTF-8, f64; little-endian):
 *   01 null   02 undefined   03 false   04 true
 *   05 integer ≥ 0: varint          06 integer < 0: varint of -1-n         07 any other number: f64 (fractions, -0, NaN, ±∞)
 *   08 bigint ≥ 0, 09 bigint < 0: varint length, magnitude in big-endian bytes without leading zeros (0 has none; 09 holds -1-n)
 *   0A string: text
 *   0B Date: f64 milliseconds, NaN for an invalid one
 *   0C object: varint count, then that many of (text name, item), in the object's own order
 *   0D array: varint length, then the items; 0E stands for a hole
 *   0F Map: varint count, then that many of (item, item)
 *   10 Set: varint count, then the items
 *   11 Uint8Array: varint length, bytes      12 ArrayBuffer: the same      13 DataView: the same
 *   14 another typed array: kind (its place in `typedArrayKinds`), varint length in bytes, elements little-endian
 * Tag 00 is never used: zeros are what broken storage hands back most often.
 *
 * What is stored is what the value shows: own enumerable properties with string names (getters are called), of arrays the
 * elements (holes stay holes), of a typed array its own part of the buffer. Symbol-named properties and other properties of
 * arrays are not stored. Objects without a prototype come back as ordinary ones. `__proto__` is a name like any other.
 * References to one object from two places come back as two objects; a cycle is INVALID_VALUE. A Node Buffer is a Uint8Array.
 */

export const valueFormatVersion = 1
/** Longest encoded value. */
export const valueBytesMax = 16 * 1024 * 1024
/** Containers within containers. */
export const valueDepthMax = 500

export const tagNull = 0x01
export const tagUndefined = 0x02
export const tagFalse = 0x03
export const tagTrue = 0x04
export const tagUint = 0x05
export const tagNegative = 0x06
export const tagFloat = 0x07
export const tagBigUint = 0x08
export const tagBigNegative = 0x09
export const tagString = 0x0a
export const tagDate = 0x0b
export const tagObject = 0x0c
export const tagArray = 0x0d
export const tagHole = 0x0e
export const tagMap = 0x0f
export const tagSet = 0x10
export const tagBytes = 0x11
export const tagBuffer = 0x12
export const tagDataView = 0x13
export const tagTyped = 0x14

/** The order is the format: append only. */
export const typedArrayKinds = [
  'Int8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'Float16Array',
]
