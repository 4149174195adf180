/** Several writers of one tree, one change after the other in one thread, against a model. Threads: `test/node/writers.test.ts`. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isHarmonyError } from '../../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { BTree } from '../../../src/storage/btree.ts'
import { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { Change } from '../../../src/storage/engine.ts'
import { LatchedPages } from '../../../src/storage/latched-pages.ts'
import type { PageId } from '../../../src/storage/page-source.ts'
import { headerWords, poolMemory, versionWord } from '../../../src/storage/pool-memory.ts'
import { SharedTreeReader } from '../../../src/storage/shared-reader.ts'
import { insideWord, sectionMemory } from '../../../src/storage/shared-section.ts'
import { SharedTreeWriter } from '../../../src/storage/shared-writer.ts'
import type { SectionOptions, TreeSection } from '../../../src/storage/tree-section.ts'
import { apply, entriesOf, hex } from './btree-kit.ts'
import { MemorySource } from './memory-source.ts'

const deep = process.env.DEEP === '1'

function bed(frames: number, pageBytes = 512) {
  const source = new MemorySource(pageBytes)
  const pool = new BufferPool({ source, frames, shared: true })
  const tree = new BTree({ pool, source, root: undefined })
  return { source, pool, tree }
}
type Bed = ReturnType<typeof bed>

const text = new TextEncoder()
function keyOf(random: SeededRandom, range: number): Uint8Array {
  const i = random.below(range)
  if (i % 11 === 0) return text.encode(`${i % 3}`.repeat(90 + (i % 7) * 60) + i)
  return text.encode(`${i % 3 === 0 ? 'the same beginning/' : ''}${i}`)
}
const someValue = (random: SeededRandom): Uint8Array =>
  new Uint8Array(random.chance(0.06) ? random.below(4000) : random.below(60)).fill(random.below(256))

function changeOf(random: SeededRandom, range: number, deletions: number): Change {
  const key = keyOf(random, range)
  return { key, value: random.chance(deletions) ? undefined : someValue(random) }
}

function opened({ tree }: Bed, options: Partial<SectionOptions> = {}): TreeSection {
  const section = tree.section({ pages: 200, changes: 1000, writers: 3, shown: false, ...options })
  if (section === undefined) throw new Error('there is no section')
  return section
}

function sound({ tree, source }: Bed, model: ReadonlyMap<string, string>): void {
  const report = tree.verify().run()
  expect(report.problems).toEqual([])
  expect([...report.pages].sort()).toEqual([...source.allocated].sort())
  expect(entriesOf(tree)).toEqual([...model].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const put = (model: Map<string, string>, { key, value }: Change): void => {
  if (value === undefined) model.delete(hex(key))
  else model.set(hex(key), hex(value))
}

describe('writers of a section', () => {
  for (const shown of [false, true]) {
    it(`do what the owner does${shown ? ', and each change shows at once' : ''}`, { timeout: 120_000 }, () => {
      fc.assert(
        fc.property(fc.integer(), seed => {
          const random = seededRandom(seed)
          const here = bed(2048, random.pick([512, 512, 1024]))
          const { pool, tree, source } = here
          const model = new Map<string, string>()
          let [keys, bytes] = [0, 0]
          const reader = new SharedTreeReader(pool.shared!, { attemptsMax: 2, maySleep: false })
          for (let round = 1; round <= 6; round++) {
            const range = random.pick([30, 400, 1500])
            const deletions = random.pick([0.1, 0.5, 0.95])
            const section = opened(here, { shown, pages: random.pick([3, 60, 600]) })
            const writers = Array.from({ length: 3 }, () => new SharedTreeWriter(pool.shared!, section.shared))
            for (const writer of writers) expect(writer.enter()).toBe(true)
            const rest: Change[] = []
            const declined = new Set<string>()
            for (let i = random.below(500); i > 0; i--) {
              const change = changeOf(random, range, deletions)
              const answer = declined.has(hex(change.key))
                ? 'miss'
                : random.pick(writers).write(change.key, change.value)
              if (answer !== 'done') {
                expect(['full', 'miss']).toContain(answer)
                declined.add(hex(change.key))
                rest.push(change)
                continue
              }
              put(model, change)
              const seen = reader.read(view => view.get(change.key))
              if (!shown) expect(seen).toEqual({ state: 'busy' })
              else expect(seen).toMatchObject({ value: change.value })
            }
            for (const writer of writers) writer.leave()
            const delta = section.close()
            const restDelta = apply(tree, pool, source, rest)
            for (const change of rest) put(model, change)
            keys += delta.keys + restDelta.keys
            bytes += delta.bytes + restDelta.bytes
            sound(here, model)
            const report = tree.verify().run()
            expect([report.keys, report.bytes]).toEqual([keys, bytes])
            expect(reader.read(view => view.get(Uint8Array.of(255)))).toMatchObject({ state: 'read' })
            // The owner goes on between two sections, and what was made is written out.
            const more = Array.from({ length: 40 }, () => changeOf(random, range, 0.5))
            const moreDelta = apply(tree, pool, source, more)
            for (const change of more) put(model, change)
            keys += moreDelta.keys
            bytes += moreDelta.bytes
          }
          sound(here, model)
        }),
        { numRuns: deep ? 400 : 12 },
      )
    })
  }

  it('leave what is not in memory to the owner, and what they made outlives the cache', { timeout: 60_000 }, () => {
    fc.assert(
      fc.property(fc.integer(), seed => {
        const random = seededRandom(seed)
        const here = bed(96)
        const { pool, tree, source } = here
        const model = new Map<string, string>()
        const step = (changes: Change[]): void => {
          for (const change of changes) put(model, change)
        }
        const answers = { done: 0, miss: 0, full: 0, lost: 0 }
        for (let round = 0; round < 12; round++) {
          const begun = Array.from({ length: 150 }, () => changeOf(random, 3000, 0.3))
          apply(tree, pool, source, begun)
          step(begun)
          const section = opened(here, { pages: 20 })
          const writer = new SharedTreeWriter(pool.shared!, section.shared)
          writer.enter()
          const rest: Change[] = []
          const declined = new Set<string>()
          for (let i = 0; i < 200; i++) {
            const change = changeOf(random, 3000, 0.3)
            const answer = declined.has(hex(change.key)) ? 'miss' : writer.write(change.key, change.value)
            answers[answer]++
            if (answer === 'done') put(model, change)
            else {
              declined.add(hex(change.key))
              rest.push(change)
            }
          }
          writer.leave()
          section.close()
          apply(tree, pool, source, rest)
          step(rest)
        }
        sound(here, model)
        expect(answers.lost).toBe(0)
        expect(answers.done).toBeGreaterThan(100)
        expect(answers.miss).toBeGreaterThan(100)
      }),
      { numRuns: deep ? 200 : 8 },
    )
  })

  it('ask for latches from the root down: no branch after a leaf, no level after a lower one', {
    timeout: 60_000,
  }, () => {
    const random = seededRandom(5)
    const here = bed(4096)
    const { pool, tree } = here
    const levels: number[] = []
    let neighbours = 0
    const latches = LatchedPages.prototype as unknown as {
      latch(frame: number): void
      finish(): void
      arena: Uint8Array
    }
    const { latch, finish } = latches
    latches.latch = function (frame) {
      latch.call(this, frame)
      levels.push(this.arena[frame * pool.pageBytes + 1]!)
    }
    latches.finish = function () {
      if (levels.some((level, i) => i > 0 && level > levels[i - 1]!)) throw new Error(`latches on levels ${levels}`)
      if (levels.filter(level => level === 1).length > 1) neighbours++
      levels.length = 0
      finish.call(this)
    }
    try {
      for (let wave = 0; wave < 10; wave++) {
        const section = opened(here, { pages: 2500, changes: 3000, writers: 1 })
        const writer = new SharedTreeWriter(pool.shared!, section.shared)
        writer.enter()
        for (let i = 0; i < 2000; i++) {
          const { key, value } = changeOf(random, 4000, wave % 2 === 0 ? 0.1 : 0.97)
          expect(writer.write(key, value)).toBe('done')
        }
        writer.leave()
        section.close()
        tree.batch([]).run()
      }
    } finally {
      Object.assign(latches, { latch, finish })
    }
    expect(tree.verify().run().problems).toEqual([])
    expect(neighbours).toBeGreaterThan(3)
  })

  /** Runs `meanwhile` between a writer's look at the root and its first latch, once. */
  function betweenRootAndLatch(writer: SharedTreeWriter, meanwhile: () => void): void {
    const { tree } = writer as unknown as { tree: { root: PageId } }
    const real = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(tree), 'root')!
    let done = false
    Object.defineProperty(tree, 'root', {
      get: () => {
        const root = real.get!.call(tree) as PageId
        if (!done) {
          done = true
          meanwhile()
        }
        return root
      },
      set: (page: PageId) => real.set!.call(tree, page),
    })
  }

  it('look again where another one has replaced the root meanwhile', () => {
    const here = bed(256)
    const { pool, tree } = here
    const section = opened(here)
    const [one, other] = [1, 2].map(() => new SharedTreeWriter(pool.shared!, section.shared)) as [
      SharedTreeWriter,
      SharedTreeWriter,
    ]
    const value = new Uint8Array(40)
    betweenRootAndLatch(one, () => {
      for (let i = 0; i < 20; i++) other.write(text.encode(`a${String(i).padStart(3, '0')}`), value)
    })
    one.write(text.encode('b'), value)
    section.close()
    tree.batch([]).run()
    expect(tree.verify().run()).toMatchObject({ problems: [], keys: 21, levels: 2 })
  })

  it('tell readers of another root after it took its place, too', () => {
    const here = bed(256)
    const { pool, tree } = here
    const section = opened(here, { shown: true })
    const writer = new SharedTreeWriter(pool.shared!, section.shared)
    const reader = new SharedTreeReader(pool.shared!, { attemptsMax: 1, maySleep: false })
    const value = new Uint8Array(40)
    const { tree: shared } = writer as unknown as { tree: { root: PageId } }
    const real = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(shared), 'root')!
    // A reader looks at its slot and at the root after it was told of the change, and before the root is another one.
    const parts = reader as unknown as { begin(): boolean; isOneState(): boolean }
    let believed: boolean | undefined
    Object.defineProperty(shared, 'root', {
      get: () => real.get!.call(shared),
      set: (page: PageId) => {
        expect(parts.begin()).toBe(true)
        real.set!.call(shared, page)
        believed = true
      },
    })
    for (let i = 0; believed === undefined; i++) writer.write(text.encode(`a${String(i).padStart(3, '0')}`), value)
    // The old root is a leaf like any other by now, with half of the keys.
    believed = reader.find(text.encode('a009')) !== undefined || parts.isOneState()
    expect(believed).toBe(false)
    section.close()
    tree.batch([]).run()
    expect(tree.verify().run().problems).toEqual([])
  })

  it('are not let in once the owner closes', () => {
    const here = bed(256)
    const section = opened(here)
    section.close()
    expect(new SharedTreeWriter(here.pool.shared!, section.shared).enter()).toBe(false)
    sound(here, new Map())
  })

  it('wait for no snapshot, no checkpoint and no memory: there is no section then', () => {
    const { pool, tree, source } = bed(64)
    const options = { pages: 10, changes: 10, writers: 1, shown: false }
    const snapshot = tree.snapshot()
    expect(tree.section(options)).toBeUndefined()
    snapshot.release()
    tree.set(text.encode('a'), text.encode('b'))
    pool.beginCheckpoint()
    source.beginCheckpoint()
    expect(tree.section(options)).toBeUndefined()
    pool.writeSome(64)
    source.endCheckpoint()
    expect(tree.section({ ...options, pages: 65 })).toBeUndefined()
    expect(tree.section(options)).toBeDefined()
    const alone = new BufferPool({ source, frames: 64 })
    expect(new BTree({ pool: alone, source, root: undefined }).section(options)).toBeUndefined()
  })

  it('find out that one died with a latch, and the state with it', { timeout: 60_000 }, () => {
    const here = bed(64)
    const section = opened(here, { pages: 4 })
    const shared = here.pool.shared!
    const { header } = poolMemory(shared.frames, shared.pageBytes, shared.memory)
    Atomics.add(header, here.pool.find(here.tree.root) * headerWords + versionWord, 1)
    const writers = [1, 2].map(() => new SharedTreeWriter(shared, section.shared))
    for (const writer of writers) writer.enter()
    const begun = performance.now()
    expect(writers[0]!.write(text.encode('a'), text.encode('b'))).toBe('lost')
    expect(performance.now() - begun).toBeGreaterThan(5000)
    expect(writers[1]!.write(text.encode('a'), text.encode('b'))).toBe('lost')
    for (const writer of writers) writer.leave()
    expect(performance.now() - begun).toBeLessThan(20_000)
    expect(() => section.close()).toThrow(expect.objectContaining({ code: 'STORAGE_LOST' }))
  })

  it.runIf(deep)('one that does not leave has died, too', { timeout: 30_000 }, () => {
    const here = bed(64)
    const section = opened(here, { pages: 4 })
    const { control } = sectionMemory(here.pool.shared!, section.shared)
    Atomics.add(control, insideWord, 1)
    const begun = performance.now()
    expect(() => section.close()).toThrow(expect.objectContaining({ code: 'STORAGE_LOST' }))
    expect(performance.now() - begun).toBeGreaterThan(5000)
    const writer = new SharedTreeWriter(here.pool.shared!, section.shared)
    expect(writer.enter()).toBe(false)
  })

  it('refuse keys that are too long', () => {
    const here = bed(64)
    const section = opened(here, { pages: 4 })
    const writer = new SharedTreeWriter(here.pool.shared!, section.shared)
    writer.enter()
    try {
      writer.write(new Uint8Array(0x10000), undefined)
      expect.unreachable()
    } catch (error) {
      expect(isHarmonyError(error, 'TOO_LARGE')).toBe(true)
    }
    writer.leave()
    expect(section.close()).toEqual({ keys: 0, bytes: 0 })
  })
})
