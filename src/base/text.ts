/**
 * Text to bytes and back as WTF-8: UTF-8, and a surrogate that has no partner is encoded as the three bytes that its code
 * would have. So every JavaScript string survives the round trip, different strings have different bytes, and
 * bytes order as code points do. Encodings that a strict UTF-8 decoder accepts are exactly those without lone surrogates.
 *
 * The decoder is total and accepts one encoding per string: overlong forms, codes beyond U+10FFFF, stray or missing
 * continuation bytes and a surrogate *pair* written as two three-byte sequences are refused.
 *
 * Why by hand: `TextEncoder` belongs to hosts, replaces lone surrogates, and costs more than the loop for short strings.
 */

/** How many bytes `encodeText` makes of this. */
export function textBytes(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    if (unit < 0x800) bytes += 1
    else if (isHigh(unit) && i + 1 < text.length && isLow(text.charCodeAt(i + 1))) {
      bytes += 2
      i++
    } else bytes += 2
  }
  return bytes
}

/** Writes at `offset`, where `textBytes(text)` bytes must be free; returns the offset behind the last byte written. */
export function encodeTextInto(text: string, target: Uint8Array, offset: number): number {
  let at = offset
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code < 0x80) {
      target[at++] = code
      continue
    }
    if (code < 0x800) {
      target[at++] = 0xc0 | (code >> 6)
      target[at++] = 0x80 | (code & 0x3f)
      continue
    }
    if (isHigh(code) && i + 1 < text.length) {
      const next = text.charCodeAt(i + 1)
      if (isLow(next)) {
        code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00)
        i++
        target[at++] = 0xf0 | (code >> 18)
        target[at++] = 0x80 | ((code >> 12) & 0x3f)
        target[at++] = 0x80 | ((code >> 6) & 0x3f)
        target[at++] = 0x80 | (code & 0x3f)
        continue
      }
    }
    target[at++] = 0xe0 | (code >> 12)
    target[at++] = 0x80 | ((code >> 6) & 0x3f)
    target[at++] = 0x80 | (code & 0x3f)
  }
  return at
}

export function encodeText(text: string): Uint8Array {
  const bytes = new Uint8Array(textBytes(text))
  encodeTextInto(text, bytes, 0)
  return bytes
}

/** The string that encodes to exactly bytes[from, to), or undefined if there is none. */
export function decodeText(bytes: Uint8Array, from = 0, to = bytes.length): string | undefined {
  let ascii = from
  while (ascii < to && bytes[ascii]! < 0x80) ascii++
  const head = asciiText(bytes, from, ascii)
  if (ascii === to) return head
  const tail = decodeMixed(bytes, ascii, to)
  return tail === undefined ? undefined : head + tail
}

const isHigh = (unit: number): boolean => (unit & 0xfc00) === 0xd800
const isLow = (unit: number): boolean => (unit & 0xfc00) === 0xdc00

/** `fromCharCode` takes its units as arguments, and engines bound how many. */
const unitsPerCall = 4096
/** Below this many units concatenation beats the call with an argument list. */
const unitsShort = 16

function asciiText(bytes: Uint8Array, from: number, to: number): string {
  let text = ''
  if (to - from <= unitsShort) {
    for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!)
    return text
  }
  for (let i = from; i < to; i += unitsPerCall) text += fromUnits(bytes.subarray(i, Math.min(to, i + unitsPerCall)))
  return text
}

/** `apply` takes any array-like; its type only knows arrays. */
function fromUnits(units: Uint8Array | Uint16Array): string {
  return String.fromCharCode.apply(undefined, units as unknown as number[])
}

function decodeMixed(bytes: Uint8Array, from: number, to: number): string | undefined {
  // A sequence of n bytes never yields more than n units; two places are kept for a surrogate pair.
  const units = new Uint16Array(Math.min(to - from, unitsPerCall) + 2)
  let text = ''
  let count = 0
  let afterHigh = false // the last unit was a high surrogate that stood alone
  let at = from
  while (at < to) {
    if (count >= unitsPerCall) {
      text += fromUnits(units.subarray(0, count))
      count = 0
    }
    const lead = bytes[at]!
    if (lead < 0x80) {
      units[count++] = lead
      at++
      afterHigh = false
      continue
    }
    if (lead < 0xe0) {
      const second = continuation(bytes, at + 1, to)
      if (lead < 0xc2 || second < 0) return undefined
      units[count++] = ((lead & 0x1f) << 6) | second
      at += 2
      afterHigh = false
      continue
    }
    const second = continuation(bytes, at + 1, to)
    const third = continuation(bytes, at + 2, to)
    if (second < 0 || third < 0) return undefined
    if (lead < 0xf0) {
      const code = ((lead & 0x0f) << 12) | (second << 6) | third
      if (code < 0x800 || (afterHigh && isLow(code))) return undefined
      units[count++] = code
      at += 3
      afterHigh = isHigh(code)
      continue
    }
    const fourth = continuation(bytes, at + 3, to)
    const code = ((lead & 0x07) << 18) | (second << 12) | (third << 6) | fourth
    if (lead > 0xf4 || fourth < 0 || code < 0x10000 || code > 0x10ffff) return undefined
    units[count++] = 0xd800 + ((code - 0x10000) >> 10)
    units[count++] = 0xdc00 + (code & 0x3ff)
    at += 4
    afterHigh = false
  }
  return text + fromUnits(units.subarray(0, count))
}

/** The six bits of a continuation byte, or -1. */
function continuation(bytes: Uint8Array, at: number, to: number): number {
  if (at >= to) return -1
  const byte = bytes[at]!
  return (byte & 0xc0) === 0x80 ? byte & 0x3f : -1
}
