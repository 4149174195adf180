import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareBytes } from '../../../src/base/bytes.ts'
import { decodeText, encodeText, encodeTextInto, textBytes } from '../../../src/base/text.ts'

const units = fc
  .array(fc.oneof(fc.nat(0xffff), fc.nat(0x7f), fc.integer({ min: 0xd800, max: 0xdfff })), { maxLength: 60 })
  .map(list => String.fromCharCode(...list))

const codePoints = (text: string): number[] => Array.from(text, each => each.codePointAt(0)!)

const wellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text)

describe('text', () => {
  it('every string survives the round trip, lone surrogates too (pitfall 42)', () => {
    fc.assert(
      fc.property(units, text => {
        const bytes = encodeText(text)
        expect(bytes.length).toBe(textBytes(text))
        expect(decodeText(bytes)).toBe(text)
        if (wellFormed(text)) expect(Buffer.from(bytes)).toEqual(Buffer.from(text))
      }),
      { numRuns: 1000 },
    )
  })

  it('long strings, at every length around the pieces in which they are put together', () => {
    for (const letter of ['a', 'é', '€', '💩', '\ud800']) {
      for (const count of [15, 16, 17, 4094, 4095, 4096, 4097, 4098, 9000]) {
        for (const head of ['', 'x', 'xy']) {
          const text = head + letter.repeat(count)
          expect(decodeText(encodeText(text)) === text, `${letter} ${count}`).toBe(true)
        }
      }
    }
  })

  it('bytes order as code points', () => {
    const compareCodes = (a: number[], b: number[]): number => {
      const at = a.findIndex((code, i) => code !== b[i])
      if (at < 0) return a.length - b.length
      return at < b.length ? a[at]! - b[at]! : 1
    }
    fc.assert(
      fc.property(units, units, (a, b) => {
        const order = compareCodes(codePoints(a), codePoints(b))
        expect(Math.sign(compareBytes(encodeText(a), encodeText(b)))).toBe(Math.sign(order))
      }),
    )
  })

  it('agrees with the strict UTF-8 decoder on everything but lone surrogates; what is accepted encodes to the same bytes', () => {
    const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const near = fc.array(
      fc.constantFrom(
        0x00,
        0x41,
        0x7f,
        0x80,
        0xbf,
        0xc0,
        0xc1,
        0xc2,
        0xdf,
        0xe0,
        0xed,
        0xef,
        0xf0,
        0xf4,
        0xf5,
        0xff,
        0x9f,
        0xa0,
        0x8f,
        0x90,
        0xb0,
      ),
      { maxLength: 8 },
    )
    fc.assert(
      fc.property(fc.oneof(near, fc.array(fc.nat(255), { maxLength: 12 })), list => {
        const bytes = Uint8Array.from(list)
        const text = decodeText(bytes)
        if (text !== undefined) expect(encodeText(text)).toEqual(bytes)
        let expected: string | undefined
        try {
          expected = strict.decode(bytes)
        } catch {}
        if (expected !== undefined || (text !== undefined && wellFormed(text))) expect(text).toBe(expected)
      }),
      { numRuns: 5000 },
    )
  })

  it('refuses overlong forms, stray and missing continuations, codes too large, and pairs in two pieces', () => {
    const refused = [
      'c080',
      'c1bf',
      'e08080',
      'e09fbf',
      'f0808080',
      'f08fbfbf',
      'f4908080',
      'f8888080',
      '80',
      'bf',
      'c2',
      'e282',
      'f09f92',
      'c241',
      'ff',
      'eda0bdedb2a9',
    ]
    for (const hex of refused) expect(decodeText(Buffer.from(hex, 'hex')), hex).toBeUndefined()
    expect(decodeText(Buffer.from('eda0bd', 'hex'))).toBe('\ud83d')
    expect(decodeText(Buffer.from('edb2a9eda0bd', 'hex'))).toBe('\udca9\ud83d')
    expect(decodeText(Buffer.from('eda0bd41edb2a9', 'hex'))).toBe('\ud83dA\udca9')
    expect(decodeText(Buffer.from('eda0bdeda0bdedb2a9', 'hex'))).toBeUndefined()
  })

  it('decodes a range, encodes at a place', () => {
    const target = new Uint8Array(10)
    expect(encodeTextInto('€x', target, 3)).toBe(7)
    expect(decodeText(target, 3, 7)).toBe('€x')
    expect(decodeText(target, 4, 7)).toBeUndefined()
    expect(decodeText(target, 3, 5)).toBeUndefined()
  })
})
