/**
 * The cases of the suite `transactions`: what is read and what is written belong together. Each record is a counter, its version the count. An increment reads one and writes it; a transfer
 * takes one from a counter and gives it to another. Counters are 32 bits and may wrap, so the sum of all is what tells: as many as there were increments.
 */
import type { More } from './lines.ts'
import { type Measured, measure, type Work } from './measure.ts'
import { picks, type Records, randomOf, uniform, versionOf } from './records.ts'
import type { Store, Transact } from './stores/store.ts'

/** So few that callers meet all the time. */
const hotRecords = 16

interface Shape {
  readonly callers: number
  readonly kind: 'increment' | 'transfer'
  readonly isHot: boolean
}

export const transactionCases = {
  'increment-1': { callers: 1, kind: 'increment', isHot: false },
  'increment-64': { callers: 64, kind: 'increment', isHot: false },
  'increment-64-hot': { callers: 64, kind: 'increment', isHot: true },
  'transfer-1': { callers: 1, kind: 'transfer', isHot: false },
  'transfer-64': { callers: 64, kind: 'transfer', isHot: false },
  'transfer-64-hot': { callers: 64, kind: 'transfer', isHot: true },
} as const satisfies Readonly<Record<string, Shape>>
export type TransactionCase = keyof typeof transactionCases
export const transactionCaseNames = Object.keys(transactionCases) as readonly TransactionCase[]
/** The same on three nodes. */
export const threeOf = (name: TransactionCase): ThreeCase => `three-${name}`
export type ThreeCase = `three-${TransactionCase}`
export const threeCaseNames: readonly ThreeCase[] = transactionCaseNames.map(threeOf)
export const isTransaction = (name: string): name is TransactionCase => Object.hasOwn(transactionCases, name)

export interface Counting {
  readonly work: Work
  /** So far, as everything here: warming up included. */
  done(): number
  increments(): number
  /** How often the engine had them computed, above once for each that was done. */
  retries(): number
}

/** @param transact Of the engine: `Store.transact`. */
export function countingWork(
  name: TransactionCase,
  records: Records,
  transact: Transact<Buffer>,
  seed: number,
): Counting {
  const { kind, isHot } = transactionCases[name]
  const count = isHot ? Math.min(hotRecords, records.count) : records.count
  const random = randomOf(seed)
  const first = picks(uniform(random, count))
  const distance = picks(uniform(random, count - 1))
  let [done, computed] = [0, 0]
  const recordsOf = (n: number): number[] =>
    kind === 'increment' ? [first(n)] : [first(n), (first(n) + 1 + distance(n)) % count]
  const steps = kind === 'increment' ? [1] : [-1, 1]
  return {
    work: {
      operate(n) {
        const touched = recordsOf(n)
        return transact(
          touched.map(record => records.key(record)),
          values => {
            computed++
            return touched.map((record, i) => {
              records.check(record, values[i], false)
              return records.value(record, versionOf(values[i]!) + steps[i]!)
            })
          },
        )
      },
      check: () => void done++,
    },
    done: () => done,
    increments: () => (kind === 'increment' ? done : 0),
    retries: () => computed - done,
  }
}

export interface TransactionsMeasured extends Measured, More {
  /** Acknowledged, warming up included. */
  readonly increments: number
}

/** @throws Error if the engine has no transactions. */
export async function measureTransactions(
  name: TransactionCase,
  { transact, lockWaits }: Pick<Store, 'transact' | 'lockWaits'>,
  records: Records,
  seed: number,
  seconds: number,
): Promise<TransactionsMeasured> {
  if (transact === undefined) throw new Error('this engine has no transactions')
  const counting = countingWork(name, records, transact, seed)
  const waitedBefore = lockWaits?.()
  const measured = await measure(counting.work, transactionCases[name].callers, seconds)
  const waited = lockWaits?.()
  return {
    ...measured,
    increments: counting.increments(),
    retriesPerOp: counting.retries() / counting.done(),
    ...(waitedBefore !== undefined &&
      waited !== undefined && { waitsPerOp: (waited - waitedBefore) / counting.done() }),
  }
}

const readsAtOnce = 64

/** @throws Error if an increment was lost or done twice, or a transfer was done by half. */
export async function checkSum(records: Records, get: (key: Buffer) => unknown, increments: number): Promise<void> {
  let sum = 0
  let next = 0
  const reader = async (): Promise<void> => {
    while (next < records.count) {
      const record = next++
      const value = (await get(records.key(record))) as Uint8Array | undefined
      records.check(record, value, true)
      sum = (sum + versionOf(value!)) >>> 0
    }
  }
  await Promise.all(Array.from({ length: readsAtOnce }, reader))
  if (sum !== increments >>> 0)
    throw new Error(`${increments} increments were acknowledged, and the counters sum to ${sum}`)
}
