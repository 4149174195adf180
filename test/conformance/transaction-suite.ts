/**
 * The rules of transactions and snapshots, for whatever core stands below:
 *
 *  X1  A transaction is all or nothing; what its function throws, or `abort`, ends it without a trace.
 *  X2  Its reads see its own writes, ranges too, and nobody else sees them before it commits.
 *  X3  It reads one state (at `read-committed`: what is committed at each read).
 *  X4  Each level forbids its anomalies, and does allow the others: a level that forbids more than it says costs conflicts.
 *  X5  `transaction` tries again after a conflict, and after nothing else; conflicts are `retryable`.
 *  X6  A transaction that has ended is VALIDATION; one that takes too long TIMEOUT; one whose signal fires ABORTED, at every step.
 *  X7  What is invalid or too large is refused with a typed error, and the transaction stays usable or ends without a trace.
 *  X8  A snapshot reads one state until it is closed.
 *  X9  One idempotency key, one execution.
 */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { ErrorCode } from '../../src/base/errors.ts'
import type { Database, OpenTransaction, Transaction } from '../../src/database/types.ts'
import { freshDatabases } from './fresh-databases.ts'
import { anomalies, codeOf, keysIn, levels, numberOf } from './transaction-anomalies.ts'

/** @param numRuns Of properties. */
export function transactionSuite(name: string, open: () => Promise<Database>, numRuns = 60): void {
  const { fresh, closeAll } = freshDatabases(open)

  describe(name, () => {
    afterEach(closeAll)

    test('X1 what is committed is there, all of it, with one version; the result is what the function returned', async () => {
      const db = await fresh({ a: 1, gone: true })
      const result = await db.transaction(async tx => {
        tx.put('b', (await numberOf(tx, 'a')) + 1)
        tx.put(['c', 1], 'text')
        tx.delete('gone')
        return 'result'
      })
      expect(result).toBe('result')
      const entries = await db.scan().toArray()
      expect(entries.map(({ key, value }) => [key, value])).toEqual([
        [['a'], 1],
        [['b'], 2],
        [['c', 1], 'text'],
      ])
      expect(entries[1]?.version).toBe(entries[2]?.version)
      const tx = await db.begin()
      tx.put('d', 1)
      const { version } = await tx.commit()
      expect((await db.getEntry('d'))?.version).toBe(version)
    })

    test('X1 what the function throws comes out as it is, abort as ABORTED, and nothing is written', async () => {
      const db = await fresh({ a: 1 })
      const mine = new RangeError('mine')
      for (const fail of [
        () => {
          throw mine
        },
        async () => {
          await Promise.resolve()
          throw mine
        },
      ]) {
        const failing = db.transaction(tx => {
          tx.put('a', 2)
          return fail()
        })
        await expect(failing).rejects.toBe(mine)
      }
      const aborted = db.transaction(async tx => {
        tx.put('a', 3)
        await tx.get('a')
        tx.abort('sold out')
      })
      await expect(aborted).rejects.toMatchObject({ code: 'ABORTED', cause: 'sold out', maybeCommitted: false })
      await using tx = await db.begin()
      tx.put('a', 4)
      await tx.rollback()
      expect(await db.get('a')).toBe(1)
    })

    test('X2 its own writes are seen by it and by nobody else', async () => {
      const db = await fresh({ a: 1, b: 1 })
      for (const isolation of levels) {
        await using tx = await db.begin({ isolation })
        const value = { list: [1] }
        tx.put('a', value)
        value.list.push(2)
        tx.delete('b')
        tx.put('new', 5)
        expect(await tx.get('a')).toEqual({ list: [1] })
        expect(await tx.get('b')).toBeUndefined()
        expect(await tx.getEntry('new')).toEqual({ key: ['new'], value: 5, version: '0'.repeat(14) })
        expect(await tx.getMany(['new', 'b', 'none', 'a'])).toEqual([5, undefined, undefined, { list: [1] }])
        expect(await db.getMany(['a', 'b', 'new'])).toEqual([1, 1, undefined])
        tx.put('b', 7)
        expect(await tx.get('b')).toBe(7)
      }
      expect(await db.getMany(['a', 'b', 'new'])).toEqual([1, 1, undefined])
    })

    test('X2 ranges have its own writes in their places, in pages, limits and both directions', {
      timeout: 60_000,
    }, async () => {
      const key = fc.nat({ max: 60 })
      const change = fc.record({ key, remove: fc.boolean() })
      const property = fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 40 }),
        fc.array(change, { maxLength: 40 }),
        fc.record({ limit: fc.option(fc.integer({ min: 1, max: 30 })), reverse: fc.boolean(), start: key, end: key }),
        async (stored, changes, { limit, reverse, start, end }) => {
          const db = await open()
          const model = new Map<number, string>()
          for (const k of stored) model.set(k, 'old')
          if (stored.length > 0) await db.batch(stored.map(k => ({ type: 'put', key: ['k', k], value: 'old' })))
          const tx = await db.begin()
          for (const { key: k, remove } of changes) {
            if (remove) {
              tx.delete(['k', k])
              model.delete(k)
            } else {
              tx.put(['k', k], 'new')
              model.set(k, 'new')
            }
          }
          const wanted = [...model]
            .filter(([k]) => k >= start && k < end)
            .sort(([a], [b]) => (reverse ? b - a : a - b))
            .slice(0, limit ?? undefined)
          const range = { start: ['k', start], end: ['k', end] }
          const options = { reverse, ...(limit === null ? {} : { limit }) }
          const found = await tx.scan(range, options).toArray()
          expect(found.map(entry => [entry.key[1], entry.value])).toEqual(wanted)
          const bare = await tx.scan(range, { ...options, keysOnly: true }).toArray()
          expect(bare.map(entry => [entry.key[1], entry.value])).toEqual(wanted.map(([k]) => [k, undefined]))
          // In pieces, by cursors.
          const pieces: unknown[] = []
          let cursor = ''
          do {
            const scan = tx.scan(range, { reverse, limit: 7, cursor })
            for await (const entry of scan) pieces.push(entry.key[1])
            cursor = scan.cursor
          } while (cursor !== '')
          const whole = [...model.keys()].filter(k => k >= start && k < end).sort((a, b) => (reverse ? b - a : a - b))
          expect(pieces).toEqual(whole)
          await tx.commit()
          expect((await db.scan().toArray()).map(entry => [entry.key[1], entry.value])).toEqual(
            [...model].sort(([a], [b]) => a - b),
          )
          await db.close()
        },
      )
      await fc.assert(property, { numRuns })
    })

    test('X2 a page of which everything was deleted here leads to the next', async () => {
      const db = await fresh()
      await db.batch(Array.from({ length: 1200 }, (_, i) => ({ type: 'put', key: ['k', i], value: i })))
      await using tx = await db.begin()
      for (let i = 10; i < 1100; i++) tx.delete(['k', i])
      expect(await keysIn(tx, 'k')).toEqual([...Array(10).keys(), ...Array.from({ length: 100 }, (_, i) => 1100 + i)])
      expect(await keysIn(tx, 'k', { reverse: true, limit: 102 })).toEqual([
        ...Array.from({ length: 100 }, (_, i) => 1199 - i),
        9,
        8,
      ])
    })

    anomalies(fresh)

    test('X4 what does not conflict commits: other keys, other ranges, a limit that was not reached', async () => {
      const db = await fresh({ a: 1, b: 1 })
      await db.batch(Array.from({ length: 20 }, (_, i) => ({ type: 'put', key: ['k', i], value: i })))
      const tx = await db.begin()
      await tx.get('a')
      expect(await keysIn(tx, 'k', { limit: 5 })).toEqual([0, 1, 2, 3, 4])
      expect(await keysIn(tx, 'k', { limit: 3, reverse: true })).toEqual([19, 18, 17])
      tx.put('sum', 10)
      await db.put('b', 2)
      await db.put(['k', 10], 'changed')
      await db.delete(['k', 11])
      await db.put(['l', 1], 1)
      expect(await codeOf(tx.commit())).toBe('done')
      for (const touched of [4, 17]) {
        const other = await db.begin()
        await keysIn(other, 'k', { limit: 5 })
        await keysIn(other, 'k', { limit: 3, reverse: true })
        other.put('sum', 1)
        await db.put(['k', touched], 'changed')
        expect(await codeOf(other.commit())).toBe('CONFLICT')
      }
    })

    test('X4 ranges of many pages and keys are checked to their ends', { timeout: 60_000 }, async () => {
      const db = await fresh()
      await db.batch(Array.from({ length: 3000 }, (_, i) => ({ type: 'put', key: ['k', i], value: i })))
      const attempt = async (disturb: () => Promise<unknown>): Promise<ErrorCode | 'done'> => {
        const tx = await db.begin()
        expect((await keysIn(tx, 'k')).length).toBeGreaterThanOrEqual(3000)
        expect(await tx.getMany(Array.from({ length: 500 }, (_, i) => ['k', i * 6]))).toHaveLength(500)
        tx.put('sum', 1)
        await disturb()
        return codeOf(tx.commit())
      }
      expect(await attempt(async () => {})).toBe('done')
      expect(await attempt(() => db.put('elsewhere', 1))).toBe('done')
      for (const i of [0, 255, 256, 1500, 2999]) {
        expect(await attempt(() => db.put(['k', i], 'new')), `put ${i}`).toBe('CONFLICT')
        await db.put(['k', i], i)
      }
      expect(await attempt(() => db.put(['k', 3000], 'new'))).toBe('CONFLICT')
      expect(await attempt(() => db.delete(['k', 3000]))).toBe('CONFLICT')
    })

    test('X4 concurrent increments lose nothing at serializable and snapshot', { timeout: 60_000 }, async () => {
      for (const isolation of ['serializable', 'snapshot'] as const) {
        const db = await fresh({ n: 0 })
        const add = () =>
          db.transaction(async tx => tx.put('n', (await numberOf(tx, 'n')) + 1), {
            isolation,
            retries: 500,
            timeoutMs: 60_000,
          })
        await Promise.all(Array.from({ length: 30 }, add))
        expect(await db.get('n')).toBe(30)
      }
    })

    test('X5 it is tried again after a conflict, as often as is said', async () => {
      const db = await fresh({ n: 0 })
      let runs = 0
      const disturbed = (times: number, retries: number) =>
        db.transaction(
          async tx => {
            runs++
            const n = await numberOf(tx, 'n')
            if (runs <= times) await db.put('n', n + 100)
            tx.put('n', n + 1)
            return n
          },
          { retries },
        )
      expect(await disturbed(2, 5)).toBe(200)
      expect(runs).toBe(3)
      runs = 0
      await expect(disturbed(9, 2)).rejects.toMatchObject({ code: 'CONFLICT', retryable: true })
      expect(runs).toBe(3)
      runs = 0
      const failing = db.transaction(() => {
        runs++
        return db.put('n', 1, { ifVersion: null })
      })
      await expect(failing).rejects.toMatchObject({ code: 'CONFLICT', retryable: false })
      expect(runs).toBe(1)
    })

    test('X6 what has ended cannot be used', async () => {
      const db = await fresh({ a: 1 })
      const ends: ((tx: OpenTransaction) => Promise<unknown>)[] = [tx => tx.commit(), tx => tx.rollback()]
      for (const end of ends) {
        const tx = await db.begin()
        await tx.get('a')
        await end(tx)
        expect(await codeOf(tx.get('a'))).toBe('VALIDATION')
        expect(await codeOf(tx.scan().toArray())).toBe('VALIDATION')
        expect(() => tx.put('a', 2)).toThrowError(expect.objectContaining({ code: 'VALIDATION' }))
        expect(await codeOf(tx.commit())).toBe('VALIDATION')
        expect(await codeOf(tx.rollback())).toBe('done')
      }
      const twice = await db.begin()
      twice.put('a', ((await twice.get<number>('a')) ?? 0) + 0)
      const [first, second] = [codeOf(twice.commit()), codeOf(twice.commit())]
      expect(() => twice.put('a', 9)).toThrowError(expect.objectContaining({ code: 'VALIDATION' }))
      await twice.rollback()
      expect([await first, await second]).toEqual(['done', 'VALIDATION'])
      let kept: Transaction | undefined
      await db.transaction(tx => {
        kept = tx
      })
      expect(await codeOf(kept!.get('a'))).toBe('VALIDATION')
      expect(await db.get('a')).toBe(1)
    })

    test('X6 nothing is read any more once it is being committed, and what was asked for before is answered', async () => {
      const db = await fresh({ a: 1, b: 2 })
      const tx = await db.begin()
      expect(await tx.get('a')).toBe(1)
      const before = tx.getMany(['b', 'c'])
      tx.put('a', 3)
      const committing = tx.commit()
      const [get, scan] = [codeOf(tx.get('a')), codeOf(tx.scan().toArray())]
      expect([await get, await scan]).toEqual(['VALIDATION', 'VALIDATION'])
      await committing
      expect(await before).toEqual([2, undefined])
      expect(await db.get('a')).toBe(3)
    })

    test('X6 a function that never ends is TIMEOUT, and its transaction writes nothing', async () => {
      const db = await fresh({ a: 1 })
      let late: Transaction | undefined
      const hanging = db.transaction(
        tx => {
          late = tx
          tx.put('a', 2)
          return new Promise(() => {})
        },
        { timeoutMs: 60 },
      )
      await expect(hanging).rejects.toMatchObject({ code: 'TIMEOUT', retryable: true, maybeCommitted: false })
      expect(() => late!.put('a', 3)).toThrowError(expect.objectContaining({ code: 'TIMEOUT' }))
      const tx = await db.begin({ timeoutMs: 40 })
      tx.put('a', 4)
      await new Promise(resolve => setTimeout(resolve, 120))
      expect(await codeOf(tx.commit())).toBe('TIMEOUT')
      expect(await db.get('a')).toBe(1)
    })

    test('X6 a signal ends it at every step', async () => {
      const db = await fresh({ a: 1 })
      const before = new AbortController()
      before.abort('early')
      expect(await codeOf(db.transaction(() => 1, { signal: before.signal }))).toBe('ABORTED')
      expect(await codeOf(db.begin({ signal: before.signal }))).toBe('ABORTED')
      for (const step of [0, 1, 2]) {
        const controller = new AbortController()
        let runs = 0
        const stopped = db.transaction(
          async tx => {
            runs++
            if (step === 0) controller.abort('stop')
            await tx.get('a')
            tx.put('a', 2)
            if (step === 1) controller.abort('stop')
            await tx.get('a')
            if (step === 2) {
              controller.abort('stop')
              await new Promise(() => {})
            }
          },
          { signal: controller.signal },
        )
        await expect(stopped, `step ${step}`).rejects.toMatchObject({
          code: 'ABORTED',
          cause: 'stop',
          maybeCommitted: false,
        })
        expect(runs).toBe(1)
      }
      expect(await db.get('a')).toBe(1)
    })

    test('X7 invalid input is refused, and what was right stays', async () => {
      const db = await fresh({ a: 1 })
      const bad = <T>(value: T) => value as never
      expect(await codeOf(db.transaction(bad('no function')))).toBe('VALIDATION')
      for (const options of [
        { isolation: 'chaos' },
        { retries: -1 },
        { retries: 1.5 },
        { timeoutMs: 0 },
        { readOnly: 'yes' },
        { idempotencyKey: '' },
        { signal: 1 },
      ]) {
        expect(await codeOf(db.begin(bad(options))), JSON.stringify(options)).toBe('VALIDATION')
        expect(await codeOf(db.transaction(() => 1, bad(options))), JSON.stringify(options)).toBe('VALIDATION')
      }
      await using tx = await db.begin()
      expect(() => tx.put([], 1)).toThrowError(expect.objectContaining({ code: 'INVALID_KEY' }))
      expect(() => tx.put('a', () => 1)).toThrowError(expect.objectContaining({ code: 'INVALID_VALUE' }))
      expect(await codeOf(tx.get('a', { consistency: 'local' }))).toBe('VALIDATION')
      expect(await codeOf(tx.getMany(bad('a')))).toBe('VALIDATION')
      const whole = db.scan(undefined, { limit: 1 })
      await whole.toArray()
      if (whole.cursor !== '')
        expect(await codeOf(tx.scan(undefined, { cursor: whole.cursor }).toArray())).toBe('VALIDATION')
      tx.put('a', 2)
      await tx.commit()
      expect(await db.get('a')).toBe(2)
    })

    test('X7 read-only transactions write nothing', async () => {
      const db = await fresh({ a: 1 })
      const refused = db.transaction(tx => tx.put('a', 2), { readOnly: true })
      await expect(refused).rejects.toMatchObject({ code: 'READ_ONLY' })
      const seen = await db.transaction(async tx => [await tx.get('a'), await keysIn(tx, 'a')], { readOnly: true })
      expect(seen[0]).toBe(1)
    })

    test('X7 pitfall 42: too many keys and too many bytes are TOO_LARGE', { timeout: 60_000 }, async () => {
      const db = await fresh()
      const many = db.transaction(tx => {
        for (let i = 0; i <= 10_000; i++) tx.put(['k', i], i)
      })
      expect(await codeOf(many)).toBe('TOO_LARGE')
      const large = new Uint8Array(4 * 1024 * 1024)
      const heavy = db.transaction(tx => {
        for (let i = 0; i < 6; i++) tx.put(['k', i], large)
      })
      expect(await codeOf(heavy)).toBe('TOO_LARGE')
      const reading = db.transaction(async tx => {
        for (let i = 0; i < 3; i++) await tx.getMany(Array.from({ length: 5000 }, (_, n) => ['r', i, n]))
        tx.put('a', 1)
      })
      expect(await codeOf(reading)).toBe('TOO_LARGE')
      expect(await db.scan().toArray()).toEqual([])
    })

    test('X8 a snapshot is one state until it is closed', async () => {
      const db = await fresh({ a: 1, b: 1 })
      const snapshot = await db.snapshot()
      const entry = await db.getEntry('b')
      expect(snapshot.version >= entry!.version).toBe(true)
      const { version } = await db.put('a', 2)
      expect(version > snapshot.version).toBe(true)
      await db.delete('b')
      await db.put('c', 3)
      expect(await snapshot.get('a')).toBe(1)
      expect(await snapshot.getEntry('b')).toEqual(entry)
      expect(await snapshot.getMany(['a', 'b', 'c'])).toEqual([1, 1, undefined])
      expect((await snapshot.scan().toArray()).map(({ key }) => key[0])).toEqual(['a', 'b'])
      expect(await codeOf(snapshot.get('a', { consistency: 'local' }))).toBe('VALIDATION')
      await snapshot.close()
      await snapshot.close()
      expect(await codeOf(snapshot.get('a'))).toBe('CLOSED')
      expect(await codeOf(snapshot.scan().toArray())).toBe('CLOSED')
      await using again = await db.snapshot({ consistency: 'local' })
      expect(await again.get('a')).toBe(2)
    })

    test('X9 one idempotency key, one execution', async () => {
      const db = await fresh({ n: 0 })
      const add = () =>
        db.transaction(async tx => tx.put('n', (await numberOf(tx, 'n')) + 1), { idempotencyKey: 'only once' })
      await add()
      await add()
      expect(await db.get('n')).toBe(1)
    })

    test('after close everything is CLOSED', async () => {
      const db = await fresh({ a: 1 })
      const [tx, snapshot] = [await db.begin(), await db.snapshot()]
      await tx.get('a')
      await db.close()
      expect(await codeOf(tx.get('a'))).toBe('CLOSED')
      expect(await codeOf(snapshot.get('a'))).toBe('CLOSED')
      expect(await codeOf(db.transaction(() => 1))).toBe('CLOSED')
      expect(await codeOf(db.begin())).toBe('CLOSED')
      expect(await codeOf(db.snapshot())).toBe('CLOSED')
    })
  })
}
