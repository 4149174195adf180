/** The buffer pool and its policies against a model: what a page holds, what a checkpoint holds, how many frames there are. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import type { Done } from '../../../src/platform.ts'
import { BufferPool, framesMin } from '../../../src/storage/buffer-pool.ts'
import type { PageId, PageSource } from '../../../src/storage/page-source.ts'
import { PageTable } from '../../../src/storage/page-table.ts'
import type { PolicyName } from '../../../src/storage/replacement.ts'

const pageBytes = 512

/** Two epochs of pages in memory; reads wait for `settle` unless it is eager. */
class FakeSource implements PageSource {
  readonly pageBytes = pageBytes
  readonly current = new Map<PageId, Uint8Array>()
  readonly closing = new Map<PageId, Uint8Array>()
  eager = true
  failing: PageId | undefined
  private next = 1
  private waiting: (() => void)[] = []

  read(page: PageId, into: Uint8Array, done: Done): void {
    const run = (): void => {
      const bytes = this.current.get(page)
      if (page === this.failing || bytes === undefined) return done(new HarmonyError('CORRUPT', `page ${page}`))
      into.set(bytes)
      done(undefined)
    }
    if (this.eager) run()
    else this.waiting.push(run)
  }
  write(page: PageId, bytes: Uint8Array, epoch: 'closing' | 'current'): void {
    if (epoch === 'closing') this.closing.set(page, bytes.slice())
    this.current.set(page, bytes.slice())
  }
  allocate(): PageId {
    return this.next++ as PageId
  }
  free(): void {}
  settle(): void {
    for (let run = this.waiting.shift(); run !== undefined; run = this.waiting.shift()) run()
  }
}

function frameOf(pool: BufferPool, source: FakeSource, page: PageId): number {
  for (let tries = 0; tries < 3; tries++) {
    try {
      return pool.frameOf(page)
    } catch (error) {
      if (error !== pool.miss) throw error
      pool.load(pool.miss.page, failure => {
        if (failure !== undefined) throw failure
      })
      source.settle()
    }
  }
  throw new Error('the page does not come')
}

const fill = (bytes: Uint8Array, value: number): void => {
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).setUint32(8, value)
}
const stampOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(8)

describe('buffer pool', () => {
  it('pages hold what was written, a closing epoch what was there at its beginning, within the frames it has', () => {
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom<PolicyName>('clock', '2q'), fc.boolean(), (seed, policy, eager) => {
        const random = seededRandom(seed)
        const source = new FakeSource()
        source.eager = eager
        const pool = new BufferPool({ source, frames: framesMin + random.below(8), policy, shared: random.chance(0.5) })
        const model = new Map<PageId, number>()
        let closing: Map<PageId, number> | undefined
        let written = new Map<PageId, number>()
        const finish = (): void => {
          if (closing === undefined) return
          for (const [page, value] of closing) {
            const bytes = source.closing.get(page)
            if (bytes !== undefined) written.set(page, stampOf(bytes))
            expect([page, written.get(page)]).toEqual([page, value])
          }
          closing = undefined
          source.closing.clear()
        }
        for (let step = 0; step < 400; step++) {
          const pages = [...model.keys()]
          const action = random.unit()
          if (pages.length === 0 || action < 0.15) {
            const page = source.allocate()
            const frame = pool.create(page)
            fill(pool.bytes(frame), step)
            model.set(page, step)
          } else if (action < 0.2) {
            const page = random.pick(pages)
            pool.discard(page)
            source.free()
            model.delete(page)
          } else if (action < 0.5) {
            const page = random.pick(pages)
            const frame = frameOf(pool, source, page)
            pool.beginWrite(frame)
            fill(pool.bytes(frame), step)
            pool.endWrite(frame)
            model.set(page, step)
          } else if (action < 0.55 && closing === undefined) {
            // What is not dirty is in the file as it is.
            closing = new Map(model)
            written = new Map([...source.current].map(([page, bytes]) => [page, stampOf(bytes)]))
            if (pool.beginCheckpoint() === 0) finish()
          } else if (action < 0.65 && closing !== undefined) {
            if (pool.writeSome(random.below(4)) === 0) finish()
          } else {
            const page = random.pick(pages)
            expect(stampOf(pool.bytes(frameOf(pool, source, page)))).toBe(model.get(page))
          }
          const { resident, frames, dirty } = pool.status()
          expect(resident).toBeLessThanOrEqual(frames)
          expect(dirty).toBeLessThanOrEqual(resident)
        }
        for (const [page, value] of model) expect(stampOf(pool.bytes(frameOf(pool, source, page)))).toBe(value)
      }),
      { numRuns: 60 },
    )
  })

  it('pinned frames stay; with all of them pinned the answer is an error, not a hang', () => {
    const source = new FakeSource()
    const pool = new BufferPool({ source, frames: framesMin })
    const first = source.allocate()
    const held = pool.create(first)
    pool.pin(held)
    fill(pool.bytes(held), 7)
    for (let i = 0; i < 100; i++) pool.create(source.allocate())
    expect(pool.find(first)).toBe(held)
    expect(stampOf(pool.bytes(held))).toBe(7)
    const pinned: number[] = []
    while (pinned.length < framesMin - 1) {
      const frame = pool.create(source.allocate())
      pool.pin(frame)
      pinned.push(frame)
    }
    expect(() => pool.create(source.allocate())).toThrow(/cacheBytes/)
    expect(pool.reserve(1)).toBe(false)
    for (const frame of pinned) pool.unpin(frame)
    expect(pool.reserve(5)).toBe(true)
  })

  it('a page that cannot be read is an error each time, and takes no frame; who waits for the same page waits once', () => {
    const source = new FakeSource()
    const pool = new BufferPool({ source, frames: framesMin })
    const page = source.allocate()
    source.current.set(page, new Uint8Array(pageBytes))
    source.failing = page
    for (let i = 0; i < 3 * framesMin; i++) expect(() => pool.frameOf(page)).toThrow(/page 1/)
    source.failing = undefined
    source.eager = false
    let done = 0
    for (let i = 0; i < 5; i++) pool.load(page, error => void (error === undefined && done++))
    expect(() => pool.frameOf(page)).toThrow()
    source.settle()
    expect(done).toBe(5)
    expect(pool.find(page)).toBeGreaterThanOrEqual(0)
    expect(pool.status().misses).toBe(3 * framesMin + 1)
  })

  it('the page table equals a map, whatever order of insertions and deletions', () => {
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        const most = 1 + random.below(60)
        const table = new PageTable(most, new ArrayBuffer(PageTable.bytesFor(most)), 0)
        const model = new Map<PageId, number>()
        for (let step = 0; step < 500; step++) {
          const page = (1 + random.below(200)) as PageId
          const known = model.get(page)
          expect(table.find(page)).toBe(known ?? -1)
          if (known !== undefined) {
            table.delete(page)
            model.delete(page)
          } else if (model.size < most) {
            table.insert(page, step)
            model.set(page, step)
          }
        }
        for (const [page, frame] of model) expect(table.find(page)).toBe(frame)
      }),
    )
  })
})

describe('replacement', () => {
  /** Share of accesses that found their page. */
  function hitRate(policy: PolicyName, pages: number, next: (random: SeededRandom, turn: number) => number): number {
    const source = new FakeSource()
    for (let page = 1; page <= pages; page++) source.current.set(page as PageId, new Uint8Array(pageBytes))
    const pool = new BufferPool({ source, frames: 100, policy })
    const random = seededRandom(1)
    for (let turn = 0; turn < 20_000; turn++) pool.frameOf((1 + next(random, turn)) as PageId)
    const { hits, misses } = pool.status()
    return hits / (hits + misses)
  }

  /** Rank 1 is asked for most; by inversion of an approximation of the harmonic sums. */
  const zipf = (random: SeededRandom, pages: number): number =>
    Math.min(pages - 1, Math.floor(pages ** random.unit()) - 1)

  it('on uniform accesses both find what the share of frames says', () => {
    for (const policy of ['clock', '2q'] as const) {
      expect(Math.abs(hitRate(policy, 1000, random => random.below(1000)) - 0.1)).toBeLessThan(0.02)
    }
  })

  it('on Zipf accesses both find most (the best possible is two thirds); with scans in between 2q keeps what clock loses', () => {
    const mixed = (random: SeededRandom, turn: number): number =>
      turn % 400 < 200 ? zipf(random, 1000) : 1000 + (turn % 4000)
    const rates = Object.fromEntries(
      (['clock', '2q'] as const).map(policy => [
        policy,
        [hitRate(policy, 1000, random => zipf(random, 1000)), hitRate(policy, 5000, mixed)] as const,
      ]),
    )
    const [clock, twoQueues] = [rates.clock, rates['2q']]
    assert(clock !== undefined && twoQueues !== undefined, 'both were measured')
    expect(clock[0]).toBeGreaterThan(0.5)
    expect(twoQueues[0]).toBeGreaterThan(0.5)
    expect(twoQueues[1]).toBeGreaterThan(clock[1] * 1.05)
  })
})
