import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'

describe('seeded random', () => {
  it('repeats for a seed, differs between seeds, and never changes from version to version', () => {
    const draw = (seed: number | string): number[] => Array.from({ length: 3 }, seededRandom(seed).uint32)
    expect(draw(1)).toEqual(draw(1))
    expect(draw(7)).toEqual(draw('7'))
    expect(new Set(Array.from({ length: 10_000 }, (_, seed) => draw(seed).join())).size).toBe(10_000)
    expect(draw(1)).toEqual([787933610, 1964663489, 3645634395])
  })

  it('is even enough: each bit is set half of the time, below() has no favourites', () => {
    const random = seededRandom('bits')
    const set = new Array(32).fill(0)
    const hits = new Array(6).fill(0)
    for (let i = 0; i < 20_000; i++) {
      const word = random.uint32()
      for (let bit = 0; bit < 32; bit++) set[bit] += (word >>> bit) & 1
      hits[random.below(6)]++
    }
    for (const count of set) expect(Math.abs(count - 10_000)).toBeLessThan(500)
    for (const count of hits) expect(Math.abs(count - 20_000 / 6)).toBeLessThan(300)
  })

  it('keeps to its ranges', () => {
    const random = seededRandom(3)
    for (let i = 0; i < 1000; i++) {
      expect(random.between(-2, 2)).toBeGreaterThanOrEqual(-2)
      expect(random.between(-2, 2)).toBeLessThanOrEqual(2)
      const unit = random.unit()
      expect(unit >= 0 && unit < 1).toBe(true)
      expect(random.below(1)).toBe(0)
    }
    expect(random.chance(0)).toBe(false)
    expect(random.chance(1)).toBe(true)
    expect(() => random.below(0)).toThrow('bug')
    expect(() => random.pick([])).toThrow('bug')
    expect(random.shuffle([1, 2, 3, 4, 5]).toSorted()).toEqual([1, 2, 3, 4, 5])
    for (const length of [0, 1, 3, 4, 5, 33]) {
      const bytes = new Uint8Array(length)
      seededRandom(9).fill(bytes)
      const longer = new Uint8Array(40)
      seededRandom(9).fill(longer)
      expect(bytes).toEqual(longer.subarray(0, length))
    }
  })

  it('a fork has numbers of its own, and its use does not shift its origin', () => {
    const [a, b] = [seededRandom(5), seededRandom(5)]
    const fork = a.fork()
    b.fork()
    const forked = fork.uint32()
    for (let i = 0; i < 100; i++) fork.uint32()
    expect(a.uint32()).toBe(b.uint32())
    expect(forked).not.toBe(b.uint32())
  })
})
