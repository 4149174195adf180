import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compareBytes } from '../../../src/base/bytes.ts'
import { KeyMap, keyText } from '../../../src/base/key-map.ts'

const key = fc.uint8Array({ maxLength: 3, max: 4 })

it('is a map by the content of keys, in order of their first set, few or many', () => {
  let many = 0
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.nat()), { maxLength: 60, size: 'max' }), fc.array(key), (sets, asked) => {
      const map = new KeyMap<number>()
      const model = new Map<string, number>()
      for (const [of, value] of sets) {
        map.set(of, value)
        model.set(of.join(), value)
        expect(map.size).toBe(model.size)
        expect(map.get(of.slice())).toBe(value)
      }
      for (const of of [...asked, ...sets.map(([of]) => of)]) expect(map.get(of)).toBe(model.get(of.join()))
      expect(map.values).toEqual([...model.values()])
      if (map.size > 8) many++
    }),
  )
  expect(many).toBeGreaterThan(10)
})

it('texts of keys compare as their bytes do', () => {
  const any = fc.oneof(key, fc.uint8Array({ maxLength: 10_000, size: 'max' }))
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [x, y] = [keyText(a), keyText(b)]
      expect(Math.sign(compareBytes(a, b))).toBe(x < y ? -1 : x > y ? 1 : 0)
    }),
  )
})

it('tells keys apart whose hashes meet: of 200,000 some twenty pairs', () => {
  const keys = Array.from(
    { length: 200_000 },
    (_, i) => new Uint8Array(Uint32Array.of(Math.imul(i, 0x9e3779b1)).buffer),
  )
  const map = new KeyMap<number>()
  for (const [i, one] of keys.entries()) map.set(one, i)
  expect(map.size).toBe(keys.length)
  expect(keys.every((one, i) => map.get(one) === i)).toBe(true)
  expect(map.values.every((value, i) => value === i)).toBe(true)
})
