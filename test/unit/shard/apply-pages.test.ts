/** The state machine over pages, with a cache that is much smaller than what its writes look at. */
import { expect, it } from 'vitest'
import { clusterId, index, term, timestamp } from '../../../src/base/ids.ts'
import type { Completion } from '../../../src/platform.ts'
import type { Entry } from '../../../src/raft/types.ts'
import { type Applied, ApplyMachine } from '../../../src/shard/apply.ts'
import { applyInOrder } from '../../../src/shard/apply-in-order.ts'
import { type Command, encodeBody, stampBody, stampsOf, type Write } from '../../../src/shard/command.ts'
import { PagedEngine } from '../../../src/storage/paged-engine.ts'
import { mustOpenStore, TestPages } from '../storage/store-kit.ts'

const pageBytes = 512
const session = 'a'.repeat(32)
const keys = 600

const keyOf = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 255)
const write = (serial: number, extra: Partial<Write>): Write => {
  return { serial, idempotencyKey: undefined, checks: [], ranges: [], ops: [], ...extra }
}

/** Reads of pages take a turn each, as in IndexedDB. */
function machine() {
  const pages = new TestPages({ pageBytes, later: true })
  const wait = <T>(start: (done: Completion<T>) => void): T => {
    const results: T[] = []
    start(result => {
      if (!result.ok) throw result.error
      results.push(result.value)
    })
    for (let turns = 0; results.length === 0 && turns < 100_000; turns++) pages.settle(1)
    expect(results).toHaveLength(1)
    return results[0]!
  }
  const opened = mustOpenStore(pages)
  const clock = { now: () => 0, after: () => () => {} }
  const engine = wait<PagedEngine>(done => PagedEngine.open({ opened, cacheBytes: 32 * pageBytes, clock }, done))
  const apply = new ApplyMachine(engine, clusterId('c'.repeat(32)))
  let at = 0
  let next = 0
  return {
    engine,
    apply,
    pages,
    entry(command: Command): Entry {
      const data = stampBody({ at: timestamp(at + 1), wallMs: 0 }, encodeBody(command))
      at += stampsOf(command)
      return { index: index(++next), term: term(1), kind: 'command', data }
    },
    run(entries: readonly Entry[]): Applied[] {
      const all: Applied[] = []
      while (all.length < entries.length) {
        const some = wait<readonly (Applied | undefined)[]>(done => apply.apply(entries, all.length, done))
        for (const applied of some) if (applied !== undefined) all.push(applied)
      }
      return all
    },
  }
}

it('writes that are done together may look at more pages than the cache has', () => {
  const { engine, entry, run } = machine()
  run([entry({ type: 'openSession', session })])
  for (let n = 0; n < keys; n++) {
    const ops = [{ type: 'put', key: keyOf(n), value: new Uint8Array(100) }] as const
    run([entry({ type: 'writes', session, floor: n, writes: [write(n, { ops })] })])
  }
  const looks = Array.from({ length: 60 }, (_, i) =>
    write(keys + i, {
      checks: Array.from({ length: 10 }, (_, j) => {
        const n = i + j * 60
        // The timestamp of the command that wrote it: the first one opened the session.
        return { key: keyOf(n), at: timestamp(n + 2) }
      }),
      ops: [{ type: 'put', key: keyOf(1000 + i), value: Uint8Array.of(1) }],
    }),
  )
  const { misses } = engine.status().cache
  const applied = run([
    entry({ type: 'writes', session, floor: keys, writes: looks.slice(0, 30) }),
    entry({ type: 'writes', session, floor: keys, writes: looks.slice(30) }),
  ])
  const outcomes = applied.flatMap(one => (one.type === 'writes' ? one.writes.map(({ outcome }) => outcome.type) : []))
  expect(outcomes).toEqual(looks.map(() => 'committed'))
  // Each key lies on a leaf that may have to be read, and seldom twice.
  expect(engine.status().cache.misses - misses).toBeLessThan(2000)
})

it('a bug that shows itself behind a wait for pages is told to who applies, and ends no process', () => {
  const { apply, pages, entry, run } = machine()
  run([entry({ type: 'openSession', session })])
  for (let n = 0; n < keys; n++) {
    const ops = [{ type: 'put', key: keyOf(n), value: new Uint8Array(100) }] as const
    run([entry({ type: 'writes', session, floor: n, writes: [write(n, { ops })] })])
  }
  let serial = keys
  const checks = [{ key: keyOf(0), at: timestamp(2) }]
  const ranges = [{ from: keyOf(300), to: keyOf(301), at: timestamp(302), count: 1 }]
  for (const extra of [{ checks }, { ranges }]) {
    // Somebody who is told of it fails, too: as an assertion behind it would.
    const told = entry({ type: 'writes', session, floor: keys, writes: [write(serial++, extra)] })
    const errors: unknown[] = []
    let waited = 0
    const events = {
      stopped: () => errors.length > 0,
      onApplied: () => {
        throw new Error('a bug')
      },
      onStep: () => {},
      onEnd: () => {},
      onError: (error: unknown) => errors.push(error),
    }
    applyInOrder(apply, [told], events)
    for (; errors.length === 0 && waited < 1000; waited++) pages.settle(1)
    expect(waited).toBeGreaterThan(0)
    expect(errors).toMatchObject([{ message: 'a bug' }])
  }
})
