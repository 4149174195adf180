import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { index, term } from '../../../src/base/ids.ts'
import { Appends } from '../../../src/raft/appends.ts'
import { entryBytes, RaftLog } from '../../../src/raft/log.ts'
import { Inflight } from '../../../src/raft/progress.ts'
import type { Entry } from '../../../src/raft/types.ts'
import { configurationOf, restoredLog } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

const entry = (at: number, of: number): Entry => ({
  index: index(at),
  term: term(of),
  kind: 'command',
  data: new Uint8Array(at % 5),
})

type Step =
  | { readonly do: 'append'; readonly raise: number }
  | { readonly do: 'truncate' | 'durable' | 'evict' | 'fetch' | 'take' | 'restart'; readonly at: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('append' as const), raise: fc.nat({ max: 2 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('truncate' as const, 'durable', 'evict', 'evict', 'fetch', 'take', 'restart'),
      at: fc.nat({ max: 1000 }),
    }),
  },
)

describe('the log in memory', () => {
  test('answers like a plain list of all entries', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        let all: Entry[] = []
        let file: Entry[] = []
        let durable = 0
        let applied = 0
        let highest = 1
        const birth = configurationOf([1])
        const make = (): RaftLog => {
          const hardState = { term: term(highest), vote: undefined, commit: index(0) }
          return new RaftLog(restoredLog({ hardState, entries: all }, birth))
        }
        let log = make()
        for (const next of steps) {
          const at = next.do === 'append' ? 0 : next.at
          switch (next.do) {
            case 'append':
              highest += next.raise === 2 ? 1 : 0
              all.push(entry(all.length + 1, highest))
              log.append(all[all.length - 1]!)
              break
            case 'truncate': {
              if (all.length === applied) break
              const from = applied + 1 + (at % (all.length - applied))
              all = all.slice(0, from - 1)
              log.truncate(index(from))
              durable = Math.min(durable, all.length)
              highest++
              break
            }
            case 'take':
              for (const taken of log.takeUnhanded()) {
                file = file.slice(0, taken.index - 1)
                file.push(taken)
              }
              expect(file.slice(0, all.length)).toEqual(all)
              expect(log.hasUnhanded).toBe(false)
              break
            case 'durable':
              if (log.hasUnhanded) break
              durable = Math.max(durable, at % (all.length + 1))
              log.becameDurable(durable)
              break
            case 'evict':
              if (durable > applied) applied += at % (durable - applied + 1)
              log.evict(index(applied), at % 200)
              break
            case 'fetch': {
              if (all.length === 0) break
              const from = 1 + (at % all.length)
              // As a log file answers: what it held a moment ago.
              log.fetched(index(from), file.slice(from - 1, from + 3))
              break
            }
            case 'restart':
              all = all.slice(0, durable)
              file = [...all]
              applied = 0
              log = make()
              break
          }
          compare(log, all, durable)
          expect(log.durable).toBe(next.do === 'restart' ? all.length : durable)
          if (next.do === 'restart') durable = all.length
        }
      }),
      { numRuns: 200 },
    )
  })

  function compare(log: RaftLog, all: readonly Entry[], durable: number): void {
    expect(log.last).toBe(all.length)
    expect(log.lastTerm).toBe(all[all.length - 1]?.term ?? 0)
    for (let at = 0; at <= all.length; at++) {
      const of = all[at - 1]?.term ?? 0
      expect(log.termOf(at)).toBe(of)
      expect(log.matches(at, of)).toBe(true)
      expect(log.matches(at, of + 1)).toBe(false)
      let below = at
      while (below > 0 && all[below - 1]!.term >= of) below--
      if (of > 0) expect(log.lastAtMost(at, of - 1)).toBe(below)
      expect(log.lastAtMost(at, of)).toBe(at)
    }
    expect(log.matches(all.length + 1, 1)).toBe(false)
    for (let from = 1; from <= all.length; from++) {
      const slice = log.slice(from, all.length, 80)
      expect(slice !== undefined).toBe(log.inMemory(from))
      if (from > durable) expect(slice).toBeDefined()
      if (slice === undefined) continue
      expect(slice.length).toBeGreaterThan(0)
      expect(slice).toEqual(all.slice(from - 1, from - 1 + slice.length))
      if (slice.length > 1) expect(slice.reduce((sum, each) => sum + entryBytes(each), 0)).toBeLessThanOrEqual(80)
    }
  }

  test('what a fetch brings of entries that were replaced meanwhile is not taken', () => {
    const old = [entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)]
    const hardState = { term: term(1), vote: undefined, commit: index(0) }
    const log = new RaftLog(restoredLog({ hardState, entries: old }, configurationOf([1])))
    log.truncate(index(3))
    log.append(entry(3, 2))
    log.fetched(index(1), old)
    expect(log.slice(1, 3, 1000)).toEqual(old.slice(0, 2))
    expect(log.slice(3, 3, 1000)).toEqual([entry(3, 2)])
  })

  test('memory goes back below its bound once entries are durable and applied', () => {
    const log = new RaftLog(
      restoredLog(
        { hardState: { term: term(1), vote: undefined, commit: index(0) }, entries: [] },
        configurationOf([1]),
      ),
    )
    for (let at = 1; at <= 10_000; at++) log.append(entry(at, 1))
    log.takeUnhanded()
    log.becameDurable(10_000)
    log.evict(index(9000), 1000)
    expect(log.firstCached).toBe(9001)
    log.evict(index(10_000), 1000)
    expect(log.bytesInMemory).toBeLessThanOrEqual(1000)
    expect(log.slice(10_000, 10_000, 1)).toHaveLength(1)
  })
})

describe('appends under way', () => {
  test('a completion vouches for what its entries and the log still have in common', () => {
    const appends = new Appends()
    const first = appends.begin(index(5), term(1), undefined)
    const second = appends.begin(index(8), term(1), undefined)
    appends.truncated(index(4))
    const third = appends.begin(index(6), term(2), undefined)
    expect(appends.complete(first)).toMatchObject({ through: 3, term: 1 })
    expect(appends.complete(first)).toBeUndefined()
    expect(appends.complete(third)).toMatchObject({ through: 6, term: 2 })
    expect(appends.complete(second)).toBeUndefined()
    expect(appends.settled).toBe(true)
  })
})

describe('the window of a follower', () => {
  test('is full at its bound of messages or of bytes, and opens with what is acknowledged', () => {
    const operations = fc.array(
      fc.oneof(fc.record({ bytes: fc.integer({ min: 1, max: 50 }) }), fc.record({ free: fc.nat({ max: 5 }) })),
    )
    fc.assert(
      fc.property(
        operations,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 100 }),
        (list, most, bytesMost) => {
          const inflight = new Inflight(most, bytesMost)
          let model: { last: number; bytes: number }[] = []
          let next = 1
          for (const each of list) {
            if ('bytes' in each) {
              if (inflight.full) continue
              inflight.add(next, each.bytes)
              model.push({ last: next++, bytes: each.bytes })
            } else {
              const match = (model[0]?.last ?? 1) - 1 + each.free
              inflight.free(match)
              model = model.filter(({ last }) => last > match)
            }
            const bytes = model.reduce((sum, message) => sum + message.bytes, 0)
            expect(inflight.full).toBe(model.length >= most || bytes >= bytesMost)
          }
        },
      ),
    )
  })
})
