/**
 * The rules of prepared transactions, for whatever core stands below:
 *
 *  Z1  What is prepared is not seen, and nobody waits for it who reads. A commit does all of it with one version; a rollback leaves no trace.
 *  Z2  What it writes can be changed by nobody else until it is decided: that is a CONFLICT that is retryable and names it, and `transaction` tries again.
 *  Z3  At `serializable` what it has read stays, too: keys, absent ones and ranges. At the other levels only what it writes, and what it read `forUpdate`.
 *  Z4  `prepare` is refused as `commit` is, also where it has read what another one will write.
 *  Z5  The first decision counts, and may be repeated. Another one is a CONFLICT that is not retryable and says what became of it.
 *  Z6  Nobody's decision is needed for long: after `holdMs` it is rolled back.
 *  Z7  Ids are used once; unknown ones are VALIDATION.
 *  Z8  What is invalid is refused, and the transaction goes on; after `prepare` it has ended.
 *  Z9  A watch sees the commit once, and nothing before.
 */
import { afterEach, describe, expect, test } from 'vitest'
import type { Database, Isolation, OpenTransaction, Prepared, WatchBatch } from '../../src/database/types.ts'
import { freshDatabases } from './fresh-databases.ts'
import { codeOf, keysIn, numberOf } from './transaction-anomalies.ts'

const heldUp = { code: 'CONFLICT', retryable: true } as const
const tooLate = { code: 'CONFLICT', retryable: false } as const

export function preparedSuite(name: string, open: () => Promise<Database>): void {
  const { fresh, closeAll } = freshDatabases(open)

  /** One that reads and writes what it is told, prepared. */
  async function prepared(
    db: Database,
    body: (tx: OpenTransaction) => unknown,
    options: { id?: string; holdMs?: number; isolation?: Isolation } = {},
  ): Promise<Prepared> {
    const { isolation, ...as } = options
    const tx = await db.begin(isolation === undefined ? {} : { isolation })
    await body(tx)
    return tx.prepare(as)
  }

  describe(name, () => {
    afterEach(closeAll)

    test('Z1 what is prepared is seen when it is committed, all of it with one version', async () => {
      const db = await fresh({ a: 1, gone: true })
      const { id, holdMs } = await prepared(db, async tx => {
        tx.put('a', (await numberOf(tx, 'a')) + 1)
        tx.put(['b', 1], 'text')
        tx.delete('gone')
      })
      expect(holdMs).toBe(60_000)
      expect(await db.getMany(['a', ['b', 1], 'gone'])).toEqual([1, undefined, true])
      expect(await keysIn(db, 'b')).toEqual([])
      const { version } = await db.prepared.commit(id)
      expect(await db.getMany(['a', ['b', 1], 'gone'])).toEqual([2, 'text', undefined])
      const versions = await Promise.all(['a', ['b', 1]].map(async key => (await db.getEntry(key))?.version))
      expect(versions).toEqual([version, version])
      expect(version > (await db.put('before', 1)).version).toBe(false)
    })

    test('Z1 a rollback leaves no trace', async () => {
      const db = await fresh({ a: 1 })
      const { id } = await prepared(db, tx => tx.put('a', 2))
      await db.prepared.rollback(id)
      expect(await db.get('a')).toBe(1)
      await db.put('a', 3)
      expect(await db.prepared.list()).toEqual([])
      expect(db.status().transactions).toMatchObject({ active: 0, committed: 1, aborted: 0 })
    })

    test('Z2 nobody else changes what it writes until it is decided', async () => {
      const db = await fresh({ a: 1, b: 1 })
      const { id } = await prepared(db, tx => tx.put('a', 2), { id: 'mine' })
      const others: (() => Promise<unknown>)[] = [
        () => db.put('a', 9),
        () => db.delete('a'),
        () =>
          db.batch([
            { type: 'put', key: 'b', value: 9 },
            { type: 'put', key: 'a', value: 9 },
          ]),
        () => db.transaction(tx => tx.put('a', 9), { retries: 1 }),
        () => db.transaction(tx => tx.put('a', 9), { retries: 0, isolation: 'read-committed' }),
        () => prepared(db, tx => tx.put('a', 9)),
      ]
      for (const other of others) {
        await expect(other()).rejects.toMatchObject({ ...heldUp, message: expect.stringContaining('mine') })
      }
      expect(await db.getMany(['a', 'b'])).toEqual([1, 1])
      // What was read there is not changed: it is committed before.
      await db.transaction(async tx => tx.put('b', (await numberOf(tx, 'a')) + 1))
      expect(await db.get('b')).toBe(2)
      await db.prepared.commit(id)
      for (const other of others.slice(0, 4)) await other()
      expect(await db.getMany(['a', 'b'])).toEqual([9, 9])
    })

    test('Z2 a transaction is tried again until it is decided', async () => {
      const db = await fresh({ n: 1 })
      const { id } = await prepared(db, async tx => tx.put('n', (await numberOf(tx, 'n')) + 10))
      const adding = db.transaction(async tx => tx.put('n', (await numberOf(tx, 'n')) + 1), { retries: 1000 })
      await new Promise(resolve => setTimeout(resolve, 60))
      await db.prepared.commit(id)
      await adding
      expect(await db.get('n')).toBe(12)
      expect(db.status().transactions.retried).toBeGreaterThan(0)
    })

    test('Z3 pitfall 39: at serializable nobody changes what it has read, ranges and absent keys included', async () => {
      const db = await fresh({ read: 1 })
      await db.batch([1, 3, 5].map(i => ({ type: 'put', key: ['range', i], value: i })))
      const { id } = await prepared(db, async tx => {
        await tx.get('read')
        await tx.get('absent')
        await keysIn(tx, 'range')
        tx.put('written', 1)
      })
      for (const key of ['read', 'absent', ['range', 2], ['range', 3], 'written']) {
        await expect(db.put(key, 2), String(key)).rejects.toMatchObject(heldUp)
        await expect(db.delete(key), String(key)).rejects.toMatchObject(heldUp)
      }
      for (const key of ['rang', ['range'], 'rangf', 'elsewhere']) {
        if (Array.isArray(key)) await expect(db.put(key, 1)).rejects.toMatchObject(heldUp)
        else await db.put(key, 1)
      }
      await db.prepared.commit(id)
      for (const key of ['read', 'absent', ['range', 2]]) await db.put(key, 2)
    })

    test('Z3 the other levels keep what they write, and what was read forUpdate', async () => {
      for (const isolation of ['snapshot', 'read-committed'] as const) {
        const db = await fresh({ read: 1, locked: 1, written: 1 })
        const { id } = await prepared(
          db,
          async tx => {
            await tx.get('read')
            await tx.get('locked', { forUpdate: true })
            tx.put('written', 2)
          },
          { isolation },
        )
        await db.put('read', 2)
        await expect(db.put('locked', 2), isolation).rejects.toMatchObject(heldUp)
        await expect(db.put('written', 3), isolation).rejects.toMatchObject(heldUp)
        await db.prepared.commit(id)
        expect(await db.get('written')).toBe(2)
      }
    })

    test('Z3 pitfall 32: no write skew through prepared transactions', async () => {
      const takes = (one: string, other: string) => async (tx: OpenTransaction) => {
        const both = (await numberOf(tx, one)) + (await numberOf(tx, other))
        if (both === 2) tx.put(one, 0)
      }
      const db = await fresh({ x: 1, y: 1 })
      const [first, second] = [await db.begin(), await db.begin()]
      await takes('x', 'y')(first)
      await takes('y', 'x')(second)
      const { id } = await first.prepare()
      await expect(second.prepare()).rejects.toMatchObject(heldUp)
      const third = await db.begin()
      await takes('y', 'x')(third)
      await expect(third.commit()).rejects.toMatchObject(heldUp)
      await db.prepared.commit(id)
      expect(await db.getMany(['x', 'y'])).toEqual([0, 1])
    })

    test('Z4 a prepare that has read what another one will write is refused: it could not be done after it', async () => {
      const db = await fresh({ x: 1, w: 1 })
      const writer = await db.begin()
      writer.put('x', 2)
      const reader = await db.begin()
      reader.put('w', await numberOf(reader, 'x'))
      const scanner = await db.begin()
      scanner.put('w', (await keysIn(scanner, 'x')).length)
      const { id } = await writer.prepare()
      await expect(reader.prepare()).rejects.toMatchObject(heldUp)
      await expect(scanner.prepare()).rejects.toMatchObject(heldUp)
      await db.prepared.rollback(id)
      const { id: again } = await prepared(db, async tx => tx.put('w', await numberOf(tx, 'x')))
      const late = await db.begin()
      late.put('x', 3)
      await expect(late.prepare()).rejects.toMatchObject(heldUp)
      await db.prepared.commit(again)
    })

    test('Z4 a prepare is refused where a commit would be', async () => {
      const db = await fresh({ a: 1 })
      for (const isolation of ['serializable', 'snapshot'] as const) {
        const tx = await db.begin({ isolation })
        tx.put('a', (await numberOf(tx, 'a')) + 1)
        await db.put('a', 10)
        await expect(tx.prepare()).rejects.toMatchObject({ code: 'CONFLICT', retryable: true })
      }
      expect(await db.prepared.list()).toEqual([])
      await db.put('a', 11)
    })

    test('Z5 the first decision counts, and may be repeated', async () => {
      const db = await fresh({ a: 1 })
      const one = await prepared(db, tx => tx.put('a', 2), { id: 'one' })
      const first = await db.prepared.commit(one.id)
      await db.put('a', 3)
      expect(await db.prepared.commit('one')).toEqual(first)
      expect(await db.get('a')).toBe(3)
      const refused = db.prepared.rollback('one')
      await expect(refused).rejects.toMatchObject(tooLate)
      await prepared(db, tx => tx.put('a', 4), { id: 'two' })
      await db.prepared.rollback('two')
      await db.prepared.rollback('two')
      await expect(db.prepared.commit('two')).rejects.toMatchObject(tooLate)
      const racing = await prepared(db, tx => tx.put('a', 5))
      const ends = await Promise.all([codeOf(db.prepared.commit(racing.id)), codeOf(db.prepared.rollback(racing.id))])
      expect(ends.toSorted()).toEqual(['CONFLICT', 'done'])
      expect(await db.get('a')).toBe(ends[0] === 'done' ? 5 : 3)
    })

    test('Z6 when its time is over it is rolled back', async () => {
      const db = await fresh({ a: 1 })
      await prepared(db, tx => tx.put('a', 2), { id: 'short', holdMs: 150 })
      await prepared(db, tx => tx.put('b', 2), { id: 'long', holdMs: 60_000 })
      await expect(db.put('a', 3)).rejects.toMatchObject(heldUp)
      await db.transaction(tx => tx.put('a', 4), { retries: 1000, timeoutMs: 20_000 })
      await expect(db.prepared.commit('short')).rejects.toMatchObject(tooLate)
      await db.prepared.rollback('short')
      expect((await db.prepared.list()).map(({ id }) => id)).toEqual(['long'])
      expect(await db.get('a')).toBe(4)
    })

    test('Z7 an id is used once, and one that is not known is said to be so', async () => {
      const db = await fresh()
      const [one, two] = await Promise.all([1, 2].map(i => prepared(db, tx => tx.put(['k', i], i))))
      expect(one?.id).not.toBe(two?.id)
      await prepared(db, tx => tx.put('a', 1), { id: 'x' })
      await expect(prepared(db, tx => tx.put('b', 1), { id: 'x' })).rejects.toMatchObject({ code: 'EXISTS' })
      await db.prepared.rollback('x')
      await expect(prepared(db, tx => tx.put('b', 1), { id: 'x' })).rejects.toMatchObject({ code: 'EXISTS' })
      await expect(db.prepared.commit('y')).rejects.toMatchObject({ code: 'VALIDATION' })
      await expect(db.prepared.rollback('y')).rejects.toMatchObject({ code: 'VALIDATION' })
      await db.put('b', 2)
      const now = Date.now()
      const list = await db.prepared.list()
      expect(list.map(({ id }) => id).toSorted()).toEqual([one?.id, two?.id].toSorted())
      for (const { keys, holdMs, preparedAtMs } of list) {
        expect([keys, holdMs]).toEqual([1, 60_000])
        expect(Math.abs(now - preparedAtMs)).toBeLessThan(60_000)
      }
      await expect.poll(() => db.status().prepared).toMatchObject({ transactions: 2, keys: 2 })
    })

    test('Z8 what is invalid is refused, and the transaction goes on; afterwards it has ended', async () => {
      const db = await fresh({ a: 1 })
      const bad = <T>(value: T) => value as never
      await using tx = await db.begin()
      tx.put('a', 2)
      for (const options of [
        { id: '' },
        { id: 'x'.repeat(257) },
        { id: 1 },
        { holdMs: 0 },
        { holdMs: 24 * 3600_000 + 1 },
        { holdMs: '1' },
        { holdMs: Number.NaN },
      ])
        expect(await codeOf(tx.prepare(bad(options))), JSON.stringify(options)).toBe('VALIDATION')
      expect(await codeOf(tx.prepare(bad(1)))).toBe('VALIDATION')
      await tx.prepare({ id: '\ud800 "ä\u0000' })
      expect(await codeOf(tx.prepare())).toBe('VALIDATION')
      expect(await codeOf(tx.commit())).toBe('VALIDATION')
      expect(await codeOf(tx.get('a'))).toBe('VALIDATION')
      expect(() => tx.put('a', 3)).toThrowError(expect.objectContaining({ code: 'VALIDATION' }))
      await tx.rollback()
      await db.prepared.commit('\ud800 "ä\u0000')
      expect(await db.get('a')).toBe(2)
      for (const id of ['', 'x'.repeat(257), 1, undefined]) {
        expect(await codeOf(db.prepared.commit(bad(id)))).toBe('VALIDATION')
        expect(await codeOf(db.prepared.rollback(bad(id)))).toBe('VALIDATION')
      }
      expect(await codeOf(db.prepared.list(bad({ timeoutMs: 0 })))).toBe('VALIDATION')
      const aborted = new AbortController()
      aborted.abort('no')
      expect(await codeOf(db.prepared.commit('x', { signal: aborted.signal }))).toBe('ABORTED')
      expect(await codeOf((await db.begin({ readOnly: true })).prepare())).toBe('READ_ONLY')
      expect(await codeOf((await db.begin({ idempotencyKey: 'k' })).prepare())).toBe('VALIDATION')
      // Who writes nothing keeps what it has read.
      const { id } = await prepared(db, inner => numberOf(inner, 'a'))
      await expect(db.put('a', 3)).rejects.toMatchObject(heldUp)
      await db.prepared.commit(id)
      await db.put('a', 3)
      await db.close()
      expect(await codeOf(db.prepared.list())).toBe('CLOSED')
      expect(await codeOf(db.prepared.commit('x'))).toBe('CLOSED')
    })

    test('Z8 more than can be held is TOO_LARGE', { timeout: 120_000 }, async () => {
      const db = await fresh()
      for (let from = 0; from < 1024; from += 64) {
        const some = Array.from({ length: 64 }, (_, i) => prepared(db, tx => tx.put(['k', from + i], 1)))
        await Promise.all(some)
      }
      const more = prepared(db, tx => tx.put('more', 1))
      await expect(more).rejects.toMatchObject({ code: 'TOO_LARGE', retryable: true })
      const [first] = await db.prepared.list()
      await db.prepared.rollback(first!.id)
      await prepared(db, tx => tx.put('more', 1))
    })

    test('Z9 a watch sees the commit once, and nothing before', async () => {
      const db = await fresh({ a: 1 })
      const seen: WatchBatch[] = []
      const { version: since } = await db.put('start', 1)
      const watching = (async () => {
        for await (const batch of db.watch({ prefix: 'a' }, { since })) {
          seen.push(batch)
          if (seen.length === 2) return
        }
      })()
      const kept = await prepared(db, tx => tx.put('a', 2))
      const dropped = await prepared(db, tx => tx.put(['a', 1], 3))
      await db.prepared.rollback(dropped.id)
      const { version } = await db.prepared.commit(kept.id)
      await db.prepared.commit(kept.id)
      const last = await db.put('a', 4)
      await watching
      const told = seen.map(batch => [batch.version, batch.events.map(({ value }) => value)])
      expect(told).toEqual([
        [version, [2]],
        [last.version, [4]],
      ])
      const again: WatchBatch[] = []
      for await (const batch of db.watch({ prefix: 'a' }, { since })) {
        again.push(batch)
        if (again.length === 2) break
      }
      expect(again).toEqual(seen)
    })
  })
}
