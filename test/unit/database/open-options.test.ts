import { describe, expect, test } from 'vitest'
import { leaseDriftMaxOf, openOptions } from '../../../src/database/open-options.ts'
import type { OpenOptions } from '../../../src/database/types.ts'

describe('leaseReads', () => {
  test.each<[OpenOptions['leaseReads'], number | undefined]>([
    [undefined, undefined],
    [false, undefined],
    [true, 2],
    [{}, 2],
    [{ driftMax: 1 }, 1],
    [{ driftMax: 4 }, 4],
  ])('%j allows for clocks %s times as fast', (given, driftMax) => {
    expect(leaseDriftMaxOf(given)).toBe(driftMax)
    expect(openOptions({ name: 'a', leaseReads: given as boolean })).toMatchObject({ name: 'a' })
  })

  test.each([0, 0.99, 4.01, Number.NaN, Number.POSITIVE_INFINITY, '2', null])('driftMax %s is refused', driftMax => {
    const leaseReads = { driftMax } as { driftMax: number }
    expect(() => openOptions({ name: 'a', leaseReads })).toThrow('leaseReads.driftMax must be a number from 1 to 4')
  })

  test('what is no object is refused', () => {
    expect(() => openOptions({ name: 'a', leaseReads: 3 as unknown as boolean })).toThrow('leaseReads must be')
  })
})
