import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isHarmonyError } from '../../../src/base/errors.ts'
import { groupId, index, lsn, term } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import type { Done, Result } from '../../../src/platform.ts'
import { Wal } from '../../../src/storage/wal.ts'
import type { Position, WalRecord } from '../../../src/storage/wal-types.ts'
import { FakeLog } from './fake-log.ts'
import { entry, mustOpen, randomRecord, show } from './wal-kit.ts'

const noError: Done = error => expect(error).toBeUndefined()

describe('write-ahead log', () => {
  it('W4: what was flushed is there again, in order, at its positions', () => {
    const log = new FakeLog()
    const first = mustOpen(log)
    expect(first.records).toEqual([])
    const written = [entry(1), entry(2, 0), entry(3, 5000)]
    const positions = written.map(record => first.wal.append(record))
    first.wal.flush(noError)
    log.settle()
    expect(first.wal.durableLsn).toBe(first.wal.endLsn)
    const second = mustOpen(new FakeLog(log.durable))
    expect(second.records).toEqual(written)
    expect(second.positions).toEqual(positions)
    expect(second.cutBytes).toBe(0)
    expect(second.wal.endLsn).toBe(first.wal.endLsn)
  })

  it('W2: one sync at a time; what comes during a sync shares the next one, as one append', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const [syncs, appends] = [log.syncs, log.appends]
    const order: number[] = []
    const put = (i: number): void => {
      wal.append(entry(i))
      wal.flush(error => order.push(error === undefined ? i : -i))
    }
    put(1)
    for (let i = 2; i <= 50; i++) put(i)
    expect(log.syncs - syncs).toBe(1)
    log.settle(1)
    expect(order).toEqual([1])
    expect(log.syncs - syncs).toBe(2)
    log.settle()
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
    expect(log.syncs - syncs).toBe(2)
    expect(log.appends - appends).toBe(2)
    expect(wal.counters).toMatchObject({ records: 50, syncs: 2 })
    expect(wal.counters.bytes).toBe(wal.endLsn - 16)
  })

  it('W2: where syncs hold the thread, one begins when what is ready has come, and is for all of it', () => {
    const log = new FakeLog()
    log.gathers()
    const { wal } = mustOpen(log)
    const [syncs, appends] = [log.syncs, log.appends]
    const order: string[] = []
    const put = (name: string, then: () => void = () => {}): void => {
      wal.append(entry(1))
      wal.flush(error => {
        expect(error).toBeUndefined()
        order.push(name)
        then()
      })
    }
    put('a', () => put('a2'))
    expect(log.syncs - syncs).toBe(0)
    // What the host has ready comes: it is in.
    put('b')
    log.settle(1)
    expect(log.syncs - syncs).toBe(1)
    put('c')
    log.settle(1)
    expect(order).toEqual(['a', 'b'])
    put('d')
    log.settle()
    expect(order).toEqual(['a', 'b', 'c', 'a2', 'd'])
    expect([log.syncs - syncs, log.appends - appends]).toEqual([2, 2])
    wal.flush(error => order.push(error === undefined ? 'e' : 'failed'))
    expect(order.at(-1)).toBe('e')
  })

  it('W1: what is closed while it gathers makes durable what waits', () => {
    const log = new FakeLog()
    log.gathers()
    const { wal } = mustOpen(log)
    const order: string[] = []
    wal.append(entry(1))
    wal.flush(() => order.push('first'))
    wal.append(entry(2))
    wal.flush(error => order.push(error === undefined ? 'second' : error.code))
    wal.close(error => order.push(error === undefined ? 'closed' : error.code))
    wal.flush(error => order.push(error?.code ?? 'late'))
    log.settle()
    expect(order).toEqual(['first', 'second', 'CLOSED', 'closed'])
    expect(mustOpen(new FakeLog(log.durable)).records).toEqual([entry(1), entry(2)])
  })

  it('W1: a flush with nothing new completes at once, without a sync, but never before an earlier one', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const syncs = log.syncs
    let done = 0
    wal.flush(() => done++)
    expect(done).toBe(1)
    expect(log.syncs).toBe(syncs)
    wal.append(entry(1))
    const order: string[] = []
    wal.flush(() => order.push('first'))
    wal.flush(() => order.push('second'))
    expect(order).toEqual([])
    log.settle()
    expect(order).toEqual(['first', 'second'])
    expect(log.syncs).toBe(syncs + 1)
  })

  it('W1: a chain of flushes that complete at once does not grow the stack, and none overtakes another', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    log.eager = true
    let count = 0
    const next = (): void => {
      count++
      if (count > 4000) return
      wal.append(entry(count, 4))
      wal.flush(next)
    }
    next()
    expect(count).toBe(4001)
  })

  it.each([
    ['beside the thread', false],
    ['holding it', true],
  ])(
    'pitfall 18: after a failed sync, %s, every flush and read fails, and nothing is written any more',
    (_, gathers) => {
      const log = new FakeLog()
      if (gathers) log.gathers()
      const { wal } = mustOpen(log)
      const position = wal.append(entry(1))
      wal.flush(noError)
      log.settle()
      log.failSync = log.syncs + 1
      const errors: (string | undefined)[] = []
      const collect: Done = error => errors.push(error?.code)
      wal.append(entry(2))
      wal.flush(collect)
      wal.append(entry(3))
      wal.flush(collect)
      log.settle()
      const appends = log.appends
      wal.append(entry(4))
      wal.flush(collect)
      wal.read(position, result => errors.push(result.ok ? undefined : result.error.code))
      wal.close(collect)
      log.settle()
      expect(errors).toEqual(Array(5).fill('STORAGE_LOST'))
      expect(log.appends).toBe(appends)
      expect(mustOpen(new FakeLog(log.durable)).records).toEqual([entry(1)])
    },
  )

  it('close makes durable what is left; afterwards everything completes with CLOSED', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    wal.append(entry(1))
    let closed = false
    wal.close(error => {
      expect(error).toBeUndefined()
      closed = true
    })
    const late: (string | undefined)[] = []
    wal.append(entry(2))
    wal.flush(error => late.push(error?.code))
    wal.read({ lsn: lsn(16), bytes: 40 }, result => late.push(result.ok ? 'ok' : result.error.code))
    log.settle()
    wal.close(error => late.push(error?.code))
    log.settle()
    expect(closed).toBe(true)
    expect(late).toEqual(['CLOSED', 'CLOSED', 'CLOSED'])
    expect(mustOpen(new FakeLog(log.durable)).records).toEqual([entry(1)])
  })

  it('opening syncs what it replayed: it may have stood in the cache only', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    wal.append(entry(1))
    wal.flush(noError)
    log.settle()
    const reopened = new FakeLog(log.durable)
    reopened.durable = new Uint8Array(0)
    mustOpen(reopened)
    expect(reopened.durable).toEqual(log.durable)
  })

  it('W5: reads give back what stands there, buffered, in flight and synced; a wrong place is CORRUPT', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const written: { record: WalRecord; position: Position }[] = []
    const put = (i: number): void => {
      const record = entry(i, i * 10)
      written.push({ record, position: wal.append(record) })
    }
    const readAll = (): void => {
      const results: Result<WalRecord>[] = []
      for (const { position } of written) wal.read(position, result => results.push(result))
      log.settle()
      expect(results).toHaveLength(written.length)
      for (const { record } of written) expect(results).toContainEqual({ ok: true, value: record })
    }
    put(1)
    wal.flush(noError)
    put(2)
    readAll()
    put(3)
    readAll()
    wal.flush(noError)
    log.settle()
    put(4)
    const { position } = written[1]!
    const wrong = [
      { lsn: lsn(position.lsn + 1), bytes: position.bytes },
      { lsn: position.lsn, bytes: position.bytes - 1 },
      { lsn: position.lsn, bytes: position.bytes + 1 },
      { lsn: lsn(0), bytes: 30 },
      { lsn: wal.endLsn, bytes: 30 },
      { lsn: written[3]!.position.lsn, bytes: 26 },
      { lsn: lsn(written[3]!.position.lsn + 1), bytes: 30 },
    ]
    let refused = 0
    for (const position of wrong) {
      wal.read(position, result => {
        expect(result.ok).toBe(false)
        if (!result.ok) expect(result.error.code).toBe('CORRUPT')
        refused++
      })
    }
    log.settle()
    expect(refused).toBe(wrong.length)
    readAll()
  })

  it('W5: records that are read together are those that stand there, up to the first that is not', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const written: { record: WalRecord; position: Position }[] = []
    for (let i = 1; i <= 9; i++) {
      const record = entry(i, i * 10)
      written.push({ record, position: wal.append(record) })
      if (i % 3 === 0)
        wal.append({ type: 'hardState', group: groupId(0), term: term(1), vote: undefined, commit: index(i) })
      if (i === 6) wal.flush(noError)
    }
    const many = (from: number, to: number): string[] | string => {
      let found: string[] | string = 'nothing'
      wal.readMany(
        written.slice(from, to).map(({ position }) => position),
        result => {
          found = result.ok ? show(result.value) : result.error.code
        },
      )
      log.settle()
      return found
    }
    const records = show(written.map(({ record }) => record))
    // The last three are not in the file yet: then one of them comes, which is enough.
    expect(many(7, 9)).toEqual(records.slice(7, 8))
    expect(many(2, 9)).toEqual(records.slice(2, 3))
    wal.flush(noError)
    log.settle()
    for (let from = 0; from < 9; from++) {
      for (let to = from + 1; to <= 9; to++) expect(many(from, to)).toEqual(records.slice(from, to))
    }
    log.content[written[4]!.position.lsn + 40]! ^= 1
    expect(many(2, 8)).toEqual(records.slice(2, 4))
    expect(many(4, 8)).toBe('CORRUPT')
    expect(many(5, 8)).toEqual(records.slice(5, 8))
  })

  it('a long log is replayed in bounded pieces, a record longer than a piece too', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const written: WalRecord[] = []
    for (let i = 1; i <= 400; i++) {
      const record = entry(i, i % 100 === 0 ? 600_000 : 3000)
      written.push(record)
      wal.append(record)
    }
    wal.flush(noError)
    log.settle()
    const reopened = new FakeLog(log.durable)
    reopened.eager = true
    expect(show(mustOpen(reopened).records)).toEqual(show(written))
    expect(reopened.readBytesMost).toBeLessThan(601_000)
  })

  it('W4: whatever a crash keeps, replay is a prefix that holds everything acknowledged (pitfalls 10, 16)', () => {
    const run = (seed: number): void => {
      const random = seededRandom(seed)
      let log = new FakeLog()
      let model: { record: WalRecord; position: Position }[] = []
      let acknowledged = 0
      let mark = 0
      for (let life = 0; life < 6; life++) {
        if (random.chance(0.1)) {
          // In the middle of reading, or of the cut.
          Wal.open(log, { visit: () => undefined }, () => undefined)
          log.settle(random.below(4))
          log = log.crash(random)
        }
        log.eager = random.chance(0.3)
        if (random.chance(0.3)) log.gathers()
        const opened = mustOpen(log, mark)
        expect(opened.records.length).toBeGreaterThanOrEqual(acknowledged)
        model = model.slice(0, opened.records.length)
        expect(show(opened.records)).toEqual(show(model.map(each => each.record)))
        expect(opened.positions).toEqual(model.map(each => each.position))
        acknowledged = model.length
        const { wal } = opened
        for (let turns = random.below(12); turns > 0; turns--) {
          for (let records = random.below(6); records > 0; records--) {
            const record = randomRecord(random)
            model.push({ record, position: wal.append(record) })
          }
          if (random.chance(0.6)) {
            const through = model.length
            wal.flush(error => {
              expect(error).toBeUndefined()
              expect(through).toBeGreaterThanOrEqual(acknowledged)
              acknowledged = through
            })
          }
          if (random.chance(0.5)) log.settle(1 + random.below(2))
          const some = model.length > 0 ? random.pick(model) : undefined
          if (some !== undefined && log.idle) {
            wal.read(some.position, result => {
              expect(result.ok && show([result.value])).toEqual(show([some.record]))
            })
            log.settle()
          }
          expect(wal.bufferedBytes).toBe(wal.endLsn - wal.durableLsn)
        }
        if (random.chance(0.5)) mark = wal.durableLsn
        log = log.crash(random)
      }
    }
    fc.assert(fc.property(fc.nat(), run), { numRuns: 300 })
  })

  it('the fake log does lose and tear: most crashes with something unsynced leave a tail to cut or nothing of it', () => {
    let cut = 0
    let lost = 0
    for (let seed = 0; seed < 200; seed++) {
      const log = new FakeLog()
      const { wal } = mustOpen(log)
      for (let i = 1; i < 40; i++) wal.append(entry(i, 100))
      wal.flush(() => undefined)
      const opened = mustOpen(log.crash(seededRandom(seed)))
      if (opened.cutBytes > 0) cut++
      if (opened.records.length < 39) lost++
    }
    expect(cut).toBeGreaterThan(50)
    expect(lost).toBeGreaterThan(100)
  })

  it('a record in a value does not end or prolong a log that it was not written for', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    wal.append(entry(1))
    wal.flush(noError)
    log.settle()
    const inner = log.durable.slice(16)
    const outer: WalRecord = { ...entry(2), data: inner } as WalRecord
    wal.append(outer)
    wal.flush(noError)
    log.settle()
    expect(mustOpen(new FakeLog(log.durable)).records).toEqual([entry(1), outer])
    const torn = log.durable.slice()
    torn[torn.length - 1]! ^= 1
    expect(mustOpen(new FakeLog(torn)).records).toEqual([entry(1)])
  })

  it('a second cut does not bring back what the first one removed', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    wal.append(entry(1))
    wal.flush(noError)
    log.settle()
    for (let i = 2; i < 5; i++) wal.append(entry(i))
    wal.flush(noError)
    log.settle()
    const torn = log.durable.slice()
    torn[mustOpen(new FakeLog(log.durable)).positions[1]!.lsn + 30]! ^= 4
    const second = new FakeLog(torn)
    const opened = mustOpen(second)
    expect(opened.records).toEqual([entry(1)])
    expect(opened.cutBytes).toBe(torn.length - opened.cutFrom)
    opened.wal.append(entry(2))
    opened.wal.flush(noError)
    second.settle()
    const third = mustOpen(new FakeLog(second.durable))
    expect(third.records).toEqual([entry(1), entry(2)])
    expect(third.cutBytes).toBe(0)
  })

  it('errors of the log file while opening are handed on', () => {
    const log = new FakeLog()
    log.failSync = 1
    expect(() => mustOpen(log)).toThrow('the disk is gone')
    try {
      mustOpen(log)
    } catch (error) {
      expect(isHarmonyError(error, 'STORAGE_LOST')).toBe(true)
    }
  })
})
