/** Text in lines from a stream of bytes, with memory for one line only: longer ones are told as such and skipped. */

import { TextDecoder } from 'node:util'

export type Line =
  | { readonly number: number; readonly text: string }
  | { readonly number: number; readonly problem: string }

const newline = 0x0a
const carriageReturn = 0x0d

/** The lines of a stream of UTF-8, numbered from 1, with neither `\n` nor `\r\n`. The last one needs no end. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, lineBytesMax: number): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let parts: Uint8Array[] = []
  let bytes = 0
  let number = 1
  const finish = (): Line => {
    const line = bytes > lineBytesMax ? tooLong(number, lineBytesMax) : decode(decoder, number, parts)
    parts = []
    bytes = 0
    number++
    return line
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      bytes += at - from
      if (bytes <= lineBytesMax) parts.push(chunk.subarray(from, at))
      yield finish()
      from = at + 1
    }
    bytes += chunk.length - from
    if (bytes <= lineBytesMax) parts.push(chunk.subarray(from))
    else parts = []
  }
  if (bytes > 0) yield finish()
}

function decode(decoder: TextDecoder, number: number, parts: readonly Uint8Array[]): Line {
  const whole = Buffer.concat(parts)
  const end = whole.at(-1) === carriageReturn ? whole.length - 1 : whole.length
  try {
    return { number, text: decoder.decode(whole.subarray(0, end)) }
  } catch {
    return { number, problem: 'it is not UTF-8' }
  }
}

const tooLong = (number: number, lineBytesMax: number): Line => ({
  number,
  problem: `it is longer than ${lineBytesMax} bytes`,
})
