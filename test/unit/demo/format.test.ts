import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  editableKey,
  editableValue,
  formatKey,
  formatValue,
  parseFilter,
  parseKey,
  parseValue,
  rangeBeginningWith,
} from '../../../demo/format.ts'

describe('keys as people type them', () => {
  test('plain text is a tuple of one, JSON arrays are tuples', () => {
    expect(parseKey(' lamp ')).toEqual({ ok: true, value: ['lamp'] })
    expect(parseKey('["stock", 7, true]')).toEqual({ ok: true, value: ['stock', 7, true] })
    expect(parseKey('42')).toEqual({ ok: true, value: ['42'] })
  })

  test.each(['', '  ', '[', '[]', '[null]', '[["a"]]', '[{"a":1}]'])('%j is refused with a reason', text => {
    const key = parseKey(text)
    expect(key.ok).toBe(false)
    expect(!key.ok && key.message.length).toBeGreaterThan(10)
  })

  test('what the table offers for editing is read back as the same key', () => {
    const part = fc.oneof(fc.string(), fc.integer(), fc.boolean())
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), key => {
        expect(parseKey(editableKey(key))).toEqual({ ok: true, value: key })
      }),
    )
  })

  test('a filter takes the last part as the beginning of a text', () => {
    expect(parseFilter('')).toEqual({ ok: true, value: undefined })
    expect(parseFilter('["city", "par"]')).toEqual({
      ok: true,
      value: { start: ['city', 'par'], end: ['city', 'par\u{10FFFF}'] },
    })
    expect(rangeBeginningWith(['user', 17])).toEqual({ prefix: ['user', 17] })
    expect(parseFilter('[').ok).toBe(false)
  })
})

describe('values as people read them', () => {
  test('what the table offers for editing is read back as the same value, whole, or it is not offered', () => {
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 4 }),
      fc.string(),
      fc.array(fc.integer(), { minLength: 90, maxLength: 150 }),
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withTypedArray: true, withSparseArray: true }),
    )
    fc.assert(
      fc.property(value, given => {
        const text = editableValue(given)
        if (text !== undefined) expect(parseValue(text)).toStrictEqual(given)
      }),
      { numRuns: 1_000 },
    )
    expect(editableValue({ a: [1, 'x', null] })).toBe('{"a":[1,"x",null]}')
    expect(editableValue('42')).toBe('"42"')
    for (const no of [-0, [undefined], new Date(0), 12n, new Map(), 'x'.repeat(200_000)]) {
      expect(editableValue(no)).toBeUndefined()
    }
  })

  test('everything that can be stored has a bounded readable form', () => {
    const cases: [unknown, string][] = [
      [undefined, 'undefined'],
      [-0, '-0'],
      [12n, '12n'],
      [new Uint8Array([1, 255]), '0x01ff'],
      [new Date(0), 'Date(1970-01-01T00:00:00.000Z)'],
      [new Date(Number.NaN), 'Date(invalid)'],
      [new Map([['a', 1]]), 'Map {"a" → 1}'],
      [new Set([1, 'x']), 'Set {1, "x"}'],
      [{ a: [1, null] }, '{"a": [1, null]}'],
    ]
    for (const [value, text] of cases) expect(formatValue(value)).toBe(text)
    expect(formatValue('x'.repeat(1e6)).length).toBeLessThanOrEqual(160)
    expect(formatValue(new Array(1e5).fill(7), 80)).toHaveLength(80)
    expect(formatKey('lamp')).toBe('["lamp"]')
  })
})
