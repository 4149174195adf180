/**
 * The rules of `watch`, for whatever core stands below (pitfall 28):
 *
 *  V1  Commits come in order, each once, whole, with the last write of each key; none is left out.
 *  V2  Only what is in the range, or is one of the keys.
 *  V3  It begins at the call, or after `since`, and what a batch tells can be read when it comes.
 *  V4  A slow watcher misses nothing, and one that ends lets go.
 *  V5  Invalid input, signals and closing end the iteration with a typed error.
 */
import { afterEach, describe, expect, test } from 'vitest'
import type { Database, WatchBatch } from '../../src/database/types.ts'
import { freshDatabases } from './fresh-databases.ts'
import { codeOf } from './transaction-anomalies.ts'

const tellsOf = ({ events }: WatchBatch): unknown[] =>
  events.map(event => (event.type === 'put' ? [event.key.join('/'), event.value] : [event.key.join('/')]))

async function take(watch: AsyncIterator<WatchBatch>, count: number): Promise<WatchBatch[]> {
  const batches: WatchBatch[] = []
  while (batches.length < count) {
    const { done, value } = await watch.next()
    if (done === true) throw new Error(`it ended after ${batches.length} batches`)
    batches.push(value)
  }
  return batches
}

export function watchSuite(name: string, open: () => Promise<Database>): void {
  const { fresh, closeAll } = freshDatabases(open)

  describe(name, () => {
    afterEach(closeAll)

    test('V1, V2 each commit is one batch, in order, with what is in the range', async () => {
      const db = await fresh()
      const watch = db.watch({ prefix: 'k' })
      const first = await db.put(['k', 1], 'a')
      await db.put(['other', 1], 'a')
      const second = await db.batch([
        { type: 'put', key: ['k', 2], value: 1 },
        { type: 'delete', key: ['k', 1] },
        { type: 'put', key: ['x'], value: 1 },
        { type: 'put', key: ['k', 2], value: 2 },
      ])
      const [a, b] = await take(watch, 2)
      expect(a).toEqual({
        version: first.version,
        resync: false,
        events: [{ type: 'put', key: ['k', 1], value: 'a', version: first.version }],
      })
      expect(b?.version).toBe(second.version)
      expect(b && tellsOf(b).sort()).toEqual([['k/1'], ['k/2', 2]].sort())
      await watch.return?.()
      expect(await watch.next()).toEqual({ done: true, value: undefined })
    })

    test('V2 a list of keys; what was refused is not told', async () => {
      const db = await fresh()
      await db.put('a', 0)
      const watch = db.watch(['a', ['b', 1]])
      await codeOf(db.put('a', 1, { ifVersion: null }))
      await db.put('ab', 1)
      await db.put(['b', 1, 2], 1)
      await db.put(['b', 1], 1)
      await db.transaction(async tx => tx.put('a', ((await tx.get<number>('a')) ?? 0) + 5))
      expect((await take(watch, 2)).map(tellsOf)).toEqual([[['b/1', 1]], [['a', 5]]])
      await watch.return?.()
    })

    test('V1, V3 writes of one turn are commits of their own, and a watch goes on behind any of them', async () => {
      const db = await fresh()
      const watch = db.watch({ prefix: 'k' })
      const put = (i: number) => db.put(['k', i % 2], i)
      const written = await Promise.all([put(0), put(1), put(2), put(3), put(4)])
      const versions = written.map(({ version }) => version)
      expect([...new Set(versions)].sort()).toEqual(versions)
      const told = (batches: WatchBatch[]) => batches.map(({ version, events }) => [version, events[0]?.value])
      const all = versions.map((version, i) => [version, i])
      expect(told(await take(watch, 5))).toEqual(all)
      for (const [i, since] of versions.slice(0, 4).entries()) {
        const later = db.watch({ prefix: 'k' }, { since })
        expect(told(await take(later, 4 - i))).toEqual(all.slice(i + 1))
        await later.return?.()
      }
      await watch.return?.()
    })

    test('V3 since: everything after that version, and what is told can be read', async () => {
      const db = await fresh()
      const versions: string[] = []
      for (let i = 0; i < 30; i++) versions.push((await db.put(['k', i % 3], i)).version)
      for (const from of [0, 10, 28]) {
        const watch = db.watch({ prefix: 'k' }, { since: versions[from]! })
        const batches = await take(watch, 29 - from)
        expect(batches.map(batch => [batch.version, batch.events[0]?.value])).toEqual(
          versions.slice(from + 1).map((version, i) => [version, from + 1 + i]),
        )
        await watch.return?.()
      }
      const watch = db.watch({ prefix: 'k' }, { since: versions[29]! })
      await db.put(['k', 9], 'new')
      const [batch] = await take(watch, 1)
      expect(await db.get(['k', 9], { consistency: 'local' })).toBe('new')
      expect(batch && tellsOf(batch)).toEqual([['k/9', 'new']])
      await watch.return?.()
    })

    test('V4 a slow watcher misses nothing', { timeout: 60_000 }, async () => {
      const db = await fresh()
      const slow = db.watch({ prefix: 'k' })
      const fast = db.watch({ prefix: 'k' })
      const seen: unknown[] = []
      const reading = (async () => {
        for await (const { events } of fast) {
          for (const event of events) seen.push(event.value)
          if (seen.at(-1) === 'end') break
        }
      })()
      const expected: unknown[] = []
      for (let i = 0; i < 400; i++) {
        const value = `${i}`.padEnd(i % 2 === 0 ? 40_000 : 10, '.')
        await db.put(['k', i % 7], value)
        expected.push(value)
      }
      await db.put(['k', 0], 'end')
      expected.push('end')
      await reading
      expect(seen).toEqual(expected)
      const late = await take(slow, 401)
      expect(late.map(({ events }) => events[0]?.value)).toEqual(expected)
      await slow.return?.()
    })

    test('V4 many watchers, each of its own', { timeout: 60_000 }, async () => {
      const db = await fresh()
      const watches = Array.from({ length: 300 }, (_, i) =>
        i % 2 === 0 ? db.watch({ prefix: ['k', i] }) : db.watch([['k', i]]),
      )
      const first = watches.map(watch => take(watch, 2))
      for (const round of [1, 2]) {
        await db.batch(Array.from({ length: 300 }, (_, i) => ({ type: 'put', key: ['k', i], value: [i, round] })))
      }
      for (const [i, batches] of (await Promise.all(first)).entries()) {
        expect(batches.map(tellsOf)).toEqual([[[`k/${i}`, [i, 1]]], [[`k/${i}`, [i, 2]]]])
      }
      for (const watch of watches) await watch.return?.()
    })

    test('V5 what is invalid rejects in the iteration', async () => {
      const db = await fresh()
      const bad = <T>(value: T) => value as never
      for (const [target, options, code] of [
        [[], {}, 'VALIDATION'],
        [[[]], {}, 'INVALID_KEY'],
        [Array.from({ length: 1001 }, (_, i) => i), {}, 'TOO_LARGE'],
        [7, {}, 'INVALID_KEY'],
        [{ prefix: 'k' }, { since: 1 }, 'VALIDATION'],
        [{ prefix: 'k' }, 'no options', 'VALIDATION'],
      ] as const) {
        expect(await codeOf(db.watch(bad(target), bad(options)).next()), JSON.stringify(options)).toBe(code)
      }
    })

    test('V5 a signal, a break and closing end it', async () => {
      const db = await fresh()
      const controller = new AbortController()
      const stopped = db.watch({ prefix: 'k' }, { signal: controller.signal })
      const waiting = codeOf(stopped.next())
      await db.put('elsewhere', 1)
      controller.abort('enough')
      expect(await waiting).toBe('ABORTED')
      const early = new AbortController()
      early.abort()
      expect(await codeOf(db.watch({ prefix: 'k' }, { signal: early.signal }).next())).toBe('ABORTED')
      await db.put(['k', 1], 0)
      const broken = db.watch({ prefix: 'k' })
      await db.put(['k', 1], 1)
      for await (const batch of broken) {
        expect(tellsOf(batch)).toEqual([['k/1', 1]])
        break
      }
      expect(await broken.next()).toEqual({ done: true, value: undefined })
      const returned = db.watch({ prefix: 'k' })
      const pending = returned.next()
      await db.put('elsewhere', 2)
      await returned.return?.()
      expect(await pending).toEqual({ done: true, value: undefined })
      const open = codeOf(db.watch({ prefix: 'k' }).next())
      await db.put('elsewhere', 3)
      await db.close()
      expect(await open).toBe('CLOSED')
      expect(() => db.watch({ prefix: 'k' })).toThrowError(expect.objectContaining({ code: 'CLOSED' }))
    })
  })
}
