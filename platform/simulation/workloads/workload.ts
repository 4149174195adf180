/**
 * What the clients of a run of transactions do, and which checker of `platform/histories` judges what they saw. A workload is made anew for each run; what it
 * draws comes from the run's own numbers.
 */
import type { SeededRandom } from '../../../src/base/random.ts'
import {
  type Database,
  type Isolation,
  isHarmonyError,
  type Reader,
  type Transaction,
  type TransactionOptions,
} from '../../../src/index.ts'
import type { CheckOptions } from '../../histories/check.ts'
import type { Fields } from '../../histories/recorder.ts'

/** One call of a client, drawn before it begins. */
export interface Step {
  readonly invoke: Fields
  /** What it answered. Rejects with what the database said, or with `GivenUp`. */
  run(db: Database): Promise<Fields>
  /** For a call whose outcome nobody knows: what it would have done. */
  unknown?(): Fields
}

export interface Workload {
  readonly check: CheckOptions
  /** What the checker calls forbidden and this level allows: findings are anomalies, and not broken promises. */
  readonly allowsAll: boolean
  setup(db: Database): Promise<void>
  step(): Step
  /** Reads everything; the same at every peer in the end. */
  last(): Step
  /** After the last reads: a promise that the checker does not look at, broken. */
  broken?(): string | undefined
}

export type DeadlockPolicy = NonNullable<TransactionOptions['deadlocks']>
export const deadlockPolicies: readonly DeadlockPolicy[] = ['detect', 'wound-wait', 'wait-die']

/** What all transactions of a run have in common, and the numbers that the rest is drawn from. */
export interface Style {
  readonly random: SeededRandom
  readonly isolation: Isolation
  /** Undefined: each transaction has its own. */
  readonly deadlocks: DeadlockPolicy | undefined
  /** Many are prepared first (`preparing`). */
  readonly prepares: boolean
}

/** A client's own code threw: nothing may be written. */
export class GivenUp extends Error {}

const timeoutMs = 6000

function lockingOf({ random, deadlocks = random.pick(deadlockPolicies) }: Style): TransactionOptions {
  return random.chance(0.3) ? { locking: 'pessimistic', deadlocks } : { deadlocks }
}

/** Draws how a transaction is made, and makes it: by a function or by hand, some given up after their writes. The function may be called several times. */
export function transact<T>(style: Style, body: (tx: Transaction) => Promise<T>): (db: Database) => Promise<T> {
  const { random, isolation } = style
  const isByHand = random.chance(0.1)
  const isGivenUp = random.chance(0.06)
  const options: TransactionOptions = { isolation, timeoutMs, retries: random.pick([0, 3, 30]), ...lockingOf(style) }
  const whole = async (tx: Transaction): Promise<T> => {
    const result = await body(tx)
    if (isGivenUp) throw new GivenUp()
    return result
  }
  if (style.prepares && random.chance(0.6)) return preparing(style, whole, options)
  if (!isByHand) return db => db.transaction(whole, options)
  return async db => {
    const tx = await db.begin(options)
    try {
      const result = await whole(tx)
      await tx.commit()
      return result
    } finally {
      await tx.rollback()
    }
  }
}

/**
 * As by hand, but prepared first; what becomes of it is drawn, too: most are committed, at once or after a look around, some are given up, some left to the end of their time. Now
 * and then a client gives up what others have prepared, as somebody does who comes after one that died.
 */
function preparing<T>(
  { random }: Style,
  whole: (tx: Transaction) => Promise<T>,
  options: TransactionOptions,
): (db: Database) => Promise<T> {
  // Less than a leader's tick, about as long as a commit takes under faults, and longer than those are.
  const holdMs = random.pick([1, 60, 500, 5000, 5000])
  const end = random.pick(['commit', 'commit', 'commit', 'commit', 'late', 'late', 'rollback', 'leave'] as const)
  const meddles = random.chance(0.1)
  return async db => {
    if (meddles) await meddle(db)
    const tx = await db.begin(options)
    try {
      const result = await whole(tx)
      const { id } = await tx.prepare({ holdMs })
      if (end === 'leave') throw new GivenUp()
      if (end === 'rollback') {
        await db.prepared.rollback(id, { timeoutMs })
        throw new GivenUp()
      }
      if (end === 'late') for (let looks = 0; looks < 4; looks++) await db.prepared.list({ timeoutMs })
      const first = await db.prepared.commit(id, { timeoutMs })
      // Whoever asks again hears the same.
      if (end === 'late' && (await db.prepared.commit(id, { timeoutMs })).version !== first.version)
        throw new Error(`${id} was committed twice`)
      return result
    } finally {
      await tx.rollback()
    }
  }
}

async function meddle(db: Database): Promise<void> {
  try {
    const [one] = await db.prepared.list({ timeoutMs })
    if (one !== undefined) await db.prepared.rollback(one.id, { timeoutMs })
  } catch (error) {
    // Committed before it, or out of reach: nobody's loss.
    if (!isHarmonyError(error)) throw error
  }
}

/** As `transact`, of a transaction that is sent again where its outcome is not known, also by who called it: what it reads then may not be what was committed. */
export function transactOnce(style: Style, body: (tx: Transaction) => Promise<void>): (db: Database) => Promise<void> {
  const { random, isolation } = style
  const idempotencyKey = `key ${random.below(2 ** 31)}`
  const options = { isolation, timeoutMs, retries: 30, idempotencyKey, ...lockingOf(style) }
  const firstMs = random.pick([50, 200, timeoutMs])
  return async db => {
    try {
      await db.transaction(body, { ...options, timeoutMs: firstMs })
    } catch (error) {
      if (!isHarmonyError(error) || !error.maybeCommitted) throw error
      // As users are told to: once more, with the same key. Where that fails, it says nothing of the first time.
      await db.transaction(body, options).catch(again => {
        throw isHarmonyError(again) ? error : again
      })
    }
  }
}

/** Reads one state, in one of the ways in which that can be done. At `read-committed` a transaction is none of them. */
export function readState<T>(
  { random, isolation }: Style,
  body: (from: Reader) => Promise<T>,
): (db: Database) => Promise<T> {
  if (isolation !== 'read-committed' && random.chance(0.7)) {
    const readOnly = random.chance(0.5)
    return db => db.transaction(body, { isolation, readOnly, timeoutMs })
  }
  return async db => {
    const snapshot = await db.snapshot({ timeoutMs })
    try {
      return await body(snapshot)
    } finally {
      await snapshot.close()
    }
  }
}
