/** Batches that are made together, against a model; helpers are called in this thread. With real threads: `test/node/pool-writers.test.ts`. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isHarmonyError } from '../../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { BTree } from '../../../src/storage/btree.ts'
import { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { Change } from '../../../src/storage/engine.ts'
import { helpToWrite, TogetherWriter, type WriteHelpers } from '../../../src/storage/parallel-batch.ts'
import {
  type SharedSection,
  sectionMemory,
  sectionPoisoned,
  sectionStateWord,
} from '../../../src/storage/shared-section.ts'
import { entriesOf, hex } from './btree-kit.ts'
import { MemorySource } from './memory-source.ts'

const text = new TextEncoder()

function bed(frames: number) {
  const source = new MemorySource(512)
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  const { shared } = pool
  if (shared === undefined) throw new Error('there is no shared memory here')
  return { source, pool, tree, shared }
}

/** Keys repeat, and some are long; a batch is sorted now and then. */
function someChanges(random: SeededRandom, count: number, range: number): Change[] {
  const changes = Array.from({ length: count }, (): Change => {
    const i = random.below(range)
    const key = text.encode(i % 13 === 0 ? 'long/'.repeat(60) + i : `${i}`)
    if (random.chance(0.3)) return { key, value: undefined }
    return { key, value: new Uint8Array(random.chance(0.05) ? random.below(3000) : random.below(60)).fill(i) }
  })
  if (random.chance(0.6)) return changes
  const byKey = new Map(changes.map(change => [hex(change.key), change]))
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, change]) => change)
}

describe('a batch that threads make together', () => {
  it('leaves what the batch alone would have left, whoever made how much of it', () => {
    let helped = 0
    const property = fc.property(fc.integer(), fc.constantFrom(60, 300, 2000), (seed, frames) => {
      const random = seededRandom(seed)
      const { source, tree, shared } = bed(frames)
      const model = new Map<string, string>()
      const helpers: WriteHelpers = {
        threads: 1,
        offer: order => (random.chance(0.5) ? helpToWrite(shared, order) : undefined),
        close() {},
      }
      const together = new TogetherWriter(shared, helpers, 20)
      let [keys, bytes] = [0, 0]
      for (let round = 1; round <= 8; round++) {
        const changes = someChanges(random, 1 + random.below(900), 1500)
        const delta = tree.batch(changes, round, together).run()
        keys += delta.keys
        bytes += delta.bytes
        for (const { key, value } of changes) {
          if (value === undefined) model.delete(hex(key))
          else model.set(hex(key), hex(value))
        }
        const report = tree.verify().run()
        expect(report.problems).toEqual([])
        expect([...report.pages].sort()).toEqual([...source.allocated].sort())
        expect(entriesOf(tree)).toEqual([...model].sort(([a], [b]) => (a < b ? -1 : 1)))
        expect(keys).toBe(model.size)
        expect(bytes).toBe([...model].reduce((sum, [key, value]) => sum + (key.length + value.length) / 2, 0))
      }
      helped += together.status.changes
    })
    fc.assert(property, { numRuns: process.env.DEEP === '1' ? 2000 : 60 })
    expect(helped).toBeGreaterThan(1000)
  })

  it('is given up when a helper fails in the middle of a change', () => {
    const { tree, shared } = bed(500)
    const fail = (section: SharedSection): void => {
      Atomics.store(sectionMemory(shared, section).control, sectionStateWord, sectionPoisoned)
    }
    const helpers: WriteHelpers = { threads: 1, offer: order => fail(order.section), close() {} }
    const batch = tree.batch(someChanges(seededRandom(1), 500, 500), 1, new TogetherWriter(shared, helpers, 20))
    let thrown: unknown
    try {
      batch.run()
    } catch (error) {
      thrown = error
    }
    expect(isHarmonyError(thrown, 'STORAGE_LOST')).toBe(true)
    expect(batch.midway).toBe(true)
  })
})
