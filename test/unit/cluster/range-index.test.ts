import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compareBytes } from '../../../src/base/bytes.ts'
import { RangeIndex } from '../../../src/cluster/range-index.ts'

const key = fc.uint8Array({ minLength: 1, maxLength: 2 }).map(bytes => bytes.map(byte => byte % 8))
const bound = fc.option(key, { nil: undefined })

it('finds the ranges that contain a key, whatever was added and removed before', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ type: fc.constant('add' as const), from: bound, to: bound }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('remove' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('look' as const), key }) },
  )
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 400, size: 'max' }),
      fc.array(key, { minLength: 5, maxLength: 5 }),
      (steps, probes) => {
        const index = new RangeIndex<number>()
        const model = new Map<number, { readonly from: Uint8Array | undefined; readonly to: Uint8Array | undefined }>()
        let next = 0
        const look = (at: Uint8Array): void => {
          const found: number[] = []
          index.at(at, value => found.push(value))
          const expected = [...model].filter(
            ([, { from, to }]) =>
              (from === undefined || compareBytes(from, at) <= 0) && (to === undefined || compareBytes(at, to) < 0),
          )
          expect(found.sort((a, b) => a - b)).toEqual(expected.map(([value]) => value))
        }
        for (const one of steps) {
          if (one.type === 'look') look(one.key)
          else if (one.type === 'add') {
            const range = { from: one.from, to: one.to }
            model.set(next, range)
            index.add(range, next++)
          } else if (model.size > 0) {
            const [value, range] = [...model][one.which % model.size]!
            model.delete(value)
            index.remove(range)
          }
        }
        for (const probe of probes) look(probe)
      },
    ),
    { numRuns: 300 },
  )
})
