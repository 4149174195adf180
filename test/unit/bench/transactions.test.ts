/** The suite `transactions` believes no engine: the sum of the counters tells what was lost, done twice or done by half. */
import { describe, expect, test } from 'vitest'
import { buffers, Records } from '../../bench/records.ts'
import type { Store } from '../../bench/stores/store.ts'
import { checkSum, countingWork, type TransactionCase } from '../../bench/transaction-cases.ts'

const records = new Records(100, buffers)

/** @param puts How much of what was computed comes to be: `n` counts transactions. */
function memoryStore(puts: (written: number, n: number) => number = written => written) {
  const values = new Map(Array.from({ length: records.count }, (_, i) => [name(records.key(i)), records.value(i, 0)]))
  let n = 0
  const transact: Store['transact'] = (keys, change) => {
    const written = change(keys.map(key => values.get(name(key))))
    for (const [i, value] of written.slice(0, puts(written.length, n++)).entries()) values.set(name(keys[i]!), value)
  }
  return { transact: transact!, get: (key: Buffer) => values.get(name(key)) }
}
const name = (key: Buffer): string => key.toString('latin1')

async function operate(kind: TransactionCase, store: ReturnType<typeof memoryStore>) {
  const counting = countingWork(kind, records, store.transact, 7)
  for (let n = 0; n < 1000; n++) counting.work.check(n, await counting.work.operate(n))
  return counting
}

describe('counters', () => {
  test.each(['increment-1', 'increment-64-hot', 'transfer-1', 'transfer-64-hot'] as const)(
    '%s: an engine that does what it says passes',
    async kind => {
      const store = memoryStore()
      const counting = await operate(kind, store)
      expect(counting.done()).toBe(1000)
      expect(counting.retries()).toBe(0)
      expect(counting.increments()).toBe(kind.startsWith('increment') ? 1000 : 0)
      await checkSum(records, store.get, counting.increments())
    },
  )

  test('a lost increment is found', async () => {
    const store = memoryStore((written, n) => (n === 500 ? 0 : written))
    const counting = await operate('increment-1', store)
    await expect(checkSum(records, store.get, counting.increments())).rejects.toThrow(
      '1000 increments were acknowledged, and the counters sum to 999',
    )
  })

  test('half a transfer is found', async () => {
    const store = memoryStore((written, n) => (n === 500 ? 1 : written))
    const counting = await operate('transfer-1', store)
    await expect(checkSum(records, store.get, counting.increments())).rejects.toThrow('sum to 4294967295')
  })

  test('an engine that tries again is seen to', async () => {
    const store = memoryStore()
    const counting = countingWork(
      'increment-1',
      records,
      (keys, change) => {
        change(keys.map(store.get))
        return store.transact(keys, change)
      },
      7,
    )
    counting.work.check(0, counting.work.operate(0))
    expect(counting.retries()).toBe(1)
  })

  test('transfers are between different counters, and hot ones between sixteen', async () => {
    const touched = new Set<string>()
    const counting = countingWork(
      'transfer-64-hot',
      records,
      keys => {
        expect(name(keys[0]!)).not.toBe(name(keys[1]!))
        for (const key of keys) touched.add(name(key))
      },
      7,
    )
    for (let n = 0; n < 2000; n++) counting.work.operate(n)
    expect(touched.size).toBe(16)
  })
})
