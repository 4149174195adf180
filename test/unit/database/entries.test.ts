import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EntryPacker, EntryReader, isPacked } from '../../../src/database/entries.ts'

const entry = fc.option(
  fc.record({
    key: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    version: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    value: fc.uint8Array({ maxLength: 600 }),
    before: fc.nat({ max: 20 }),
  }),
  { nil: undefined },
)

describe('packed entries', () => {
  it('come back as they were packed, again and again from one packer', () => {
    const packer = new EntryPacker()
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 20 }), entries => {
        for (const one of entries) {
          if (one === undefined) packer.absent()
          else {
            const { key, version, value, before } = one
            const within = new Uint8Array(before + value.length + 3)
            within.set(value, before)
            packer.add(key, key.length, version, within, before, before + value.length)
          }
        }
        const packed = packer.finish()
        expect(packed.count).toBe(entries.length)
        expect(isPacked(packed, true)).toBe(true)
        expect(isPacked(packed, false)).toBe(!entries.includes(undefined))
        const reader = new EntryReader(packed)
        for (const one of entries) {
          expect(reader.next()).toBe(true)
          expect(reader.present).toBe(one !== undefined)
          if (one === undefined) continue
          expect(reader.key()).toEqual(one.key)
          expect(reader.version()).toBe(one.version.toString(16).padStart(14, '0'))
          expect(reader.bytes.slice(reader.valueFrom, reader.valueTo)).toEqual(one.value)
        }
        expect(reader.finished).toBe(true)
        expect(reader.next()).toBe(false)
      }),
    )
  })

  it('pitfall 43: of any bytes it is told whether a reader can go through them, and then it can', () => {
    fc.assert(
      fc.property(fc.nat({ max: 8 }), fc.uint8Array({ maxLength: 60 }), (count, bytes) => {
        const packed = { count, bytes }
        if (!isPacked(packed, true)) return
        const reader = new EntryReader(packed)
        let seen = 0
        while (reader.next()) seen++
        expect(seen).toBe(count)
      }),
      { numRuns: 2000 },
    )
  })
})
