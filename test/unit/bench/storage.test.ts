/** The benchmark can be wrong in two ways that nobody sees: other data than it says, and answers that it does not look at. */
import { describe, expect, test } from 'vitest'
import { measure, median, summary } from '../../bench/measure.ts'
import { buffers, byteArrays, keyBytes, Records, randomOf, valueBytes, zipf } from '../../bench/records.ts'
import { callersOf, Inserted, type MeasuredCase, measureOrder, workOf } from '../../bench/storage-cases.ts'
import { type Row, type Store, together } from '../../bench/stores/store.ts'

const records = new Records(1000, buffers)

/** Sorted rows in memory; `lie` changes what is read. */
function memoryStore(lie: Partial<Pick<Store, 'get' | 'scan'>> = {}): Store {
  const rows = new Map<string, Row>()
  const put = (key: Buffer, value: Buffer): void => void rows.set(key.toString('latin1'), { key, value })
  for (let i = 0; i < records.count; i++) put(records.key(i), records.value(i, 0))
  return {
    put,
    get: key => rows.get(key.toString('latin1'))?.value,
    scan: (start, limit) => {
      const from = start.toString('latin1')
      const names = [...rows.keys()].filter(name => name >= from).sort()
      return names.slice(0, limit).map(name => rows.get(name)!)
    },
    row: scanned => scanned as Row,
    batch: () => {},
    close: () => {},
    ...lie,
  }
}

const runOn = (name: MeasuredCase, store: Store): Promise<unknown> => {
  const stage = { store, records, inserted: new Inserted(records), seed: 7 }
  return measure(workOf(name, stage, store.put), callersOf(name), 0.02)
}

describe('the records', () => {
  test('have keys of 16 bytes that are all different, in no order, and values of 100 that compress to about half', () => {
    const keys = Array.from({ length: records.count + records.spare + records.absentCount }, (_, i) =>
      records.key(i).toString('latin1'),
    )
    expect(new Set(keys).size).toBe(keys.length)
    expect(keys.every(key => key.length === keyBytes)).toBe(true)
    const ascents = keys.filter((key, i) => i > 0 && key > keys[i - 1]!).length / keys.length
    expect(ascents).toBeGreaterThan(0.3)
    expect(ascents).toBeLessThan(0.7)
    const value = records.value(5, 3)
    expect(value.length).toBe(valueBytes)
    expect(value.subarray(8, 54).equals(value.subarray(54))).toBe(true)
    expect(new Set(value.subarray(8, 54)).size).toBeGreaterThan(20)
  })

  test('are the same in Node and in a browser, and their keys are `user` and twelve digits', () => {
    const plain = new Records(1000, byteArrays)
    for (const record of [0, 1, 999, 4999]) {
      expect(plain.key(record)).toEqual(new Uint8Array(records.key(record)))
      expect(plain.value(record, 7)).toEqual(new Uint8Array(records.value(record, 7)))
    }
    expect(records.key(0).toString('latin1')).toBe('user000000000000')
    expect(records.key(3).toString('latin1')).toBe(`user${(3 * 618_033_988_749) % 1e12}`)
  })

  test('a value with any byte changed, cut, of another record or missing is refused', () => {
    for (let at = 0; at < valueBytes; at++) {
      const value = records.value(5, 0)
      value[at]! ^= 1
      const isVersion = at >= 4 && at < 8
      if (isVersion) records.check(5, value, true)
      else expect(() => records.check(5, value, true), `byte ${at}`).toThrow()
    }
    expect(() => records.check(5, records.value(5, 0).subarray(1), false)).toThrow()
    expect(() => records.check(5, records.value(6, 0), false)).toThrow()
    expect(() => records.check(5, undefined, false)).toThrow('missing')
  })

  test('Zipf: a rank comes as often as its part of the harmonic sum says', () => {
    const count = 1000
    const draw = zipf(randomOf(3), count)
    const seen = new Float64Array(count)
    const draws = 200_000
    for (let i = 0; i < draws; i++) seen[draw()]! += 1 / draws
    const weights = Array.from({ length: count }, (_, rank) => (rank + 1) ** -0.99)
    const sum = weights.reduce((total, weight) => total + weight, 0)
    expect(seen[0]).toBeCloseTo(weights[0]! / sum, 2)
    expect(seen[1]).toBeCloseTo(weights[1]! / sum, 2)
    const half = weights.slice(0, 100).reduce((total, weight) => total + weight, 0) / sum
    expect(seen.subarray(0, 100).reduce((total, part) => total + part, 0)).toBeCloseTo(half, 1)
  })
})

describe('every case', () => {
  test.each(measureOrder)('%s runs on an honest store', async name => {
    await expect(runOn(name, memoryStore())).resolves.toMatchObject({ ops: expect.any(Number) })
  })

  const reads: MeasuredCase[] = ['get', 'ycsb-a', 'ycsb-b', 'ycsb-c', 'ycsb-d', 'ycsb-f']
  test.each(reads)('%s refuses a store that answers with another record', async name => {
    const other = records.value(records.count + 1, 0)
    await expect(runOn(name, memoryStore({ get: () => other }))).rejects.toThrow('another value')
    await expect(runOn(name, memoryStore({ get: async () => undefined }))).rejects.toThrow('missing')
  })

  test('get-absent refuses a store that finds something', async () => {
    await expect(runOn('get-absent', memoryStore({ get: () => records.value(0, 0) }))).rejects.toThrow('never put')
  })

  test.each<MeasuredCase>(['scan-100', 'ycsb-e'])('%s refuses scans that are cut, doubled or mixed up', async name => {
    const honest = memoryStore()
    const scan = (change: (rows: Row[]) => Row[]) =>
      memoryStore({ scan: (start, limit) => change([...(honest.scan(start, limit) as Row[])]) })
    await expect(
      runOn(
        name,
        scan(rows => rows.slice(0, rows.length >> 1)),
      ),
    ).rejects.toThrow()
    await expect(
      runOn(
        name,
        scan(rows => rows.map(() => rows[0]!)),
      ),
    ).rejects.toThrow()
    await expect(
      runOn(
        name,
        scan(rows => rows.map(row => ({ ...row, key: rows[0]!.key }))),
      ),
    ).rejects.toThrow()
  })
})

test('rates and percentiles are of the samples, the median is the middle', () => {
  const samples = Float32Array.from({ length: 100 }, (_, i) => 100 - i)
  expect(summary(samples, 2, 100)).toEqual({ ops: 100, opsPerSecond: 50, p50Ms: 51, p99Ms: 100 })
  expect(median([9, 1, 5])).toBe(5)
  expect(median([4, 1, 2, 9])).toBe(3)
})

test('64 callers are 64 operations under way, each after its own one before', async () => {
  let [underWay, most] = [0, 0]
  const operate = async (): Promise<void> => {
    most = Math.max(most, ++underWay)
    await new Promise(setImmediate)
    underWay--
  }
  const { ops, opsPerSecond } = await measure({ operate, check: () => {} }, 64, 0.05)
  expect(most).toBe(64)
  expect(ops).toBeGreaterThan(64)
  expect(ops / opsPerSecond).toBeGreaterThan(0.04)
})

test('what is put while a write is under way is written together in the next one, and fails with it', async () => {
  const written: number[] = []
  const write = async (rows: readonly unknown[]): Promise<void> => {
    written.push(rows.length)
    await new Promise(setImmediate)
    if (written.length === 3) throw new Error('full')
  }
  const put = together<Buffer>(write, setImmediate)
  const putOne = () => put(records.key(0), records.value(0, 0))
  const first = [putOne(), putOne()]
  await new Promise(setImmediate)
  await Promise.all([...first, putOne(), putOne(), putOne()])
  expect(written).toEqual([2, 3])
  await expect(putOne()).rejects.toThrow('full')
  await putOne()
  expect(written).toEqual([2, 3, 1, 1])
})
