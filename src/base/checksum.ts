/**
 * CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected; the one of iSCSI, ext4 and SSE 4.2), eight bytes a step ("slicing by
 * eight"). Finds damage by accident; it proves nothing against intent.
 *
 * Format where it is stored: u32 little-endian, the finished value (start and end inverted). Check value: CRC of "123456789" is 0xE3069283.
 */

/** Eight tables of 256 in one array: entry 256 k + b is what byte b does to the CRC when k bytes of zeros follow it. */
const tables = makeTables()

/**
 * @param previous The CRC of what came before, to go on from there: crc32c(b, crc32c(a)) is that of a and b together.
 * @returns The CRC of bytes[from, to) in 0…2^32-1.
 */
export function crc32c(bytes: Uint8Array, previous = 0, from = 0, to = bytes.length): number {
  const t = tables
  let crc = ~previous
  let i = from
  const stepsEnd = to - 7
  while (i < stepsEnd) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    crc =
      t[1792 + (crc & 0xff)]! ^
      t[1536 + ((crc >>> 8) & 0xff)]! ^
      t[1280 + ((crc >>> 16) & 0xff)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!
    i += 8
  }
  for (; i < to; i++) crc = t[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8)
  return ~crc >>> 0
}

function makeTables(): Int32Array {
  const polynomialReflected = 0x82f63b78
  const made = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomialReflected : 0)
    made[byte] = crc
  }
  for (let i = 256; i < made.length; i++) {
    const shorter = made[i - 256]!
    made[i] = (shorter >>> 8) ^ made[shorter & 0xff]!
  }
  return made
}
