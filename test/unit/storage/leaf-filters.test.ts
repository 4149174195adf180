import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../src/base/random.ts'
import { BTree } from '../../../src/storage/btree.ts'
import { emptyHash, finishHash, hashBytes, LeafFilters } from '../../../src/storage/leaf-filters.ts'
import type { PageId } from '../../../src/storage/page-source.ts'
import { poolOf } from './btree-kit.ts'
import { MemorySource } from './memory-source.ts'

const hashOf = (key: Uint8Array): number => finishHash(hashBytes(emptyHash, key, 0, key.length))
const numbered = (n: number): Uint8Array => new TextEncoder().encode(`key ${String(n).padStart(12, '0')}`)

describe('leaf filters', () => {
  it('never exclude a key that is there, and let through about one in a hundred others', () => {
    const random = seededRandom(1)
    const filters = new LeafFilters(8192, 1024 * 1024)
    const keys = (leaf: number): Uint8Array[] => Array.from({ length: 80 }, (_, i) => numbered(leaf * 80 + i))
    for (let leaf = 1; leaf <= 1000; leaf++) {
      const slot = filters.begin(leaf as PageId)
      for (const key of keys(leaf)) filters.add(slot, hashOf(key))
    }
    let through = 0
    for (let leaf = 1; leaf <= 1000; leaf++) {
      for (const key of keys(leaf)) if (filters.excludes(leaf as PageId, hashOf(key))) throw new Error('excluded')
      for (let i = 0; i < 100; i++) {
        if (!filters.excludes(leaf as PageId, hashOf(numbered(1_000_000 + random.below(1e9))))) through++
      }
    }
    // 12.8 bits for each key and 6 hashes: 0.3 % in theory.
    expect(through / 100_000).toBeLessThan(0.01)
    expect(through).toBeGreaterThan(0)
  })

  it('keep to their memory, and forget', () => {
    const filters = new LeafFilters(512, 800)
    for (let leaf = 1; leaf <= 500; leaf++) filters.begin(leaf as PageId)
    expect(filters.status()).toMatchObject({ filters: 100, bytes: 800 })
    for (let leaf = 1; leaf <= 500; leaf++) filters.forget(leaf as PageId)
    expect(filters.status().filters).toBe(0)
    expect(filters.excludes(500 as PageId, 1)).toBe(false)
  })

  it('a tree eight times its cache answers for absent keys without reading, and is never wrong, whatever changes', () => {
    const random = seededRandom(2)
    const source = new MemorySource(1024)
    const pool = poolOf(source, 200)
    const tree = new BTree({ pool, source, root: undefined })
    const there = new Set<number>()
    for (let n = 0; n < 30_000; n++) {
      const key = random.below(30_000) * 2
      if (random.chance(0.2)) {
        tree.delete(numbered(key))
        there.delete(key)
      } else {
        tree.set(numbered(key), new Uint8Array(60))
        there.add(key)
      }
    }
    const before = pool.status().misses
    let absent = 0
    for (let n = 0; n < 20_000; n++) {
      const key = random.below(60_000)
      if (!there.has(key)) absent++
      expect(tree.get(numbered(key)) !== undefined).toBe(there.has(key))
    }
    const { spared, falsePositives } = tree.filterStatus()!
    expect(spared / absent).toBeGreaterThan(0.5)
    expect(falsePositives / (spared + falsePositives)).toBeLessThan(0.03)
    expect(pool.status().misses - before).toBeLessThan(20_000 - spared)
  })

  it('are asked for keys that were found and removed, too: nobody reads a leaf to learn that they are gone', () => {
    const source = new MemorySource(1024)
    const pool = poolOf(source, 200)
    const tree = new BTree({ pool, source, root: undefined })
    for (let n = 0; n < 10_000; n++) tree.set(numbered(n), new Uint8Array(60))
    const removed = Array.from({ length: 100 }, (_, i) => numbered(4000 + 20 * i))
    for (const key of removed) expect(tree.get(key)).toEqual(new Uint8Array(60))
    for (const key of removed) tree.delete(key)
    const readAll = () => {
      for (let n = 0; n < 4000; n += 7) tree.get(numbered(n))
    }
    readAll()
    const { misses } = pool.status()
    for (const key of removed) expect(tree.get(key)).toBe(undefined)
    expect(pool.status().misses - misses).toBeLessThan(20)
  })
})
