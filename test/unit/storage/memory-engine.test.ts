import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assert } from '../../../src/base/assert.ts'
import { compareBytes, hexDecode } from '../../../src/base/bytes.ts'
import { index } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import type { EngineSnapshot } from '../../../src/storage/engine.ts'
import { MemoryEngine } from '../../../src/storage/memory-engine.ts'
import { emptyTree, type Node, treeDelete, treeSet } from '../../../src/storage/memory-tree.ts'
import {
  applyTo,
  change,
  checkStatus,
  compare,
  expected,
  type Model,
  randomBytes,
  scan,
  snapshotOf,
} from './engine-kit.ts'

describe('memory engine', () => {
  it('equals a sorted map under random changes, and each snapshot the map as it was', () => {
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        const engine = new MemoryEngine()
        const model: Model = new Map()
        let snapshots: { snapshot: EngineSnapshot; model: Model }[] = []
        const keySpace = random.pick([3, 40, 2000])
        const key = (): Uint8Array => {
          const n = random.below(keySpace)
          return keySpace === 3 ? new Uint8Array(n) : Uint8Array.of(n >> 8, n & 0xff)
        }
        let applied = 0
        for (let turn = 0; turn < 60; turn++) {
          const deletions = random.pick([0.1, 0.5, 0.9])
          const changes = Array.from({ length: random.below(random.chance(0.2) ? 600 : 20) }, () => ({
            key: key(),
            value: random.chance(deletions) ? undefined : randomBytes(random, 6),
          }))
          applied += 1 + random.below(3)
          change(engine, changes, index(applied))
          applyTo(model, changes)
          expect(engine.applied).toBe(applied)
          if (random.chance(0.3)) snapshots.push({ snapshot: snapshotOf(engine), model: new Map(model) })
          if (random.chance(0.3)) {
            const gone = snapshots.splice(random.below(snapshots.length + 1), 1)
            for (const { snapshot } of gone) snapshot.release()
          }
          if (random.chance(0.02)) {
            engine.reset()
            model.clear()
            applied = 0
          }
          compare(engine, model, random, key)
          const some = snapshots.length > 0 ? random.pick(snapshots) : undefined
          if (some !== undefined) compare(some.snapshot, some.model, random, key)
        }
        checkStatus(engine, model)
        expect(scan(engine, undefined, undefined, false)).toEqual(expected(model, undefined, undefined, false))
        for (const { snapshot, model: then } of snapshots) {
          expect(scan(snapshot, undefined, undefined, true)).toEqual(expected(then, undefined, undefined, true))
          snapshot.release()
          snapshot.release()
        }
        snapshots = []
      }),
      { numRuns: 40 },
    )
  })

  it('reads run at once; the applied index must grow; a released snapshot must not be read', () => {
    const engine = new MemoryEngine()
    change(engine, [], index(3))
    expect(() => change(engine, [], index(3))).toThrow('bug')
    const snapshot = snapshotOf(engine)
    expect(snapshot.applied).toBe(3)
    snapshot.release()
    expect(() =>
      snapshot.read(
        () => 0,
        () => undefined,
      ),
    ).toThrow('bug')
  })

  it('the tree keeps its shape: order, depth, sizes, no empty nodes', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom('random', 'up', 'down'), (seed, order) => {
        const random = seededRandom(seed)
        const edition = { shared: -1, epoch: 0 }
        let root: Node = emptyTree(0)
        const keyOf = (n: number): Uint8Array => hexDecode(n.toString(16).padStart(8, '0'))!
        const numbers = Array.from({ length: 3000 }, (_, i) => i)
        if (order === 'random') random.shuffle(numbers)
        if (order === 'down') numbers.reverse()
        for (const n of numbers) root = treeSet(root, keyOf(n), keyOf(n), edition).root
        checkShape(root)
        if (order === 'up') expect(leavesOf(root)).toBeLessThan((3000 / 64) * 1.25)
        if (order === 'random') random.shuffle(numbers)
        for (const [i, n] of numbers.entries()) {
          const changed = treeDelete(root, keyOf(n), edition)
          assert(changed.previous !== undefined, 'it was there')
          root = changed.root
          if (i % 100 === 0) checkShape(root)
        }
        expect(root).toMatchObject({ leaf: true, keys: [] })
      }),
      { numRuns: 12 },
    )
  })

  it('without a live snapshot nodes change in place; with one, each node is copied once', () => {
    const engine = new MemoryEngine()
    const key = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 0xff)
    const fill = Array.from({ length: 2000 }, (_, n) => ({ key: key(n), value: key(n) }))
    change(engine, fill, index(1))
    const rootOf = (): unknown => (engine as unknown as { root: unknown }).root
    const before = rootOf()
    change(engine, [{ key: key(5), value: undefined }], index(2))
    expect(rootOf()).toBe(before)
    const snapshot = snapshotOf(engine)
    change(engine, [{ key: key(6), value: undefined }], index(3))
    const copied = rootOf()
    expect(copied).not.toBe(before)
    change(engine, [{ key: key(7), value: undefined }], index(4))
    expect(rootOf()).toBe(copied)
    expect(scan(snapshot, key(5), key(8), false)).toHaveLength(2)
    snapshot.release()
    snapshotOf(engine).release()
    change(engine, [{ key: key(8), value: undefined }], index(5))
    expect(rootOf()).toBe(copied)
  })
})

/** With plain assertions: `expect` costs too much for each of some hundred thousand keys. */
function checkShape(root: Node): void {
  const depths = new Set<number>()
  const walk = (node: Node, depth: number, low: Uint8Array | undefined, high: Uint8Array | undefined): void => {
    const { keys } = node
    assert(keys.length <= 64, 'too many keys')
    assert(low === undefined || keys.length === 0 || compareBytes(low, keys[0]!) <= 0, 'first key too low')
    for (let i = 1; i < keys.length; i++) assert(compareBytes(keys[i - 1]!, keys[i]!) < 0, 'keys out of order')
    assert(high === undefined || keys.length === 0 || compareBytes(keys.at(-1)!, high) < 0, 'last key too high')
    if (node.leaf) {
      assert(node.values.length === keys.length, 'a value for each key')
      assert(node === root || keys.length > 0, 'an empty leaf')
      depths.add(depth)
      return
    }
    assert(node.children.length === keys.length + 1, 'a separator between children')
    node.children.forEach((child, i) => {
      walk(child, depth + 1, i === 0 ? low : keys[i - 1], i === keys.length ? high : keys[i])
    })
  }
  walk(root, 0, undefined, undefined)
  assert(depths.size === 1, 'leaves of one depth')
}

const leavesOf = (node: Node): number =>
  node.leaf ? 1 : node.children.reduce((sum, child) => sum + leavesOf(child), 0)
