/**
 * The anomalies of transactions, one test for each at each isolation level: where it is forbidden it does not happen, where it is allowed it does. Names are those of
 * Berenson et al., "A critique of ANSI SQL isolation levels" (1995), and Adya, "Weak consistency" (1999).
 */
import { describe, expect, test } from 'vitest'
import { type ErrorCode, isHarmonyError } from '../../src/base/errors.ts'
import type { Database, Isolation, OpenTransaction, Reader, Transaction } from '../../src/database/types.ts'

export const levels: readonly Isolation[] = ['serializable', 'snapshot', 'read-committed']

export async function codeOf(promise: Promise<unknown>): Promise<ErrorCode | 'done'> {
  try {
    await promise
    return 'done'
  } catch (error) {
    if (isHarmonyError(error)) return error.code
    throw error
  }
}

export const numberOf = async (from: Reader, key: string): Promise<number> => (await from.get<number>(key)) ?? 0
export const keysIn = async (from: Reader, prefix: string, options = {}): Promise<unknown[]> =>
  (await from.scan({ prefix }, options).toArray()).map(({ key }) => key[1])

export function anomalies(fresh: (values?: Readonly<Record<string, unknown>>) => Promise<Database>): void {
  describe('X3, X4 pitfall 32: anomalies', () => {
    /** What happens to transactions that are begun, interleaved by hand, at each level. */
    const at = (
      title: string,
      forbiddenAt: readonly Isolation[],
      /** True: the anomaly happened. */
      run: (db: Database, begin: () => Promise<OpenTransaction>) => Promise<boolean>,
    ): void => {
      for (const isolation of levels) {
        const forbidden = forbiddenAt.includes(isolation)
        test(`${title}: ${isolation} ${forbidden ? 'forbids' : 'allows'} it`, async () => {
          const db = await fresh({ x: 0, y: 0 })
          expect(await run(db, () => db.begin({ isolation }))).toBe(!forbidden)
        })
      }
    }
    const committed = async (tx: OpenTransaction): Promise<boolean> => {
      const code = await codeOf(tx.commit())
      expect(['done', 'CONFLICT']).toContain(code)
      return code === 'done'
    }

    at('dirty write (G0)', levels, async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      for (const key of ['x', 'y']) {
        a.put(key, 1)
        b.put(key, 2)
      }
      await Promise.all([committed(a), committed(b)])
      return (await db.get('x')) !== (await db.get('y'))
    })

    at('dirty read', levels, async (_, begin) => {
      const [a, b] = [await begin(), await begin()]
      a.put('x', 1)
      await a.get('x')
      return (await b.get('x')) === 1
    })

    at('aborted read (G1a)', levels, async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      a.put('x', 1)
      const before = await b.get('x')
      await a.rollback()
      return before === 1 || (await b.get('x')) === 1 || (await db.get('x')) === 1
    })

    at('intermediate read (G1b)', levels, async (_, begin) => {
      const [a, b] = [await begin(), await begin()]
      a.put('x', 1)
      const before = await b.get('x')
      a.put('x', 2)
      await a.commit()
      return before === 1 || (await b.get('x')) === 1
    })

    at('circular information flow (G1c)', levels, async (_, begin) => {
      const [a, b] = [await begin(), await begin()]
      a.put('x', 1)
      b.put('y', 1)
      const seen = [await a.get('y'), await b.get('x')]
      const both = (await committed(a)) && (await committed(b))
      return both && seen[0] === 1 && seen[1] === 1
    })

    at('non-repeatable read', ['serializable', 'snapshot'], async (db, begin) => {
      const tx = await begin()
      const first = await tx.get('x')
      await db.put('x', 1)
      return (await tx.get('x')) !== first
    })

    at('lost update (P4)', ['serializable', 'snapshot'], async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      const [seenA, seenB] = [await numberOf(a, 'x'), await numberOf(b, 'x')]
      a.put('x', seenA + 1)
      b.put('x', seenB + 1)
      const done = [await committed(a), await committed(b)].filter(Boolean).length
      return done === 2 && (await db.get('x')) === 1
    })

    at('lost update of a key that is written blindly', ['snapshot'], async (db, begin) => {
      // Not an anomaly where nothing was read of it: at `serializable` both may commit, one after the other.
      const [a, b] = [await begin(), await begin()]
      await Promise.all([a.get('y'), b.get('y')])
      a.put('x', 1)
      b.put('x', 2)
      await committed(a)
      return (await committed(b)) && (await db.get('x')) === 2
    })

    at('read skew (G-single)', ['serializable', 'snapshot'], async (db, begin) => {
      const tx = await begin()
      const x = await tx.get('x')
      await db.batch([
        { type: 'put', key: 'x', value: 1 },
        { type: 'put', key: 'y', value: 1 },
      ])
      return x !== (await tx.get('y'))
    })

    at('write skew (G2-item)', ['serializable'], async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      const free = async (tx: Transaction): Promise<boolean> =>
        (await numberOf(tx, 'x')) + (await numberOf(tx, 'y')) === 0
      if (await free(a)) a.put('x', 1)
      if (await free(b)) b.put('y', 1)
      await committed(a)
      await committed(b)
      return (await numberOf(db, 'x')) + (await numberOf(db, 'y')) === 2
    })

    at('write skew through absent keys', ['serializable'], async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      if ((await a.get('p')) === undefined) a.put('q', 1)
      if ((await b.get('q')) === undefined) b.put('p', 1)
      await committed(a)
      await committed(b)
      return (await db.get('p')) === 1 && (await db.get('q')) === 1
    })

    at('pitfall 39: write skew through ranges (G2, phantom)', ['serializable'], async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      if ((await keysIn(a, 'seat')).length === 0) a.put(['seat', 1], 'a')
      if ((await keysIn(b, 'seat')).length === 0) b.put(['seat', 2], 'b')
      await committed(a)
      await committed(b)
      return (await keysIn(db, 'seat')).length === 2
    })

    at('phantom', ['serializable', 'snapshot'], async (db, begin) => {
      const tx = await begin()
      const before = await keysIn(tx, 'seat')
      await db.put(['seat', 1], 'somebody')
      return (await keysIn(tx, 'seat')).length !== before.length
    })

    at('a deletion that is not noticed in a range', ['serializable'], async (db, begin) => {
      await db.put(['seat', 1], 'somebody')
      const tx = await begin()
      tx.put('count', (await keysIn(tx, 'seat')).length)
      await db.delete(['seat', 1])
      return (await committed(tx)) && (await db.get('count')) === 1
    })

    at('a key that was deleted and put again is not the key that was read', ['serializable'], async (db, begin) => {
      const tx = await begin()
      tx.put('copy', await tx.get('x'))
      await db.delete('x')
      await db.put('x', 0)
      return committed(tx)
    })

    at('read-only anomaly (Fekete, O’Neil, O’Neil 2004)', ['serializable'], async (db, begin) => {
      // x: checking, y: savings. One deposits into savings, one withdraws with a fee if both are too low, one only reads.
      const [withdraw, deposit] = [await begin(), await begin()]
      const [x, y] = [await numberOf(withdraw, 'x'), await numberOf(withdraw, 'y')]
      deposit.put('y', (await numberOf(deposit, 'y')) + 20)
      await deposit.commit()
      const report = await begin()
      const seen = [await numberOf(report, 'x'), await numberOf(report, 'y')]
      await report.commit()
      withdraw.put('x', x - 10 - (x + y - 10 < 0 ? 1 : 0))
      const done = await committed(withdraw)
      return done && seen[1] === 20 && seen[0] === 0 && (await db.get('x')) === -11
    })

    at('long fork', ['serializable', 'snapshot'], async (db, begin) => {
      const [a, b] = [await begin(), await begin()]
      const yOfA = await numberOf(a, 'y')
      const xOfB = await numberOf(b, 'x')
      await db.put('x', 1)
      await db.put('y', 1)
      const xOfA = await numberOf(a, 'x')
      const yOfB = await numberOf(b, 'y')
      return xOfA === 1 && yOfA === 0 && yOfB === 1 && xOfB === 0
    })
  })
}
