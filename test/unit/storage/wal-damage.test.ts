/** Pitfalls 16 and 44 for the write-ahead log: flips at every byte, every length, foreign and newer files. */
import { beforeAll, describe, expect, it } from 'vitest'
import { crc32c } from '../../../src/base/checksum.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { encodeHead } from '../../../src/storage/wal-record.ts'
import type { Position, WalRecord } from '../../../src/storage/wal-types.ts'
import { FakeLog } from './fake-log.ts'
import { entry, mustOpen, type OpenResult, openLog, show } from './wal-kit.ts'

/** Three batches, each synced before the next was written. */
const batches = [[entry(1, 10), entry(2, 30)], [entry(3, 600)], [entry(4, 5), entry(5, 40), entry(6, 0)]]
const all: WalRecord[] = batches.flat()
let image: Uint8Array
let positions: Position[]
let lastBatchAt: number

beforeAll(() => {
  const log = new FakeLog()
  const { wal } = mustOpen(log)
  positions = []
  for (const batch of batches) {
    for (const record of batch) positions.push(wal.append(record))
    wal.flush(() => undefined)
    log.settle()
  }
  image = log.durable
  lastBatchAt = positions[3]!.lsn
})

/** How many records end at or before this offset. */
const wholeBefore = (offset: number): number => positions.filter(({ lsn, bytes }) => lsn + bytes <= offset).length

/** The outcome in one line. */
function brief(outcome: OpenResult): string {
  if (outcome instanceof HarmonyError) return outcome.code
  return `${outcome.cutFrom}+${outcome.cutBytes} ${show(outcome.records).join()}`
}
const opened = (whole: number, from: number, cut: number): string =>
  `${from}+${cut} ${show(all.slice(0, whole)).join()}`

function codeOf(bytes: Uint8Array, mark = 0): string {
  const outcome = openLog(new FakeLog(bytes), mark)
  return outcome instanceof HarmonyError ? outcome.code : 'opened'
}

describe('damage to the write-ahead log', () => {
  it('pitfall 44: a flip at any byte is CORRUPT where later records prove it, else a cut at the true prefix', () => {
    for (let at = 0; at < image.length; at++) {
      for (const flip of [1 << (at % 8), 0xff]) {
        const bytes = image.slice()
        bytes[at]! ^= flip
        const outcome = brief(openLog(new FakeLog(bytes)))
        if (at < lastBatchAt) {
          expect(outcome, `byte ${at}`).toBe('CORRUPT')
          continue
        }
        const from = positions[wholeBefore(at)]!.lsn
        const cut = bytes.findLastIndex(byte => byte !== 0) + 1 - from
        expect(outcome, `byte ${at}`).toBe(opened(wholeBefore(at), from, cut))
        expect(codeOf(bytes, image.length), `byte ${at}`).toBe('CORRUPT')
      }
    }
  })

  it('pitfall 44: truncated at any length, replay is the true prefix; below the durable mark it is CORRUPT', () => {
    for (let length = 0; length <= image.length; length++) {
      const bytes = image.slice(0, length)
      const outcome = brief(openLog(new FakeLog(bytes)))
      if (length > 0 && length < 16) {
        expect(outcome, `length ${length}`).toBe('CORRUPT')
        continue
      }
      const whole = wholeBefore(length)
      const end = length === 0 ? 0 : (positions[whole]?.lsn ?? image.length)
      const cut = bytes.subarray(end).findLastIndex(byte => byte !== 0) + 1
      expect(outcome, `length ${length}`).toBe(opened(whole, end, cut))
      if (length < image.length) expect(codeOf(bytes, image.length), `length ${length}`).toBe('CORRUPT')
    }
    expect(codeOf(image, image.length)).toBe('opened')
    expect(codeOf(image, image.length + 1)).toBe('CORRUPT')
  })

  it('pitfall 16: a stretch of zeros over any record is damage or a cut, never a silently shorter log', () => {
    for (const [i, { lsn, bytes: length }] of positions.entries()) {
      const bytes = image.slice()
      bytes.fill(0, lsn, lsn + length)
      const outcome = openLog(new FakeLog(bytes))
      if (lsn < lastBatchAt) expect(outcome).toMatchObject({ code: 'CORRUPT' })
      else expect(outcome).toMatchObject({ records: all.slice(0, i), cutFrom: lsn })
    }
  })

  it('the message names the place and says what to do', () => {
    const bytes = image.slice()
    bytes[positions[1]!.lsn + 26]! ^= 1
    const outcome = openLog(new FakeLog(bytes))
    expect(outcome).toBeInstanceOf(HarmonyError)
    const { message } = outcome as HarmonyError
    expect(message).toContain(`byte ${positions[1]!.lsn}`)
    expect(message).toContain('join again')
  })

  it('damage changes nothing on disk', () => {
    const bytes = image.slice()
    bytes[20]! ^= 1
    const log = new FakeLog(bytes)
    expect(openLog(log)).toMatchObject({ code: 'CORRUPT' })
    expect(log.image).toEqual(bytes)
    expect(log.syncs).toBe(0)
  })

  it('zeros behind the end are no cut, and the next record stands where they began', () => {
    for (const zeros of [1, 24, 25, 5000, 600_000]) {
      const bytes = new Uint8Array(image.length + zeros)
      bytes.set(image)
      const log = new FakeLog(bytes)
      const opened = mustOpen(log, image.length)
      expect(opened).toMatchObject({ records: all, cutBytes: 0, cutFrom: image.length })
      expect(opened.wal.append(entry(7)).lsn).toBe(image.length)
      opened.wal.flush(() => undefined)
      log.settle()
      expect(mustOpen(new FakeLog(log.durable)).records).toEqual([...all, entry(7)])
    }
  })

  it('proof of damage is found however far away it stands', () => {
    const log = new FakeLog()
    const { wal } = mustOpen(log)
    const damaged = wal.append(entry(1, 700_000))
    wal.flush(() => undefined)
    log.settle()
    wal.append(entry(2))
    wal.flush(() => undefined)
    log.settle()
    const bytes = log.durable.slice()
    bytes[damaged.lsn]! ^= 0x55
    expect(codeOf(bytes)).toBe('CORRUPT')
    expect(codeOf(bytes.subarray(0, damaged.lsn + damaged.bytes))).toBe('opened')
  })

  it('a record left over from another place never passes, though its checksum holds', () => {
    const { lsn: at, bytes: length } = positions[0]!
    const stale = image.slice(at, at + length)
    const bytes = new Uint8Array(image.length + stale.length)
    bytes.set(image)
    bytes.set(stale, image.length)
    const cut = stale.findLastIndex(byte => byte !== 0) + 1
    expect(brief(openLog(new FakeLog(bytes)))).toBe(opened(all.length, image.length, cut))
  })

  it('a foreign file is CORRUPT and stays as it is; zeros alone are a new log', () => {
    const foreign = new TextEncoder().encode('{"this is": "somebody else\'s file"}')
    const log = new FakeLog(foreign)
    expect(openLog(log)).toMatchObject({ code: 'CORRUPT' })
    expect(log.image).toEqual(foreign)
    expect(mustOpen(new FakeLog(new Uint8Array(4096)))).toMatchObject({ records: [], cutBytes: 0 })
    const late = new Uint8Array(4096)
    late[3000] = 1
    expect(codeOf(late)).toBe('CORRUPT')
  })

  it('a log of a newer format is VERSION_MISMATCH', () => {
    const bytes = image.slice()
    const head = encodeHead()
    head[8] = 2
    new DataView(head.buffer).setUint32(12, crc32c(head, 0, 0, 12), true)
    bytes.set(head)
    expect(codeOf(bytes)).toBe('VERSION_MISMATCH')
  })

  it('a whole record of an unknown type is CORRUPT, not a torn tail', () => {
    const bytes = image.slice()
    const at = positions[5]!.lsn
    bytes[at + 24] = 9
    const length = positions[5]!.bytes
    new DataView(bytes.buffer).setUint32(at + 4, crc32c(bytes, crc32c(bytes, 0, at, at + 4), at + 8, at + length), true)
    expect(codeOf(bytes)).toBe('CORRUPT')
  })
})
