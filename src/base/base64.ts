/** Base64url: bytes as text that goes into an address as it is. */

const base64Digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const base64Values = new Int8Array(128).fill(-1)
for (let i = 0; i < 64; i++) base64Values[base64Digits.charCodeAt(i)] = i

/** RFC 4648, URL-safe digits, without padding. */
export function base64UrlEncode(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i
    const bits = (bytes[i]! << 16) | ((left > 1 ? bytes[i + 1]! : 0) << 8) | (left > 2 ? bytes[i + 2]! : 0)
    text += base64Digits[bits >> 18]! + base64Digits[(bits >> 12) & 63]!
    if (left > 1) text += base64Digits[(bits >> 6) & 63]!
    if (left > 2) text += base64Digits[bits & 63]!
  }
  return text
}

/** The bytes that encode to exactly this text, or undefined: no padding, no other digits, no stray bits in the last one. */
export function base64UrlDecode(text: string): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4))
  let bits = 0
  let bitCount = 0
  let at = 0
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const value = unit < 128 ? base64Values[unit]! : -1
    if (value < 0) return undefined
    bits = ((bits << 6) | value) & 0xffff
    bitCount += 6
    if (bitCount < 8) continue
    bitCount -= 8
    bytes[at++] = bits >> bitCount
  }
  return (bits & ((1 << bitCount) - 1)) === 0 ? bytes : undefined
}
