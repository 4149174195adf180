/**
 * The rules of the `Database` interface, for one peer: whatever core stands below it (in memory for tests, a real peer in this
 * realm, one behind a worker boundary) keeps every one of them.
 *
 *  A1  What was put is read back, by get, getEntry, getMany and scan, until it is deleted.
 *  A2  Versions grow with every commit, as strings, and are those that the write returned.
 *  A3  `ifVersion` and `check` write only where they hold; otherwise CONFLICT, not retryable, and nothing is written.
 *  A4  A batch is all or nothing, in order.
 *  A5  A scan is in key order or its reverse, within its range, at most `limit`, and of one state however long it takes.
 *  A6  A cursor goes on behind the last entry handed out, at the same state; '' at the end; of another range: VALIDATION.
 *  A7  Keys and values come back as they were, and share no memory with what was passed.
 *  A8  What is invalid is refused with a typed error before anything is written, and by rejection.
 *  A9  A signal ends the waiting with ABORTED; its reason is the cause; a write that was under way says `maybeCommitted`.
 *  A10 After `close` everything is CLOSED; what was pending too; closing twice is closing once.
 *  A11 Two writes with one idempotency key are one.
 *  A12 Status, members and subscription agree; a subscriber is called at once, and again after a change, until it stops.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { isHarmonyError } from '../../src/base/errors.ts'
import type { ClusterStatus, Database, Key, Op, Scan } from '../../src/database/types.ts'
import { as, failure, refusals } from './database-refusals.ts'
import { freshDatabases } from './fresh-databases.ts'
import { scannedBytes } from './scanned-bytes.ts'

const keysOf = async (scan: Scan): Promise<unknown[]> => (await scan.toArray()).map(entry => entry.key)

export function databaseSuite(name: string, open: () => Promise<Database>): void {
  const { fresh, closeAll } = freshDatabases(open)
  const numbered = async (count: number) => {
    const db = await fresh()
    const ops: Op[] = Array.from({ length: count }, (_, i) => ({ type: 'put', key: ['n', i], value: i }))
    await db.batch(ops)
    return db
  }

  describe(name, () => {
    afterEach(closeAll)

    test('A1 what was put is read back until it is deleted', async () => {
      const db = await fresh()
      expect(await db.get(['stock', 'lamp'])).toBeUndefined()
      expect(await db.getEntry(['stock', 'lamp'])).toBeUndefined()
      await db.put(['stock', 'lamp'], 3)
      await db.put('bare', { a: [1] })
      expect(await db.get(['stock', 'lamp'])).toBe(3)
      expect(await db.get('bare')).toEqual({ a: [1] })
      expect(await db.get(['bare'])).toEqual({ a: [1] })
      expect(await db.getMany(['bare', 'missing', ['stock', 'lamp']])).toEqual([{ a: [1] }, undefined, 3])
      expect(await db.getMany([])).toEqual([])
      expect((await db.scan().toArray()).map(({ key, value }) => [key, value])).toEqual([
        [['bare'], { a: [1] }],
        [['stock', 'lamp'], 3],
      ])
      await db.put('bare', null)
      expect(await db.get('bare')).toBeNull()
      await db.delete('bare')
      await db.delete('never there')
      expect(await db.get('bare')).toBeUndefined()
      expect(await db.getEntry('bare')).toBeUndefined()
    })

    test('A1 every consistency reads what was just written here', async () => {
      const db = await fresh()
      await db.put('k', 1)
      for (const consistency of ['linearizable', 'bounded', 'session', 'local'] as const) {
        expect(await db.get('k', { consistency })).toBe(1)
      }
    })

    test('A2 versions grow and are those that the write returned', async () => {
      const db = await fresh()
      let last = ''
      for (let i = 0; i < 40; i++) {
        const { version } = await db.put('k', i)
        expect(version > last).toBe(true)
        expect((await db.getEntry('k'))?.version).toBe(version)
        last = version
      }
      const { version } = await db.delete('k')
      expect(version > last).toBe(true)
      const batch = await db.batch([
        { type: 'put', key: 'a', value: 1 },
        { type: 'put', key: 'b', value: 2 },
      ])
      expect((await db.scan().toArray()).map(entry => entry.version)).toEqual([batch.version, batch.version])
    })

    test('A3 ifVersion', async () => {
      const db = await fresh()
      const first = await db.put('k', 1, { ifVersion: null })
      expect(await failure(db.put('k', 2, { ifVersion: null }), 'CONFLICT')).toMatchObject({ retryable: false })
      const second = await db.put('k', 2, { ifVersion: first.version })
      await failure(db.put('k', 3, { ifVersion: first.version }), 'CONFLICT')
      for (const ifVersion of ['no version of ours', 'f'.repeat(14), `2${'0'.repeat(13)}`])
        await failure(db.put('k', 3, { ifVersion }), 'CONFLICT')
      await failure(db.delete('k', { ifVersion: first.version }), 'CONFLICT')
      await failure(db.delete('absent', { ifVersion: first.version }), 'CONFLICT')
      expect(await db.get('k')).toBe(2)
      await db.delete('k', { ifVersion: second.version })
      expect(await db.get('k')).toBeUndefined()
      await db.put('k', 4, { ifVersion: null })
      expect(await db.get('k')).toBe(4)
    })

    test('A3 the version of what a transaction has only written is that of no key, and of none that is absent', async () => {
      const db = await fresh()
      const tx = await db.begin()
      tx.put('k', 0)
      const { version } = (await tx.getEntry('k'))!
      await tx.rollback()
      await failure(db.put('k', 1, { ifVersion: version }), 'CONFLICT')
      await failure(db.batch([{ type: 'delete', key: 'a' }], { check: [{ key: 'k', version }] }), 'CONFLICT')
    })

    test('A3 of writers that race with ifVersion exactly one wins', async () => {
      const db = await fresh()
      const { version } = await db.put('seat', 'free')
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) => db.put('seat', `guest ${i}`, { ifVersion: version })),
      )
      const won = results.flatMap((result, i) => (result.status === 'fulfilled' ? [i] : []))
      expect(won).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'rejected') expect(isHarmonyError(result.reason, 'CONFLICT')).toBe(true)
      }
      expect(await db.get('seat')).toBe(`guest ${won[0]}`)
    })

    test('A4 a batch is all or nothing, in order', async () => {
      const db = await fresh()
      const { version } = await db.put('guard', 1)
      await db.batch(
        [
          { type: 'put', key: 'a', value: 1 },
          { type: 'put', key: 'b', value: 1 },
          { type: 'delete', key: 'a' },
          { type: 'put', key: 'b', value: 2 },
        ],
        {
          check: [
            { key: 'guard', version },
            { key: 'absent', version: null },
          ],
        },
      )
      expect(await db.getMany(['a', 'b'])).toEqual([undefined, 2])
      const ops: Op[] = [
        { type: 'put', key: 'c', value: 1 },
        { type: 'delete', key: 'b' },
      ]
      await failure(db.batch(ops, { check: [{ key: 'guard', version: null }] }), 'CONFLICT')
      await failure(db.batch([...ops, { type: 'put', key: 'd', value: () => 1 }]), 'INVALID_VALUE')
      expect(await db.getMany(['a', 'b', 'c', 'd'])).toEqual([undefined, 2, undefined, undefined])
    })

    test('A5 order, range, limit, reverse', async () => {
      const db = await fresh()
      const keys: Key[] = [
        Uint8Array.of(9),
        'a',
        ['a', 1],
        ['a', 2],
        ['a', 2, 'x'],
        ['a', 10],
        ['a', 3n],
        'b',
        -1,
        2,
        10,
        true,
      ]
      await db.batch(keys.toReversed().map(key => ({ type: 'put', key, value: 0 })))
      const tuples = keys.map(key => (Array.isArray(key) ? key : [key]))
      expect(await keysOf(db.scan())).toEqual(tuples)
      expect(await keysOf(db.scan({}, { reverse: true }))).toEqual(tuples.toReversed())
      expect(await keysOf(db.scan({ prefix: 'a' }))).toEqual(tuples.slice(1, 7))
      expect(await keysOf(db.scan({ prefix: ['a', 2] }))).toEqual(tuples.slice(3, 5))
      expect(await keysOf(db.scan({ prefix: 'a', start: ['a', 2], end: ['a', 10] }))).toEqual(tuples.slice(3, 5))
      expect(await keysOf(db.scan({ start: 'b', end: 10 }))).toEqual(tuples.slice(7, 10))
      expect(await keysOf(db.scan({ start: 'b' }, { limit: 2 }))).toEqual(tuples.slice(7, 9))
      expect(await keysOf(db.scan({ end: ['a', 2] }, { limit: 2, reverse: true }))).toEqual([['a', 1], ['a']])
      expect(await keysOf(db.scan({ start: 'z', end: 'a' }))).toEqual([])
      expect(await keysOf(db.scan({ prefix: 'nothing' }))).toEqual([])
      expect(await keysOf(db.scan({}, { limit: 0 }))).toEqual([])
      const bare = await db.scan({ prefix: 'b' }, { keysOnly: true }).toArray()
      expect(bare).toMatchObject([{ key: ['b'], value: undefined }])
    })

    test('A5 a scan shows one state, however long it takes', async () => {
      const db = await numbered(700)
      const seen: unknown[] = []
      for await (const { key, value } of db.scan({ prefix: 'n' })) {
        if (seen.length === 0 || seen.length === 300) {
          await db.batch([
            { type: 'delete', key: ['n', 600] },
            { type: 'put', key: ['n', 650], value: 'changed' },
            { type: 'put', key: ['n', 650.5], value: 'new' },
          ])
        }
        expect(key).toEqual(['n', value])
        seen.push(value)
      }
      expect(seen).toEqual(Array.from({ length: 700 }, (_, i) => i))
      expect(await db.get(['n', 650])).toBe('changed')
    })

    test('A5 scans of the same state do not disturb each other', async () => {
      const db = await numbered(600)
      const long = db.scan({ prefix: 'n' })[Symbol.asyncIterator]()
      await long.next()
      expect(await keysOf(db.scan({ prefix: 'n' }))).toHaveLength(600)
      expect(await keysOf(db.scan({ prefix: ['n', 1] }))).toHaveLength(1)
      let left = 0
      while ((await long.next()).done !== true) left++
      expect(left).toBe(599)
    })

    test('A6 pages by cursor', async () => {
      const db = await numbered(25)
      for (const reverse of [false, true]) {
        const seen: unknown[] = []
        let cursor = ''
        let pages = 0
        do {
          const scan = db.scan({ prefix: 'n' }, { limit: 10, reverse, cursor })
          for (const { value } of await scan.toArray()) seen.push(value)
          cursor = scan.cursor
          if (pages === 0) await db.put(['n', 12.5], 'new')
          pages++
        } while (cursor !== '')
        const expected = Array.from({ length: 25 }, (_, i) => i)
        expect(seen).toEqual(reverse ? expected.reverse() : expected)
        expect(pages).toBe(3)
        await db.delete(['n', 12.5])
      }
    })

    test('A6 after an early break the cursor stands behind the last entry handed out', async () => {
      const db = await numbered(600)
      const scan = db.scan({ prefix: 'n' })
      for await (const { value } of scan) if (value === 299) break
      expect(scan.cursor).not.toBe('')
      const rest = db.scan({ prefix: 'n' }, { cursor: scan.cursor })
      expect((await rest.toArray())[0]?.value).toBe(300)
      expect(rest.cursor).toBe('')
      expect(scan.cursor).toMatch(/^[A-Za-z0-9_-]+$/)
      const whole = db.scan({ prefix: 'n' })
      for await (const { value } of whole) if (value === 599) break
      expect(whole.cursor).toBe('')
      const exact = db.scan({ prefix: 'n' }, { limit: 600 })
      await exact.toArray()
      expect(exact.cursor).toBe('')
    })

    test('A6 a cursor of another range or direction, or none, is VALIDATION', async () => {
      const db = await numbered(10)
      const scan = db.scan({ prefix: 'n' }, { limit: 5 })
      await scan.toArray()
      const { cursor } = scan
      await failure(db.scan({ prefix: 'm' }, { cursor }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor, reverse: true }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor: `${cursor}AA` }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor: cursor.slice(0, -3) }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor: 'garbage!' }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor: 'A' }).toArray(), 'VALIDATION')
      await failure(db.scan({ prefix: 'n' }, { cursor: 7 as unknown as string }).toArray(), 'VALIDATION')
      expect(await keysOf(db.scan({ prefix: 'n' }, { cursor }))).toHaveLength(5)
    })

    test('A7 bytes that a scan gives together are the receiver’s', async () => scannedBytes(await fresh()))

    test('A7 pitfall 42: keys and values come back as they were', async () => {
      const db = await fresh()
      const key = [Uint8Array.of(0, 1, 255), '\ud800 lone, \u0000 zero', -0, 1n << 70n, false]
      const value = {
        none: undefined,
        numbers: [Number.NaN, -0, 0.1, 2 ** 53],
        big: -(1n << 80n),
        text: '\udfff',
        date: new Date(1),
        map: new Map<unknown, unknown>([[{ a: 1 }, new Set([null])]]),
        bytes: Uint8Array.of(1, 2),
        floats: Float64Array.of(1.5),
        ['__proto__']: { polluted: true },
      }
      await db.put(key, value)
      const entry = await db.getEntry(key)
      expect(entry?.key).toEqual([Uint8Array.of(0, 1, 255), '\ud800 lone, \u0000 zero', 0, 1n << 70n, false])
      expect(entry?.value).toStrictEqual(value)
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    })

    test('A7 no memory is shared with what was passed', async () => {
      const db = await fresh()
      const part = Uint8Array.of(1)
      const bytes = Uint8Array.of(1, 2, 3)
      const writing = db.put([part], bytes)
      part[0] = 9
      bytes[0] = 9
      await writing
      const read = await db.get<Uint8Array>([Uint8Array.of(1)])
      expect(read).toEqual(Uint8Array.of(1, 2, 3))
      read?.fill(7)
      expect(await db.get([Uint8Array.of(1)])).toEqual(Uint8Array.of(1, 2, 3))
      expect(bytes).toHaveLength(3)
    })

    test('A7 pitfall 42: a value of 10 MiB', async () => {
      const db = await fresh()
      const bytes = new Uint8Array(10 * 1024 * 1024).map((_, i) => i % 251)
      await db.put('large', bytes, { timeoutMs: 60_000 })
      const back = await db.get<Uint8Array>('large', { timeoutMs: 60_000 })
      expect(back?.length).toBe(bytes.length)
      expect(back?.every((byte, i) => byte === bytes[i])).toBe(true)
      await failure(db.put('larger', new Uint8Array(17 * 1024 * 1024)), 'TOO_LARGE')
    })

    describe('A8 pitfall 42: what is invalid is refused', () => {
      test.each(refusals)('%s', async (_, code, run) => {
        const db = await fresh()
        const error = await failure(run(db), code)
        expect(error.message.length).toBeGreaterThan(10)
        expect(await db.scan().toArray()).toEqual([])
      })

      test('a mistake is named by its place', async () => {
        const db = await fresh()
        expect((await failure(db.put(['a', as<string>(null)], 1), 'INVALID_KEY')).message).toContain('key[1]')
        expect((await failure(db.put('k', { a: [{ f: () => 1 }] }), 'INVALID_VALUE')).message).toContain('value.a[0].f')
        const ops: Op[] = [
          { type: 'delete', key: 'k' },
          { type: 'put', key: 'k', value: { f: () => 1 } },
        ]
        expect((await failure(db.batch(ops), 'INVALID_VALUE')).message).toContain('ops[1].value.f')
        expect((await failure(db.getMany(['a', ['b', as<string>(null)]]), 'INVALID_KEY')).message).toContain(
          'keys[1][1]',
        )
      })

      test('a recovery that is not confirmed, or of a peer that never had company; a member that is none', async () => {
        const { cluster } = await fresh()
        for (const options of [undefined, {}, { confirmDataLoss: false }, 'yes', { confirmDataLoss: true }]) {
          await failure(cluster.recover(as(options)), 'VALIDATION')
        }
        for (const id of [undefined, 1, '', 'x', 'f'.repeat(32)]) {
          await failure(cluster.promote(as(id)), 'VALIDATION')
          await failure(cluster.remove(as(id)), 'VALIDATION')
        }
      })

      test('methods that answer at once throw', async () => {
        const db = await fresh()
        expect(() => db.cluster.subscribe(as(1))).toThrow(expect.objectContaining({ code: 'VALIDATION' }))
        expect(() => db.cluster.partition(as(1))).toThrow(expect.objectContaining({ code: 'VALIDATION' }))
      })
    })

    test('A9 a signal that is aborted already', async () => {
      const db = await fresh()
      const reason = new Error('changed my mind')
      const signal = AbortSignal.abort(reason)
      for (const promise of [
        db.get('k', { signal }),
        db.getMany(['k'], { signal }),
        db.scan({}, { signal }).toArray(),
        db.put('k', 1, { signal }),
        db.delete('k', { signal }),
        db.batch([{ type: 'delete', key: 'k' }], { signal }),
      ]) {
        expect(await failure(promise, 'ABORTED')).toMatchObject({
          cause: reason,
          maybeCommitted: false,
          retryable: false,
        })
      }
      expect(await db.get('k')).toBeUndefined()
    })

    test('A9 a signal that is aborted while the call is under way', async () => {
      const db = await numbered(600)
      const controller = new AbortController()
      const { signal } = controller
      // What ends before is not touched by it.
      await db.get('k', { signal })
      await db.put('k', 1, { signal })
      const scanning = async () => {
        for await (const { value } of db.scan({ prefix: 'n' }, { signal })) if (value === 5) controller.abort('enough')
      }
      expect(await failure(scanning(), 'ABORTED')).toMatchObject({ cause: 'enough', maybeCommitted: false })
      const second = new AbortController()
      const pending = [db.get('k', { signal: second.signal }), db.put('k', 2, { signal: second.signal })]
      second.abort()
      expect(await failure(pending[0]!, 'ABORTED')).toMatchObject({ maybeCommitted: false })
      expect(await failure(pending[1]!, 'ABORTED')).toMatchObject({ maybeCommitted: true })
      expect([1, 2]).toContain(await db.get('k'))
    })

    test('A10 pitfall 42: use after close is CLOSED', async () => {
      const db = await numbered(600)
      const { cluster } = db
      const scan = db.scan({ prefix: 'n' })[Symbol.asyncIterator]()
      await scan.next()
      const pending = db.put('late', 1).then(
        () => 'committed',
        error => error.code as string,
      )
      const closing = db.close()
      await Promise.all([closing, db.close()])
      expect(['committed', 'CLOSED', 'COMMIT_UNKNOWN']).toContain(await pending)
      for (const promise of [
        db.get('k'),
        db.getEntry('k'),
        db.getMany([]),
        db.scan().toArray(),
        scan.next(),
        db.put('k', 1),
        db.delete('k'),
        db.batch([{ type: 'delete', key: 'k' }]),
        cluster.join({ room: 'r', secret: 'long enough' }),
        cluster.leave(),
        cluster.transferLeadership(),
        cluster.recover({ confirmDataLoss: true }),
        cluster.promote('a'.repeat(32)),
      ]) {
        expect(await failure(promise, 'CLOSED')).toMatchObject({ retryable: false, maybeCommitted: false })
      }
      for (const call of [
        () => db.status(),
        () => cluster.status(),
        () => cluster.members(),
        () => cluster.partition(true),
        () => cluster.subscribe(() => {}),
      ]) {
        expect(call).toThrow(expect.objectContaining({ code: 'CLOSED' }))
      }
      await db.close()
      await db[Symbol.asyncDispose]()
    })

    test('A11 two writes with one idempotency key are one', async () => {
      const db = await fresh()
      const first = await db.put('k', 1, { idempotencyKey: 'order 7' })
      await db.put('k', 2)
      const again = await db.put('k', 1, { idempotencyKey: 'order 7' })
      expect(again.version).toBe(first.version)
      expect(await db.get('k')).toBe(2)
    })

    test('leaving where there is no room does nothing', async () => {
      const db = await fresh()
      await db.put('k', 1)
      await db.cluster.leave()
      expect(await db.get('k')).toBe(1)
    })

    test('compact leaves the data as they are', async () => {
      const db = await fresh()
      for (let i = 0; i < 20; i++) await db.put(['k', i], 'x'.repeat(1000))
      for (let i = 0; i < 19; i++) await db.delete(['k', i])
      // What was only in the log until now comes into the file: it may become longer.
      for (const bytes of Object.values(await db.compact())) expect(bytes).toBeGreaterThanOrEqual(0)
      expect(await db.scan().toArray()).toMatchObject([{ key: ['k', 19], value: 'x'.repeat(1000) }])
    })

    test('A12 status, members and subscription agree', async () => {
      const db = await fresh()
      const seen: ClusterStatus[] = []
      const stop = db.cluster.subscribe(status => seen.push(status))
      expect(seen).toHaveLength(1)
      expect(seen[0]).toEqual(db.cluster.status())
      expect(db.cluster.status().self).toMatch(/^[0-9a-f]{32}$/)
      expect(
        db.cluster
          .members()
          .filter(member => member.self)
          .map(member => member.id),
      ).toEqual([seen[0]!.self])
      const before = db.cluster.status().appliedIndex
      await db.put('k', 1)
      await expect.poll(() => db.cluster.status().appliedIndex).toBeGreaterThan(before)
      await expect.poll(() => seen.length).toBeGreaterThan(1)
      await expect.poll(() => db.status().storage.keys).toBe(1)
      expect(seen.at(-1)).toEqual(db.cluster.status())
      stop()
      stop()
      const { length } = seen
      await db.put('k', 2)
      await expect.poll(() => db.cluster.status().appliedIndex).toBeGreaterThan(before + 1)
      expect(seen).toHaveLength(length)
      // What is handed out is the caller's own.
      db.cluster.status().health = 'left'
      expect(db.cluster.status().health).not.toBe('left')
    })
  })
}
