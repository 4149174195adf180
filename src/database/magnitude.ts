/** Bigints ≥ 0 as big-endian bytes without leading zeros: 0 has none. Linear in the size, through hexadecimal digits. */

export function magnitudeBytes(value: bigint): Uint8Array {
  if (value === 0n) return new Uint8Array(0)
  const digits = value.toString(16)
  const bytes = new Uint8Array((digits.length + 1) >> 1)
  for (let i = bytes.length - 1, end = digits.length; i >= 0; i--, end -= 2) {
    bytes[i] = Number.parseInt(digits.slice(Math.max(0, end - 2), end), 16)
  }
  return bytes
}

/** Undefined for a leading zero. */
export function magnitudeOf(bytes: Uint8Array): bigint | undefined {
  if (bytes.length === 0) return 0n
  if (bytes[0] === 0) return undefined
  const digits: string[] = []
  for (const byte of bytes) digits.push(byte.toString(16).padStart(2, '0'))
  return BigInt(`0x${digits.join('')}`)
}
