import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/checksum.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import type { PageId } from '../../../src/storage/page-source.ts'
import type { PageStore } from '../../../src/storage/page-store.ts'
import {
  checkpoint,
  content,
  finish,
  idOf,
  metaNumber,
  mustOpenStore,
  openStore,
  readPage,
  type Shape,
  someMeta,
  TestPages,
} from './store-kit.ts'

/** Page id to seed of its content. */
type Model = Map<PageId, number>

const pageBytes = 512

function expectState(pages: TestPages, store: PageStore, model: Model): void {
  const found: number[] = []
  store.forEachPage(page => found.push(page))
  expect(found).toEqual([...model.keys()].sort((a, b) => a - b))
  for (const [page, seed] of model) {
    const read = readPage(pages, store, page)
    if (read instanceof Uint8Array && equalBytes(read, content(seed))) continue
    expect(read, `page ${page}`).toEqual(content(seed))
  }
}

/** Sectors that the state needs: what a fresh store with nothing else in it takes. */
function expectNoLeak(pages: TestPages, store: PageStore): void {
  const again = mustOpenStore(pages.reopened()).store
  expect(store.stats.usedBytes).toBe(again.stats.usedBytes)
}

/** Changes pages at random; what it writes has contents numbered from `next`. */
class Script {
  readonly model: Model = new Map()
  /** The state that is being made durable, while that goes on. */
  closing: Model | undefined
  checkpoints = 0
  private next = 1
  private readonly random: SeededRandom
  private readonly allocated: PageId[] = []

  constructor(random: SeededRandom, from: Model = new Map(), checkpoints = 0) {
    this.random = random
    this.checkpoints = checkpoints
    this.next = 1 + Math.max(0, ...from.values())
    for (const [page, seed] of from) {
      this.model.set(page, seed)
      this.allocated.push(page)
    }
  }

  change(store: PageStore): void {
    const { random, allocated, model } = this
    const kind = random.below(10)
    if (allocated.length === 0 || (kind < 3 && allocated.length < 120)) {
      const page = store.allocate()
      expect(allocated).not.toContain(page)
      allocated.push(page)
      this.write(store, page)
    } else if (kind < 8) this.write(store, random.pick(allocated))
    else {
      const [page] = allocated.splice(random.below(allocated.length), 1) as [PageId]
      model.delete(page)
      store.free(page)
    }
  }

  private write(store: PageStore, page: PageId): void {
    const seed = this.next++
    this.model.set(page, seed)
    store.write(page, content(seed), 'current')
  }

  begin(store: PageStore): void {
    store.beginCheckpoint()
    this.closing = new Map(this.model)
    this.checkpoints++
  }

  /** Rewrites a page for the state that is closing, and may change it once more for the next. */
  writeClosing(store: PageStore): void {
    const closing = this.closing as Model
    if (closing.size === 0) return
    const page = this.random.pick([...closing.keys()])
    const seed = this.next++
    store.write(page, content(seed), 'closing')
    if (this.model.get(page) === closing.get(page)) this.model.set(page, seed)
    closing.set(page, seed)
  }
}

interface Outcome {
  /** The states that the last superblock may stand for, by checkpoint. */
  readonly possible: Map<number, Model>
  readonly finished: number
  readonly live: Model
}

/** A workload with checkpoints, until it is over or the power goes. */
function run(pages: TestPages, store: PageStore, script: Script, random: SeededRandom, rounds: number): Outcome {
  let finished = script.checkpoints
  const possible = new Map([[finished, new Map(script.model)]])
  for (let round = 0; round < rounds && pages.powered; round++) {
    for (let i = random.below(12); i >= 0; i--) script.change(store)
    script.begin(store)
    for (let i = random.below(8); i > 0; i--) {
      if (random.chance(0.5)) script.change(store)
      else script.writeClosing(store)
    }
    possible.set(script.checkpoints, script.closing as Model)
    let over = false
    store.finishCheckpoint(someMeta(script.checkpoints), error => {
      expect(error).toBeUndefined()
      over = true
    })
    // The world goes on while the disk syncs.
    for (let i = random.below(4); i > 0; i--) script.change(store)
    pages.settle()
    if (!over) break
    finished = script.checkpoints
    for (const at of possible.keys()) if (at < finished) possible.delete(at)
  }
  return { possible, finished, live: script.model }
}

/** Writes a superblock as builds before format 3 did. */
function makeFormat2(pages: TestPages, at: number): void {
  const bytes = pages.stored.current.read(at, 4096)
  const block = bytes.subarray(0, 256)
  const view = new DataView(bytes.buffer)
  view.setUint32(8, 2, true)
  view.setUint32(108, 0, true)
  view.setUint32(12, 0, true)
  view.setUint32(12, crc32c(block), true)
  pages.write(at, bytes)
}

const shapes: readonly Shape[] = [{ later: false }, { later: true }]

describe('page store', () => {
  it('a new store is empty; a page reads as it was written last, before and after a checkpoint and reopening', () => {
    let pages = new TestPages()
    const opened = mustOpenStore(pages)
    expect(opened.checkpoint).toBeUndefined()
    const { store } = opened
    const a = store.allocate()
    const b = store.allocate()
    store.write(a, content(1), 'current')
    store.write(b, content(2), 'current')
    store.write(a, content(3), 'current')
    expect(readPage(pages, store, a)).toEqual(content(3))
    expect(checkpoint(pages, store, someMeta(9))).toBe('done')
    pages = pages.reopened()
    const again = mustOpenStore(pages)
    expect(again.checkpoint).toEqual({ number: 1, meta: someMeta(9) })
    expectState(pages, again.store, new Map([[a, 3], [b, 2]])) // biome-ignore format: a table
    expect(again.store.allocate()).toBe(3)
  })

  it('what no checkpoint covered is gone after reopening, and its space is free', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const page = store.allocate()
    store.write(page, content(1), 'current')
    checkpoint(pages, store, someMeta(1))
    const used = store.stats.usedBytes
    store.write(page, content(2), 'current')
    store.write(store.allocate(), content(3), 'current')
    const next = pages.reopened()
    const again = mustOpenStore(next).store
    expectState(next, again, new Map([[page, 1]]))
    expect(again.stats.usedBytes).toBe(used)
  })

  it('a store keeps the sectors that it was made with, also one that does not say so', () => {
    for (const saysSo of [true, false]) {
      const random = seededRandom(saysSo ? 1 : 2)
      const before = new TestPages({ sectorBytes: 4096 })
      const script = new Script(random)
      run(before, mustOpenStore(before).store, script, random, 5)
      if (!saysSo) for (const at of [0, 4096]) makeFormat2(before, at)
      let pages = before.reopened({ sectorBytes: 512, sectorBytesOnce: 4096 })
      for (let life = 0; life < 3; life++) {
        const { store, superblock } = mustOpenStore(pages)
        expect(superblock.sectorBytes).toBe(4096)
        script.begin(store)
        expect(finish(pages, store, someMeta(script.checkpoints))).toBe('done')
        run(pages, store, script, random, 5)
        script.begin(store)
        expect(finish(pages, store, someMeta(script.checkpoints))).toBe('done')
        expectState(pages, store, script.model)
        expect(store.stats.usedBytes % 4096).toBe(0)
        expectNoLeak(pages, store)
        pages = pages.reopened()
      }
    }
    const small = mustOpenStore(new TestPages({ sectorBytes: 512, sectorBytesOnce: 4096 }))
    expect(small.superblock.sectorBytes).toBe(512)
  })

  it('sectors that the file cannot have are refused', () => {
    const pages = new TestPages({ sectorBytes: 512 })
    const { store } = mustOpenStore(pages)
    expect(checkpoint(pages, store, someMeta(1))).toBe('done')
    expect(openStore(pages.reopened({ sectorBytes: 4096 }))).toMatchObject({ code: 'CORRUPT' })
  })

  it('pages of the closing state and of the current one are kept apart', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const [kept, changed, freed] = [store.allocate(), store.allocate(), store.allocate()]
    for (const page of [kept, changed, freed]) store.write(page, content(page), 'current')
    store.beginCheckpoint()
    store.write(changed, content(20), 'closing')
    store.write(changed, content(21), 'current')
    store.write(freed, content(30), 'closing')
    store.free(freed)
    const reused = store.allocate()
    expect(reused).toBe(freed)
    store.write(reused, content(31), 'current')
    // Late, for a page that has already changed again.
    store.write(changed, content(22), 'closing')
    expect(finish(pages, store, someMeta(1))).toBe('done')
    expectState(pages, store, new Map([[kept, 1], [changed, 21], [reused, 31]])) // biome-ignore format: a table
    const next = pages.reopened()
    const again = mustOpenStore(next).store
    expectState(next, again, new Map([[kept, 1], [changed, 22], [freed, 30]])) // biome-ignore format: a table
  })

  it('a page that was freed before its closing content was written is in the checkpoint and not in the newest state', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const page = store.allocate()
    store.beginCheckpoint()
    store.free(page)
    store.write(page, content(5), 'closing')
    expectState(pages, store, new Map())
    expect(finish(pages, store, someMeta(1))).toBe('done')
    expect(checkpoint(pages, store, someMeta(2))).toBe('done')
    expectNoLeak(pages, store)
    expect(store.stats).toMatchObject({ pages: 0, checkpoint: 2 })
  })

  it('random changes and checkpoints agree with a model, and nothing leaks', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(...shapes), fc.boolean(), (seed, shape, compress) => {
        const random = seededRandom(seed)
        let pages = new TestPages(shape)
        let script = new Script(random)
        for (let life = 0; life < 3; life++) {
          const { store } = mustOpenStore(pages, { compress })
          expectState(pages, store, script.model)
          const { possible, finished } = run(pages, store, script, random, 4)
          expectState(pages, store, script.model)
          expect(finished).toBe(script.checkpoints)
          checkpoint(pages, store, someMeta(finished + 1))
          expect(possible.get(finished)).toBeDefined()
          const model = new Map(script.model)
          pages = pages.reopened()
          const used = mustOpenStore(pages).store.stats.usedBytes
          expect(store.stats.usedBytes).toBe(used)
          pages = pages.reopened()
          script = new Script(random, model, finished + 1)
        }
      }),
      { numRuns: 60 },
    )
  })

  it.each(shapes)(
    'the power goes at every write and sync: the last checkpoint or the one being finished is there ($later)',
    shape => {
      for (let seed = 1; seed <= 2; seed++) {
        const whole = new TestPages(shape)
        run(whole, mustOpenStore(whole).store, new Script(seededRandom(seed)), seededRandom(seed), 5)
        expect(whole.operations).toBeGreaterThan(50)
        for (let at = 1; at <= whole.operations; at++) {
          let pages = new TestPages(shape)
          pages.powerUntil = at
          const opened = openStore(pages)
          if (opened instanceof Error) throw opened
          const script = new Script(seededRandom(seed))
          const outcome = opened === undefined ? undefined : run(pages, opened.store, script, seededRandom(seed), 5)
          pages = pages.crashed(seededRandom(at * 31 + seed))
          // A crash while recovering changes nothing either.
          for (let again = 0; again < 2; again++) {
            const next = mustOpenStore(pages)
            const number = next.checkpoint?.number ?? 0
            const model = outcome === undefined ? new Map() : outcome.possible.get(number)
            expect(model, `seed ${seed}, operation ${at}: checkpoint ${number}`).toBeDefined()
            if (number > 0) expect(metaNumber(next.checkpoint?.meta as Uint8Array)).toBe(number)
            expectState(pages, next.store, model as Model)
            const { usedBytes } = next.store.stats
            const life = new Script(seededRandom(at), model, number)
            const { live } = run(pages, next.store, life, seededRandom(at), again)
            if (again === 0) {
              expect(next.store.stats.usedBytes).toBe(usedBytes)
              next.store.write(next.store.allocate(), content(4), 'current')
            } else expectState(pages, next.store, live)
            pages = pages.crashed(seededRandom(at + 1))
          }
        }
      }
    },
  )

  it('nothing that the durable superblock reaches is ever overwritten', () => {
    const random = seededRandom(5)
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const script = new Script(random)
    for (let round = 0; round < 30; round++) {
      run(pages, store, script, random, 1)
      const live = mustOpenStore(TestPages.holding(pages.copy())).store
      pages.written = []
      for (let i = 0; i < 40; i++) script.change(store)
      for (const { at, to } of pages.written) {
        for (let sector = at / 512; sector < to / 512; sector++) expect(live.taken(sector)).toBe(false)
      }
    }
  })

  it('space is reused: rewriting everything again and again does not let the file grow', () => {
    const pages = new TestPages({ pageBytes: 4096 })
    const { store } = mustOpenStore(pages)
    const ids = Array.from({ length: 50 }, () => store.allocate())
    let largest = 0
    for (let round = 0; round < 40; round++) {
      for (const page of ids) store.write(page, content(page + round * 3, 4096), 'current')
      checkpoint(pages, store, someMeta(round))
      if (round === 4) largest = pages.bytes
    }
    expect(pages.bytes).toBeLessThanOrEqual(largest * 1.1)
    expect(pages.bytes).toBeLessThan(3 * store.stats.usedBytes)
  })

  it('a checkpoint writes only the pieces of the table that changed', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    for (let i = 0; i < 2000; i++) store.write(store.allocate(), content(i), 'current')
    checkpoint(pages, store, someMeta(1))
    const before = store.stats.extentsWritten
    store.write(idOf(1000), content(5), 'current')
    checkpoint(pages, store, someMeta(2))
    // The page, its piece, the piece's piece, the root.
    expect(store.stats.extentsWritten - before).toBe(4)
  })

  it('pitfall 18: a failed sync fails the checkpoint, and the state is the one before', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const page = store.allocate()
    store.write(page, content(1), 'current')
    checkpoint(pages, store, someMeta(1))
    store.write(page, content(2), 'current')
    pages.failSync = new HarmonyError('STORAGE_LOST', 'the disk is gone')
    expect(checkpoint(pages, store, someMeta(2))).toMatchObject({ code: 'STORAGE_LOST' })
    const next = pages.crashed(seededRandom(1))
    const again = mustOpenStore(next)
    expect(again.checkpoint?.number).toBe(1)
    expectState(next, again.store, new Map([[page, 1]]))
  })

  it('a page that is not there is CORRUPT, not a bug', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    expect(readPage(pages, store, idOf(77))).toMatchObject({ code: 'CORRUPT' })
  })

  it('a page that moves while it is read is read where it went', () => {
    const pages = new TestPages({ later: true })
    const { store } = mustOpenStore(pages)
    const page = store.allocate()
    const other = store.allocate()
    store.write(page, content(3), 'current')
    const into = new Uint8Array(pageBytes)
    let outcome: unknown = 'waiting'
    store.read(page, into, error => {
      outcome = error
    })
    store.write(page, content(6), 'current')
    store.write(other, content(9), 'current')
    pages.settle()
    expect(outcome).toBeUndefined()
    expect(into).toEqual(content(6))
  })
})
