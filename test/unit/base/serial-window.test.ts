import fc from 'fast-check'
import { expect, it } from 'vitest'
import { SerialWindow } from '../../../src/base/serial-window.ts'

it('holds what a map in order of numbers would, whatever comes and goes', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ add: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 3000 })) }) },
    { weight: 5, arbitrary: fc.record({ remove: fc.oneof(fc.constant(0), fc.nat(50)) }) },
    { weight: 1, arbitrary: fc.record({ runs: fc.integer({ min: 1, max: 3000 }) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const window = new SerialWindow<{ n: number }>()
      const model = new Map<number, { n: number }>()
      let serial = 0
      const add = (by: number): void => {
        serial += by
        const item = { n: serial }
        window.add(serial, item)
        model.set(serial, item)
      }
      const remove = (at: number): void => {
        const known = [...model.keys()][at] ?? serial + 7
        expect(window.delete(known)).toBe(model.delete(known))
        expect(window.delete(known)).toBe(false)
      }
      for (const one of steps) {
        if ('add' in one) add(one.add)
        else if ('remove' in one) remove(one.remove)
        else {
          // As writes do: the next begins, the first ends.
          for (let i = 0; i < one.runs; i++) {
            add(1)
            remove(0)
          }
        }
        expect([...window]).toEqual([...model.values()])
        expect(window.size).toBe(model.size)
        expect(window.firstSerial).toBe(model.keys().next().value)
        for (const at of [...model.keys(), 0, serial + 1]) expect(window.get(at)).toBe(model.get(at))
      }
    }),
    { numRuns: 60 },
  )
})

it('takes no more room than what is in it, however many went through', () => {
  const window = new SerialWindow<object>()
  for (let serial = 1; serial <= 100_000; serial++) {
    window.add(serial, {})
    if (serial > 64) window.delete(serial - 64)
  }
  expect(window.size).toBe(64)
  expect((window as unknown as { items: unknown[] }).items.length).toBeLessThan(3000)
})

it('leaves out what is deleted while it is gone through', () => {
  const window = new SerialWindow<number>()
  for (let serial = 1; serial <= 3000; serial++) window.add(serial, serial)
  const seen: number[] = []
  for (const item of window) {
    seen.push(item)
    for (let serial = item; serial <= item + 1; serial++) window.delete(serial)
  }
  expect(seen).toEqual(Array.from({ length: 1500 }, (_, i) => 2 * i + 1))
  expect(window.size).toBe(0)
})
