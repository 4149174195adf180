/** The rules of LogFile (L1 to L8 of `src/platform.ts`). */
import { seededRandom } from '../../src/base/random.ts'
import type { Result } from '../../src/platform.ts'
import { LogModel } from './log-model.ts'
import { check, checkEqual, type Rule } from './rule.ts'
import { closed, openLog, outcome, pattern, read, readResult, type StorageHarness, synced } from './storage-harness.ts'

const codeOf = (result: Result<unknown>): string => (result.ok ? 'done' : result.error.code)

export const logFileRules: readonly Rule<StorageHarness>[] = [
  {
    id: 'L1',
    title: 'a new log is empty; append extends it at once; what was appended is read at once, in any pieces',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      checkEqual([log.start, log.end], [0, 0], 'a new log')
      const whole = pattern(1, 3_000)
      log.append(whole.slice(0, 700))
      checkEqual(log.end, 700, 'end')
      log.append(new Uint8Array(0))
      log.append(whole.slice(700))
      checkEqual([log.start, log.end], [0, 3_000], 'start and end')
      for (const [at, length] of [
        [0, 3_000],
        [0, 1],
        [2_999, 1],
        [699, 2],
        [511, 2],
        [0, 0],
        [3_000, 0],
      ] as const) {
        checkEqual(await read(harness, log, at, length), whole.slice(at, at + length), `${length} bytes at ${at}`)
      }
      await synced(harness, log)
      log.append(pattern(2, 100))
      checkEqual(await read(harness, log, 2_950, 150), concat(whole.slice(2_950), pattern(2, 100)), 'synced and not')
    },
  },
  {
    id: 'L1',
    title: 'several MiB in pieces of all sizes come back whole, with syncs in between and after reopening',
    async run(harness) {
      const random = seededRandom('several MiB')
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      const whole = pattern(3, 5 * 1024 * 1024)
      let at = 0
      while (at < whole.length) {
        const length = Math.min(whole.length - at, random.pick([1, 100, 4_096, 70_000, 900_000, 1_500_000]))
        log.append(whole.slice(at, at + length))
        at += length
        if (random.chance(0.3)) await synced(harness, log)
      }
      await synced(harness, log)
      const compare = async () => {
        for (let i = 0; i < 40; i++) {
          const from = random.below(whole.length)
          const length = random.below(Math.min(300_000, whole.length - from) + 1)
          checkEqual(
            await read(harness, log, from, length),
            whole.slice(from, from + length),
            `${length} bytes at ${from}`,
          )
        }
      }
      await compare()
      if (harness.reopen === undefined) return
      directory = await harness.reopen(directory)
      log = await openLog(harness, directory)
      check(log.end >= whole.length, 'nothing is missing at the end')
      await compare()
    },
  },
  {
    id: 'L2',
    title: 'what was synced is there after an orderly end, and appends go on behind it',
    needs: ['reopen'],
    async run(harness) {
      let directory = await harness.open()
      const bytes = pattern(4, 10_000)
      let expectedEnd = 0
      for (let round = 0; round < 4; round++) {
        const log = await openLog(harness, directory)
        check(log.start === 0 && log.end >= expectedEnd, `round ${round}: start ${log.start}, end ${log.end}`)
        checkEqual(await read(harness, log, 0, expectedEnd), bytes.slice(0, expectedEnd), 'what was synced')
        log.truncate(expectedEnd)
        log.append(bytes.slice(expectedEnd, expectedEnd + 2_500))
        expectedEnd += 2_500
        await synced(harness, log)
        directory = await harness.reopen!(directory)
      }
    },
  },
  {
    id: 'L2',
    title: 'zeros count: bytes of zero that were synced are not taken for an end',
    needs: ['reopen'],
    async run(harness) {
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      log.append(Uint8Array.of(7, 0, 0, 0, 0))
      log.append(new Uint8Array(2_000))
      await synced(harness, log)
      directory = await harness.reopen!(directory)
      log = await openLog(harness, directory)
      check(log.end >= 2_005, `end is ${log.end}`)
      checkEqual(await read(harness, log, 0, 6), Uint8Array.of(7, 0, 0, 0, 0, 0), 'the bytes')
    },
  },
  {
    id: 'L2',
    title: 'a process that dies loses nothing that it had synced',
    needs: ['kill'],
    async run(harness) {
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      log.append(pattern(5, 5_000))
      await synced(harness, log)
      log.append(pattern(6, 5_000))
      directory = await harness.kill!(directory)
      log = await openLog(harness, directory)
      checkEqual(await read(harness, log, 0, 5_000), pattern(5, 5_000), 'what was synced')
    },
  },
  {
    id: 'L2',
    title: 'after any crash everything that a sync covered is there; the rest is what was written, or zeros',
    needs: ['crash'],
    async run(harness) {
      const random = seededRandom(`log crashes ${harness.crashRounds}`)
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      const model = new LogModel()
      for (let round = 0; round < (harness.crashRounds ?? 1); round++) {
        const steps = random.below(12)
        for (let step = 0; step < steps; step++) {
          switch (random.below(8)) {
            case 0: {
              const end = random.between(log.start, log.end)
              log.truncate(end)
              model.truncate(end)
              break
            }
            case 1: {
              const offset = random.between(log.start, log.end)
              log.dropFront(offset)
              check(log.start <= offset, `start ${log.start} is beyond the ${offset} that was allowed`)
              model.dropFront(offset)
              break
            }
            case 2:
            case 3:
              await synced(harness, log)
              model.sync()
              break
            default: {
              const bytes = pattern(random.below(1_000), random.pick([1, 30, 511, 512, 513, 4_000, 20_000]))
              log.append(bytes)
              model.append(bytes)
            }
          }
          checkEqual(log.end, model.end, 'end')
        }
        directory = await harness.crash!(directory)
        log = await openLog(harness, directory)
        model.crashed(log.start, log.end, await read(harness, log, log.start, log.end - log.start))
        // As its owner does: the zeros behind the last byte are cut, or the log would grow with every crash.
        const end = model.contentEnd()
        log.truncate(end)
        model.truncate(end)
      }
    },
  },
  {
    id: 'L3',
    title: 'a crash right after creation leaves a log that opens',
    needs: ['crash'],
    async run(harness) {
      let directory = await harness.open()
      for (let round = 0; round < Math.min(10, harness.crashRounds ?? 1); round++) {
        const log = await openLog(harness, directory, `log-${round}`)
        log.append(pattern(round, 100))
        directory = await harness.crash!(directory)
        const again = await openLog(harness, directory, `log-${round}`)
        const bytes = await read(harness, again, 0, again.end)
        check(
          bytes.every((byte, i) => byte === 0 || byte === pattern(round, 100)[i]),
          'zeros, or what was appended',
        )
      }
    },
  },
  {
    id: 'L4',
    title: 'truncate moves the end back; what was cut is gone, also behind what is appended next',
    async run(harness) {
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      log.append(pattern(7, 3_000))
      await synced(harness, log)
      log.truncate(1_000)
      checkEqual(log.end, 1_000, 'end')
      checkEqual(codeOf(await readResult(harness, log, 900, 200)), 'CORRUPT', 'a read across the cut')
      log.append(Uint8Array.of(9))
      await synced(harness, log)
      checkEqual(
        await read(harness, log, 998, 3),
        concat(pattern(7, 3_000).slice(998, 1_000), Uint8Array.of(9)),
        'the seam',
      )
      if (harness.reopen === undefined) return
      directory = await harness.reopen(directory)
      log = await openLog(harness, directory)
      const tail = await read(harness, log, 1_001, log.end - 1_001)
      check(
        tail.every(byte => byte === 0),
        'cut bytes came back',
      )
    },
  },
  {
    id: 'L4',
    title: 'a cut of unsynced and of all bytes; and one that cuts nothing',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      log.append(pattern(8, 100))
      log.truncate(100)
      log.truncate(40)
      log.append(pattern(9, 10))
      checkEqual(await read(harness, log, 0, 50), concat(pattern(8, 100).slice(0, 40), pattern(9, 10)), 'unsynced')
      await synced(harness, log)
      log.truncate(0)
      checkEqual([log.start, log.end], [0, 0], 'empty again')
      log.append(pattern(10, 5))
      await synced(harness, log)
      checkEqual(await read(harness, log, 0, 5), pattern(10, 5), 'after it')
    },
  },
  {
    id: 'L4',
    title: 'after a crash no cut byte stands behind one that was appended after the cut',
    needs: ['crash'],
    async run(harness) {
      let directory = await harness.open()
      for (let round = 0; round < (harness.crashRounds ?? 1); round++) {
        const name = `cut-${round}`
        let log = await openLog(harness, directory, name)
        log.append(new Uint8Array(3_000).fill(0xaa))
        await synced(harness, log)
        log.truncate(1_000)
        log.append(new Uint8Array(100).fill(0xbb))
        directory = await harness.crash!(directory)
        log = await openLog(harness, directory, name)
        const bytes = await read(harness, log, 0, log.end)
        check(
          bytes.subarray(0, 1_000).every(byte => byte === 0xaa),
          'what was not cut',
        )
        const behind = bytes.subarray(1_000)
        check(!(behind.includes(0xbb) && behind.includes(0xaa)), 'a cut byte and one appended after the cut')
        await closed(harness, log)
      }
    },
  },
  {
    id: 'L5',
    title: 'dropFront moves the start up to a place at or below the one named; the rest stays, also after reopening',
    async run(harness) {
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      const whole = pattern(11, 6 * 1024 * 1024)
      for (let at = 0; at < whole.length; at += 500_000) {
        log.append(whole.slice(at, at + 500_000))
        await synced(harness, log)
      }
      log.dropFront(5_000_000)
      await synced(harness, log)
      const { start } = log
      check(start <= 5_000_000, `start ${start} is beyond what was allowed`)
      check(start > 0, 'nothing was freed of 5 MB')
      checkEqual(codeOf(await readResult(harness, log, start - 1, 10)), 'CORRUPT', 'a read before the start')
      checkEqual(await read(harness, log, start, whole.length - start), whole.slice(start), 'the rest')
      log.dropFront(0)
      checkEqual(log.start, start, 'the start never goes back')
      log.append(Uint8Array.of(5))
      await synced(harness, log)
      if (harness.reopen === undefined) return
      directory = await harness.reopen(directory)
      log = await openLog(harness, directory)
      const { start: later } = log
      check(later >= start && later <= 5_000_000, `start ${start} became ${later} with reopening`)
      checkEqual(await read(harness, log, later, whole.length - later), whole.slice(later), 'the rest after reopening')
    },
  },
  {
    id: 'L6',
    title: 'pitfall 18: a failed sync is final: everything after it completes with STORAGE_LOST',
    needs: ['failNextSync'],
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      log.append(pattern(12, 100))
      await synced(harness, log)
      await harness.failNextSync!()
      log.append(pattern(13, 100))
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'STORAGE_LOST', 'the sync')
      log.append(pattern(14, 100))
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'STORAGE_LOST', 'the next sync')
      checkEqual(codeOf(await readResult(harness, log, 0, 10)), 'STORAGE_LOST', 'a read')
      checkEqual(log.end, 300, 'end goes on counting')
    },
  },
  {
    id: 'L6',
    title: 'pitfall 18: syncs that wait behind a failed one fail with it, in order',
    needs: ['failNextSync'],
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      await harness.failNextSync!()
      const heard: string[] = []
      for (let i = 0; i < 3; i++) {
        log.append(pattern(i, 50))
        log.sync(error => heard.push(`${i} ${error?.code ?? 'done'}`))
      }
      await harness.until(() => heard.length === 3, 'all have answered')
      checkEqual(heard, ['0 STORAGE_LOST', '1 STORAGE_LOST', '2 STORAGE_LOST'], 'answers')
    },
  },
  {
    id: 'L6',
    title: 'pitfall 17, 23: an append that finds no space ends in QUOTA, and nothing of it is acknowledged',
    needs: ['fillUp', 'reopen'],
    async run(harness) {
      let directory = await harness.open()
      let log = await openLog(harness, directory)
      log.append(pattern(15, 1_000))
      await synced(harness, log)
      await harness.fillUp!()
      // More than any adapter has set aside.
      for (let i = 0; i < 5; i++) log.append(pattern(i, 1_000_000))
      checkEqual(log.end, 5_001_000, 'end')
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'QUOTA', 'the sync')
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'QUOTA', 'the next sync')
      directory = await harness.reopen!(directory)
      log = await openLog(harness, directory)
      checkEqual(await read(harness, log, 0, 1_000), pattern(15, 1_000), 'what was synced before')
    },
  },
  {
    id: 'L7',
    title: 'reads outside start…end complete with CORRUPT',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      log.append(pattern(16, 100))
      for (const [offset, length] of [
        [0, 101],
        [100, 1],
        [50, 51],
        [1_000, 1],
        [-1, 5],
      ] as const) {
        checkEqual(codeOf(await readResult(harness, log, offset, length)), 'CORRUPT', `${length} bytes at ${offset}`)
      }
    },
  },
  {
    id: 'L8',
    title: 'close waits for what is in flight; afterwards everything is CLOSED, and the name can be opened again',
    async run(harness) {
      const directory = await harness.open()
      const log = await openLog(harness, directory)
      log.append(pattern(17, 100))
      const heard: string[] = []
      log.sync(error => heard.push(`sync ${error?.code ?? 'done'}`))
      log.read(0, 5, result => heard.push(`read ${codeOf(result)}`))
      log.close(error => heard.push(`close ${error?.code ?? 'done'}`))
      await harness.until(() => heard.length === 3, 'all have answered')
      checkEqual(heard.slice().sort(), ['close done', 'read done', 'sync done'], 'answers')
      checkEqual(heard[2], 'close done', 'the last answer')
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'CLOSED', 'a sync')
      checkEqual(codeOf(await readResult(harness, log, 0, 1)), 'CLOSED', 'a read')
      checkEqual(await outcome(harness, 'close', done => log.close(done)), 'CLOSED', 'another close')
      log.append(pattern(18, 100))
      const again = await openLog(harness, directory)
      check(again.end >= 100, 'it is there')
      checkEqual(await read(harness, again, 0, 100), pattern(17, 100), 'its content')
    },
  },
  {
    id: 'P1',
    title:
      'syncs answer once each, in the order of the calls, however many are under way; each covers what came before it',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      const heard: number[] = []
      for (let i = 0; i < 100; i++) {
        log.append(pattern(i, 20))
        log.sync(error => heard.push(error === undefined ? i : -1))
      }
      await harness.until(() => heard.length === 100, 'all have answered')
      checkEqual(
        heard,
        Array.from({ length: 100 }, (_, i) => i),
        'answers',
      )
    },
  },
  {
    id: 'P1',
    title: 'reads answer in the order of the calls',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      for (let i = 0; i < 30; i++) {
        log.append(pattern(i, 100))
        if (i % 3 === 0) await synced(harness, log)
      }
      const heard: number[] = []
      for (let i = 29; i >= 0; i--) {
        log.read(i * 100, 100, result => {
          heard.push(i)
          check(result.ok && result.value[0] === pattern(i, 1)[0], `what read ${i} found`)
        })
      }
      await harness.until(() => heard.length === 30, 'all have answered')
      checkEqual(
        heard,
        Array.from({ length: 30 }, (_, i) => 29 - i),
        'answers',
      )
    },
  },
  {
    id: 'P4',
    title: 'bytes handed out are the receiver’s: changing them changes nothing',
    async run(harness) {
      const log = await openLog(harness, await harness.open())
      log.append(pattern(19, 100))
      const first = await read(harness, log, 0, 100)
      first.fill(0)
      checkEqual(await read(harness, log, 0, 100), pattern(19, 100), 'unsynced')
      await synced(harness, log)
      const second = await read(harness, log, 0, 100)
      second.fill(0)
      checkEqual(await read(harness, log, 0, 100), pattern(19, 100), 'synced')
    },
  },
]

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length)
  whole.set(a)
  whole.set(b, a.length)
  return whole
}
