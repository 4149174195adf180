/** The tree against a sorted model: tiny pages, tiny pools, long keys, huge values, misses that complete later, snapshots, reopening. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes } from '../../../src/base/bytes.ts'
import { fnv1a } from '../../../src/base/fnv1a.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { BTree, type BTreeSnapshot } from '../../../src/storage/btree.ts'
import type { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { Change } from '../../../src/storage/engine.ts'
import type { PageId } from '../../../src/storage/page-source.ts'
import type { PolicyName } from '../../../src/storage/replacement.ts'
import { apply, drive, entriesOf, hex, poolOf, unhex } from './btree-kit.ts'
import { entryOf } from './engine-kit.ts'
import { MemorySource } from './memory-source.ts'

type Model = Map<string, string>

interface World {
  source: MemorySource
  pool: BufferPool
  tree: BTree
  readonly model: Model
}

const sorted = (model: Model): [string, string][] => [...model].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))

/** Keys of several kinds: dense, sharing long beginnings, longer than what fits into a page. */
function makeKey(random: SeededRandom, style: number): Uint8Array {
  const dense = (): string => random.below(400).toString(16).padStart(4, '0')
  if (style === 0) return unhex(dense())
  if (style === 1) return unhex('ab'.repeat(random.pick([0, 1, 3, 60])) + dense())
  if (style === 2)
    return unhex('cd'.repeat(random.pick([90, 100, 104, 105, 130, 300])) + dense() + 'ef'.repeat(random.below(3)))
  return unhex(
    random.pick(['', '00', '61', '6100', '610000', '61000000', '6100000000', 'ff'.repeat(random.below(6)), dense()]),
  )
}

function makeValue(random: SeededRandom, huge: boolean): Uint8Array {
  const length =
    huge && random.chance(0.08) ? random.below(60_000) : random.chance(0.2) ? random.below(700) : random.below(40)
  return new Uint8Array(length).fill(random.below(256))
}

function verify({ source, pool, tree, model }: World, kept = true): void {
  const verification = tree.verify()
  const report = drive(tree, pool, source, () => verification.run())
  expect(report.problems).toEqual([])
  expect(report.keys).toBe(model.size)
  let bytes = 0
  for (const [key, value] of model) bytes += (key.length + value.length) / 2
  expect(report.bytes).toBe(bytes)
  const all = new Set<PageId>(report.pages)
  if (kept) {
    for (const page of tree.keptPages()) {
      expect(all.has(page)).toBe(false)
      all.add(page)
    }
    expect(tree.held.pages).toBe(all.size - report.pages.size)
  }
  expect([...source.allocated].sort()).toEqual([...all].sort())
}

function scans({ source, pool, tree, model }: World, random: SeededRandom, style: number): void {
  const from = random.chance(0.3) ? undefined : makeKey(random, style)
  const to = random.chance(0.3) ? undefined : makeKey(random, style)
  const reverse = random.chance(0.5)
  const most = random.chance(0.5) ? 3 : 30
  const expected = sorted(model).filter(
    ([key]) => (from === undefined || key >= hex(from)) && (to === undefined || key < hex(to)),
  )
  if (reverse) expected.reverse()
  const found = drive(tree, pool, source, () => {
    const entries: [string, string][] = []
    tree.scan(from, to, reverse, row => {
      const [key, value] = entryOf(row)
      entries.push([hex(key), hex(value)])
      return entries.length < most
    })
    return entries
  })
  expect(found).toEqual(expected.slice(0, most))
}

function checkpoint(world: World, random: SeededRandom, style: number, huge: boolean): void {
  const { source, pool, tree, model } = world
  const before = new Map(model)
  const { root } = tree
  const reachable = (() => {
    const verification = tree.verify()
    return drive(tree, pool, source, () => verification.run()).pages
  })()
  source.beginCheckpoint()
  let left = pool.beginCheckpoint()
  while (left > 0) {
    if (random.chance(0.5)) changeSome(world, random, style, huge)
    left = pool.writeSome(1 + random.below(4))
  }
  const reopenedSource = source.reopened(reachable)
  source.endCheckpoint()
  const reopenedPool = poolOf(reopenedSource, 24)
  const reopened = new BTree({ pool: reopenedPool, source: reopenedSource, root })
  const other: World = { source: reopenedSource, pool: reopenedPool, tree: reopened, model: before }
  verify(other, false)
  if (random.chance(0.5)) {
    model.clear()
    for (const [key, value] of before) model.set(key, value)
    Object.assign(world, other, { model })
  }
}

function changeSome(world: World, random: SeededRandom, style: number, huge: boolean): void {
  const changes: Change[] = []
  const { source, pool, tree, model } = world
  let keys = 0
  let bytes = 0
  const count = random.chance(0.1) ? 60 : random.between(1, 4)
  for (let i = 0; i < count; i++) {
    const existing = model.size > 0 && random.chance(0.5)
    const key = existing ? unhex(random.pick([...model.keys()])) : makeKey(random, style)
    const value = random.chance(deletes(world, random)) ? undefined : makeValue(random, huge)
    changes.push({ key, value })
    const old = model.get(hex(key))
    if (old !== undefined) {
      keys--
      bytes -= key.length + old.length / 2
    }
    if (value === undefined) model.delete(hex(key))
    else {
      model.set(hex(key), hex(value))
      keys++
      bytes += key.length + value.length
    }
  }
  expect(apply(tree, pool, source, changes)).toEqual({ keys, bytes })
}

/** Trees grow and shrink in turn. */
const deletes = ({ model }: World, random: SeededRandom): number =>
  model.size > 150 ? 0.8 : random.chance(0.5) ? 0.2 : 0.45

interface Shape {
  readonly seed: number
  readonly style: number
  readonly frames: number
  readonly eager: boolean
  readonly huge: boolean
  readonly policy: PolicyName
  readonly pageBytes: number
}

const shapes = fc.record({
  seed: fc.nat(),
  style: fc.nat(3),
  frames: fc.constantFrom(24, 40, 400),
  eager: fc.boolean(),
  huge: fc.boolean(),
  policy: fc.constantFrom<PolicyName>('clock', '2q'),
  pageBytes: fc.constantFrom(512, 512, 1024, 4096),
})

function simulate({ seed, style, frames, eager, huge, policy, pageBytes }: Shape, steps: number): void {
  const random = seededRandom(seed)
  const source = new MemorySource(pageBytes)
  source.eager = eager
  const pool = poolOf(source, frames, policy)
  const world: World = { source, pool, tree: new BTree({ pool, source, root: undefined }), model: new Map() }
  const snapshots: { snapshot: BTreeSnapshot; entries: [string, string][] }[] = []
  for (let step = 0; step < steps; step++) {
    const action = random.unit()
    if (action < 0.6) changeSome(world, random, style, huge)
    else if (action < 0.75) {
      const key =
        random.chance(0.7) && world.model.size > 0
          ? unhex(random.pick([...world.model.keys()]))
          : makeKey(random, style)
      const value = drive(world.tree, world.pool, world.source, () => world.tree.get(key))
      expect(value && hex(value)).toBe(world.model.get(hex(key)))
    } else if (action < 0.85) scans(world, random, style)
    else if (action < 0.9 && snapshots.length < 4) {
      snapshots.push({ snapshot: world.tree.snapshot(), entries: sorted(world.model) })
    } else if (action < 0.96 && snapshots.length > 0) {
      const at = random.below(snapshots.length)
      const { snapshot, entries } = snapshots[at]!
      if (frames >= 400) {
        expect(drive(world.tree, world.pool, world.source, () => entriesOf(snapshot))).toEqual(entries)
        expect(
          drive(world.tree, world.pool, world.source, () => entriesOf(snapshot, undefined, undefined, true)),
        ).toEqual([...entries].reverse())
      } else {
        for (let i = 0; i < 8 && entries.length > 0; i++) {
          const [key, value] = random.pick(entries)
          const found = drive(world.tree, world.pool, world.source, () => snapshot.get(unhex(key)))
          expect(found && hex(found)).toBe(value)
        }
      }
      if (random.chance(0.6)) {
        snapshot.release()
        snapshots.splice(at, 1)
      }
    } else if (action > 0.98 && snapshots.length === 0) checkpoint(world, random, style, huge)
    if (step % 20 === 0) verify(world)
  }
  for (const { snapshot } of snapshots) snapshot.release()
  verify(world)
  expect([...world.tree.keptPages()]).toEqual([])
  apply(
    world.tree,
    world.pool,
    world.source,
    [...world.model.keys()].map(key => ({ key: unhex(key), value: undefined })),
  )
  world.model.clear()
  verify(world)
  expect(world.source.allocated.size).toBe(1)
}

describe('tree', () => {
  it('holds what a sorted map holds, through misses, snapshots, checkpoints and reopening, and leaks no page', () => {
    fc.assert(
      fc.property(shapes, shape => simulate(shape, 150)),
      { numRuns: process.env.DEEP === '1' ? 1500 : 40 },
    )
  }, 600_000)

  it('tells keys apart that have one hash, and differ in what a page has once for all of them', () => {
    const [one, other] = sameHash()
    const key = (prefix: Uint8Array, n: number) => concatBytes(prefix, Uint8Array.of(n))
    expect(fnv1a(key(one, 7))).toBe(fnv1a(key(other, 7)))
    const source = new MemorySource(512)
    const tree = new BTree({ pool: poolOf(source, 64), source, root: undefined })
    const [first, second, third] = [1, 2, 3].map(n => Uint8Array.of(n))
    for (let n = 0; n < 100; n++) {
      tree.set(key(one, n), first!)
      expect(tree.get(key(one, n))).toEqual(first)
      expect(tree.get(key(other, n))).toBe(undefined)
    }
    for (let n = 0; n < 100; n++) {
      expect(tree.get(key(one, n))).toEqual(first)
      expect(tree.set(key(other, n), second!)).toBe(undefined)
      expect([tree.get(key(one, n)), tree.get(key(other, n))]).toEqual([first, second])
      expect(tree.set(key(one, n), third!)).toBe(1)
      expect(tree.get(key(other, n))).toEqual(second)
    }
  })
})

/** Whatever follows them, too. */
function sameHash(): [Uint8Array, Uint8Array] {
  const seen = new Map<number, Uint8Array>()
  for (let n = 0; ; n++) {
    const key = new Uint8Array(8).fill(1)
    new DataView(key.buffer).setUint32(4, Math.imul(n, 0x9e3779b1))
    const hash = fnv1a(key)
    const known = seen.get(hash)
    if (known !== undefined) return [known, key]
    seen.set(hash, key)
  }
}
