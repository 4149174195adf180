/**
 * A stored value with the commit timestamp that wrote it.
 *
 * Format 1: u8 format = 1 | u64 timestamp | value bytes. The timestamp stands in front so that a version check reads
 * eight bytes, whatever the size of the value. One version a key for now; chains of versions will keep this head.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Timestamp, timestamp } from '../base/ids.ts'

const format = 1
const headBytes = 9

export function encodeVersioned(at: Timestamp, value: Uint8Array): Uint8Array {
  const writer = new ByteWriter(headBytes + value.length)
  writer.u8(format)
  writer.u64(at)
  writer.raw(value)
  return writer.finish()
}

/** @throws HarmonyError CORRUPT: the engine handed out what this code never wrote. */
export function timestampOf(stored: Uint8Array): Timestamp {
  const reader = new ByteReader(stored)
  const found = reader.u8()
  const at = reader.u64()
  if (reader.failed || found !== format) {
    throw new HarmonyError(
      'CORRUPT',
      `a stored value has format ${found} and ${stored.length} bytes; expected format ${format}`,
    )
  }
  return timestamp(at)
}

/** A view, not a copy. */
export const payloadOf = (stored: Uint8Array): Uint8Array => stored.subarray(headBytes)

/** Versions as users see them: fixed width, so that they compare as strings. */
export const versionOf = (at: Timestamp): string => at.toString(16).padStart(14, '0')

/** The timestamp behind a user's version string; undefined for anything that `versionOf` did not make. */
export function parseVersion(version: string): Timestamp | undefined {
  return /^[0-9a-f]{14}$/.test(version) ? timestamp(Number.parseInt(version, 16)) : undefined
}
