/** The cases of the suite `storage` that are measured on a loaded store, as work on one. */
import type { Work } from './measure.ts'
import { compareBytes, picks, type Records, randomOf, recordOf, uniform, zipf } from './records.ts'
import type { Store } from './stores/store.ts'

/** In the order of the report; what is read is measured before what is written (`measureOrder`). */
export const caseNames = [
  'put-1',
  'put-64',
  'bulk-load',
  'get',
  'get-absent',
  'scan-100',
  'ycsb-a',
  'ycsb-b',
  'ycsb-c',
  'ycsb-d',
  'ycsb-e',
  'ycsb-f',
  'get-8x',
  'crash-start',
  'disk',
] as const
export type CaseName = (typeof caseNames)[number]

/** Writes to a store change what is read from it later: reads first, in a store as it was loaded. */
export const measureOrder = [
  'get',
  'get-absent',
  'scan-100',
  'ycsb-c',
  'ycsb-b',
  'ycsb-a',
  'ycsb-f',
  'ycsb-d',
  'ycsb-e',
  'put-1',
  'put-64',
] as const satisfies readonly CaseName[]
export type MeasuredCase = (typeof measureOrder)[number]

export const callersOf = (name: MeasuredCase): number => (name === 'put-64' || name.startsWith('ycsb-') ? 64 : 1)

/** Shared by the cases of one store: which of the spare records are there. */
export class Inserted {
  private readonly records: Pick<Records, 'count' | 'spare'>
  private begun = 0
  private readonly done: Uint8Array
  /** All below are there, acknowledged. */
  private through = 0

  constructor(records: Pick<Records, 'count' | 'spare'>) {
    this.records = records
    this.done = new Uint8Array(records.spare)
  }

  /** The next new record; one that was put before once they are used up. */
  next(): number {
    const spare = this.begun < this.records.spare ? this.begun : this.begun % this.records.spare
    this.begun++
    return this.records.count + spare
  }

  acknowledge(record: number): void {
    this.done[record - this.records.count] = 1
    while (this.done[this.through] === 1) this.through++
  }

  /** Every record below is there. */
  get end(): number {
    return this.records.count + this.through
  }
}

export interface Stage<B extends Uint8Array> {
  readonly store: Store<B>
  readonly records: Records<B>
  readonly inserted: Inserted
  /** Of this round: the same for all engines. */
  readonly seed: number
}

/** How many of the operations that are no reads, in percent, and what they are. */
const mixes = {
  'ycsb-a': { percent: 50, other: 'update' },
  'ycsb-b': { percent: 5, other: 'update' },
  'ycsb-c': { percent: 0, other: 'update' },
  'ycsb-d': { percent: 5, other: 'insert' },
  'ycsb-e': { percent: 5, other: 'insert' },
  'ycsb-f': { percent: 50, other: 'modify' },
} as const

/** @param put Of one caller, or of many together. */
export function workOf<B extends Uint8Array>(name: MeasuredCase, stage: Stage<B>, put: Store<B>['put']): Work {
  switch (name) {
    case 'get':
      return gets(stage)
    case 'get-absent':
      return absentGets(stage)
    case 'scan-100':
      return scans(stage)
    case 'put-1':
    case 'put-64':
      return puts(stage, put)
    default:
      return ycsb(name, stage, put)
  }
}

/** Every byte of one result in sixteen is compared; length and record's number of all. */
const isWhole = (n: number): boolean => (n & 15) === 0

function gets<B extends Uint8Array>({ store, records, seed }: Stage<B>): Work {
  const pick = picks(uniform(randomOf(seed), records.count))
  return {
    operate: n => store.get(records.key(pick(n))),
    check: (n, value) => records.check(pick(n), value as Uint8Array | undefined, isWhole(n)),
  }
}

function absentGets<B extends Uint8Array>({ store, records, seed }: Stage<B>): Work {
  const pick = picks(uniform(randomOf(seed), records.absentCount))
  return {
    operate: n => store.get(records.absentKey(pick(n))),
    check: (_, value) => {
      if (value !== undefined) throw new Error('a record was found that was never put')
    },
  }
}

function scans<B extends Uint8Array>({ store, records, seed }: Stage<B>): Work {
  const pick = picks(uniform(randomOf(seed), records.count))
  return {
    operate: n => store.scan(records.key(pick(n)), 100),
    check: (n, rows) => checkScan({ store, records }, pick(n), 100, rows as readonly unknown[], isWhole(n)),
  }
}

function checkScan<B extends Uint8Array>(
  { store, records }: Pick<Stage<B>, 'store' | 'records'>,
  start: number,
  limit: number,
  rows: readonly unknown[],
  whole: boolean,
): void {
  const expected = records.scanned(start, limit)
  if (rows.length > limit || rows.length < (expected ?? 1)) {
    throw new Error(`a scan of ${limit} from record ${start} gave ${rows.length}`)
  }
  records.check(start, store.row(rows[0]).value, whole)
  if (!whole) return
  let before: Uint8Array | undefined
  for (const scanned of rows) {
    const { key, value } = store.row(scanned)
    if (before !== undefined && compareBytes(before, key) >= 0) throw new Error('a scan came out of order')
    const record = recordOf(value)
    if (compareBytes(key, records.key(record)) !== 0)
      throw new Error(`a scan gave the value of record ${record} to another key`)
    records.check(record, value, true)
    before = key
  }
}

function puts<B extends Uint8Array>({ records, inserted }: Stage<B>, put: Store<B>['put']): Work {
  return {
    operate: n => {
      const record = inserted.next()
      return put(records.key(record), records.value(record, n))
    },
    check: () => {},
  }
}

function ycsb<B extends Uint8Array>(name: keyof typeof mixes, stage: Stage<B>, put: Store<B>['put']): Work {
  const { store, records, inserted, seed } = stage
  const { percent, other } = mixes[name]
  const random = randomOf(seed)
  const rank = picks(zipf(random, records.count))
  const isOther = picks(() => (random() % 100 < percent ? 1 : 0))
  const limitOf = picks(() => 1 + (random() % 100))
  const reads = name === 'ycsb-e' ? scanOf : name === 'ycsb-d' ? getLatest : getRanked

  function getRanked(n: number): unknown {
    return verified(n, rank(n), store.get(records.key(rank(n))))
  }
  function getLatest(n: number): unknown {
    const record = inserted.end - 1 - rank(n)
    return verified(n, record, store.get(records.key(record)))
  }
  function scanOf(n: number): unknown {
    const rows = store.scan(records.key(rank(n)), limitOf(n))
    const check = (them: readonly unknown[]): void =>
      checkScan(stage, rank(n), limitOf(n), them, isWhole(n) && limitOf(n) < 20)
    return rows instanceof Promise ? rows.then(check) : check(rows)
  }
  function verified(n: number, record: number, value: ReturnType<Store<B>['get']>): unknown {
    if (value instanceof Promise) return value.then(it => records.check(record, it, isWhole(n)))
    return records.check(record, value, isWhole(n))
  }
  function insert(n: number): unknown {
    const record = inserted.next()
    const done = put(records.key(record), records.value(record, n))
    if (done instanceof Promise) return done.then(() => inserted.acknowledge(record))
    return inserted.acknowledge(record)
  }
  function update(n: number): unknown {
    return put(records.key(rank(n)), records.value(rank(n), n))
  }
  function modify(n: number): unknown {
    const read = getRanked(n)
    return read instanceof Promise ? read.then(() => update(n)) : update(n)
  }
  const others = { update, insert, modify }[other]
  return { operate: n => (isOther(n) === 1 ? others(n) : reads(n)), check: () => {} }
}
