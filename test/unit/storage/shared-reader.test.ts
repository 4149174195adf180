/** Reading a shared pool as another thread does, in one thread: what is read, what comes in between, and rubbish. Threads: `test/node/threads.test.ts`. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isHarmonyError } from '../../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { BTree } from '../../../src/storage/btree.ts'
import { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { View } from '../../../src/storage/engine.ts'
import { poolMemory, type SharedPool, sequenceWord } from '../../../src/storage/pool-memory.ts'
import { SharedTreeReader } from '../../../src/storage/shared-reader.ts'
import { MemorySource } from './memory-source.ts'

interface Bed {
  readonly pool: BufferPool
  readonly tree: BTree
  readonly shared: SharedPool
  readonly reader: SharedTreeReader
}

function bed(frames = 1024, pageBytes = 512): Bed {
  const source = new MemorySource(pageBytes)
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  const shared = pool.shared!
  return { pool, tree, shared, reader: new SharedTreeReader(shared, { attemptsMax: 4, maySleep: false }) }
}

const text = new TextEncoder()
const key = (i: number): Uint8Array => text.encode(`${i % 3 === 0 ? 'the same beginning/' : ''}${i}`)
const longKey = (random: SeededRandom, i: number): Uint8Array => text.encode(`${i % 7}`.repeat(100 + random.below(600)))

function fill({ tree }: Bed, random: SeededRandom, rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    const at = random.chance(0.1) ? longKey(random, i) : key(random.below(rounds))
    const value = new Uint8Array(random.chance(0.1) ? random.below(9000) : random.below(40)).fill(i)
    if (random.chance(0.25)) tree.delete(at)
    else tree.set(at, value)
  }
}

const entries = (view: Pick<View, 'scan'>, from?: Uint8Array, to?: Uint8Array, reverse = false): string[] => {
  const found: string[] = []
  view.scan(from, to, reverse, ({ key, keyBytes, value, valueFrom, valueTo }) => {
    found.push(`${key.subarray(0, keyBytes).join()}=${value.subarray(valueFrom, valueTo).join()}`)
    return found.length < 5000
  })
  return found
}

describe('a reader over shared memory', () => {
  it('sees what the tree sees', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.integer(), seed => {
        const random = seededRandom(seed)
        const here = bed(4096)
        fill(here, random, 400)
        const { tree, reader } = here
        expect(reader.read(view => entries(view))).toEqual({ state: 'read', value: entries(tree), applied: 0 })
        for (let i = 0; i < 60; i++) {
          const [from, to] = [key(random.below(400)), random.chance(0.3) ? undefined : longKey(random, random.below(9))]
          const reverse = random.chance(0.5)
          expect(reader.read(view => entries(view, from, to, reverse))).toMatchObject({
            value: entries(tree, from, to, reverse),
          })
          const value = tree.get(from)
          expect(reader.read(view => view.get(from)?.join())).toMatchObject({ value: value?.join() })
        }
      }),
      { numRuns: process.env.DEEP === '1' ? 300 : 15 },
    )
  })

  it('begins at the first key of a user', () => {
    const { tree, reader } = bed()
    tree.set(Uint8Array.of(0), Uint8Array.of(1))
    tree.set(Uint8Array.of(1), Uint8Array.of(2))
    for (const reverse of [false, true]) {
      expect(reader.read(view => entries(view, undefined, undefined, reverse))).toMatchObject({ value: ['1=2'] })
    }
  })

  it('tells after which applied index, and refuses an earlier one', () => {
    const { tree, reader } = bed()
    const far = 2 ** 40 + 7
    tree.batch([{ key: key(1), value: key(2) }], far).run()
    expect(reader.read(() => 1)).toEqual({ state: 'read', value: 1, applied: far })
    expect(reader.read(() => 1, far)).toMatchObject({ state: 'read' })
    expect(reader.read(() => 1, far + 1)).toEqual({ state: 'busy' })
  })

  it('runs an operation again when the tree changes in its middle, whatever it threw', () => {
    const { tree, reader } = bed()
    for (let i = 0; i < 200; i++) tree.set(key(i), key(0))
    let runs = 0
    const answer = reader.read(view => {
      const first = view.get(key(1))
      if (runs++ === 0) tree.batch([1, 150].map(i => ({ key: key(i), value: key(7) }))).run()
      const second = view.get(key(150))
      if (first?.join() !== second?.join()) throw new Error('two states')
      return runs
    })
    expect(answer).toMatchObject({ state: 'read', value: 2 })
  })

  it('goes on where another page changed', () => {
    const { tree, reader } = bed()
    for (let i = 0; i < 500; i++) tree.set(key(i), key(0))
    let runs = 0
    const answer = reader.read(view => {
      runs++
      const found = view.get(key(1))
      // Far away in the order of keys, and no split.
      tree.set(text.encode('98'), key(0))
      return found !== undefined
    })
    expect([answer, runs]).toEqual([{ state: 'read', value: true, applied: 0 }, 1])
  })

  it('believes nothing while a batch is half done, and gives up after some attempts', () => {
    const { tree, reader, shared } = bed()
    tree.set(key(1), key(1))
    const { control } = poolMemory(shared.frames, shared.pageBytes, shared.memory)
    Atomics.add(control, sequenceWord, 1)
    expect(reader.read(view => view.get(key(1)))).toEqual({ state: 'busy' })
    Atomics.add(control, sequenceWord, 1)
    expect(reader.read(view => view.get(key(1)))).toMatchObject({ state: 'read' })
  })

  it('says what is not in memory, and when the owner has closed', () => {
    const { tree, reader, pool } = bed(16)
    for (let i = 0; i < 2000; i++) tree.set(key(i), key(i))
    let missed = 0
    for (let i = 0; i < 2000; i++) {
      const answer = reader.read(view => view.get(key(i))?.join())
      if (answer.state === 'read') expect(answer.value).toBe(key(i).join())
      else missed++
    }
    expect(missed).toBeGreaterThan(1000)
    expect(missed).toBeLessThan(2000)
    pool.close()
    expect(reader.read(view => view.get(key(1)))).toEqual({ state: 'closed' })
  })

  it('comes to an end over rubbish: an answer, or CORRUPT', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.integer(), seed => {
        const random = seededRandom(seed)
        const here = bed(512)
        fill(here, random, 300)
        const { pool, reader } = here
        for (let round = 0; round < 20; round++) {
          for (let i = random.below(100); i >= 0; i--) {
            const at = random.below(pool.frames / 8) * pool.pageBytes
            const wide = random.chance(0.7) ? 24 : pool.pageBytes
            pool.arena[at + random.below(wide)] = random.pick([0, 1, 2, 3, 4, 0xff, random.below(256)])
          }
          for (let i = 0; i < 30; i++) {
            const at = random.chance(0.2) ? longKey(random, i) : key(random.below(300))
            const reverse = random.chance(0.5)
            try {
              reader.read(view => {
                view.get(at)
                // Lengths of rubbish are up to 64 KiB: entries are looked at, not written out.
                let [found, seen] = [0, 0]
                view.scan(at, undefined, reverse, ({ key, keyBytes, value, valueTo }) => {
                  seen ^= key[keyBytes - 1]! ^ value[valueTo - 1]!
                  return ++found < 5000
                })
                return seen
              })
            } catch (error) {
              if (!isHarmonyError(error, 'CORRUPT')) throw error
            }
          }
        }
      }),
      { numRuns: process.env.DEEP === '1' ? 300 : 15 },
    )
  })
})
