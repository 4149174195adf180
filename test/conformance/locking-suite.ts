/**
 * The rules of locks that transactions hold, for whatever core stands below:
 *
 *  Y1  What was read `forUpdate` nobody else locks until the transaction ends; who waited reads what was written meanwhile.
 *  Y2  `pessimistic`: reads lock shared (at `serializable`), writes exclusively; ranges meet the keys inside.
 *  Y3  A deadlock ends with DEADLOCK for one, who is named with its cycle; `transaction` tries again.
 *  Y4  No lock outlives its transaction, however it ends.
 *  Y5  Who locks nothing waits for nobody; a transaction that it overtook is refused, at any level.
 *  Y6  A transaction that waited goes on with the newest state where everything that it read is the same in it, else CONFLICT.
 *  Y7  Waiting ends with the transaction's time, or its signal.
 *  Y8  What is invalid is refused.
 */
import { afterEach, describe, expect, test } from 'vitest'
import type { Database, OpenTransaction, TransactionOptions } from '../../src/database/types.ts'
import { deadlockPolicies as policies } from '../../src/txn/lock-table.ts'
import { freshDatabases } from './fresh-databases.ts'
import { codeOf, levels, numberOf } from './transaction-anomalies.ts'

const forUpdate = { forUpdate: true } as const

export function lockingSuite(name: string, open: () => Promise<Database>): void {
  const { fresh, closeAll } = freshDatabases(open)
  const waitingIn = (db: Database, count: number) => expect.poll(() => db.status().locks.waiting).toBe(count)
  const nothingLocked = (db: Database) => expect.poll(() => db.status().locks.spans).toBe(0)

  describe(name, () => {
    afterEach(closeAll)

    test.each(levels)('Y1 who waited for a key reads what was written meanwhile: %s', async isolation => {
      const db = await fresh({ a: 1 })
      const first = await db.begin({ isolation })
      expect(await first.get('a', forUpdate)).toBe(1)
      let seen: unknown
      const second = db.transaction(
        async tx => {
          seen = await tx.get<number>('a', forUpdate)
          tx.put('a', (seen as number) + 1)
        },
        { isolation, retries: 0 },
      )
      await waitingIn(db, 1)
      first.put('a', 10)
      await first.commit()
      await second
      expect(seen).toBe(10)
      expect(await db.get('a')).toBe(11)
      await nothingLocked(db)
    })

    test.each(['getEntry', 'getMany', 'scan'] as const)('Y1 by %s', async how => {
      const db = await fresh({ a: 1, b: 2 })
      const read = async (tx: OpenTransaction): Promise<unknown> => {
        if (how === 'getEntry') return (await tx.getEntry('a', forUpdate))?.value
        if (how === 'getMany') return (await tx.getMany(['a', 'b'], forUpdate))[0]
        return (await tx.scan({}, forUpdate).toArray())[0]?.value
      }
      const [first, second] = [await db.begin(), await db.begin()]
      expect(await read(first)).toBe(1)
      const waiting = read(second)
      await waitingIn(db, 1)
      first.put('a', 5)
      await first.commit()
      expect(await waiting).toBe(5)
    })

    test('Y2 pessimistic reads go together, a write waits for them, and reads behind it wait for the write', async () => {
      const db = await fresh({ a: 1 })
      const begin = () => db.begin({ locking: 'pessimistic' })
      const [r1, r2, w, r3] = [await begin(), await begin(), await begin(), await begin()]
      expect(await r1.get('a')).toBe(1)
      expect(await r2.get('a')).toBe(1)
      w.put('a', 2)
      const written = w.commit()
      await waitingIn(db, 1)
      const late = r3.get('a')
      await waitingIn(db, 2)
      await r1.commit()
      await r2.rollback()
      await written
      expect(await late).toBe(2)
    })

    test('Y2 pitfall 39: a range that was read is locked: nobody who locks adds to it, and the empty part counts', async () => {
      const db = await fresh({ a: 1, c: 3 })
      const reader = await db.begin({ locking: 'pessimistic' })
      expect((await reader.scan({ start: 'a', end: 'd' }, { limit: 1 }).toArray()).map(({ value }) => value)).toEqual([
        1,
      ])
      const writer = db.transaction(tx => tx.put('b', 2), { locking: 'pessimistic', retries: 0 })
      await waitingIn(db, 1)
      await db.transaction(tx => tx.put('d', 4), { locking: 'pessimistic', retries: 0 })
      expect(await reader.scan({ start: 'a', end: 'd' }).toArray()).toHaveLength(2)
      await reader.commit()
      await writer
      expect(await db.scan().toArray()).toHaveLength(4)
    })

    test('Y3 a deadlock names its cycle, and only one of the two gives way', async () => {
      const db = await fresh({ a: 1, b: 2 })
      const [one, two] = [await db.begin(), await db.begin()]
      await one.get('a', forUpdate)
      await two.get('b', forUpdate)
      const waiting = one.get('b', forUpdate)
      await waitingIn(db, 1)
      const failed = two.get('a', forUpdate)
      await expect(failed).rejects.toMatchObject({
        code: 'DEADLOCK',
        retryable: true,
        message: expect.stringMatching(/transaction 2 of .*waited for transaction 1 of .*waited for transaction 2/),
      })
      expect(await waiting).toBe(2)
      one.put('a', 3)
      await one.commit()
      // The victim has nothing, and gets nothing more.
      expect(await codeOf(two.get('c', forUpdate))).toBe('DEADLOCK')
      await two.rollback()
      expect(db.status().locks.deadlocks).toBe(1)
      await nothingLocked(db)
    })

    test.each(policies)('Y3 opposite orders under %s: everybody gets through, and nothing is lost', async deadlocks => {
      const db = await fresh({ a: 100, b: 100 })
      const transfer = (from: string, to: string) =>
        db.transaction(
          async tx => {
            const had = await tx.get<number>(from, forUpdate)
            const has = await tx.get<number>(to, forUpdate)
            tx.put(from, had! - 1)
            tx.put(to, has! + 1)
          },
          { deadlocks, locking: 'pessimistic', timeoutMs: 60_000, retries: 1000 },
        )
      await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? transfer('a', 'b') : transfer('b', 'a'))))
      expect([await db.get('a'), await db.get('b')]).toEqual([100, 100])
      await nothingLocked(db)
      const { waited, deadlocks: cycles, wounds, deaths } = db.status().locks
      expect(waited).toBeGreaterThan(0)
      if (deadlocks !== 'detect') expect(cycles).toBe(0)
      if (deadlocks !== 'wound-wait') expect(wounds).toBe(0)
      if (deadlocks !== 'wait-die') expect(deaths).toBe(0)
    })

    test.each(policies)('Y3 a counter under %s loses no increment, and takes few attempts', async deadlocks => {
      const db = await fresh({ n: 0 })
      let attempts = 0
      const add = () =>
        db.transaction(
          async tx => {
            attempts++
            tx.put('n', (await tx.get<number>('n', forUpdate))! + 1)
          },
          { deadlocks, timeoutMs: 60_000, retries: 1000 },
        )
      await Promise.all(Array.from({ length: 50 }, add))
      expect(await db.get('n')).toBe(50)
      // Nobody who waits in line for one key is in anybody's way.
      if (deadlocks === 'detect') expect(attempts).toBe(50)
    })

    test('Y4 locks go with their transaction, however it ends', async () => {
      const db = await fresh({ a: 1 })
      const ends: [string, (tx: OpenTransaction, options: TransactionOptions) => Promise<unknown>][] = [
        ['commit', tx => tx.commit()],
        ['rollback', tx => tx.rollback()],
        ['abort', async tx => expect(() => tx.abort('enough')).toThrow()],
        ['dispose', tx => tx[Symbol.asyncDispose]() as Promise<void>],
        ['a bad write', async tx => expect(() => tx.put('b', undefined)).toThrow()],
        ['its time', () => new Promise(resolve => setTimeout(resolve, 60))],
      ]
      for (const [how, end] of ends) {
        const tx = await db.begin(how === 'its time' ? { timeoutMs: 40 } : {})
        await tx.get('a', forUpdate)
        await end(tx, {})
        if (how === 'a bad write') await tx.rollback()
        await nothingLocked(db)
      }
      const controller = new AbortController()
      const tx = await db.begin({ signal: controller.signal })
      await tx.get('a', forUpdate)
      controller.abort()
      await nothingLocked(db)
      await expect(
        db.transaction(async inner => {
          await inner.get('a', forUpdate)
          throw new Error('mine')
        }),
      ).rejects.toThrow('mine')
      await nothingLocked(db)
    })

    test.each(levels)('Y5 who locks nothing waits for nobody, and what it overtook is refused: %s', async isolation => {
      const db = await fresh({ a: 1 })
      const tx = await db.begin({ isolation })
      expect(await tx.get('a', forUpdate)).toBe(1)
      await db.put('a', 2)
      tx.put('b', 1)
      expect(await codeOf(tx.commit())).toBe('CONFLICT')
      let attempts = 0
      await db.transaction(
        async again => {
          const seen = await again.get<number>('a', forUpdate)
          if (attempts++ === 0) await db.put('a', 3)
          again.put('b', seen)
        },
        { isolation },
      )
      expect([attempts, await db.get('b')]).toEqual([2, 3])
    })

    test('Y6 what was read before the lock came is looked at again: unchanged it holds, changed it is CONFLICT', async () => {
      const db = await fresh({ a: 1, b: 2, c: 3 })
      for (const changed of ['none', 'a', 'd']) {
        const holder = await db.begin()
        await holder.get('b', forUpdate)
        const tx = await db.begin()
        expect(await tx.get('a')).toBe(1)
        expect(await tx.scan({ start: 'c' }).toArray()).toHaveLength(1)
        const waiting = tx.get('b', forUpdate)
        await waitingIn(db, 1)
        holder.put('b', changed)
        if (changed !== 'none') holder.put(changed, changed === 'a' ? 1 : 4)
        await holder.commit()
        if (changed === 'none') {
          expect(await waiting).toBe('none')
          tx.put('c', 4)
          await tx.commit()
        } else {
          await expect(waiting).rejects.toMatchObject({ code: 'CONFLICT', retryable: true })
          await tx.rollback()
        }
      }
    })

    test.each(['serializable', 'snapshot'] as const)(
      'Y6 what a scan read is looked at again, too: %s',
      async isolation => {
        const db = await fresh({ a: 1, b: 1 })
        const ways: readonly [TransactionOptions, (tx: OpenTransaction) => Promise<unknown>][] = [
          // It locks what it writes when it commits; or a key by hand.
          [{ isolation, locking: 'pessimistic' }, async () => {}],
          [{ isolation }, tx => tx.get('b', forUpdate)],
        ]
        for (const [options, lock] of ways) {
          const tx = await db.begin(options)
          const found = await tx.scan<number>({ start: 'a', end: 'b' }).toArray()
          await db.put('a', found[0]!.value + 10)
          const losing = async (): Promise<void> => {
            await lock(tx)
            tx.put('a', found[0]!.value + 1)
            await tx.commit()
          }
          expect(await codeOf(losing())).toBe('CONFLICT')
          await tx.rollback()
        }
        expect(await db.get('a')).toBe(21)
      },
    )

    test('Y6 a scan goes on in the state that it began in while others are waited for', async () => {
      const db = await fresh()
      const count = 1500
      const ops = Array.from({ length: count }, (_, i) => ({ type: 'put', key: ['k', i], value: i }) as const)
      await db.batch(ops)
      const holder = await db.begin()
      await holder.get('lock', forUpdate)
      let seen = 0
      const total = db.transaction(async tx => {
        seen = 0
        for await (const { value } of tx.scan<number>({ prefix: 'k' })) {
          if (seen++ === 10) await tx.get('lock', forUpdate)
          expect(value).toBe(seen - 1)
        }
        tx.put('total', seen)
      })
      await waitingIn(db, 1)
      holder.put('lock', 'mine')
      await holder.commit()
      await total
      expect(await numberOf(db, 'total')).toBe(count)
    })

    test('Y7 waiting ends with the time, or the signal; whoever waits behind goes on', async () => {
      const db = await fresh({ a: 1 })
      const holder = await db.begin()
      await holder.get('a', forUpdate)
      const late = db.transaction(tx => tx.get('a', forUpdate), { timeoutMs: 50 })
      expect(await codeOf(late)).toBe('TIMEOUT')
      const controller = new AbortController()
      const aborted = db.transaction(tx => tx.get('a', forUpdate), { signal: controller.signal })
      await waitingIn(db, 1)
      controller.abort()
      expect(await codeOf(aborted)).toBe('ABORTED')
      await waitingIn(db, 0)
      const one = await db.begin()
      const signal = new AbortController()
      const read = codeOf(one.get('a', { forUpdate: true, signal: signal.signal }))
      await waitingIn(db, 1)
      signal.abort()
      expect(await read).toBe('ABORTED')
      await one.rollback()
      await holder.commit()
      expect(await db.transaction(tx => tx.get('a', forUpdate))).toBe(1)
      await nothingLocked(db)
    })

    test('Y8 what is invalid is refused', async () => {
      const db = await fresh({ a: 1 })
      const as = <T>(value: unknown): T => value as T
      expect(await codeOf(db.get('a', as(forUpdate)))).toBe('VALIDATION')
      expect(await codeOf(db.scan({}, as(forUpdate)).toArray())).toBe('VALIDATION')
      expect(await codeOf(db.begin({ locking: as('hopeful') }))).toBe('VALIDATION')
      expect(await codeOf(db.begin({ deadlocks: as('ignore') }))).toBe('VALIDATION')
      await using tx = await db.begin()
      expect(await codeOf(tx.get('a', { forUpdate: as('yes') }))).toBe('VALIDATION')
      expect(await tx.get('a', { forUpdate: false })).toBe(1)
      await using reader = await db.begin({ readOnly: true, locking: 'pessimistic' })
      expect(await reader.get('a')).toBe(1)
      expect(await codeOf(reader.get('a', forUpdate))).toBe('READ_ONLY')
      expect(db.status().locks.spans).toBe(0)
    })
  })
}
