/**
 * The cases of the suite `transactions`: what is read and what is written belong together. Each record is a counter, its version the count. An increment reads one and writes it; a transfer
 * takes one from a counter and gives it to another. Counters are 32 bits and may wrap, so the sum of all is what tells: as many as there were increments.
 */
import type { Work } from './measure.ts'
import { picks, type Records, randomOf, uniform, versionOf } from './records.ts'
import type { Change } from './stores/store.ts'

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
  transact: (keys: readonly Buffer[], change: Change<Buffer>) => unknown,
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

/** @throws Error if an increment was lost or done twice, or a transfer was done by half. */
export async function checkSum(records: Records, get: (key: Buffer) => unknown, increments: number): Promise<void> {
  let sum = 0
  for (let record = 0; record < records.count; record++) {
    const value = (await get(records.key(record))) as Uint8Array | undefined
    records.check(record, value, true)
    sum = (sum + versionOf(value!)) >>> 0
  }
  if (sum !== increments >>> 0)
    throw new Error(`${increments} increments were acknowledged, and the counters sum to ${sum}`)
}
