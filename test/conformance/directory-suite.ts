/** The rules of Directory (D1 to D4 of `src/platform.ts`). */
import type { Directory, LogFile, Result } from '../../src/platform.ts'
import { answer, check, checkEqual, type Rule, type Waiting } from './rule.ts'
import {
  closed,
  openLog,
  openPages,
  outcome,
  pattern,
  read,
  type StorageHarness,
  success,
  synced,
} from './storage-harness.ts'

const codeOf = (result: Result<unknown>): string => (result.ok ? 'done' : result.error.code)

const list = (harness: Waiting, directory: Directory): Promise<readonly string[]> =>
  success(answer<Result<readonly string[]>>(harness, 'list', done => directory.list(done)))

const openCode = async (harness: Waiting, directory: Directory, name: string): Promise<string> =>
  codeOf(await answer<Result<LogFile>>(harness, `opening ${name}`, done => directory.openLog(name, done)))

export const directoryRules: readonly Rule<StorageHarness>[] = [
  {
    id: 'D1',
    title: 'open creates what is missing; names keep apart what they name',
    async run(harness) {
      const directory = await harness.open()
      checkEqual(await list(harness, directory), [], 'a new directory')
      const names = ['a', 'a-b', '0', 'x'.repeat(32), '-']
      for (const [i, name] of names.entries()) {
        const log = await openLog(harness, directory, name)
        log.append(pattern(i, 100))
        await synced(harness, log)
      }
      const pages = await openPages(harness, directory, 'pages')
      pages.write(0, pattern(9, pages.sectorBytes))
      await synced(harness, pages)
      checkEqual((await list(harness, directory)).slice().sort(), [...names, 'pages'].sort(), 'names')
    },
  },
  {
    id: 'D1',
    title: 'a name is open once at a time, and is of one kind',
    async run(harness) {
      const directory = await harness.open()
      const log = await openLog(harness, directory, 'one')
      await synced(harness, log)
      checkEqual(await openCode(harness, directory, 'one'), 'LOCKED', 'opening it twice')
      await closed(harness, log)
      const result = await answer<Result<unknown>>(harness, 'open', done => directory.openPages('one', done))
      checkEqual(codeOf(result), 'CORRUPT', 'opening a log as a page file')
      checkEqual(await openCode(harness, directory, 'one'), 'done', 'opening it again')
      const pages = await openPages(harness, directory, 'two')
      await synced(harness, pages)
      await closed(harness, pages)
      checkEqual(await openCode(harness, directory, 'two'), 'CORRUPT', 'opening a page file as a log')
    },
  },
  {
    id: 'D2',
    title: 'a file is there after a crash once its first sync has completed',
    needs: ['crash'],
    async run(harness) {
      let directory = await harness.open()
      // One at a time: the sync of one file may cover the other's name.
      for (let round = 0; round < 2 * (harness.crashRounds ?? 1); round++) {
        const name = `file-${round}`
        const open = round % 2 === 0 ? openLog : openPages
        await synced(harness, await open(harness, directory, name))
        directory = await harness.crash!(directory)
        const names = await list(harness, directory)
        check(names.includes(name), `${name} is among ${names.join(' ')}`)
      }
    },
  },
  {
    id: 'D3',
    title: 'remove deletes a closed file for good; an open one is refused; a missing one is nothing',
    async run(harness) {
      let directory = await harness.open()
      const log = await openLog(harness, directory, 'gone')
      log.append(pattern(1, 3 * 1024 * 1024))
      await synced(harness, log)
      const pages = await openPages(harness, directory, 'pages')
      pages.write(0, pattern(2, pages.sectorBytes))
      await synced(harness, pages)
      const remove = (name: string) => outcome(harness, `remove ${name}`, done => directory.remove(name, done))
      checkEqual(await remove('gone'), 'LOCKED', 'an open one')
      await closed(harness, log)
      await closed(harness, pages)
      checkEqual(
        [await remove('gone'), await remove('pages'), await remove('never')],
        ['done', 'done', 'done'],
        'closed ones',
      )
      checkEqual(await list(harness, directory), [], 'what is left')
      if (harness.reopen !== undefined) directory = await harness.reopen(directory)
      const again = await openLog(harness, directory, 'gone')
      checkEqual([again.start, again.end], [0, 0], 'a new log under the old name')
      const pagesAgain = await openPages(harness, directory, 'pages')
      checkEqual(pagesAgain.bytes, 0, 'a new page file under the old name')
    },
  },
  {
    id: 'D4',
    title: 'close closes what is open; afterwards everything is CLOSED',
    async run(harness) {
      const directory = await harness.open()
      const log = await openLog(harness, directory, 'log')
      const pages = await openPages(harness, directory, 'pages')
      log.append(pattern(3, 100))
      let syncedFirst = false
      log.sync(error => {
        syncedFirst = error === undefined
      })
      await closed(harness, directory)
      check(syncedFirst, 'what was in flight completed before')
      checkEqual(await outcome(harness, 'sync', done => log.sync(done)), 'CLOSED', 'the log')
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'CLOSED', 'the page file')
      checkEqual(await openCode(harness, directory, 'log'), 'CLOSED', 'opening')
      checkEqual(await outcome(harness, 'remove', done => directory.remove('x', done)), 'CLOSED', 'removing')
      checkEqual(
        codeOf(await answer<Result<unknown>>(harness, 'list', done => directory.list(done))),
        'CLOSED',
        'listing',
      )
      checkEqual(await outcome(harness, 'close', done => directory.close(done)), 'CLOSED', 'closing again')
    },
  },
  {
    id: 'D4',
    title: 'while it is open nobody else gets it (LOCKED); after close, and after a crash, it is free',
    needs: ['openAgain', 'reopen'],
    async run(harness) {
      let directory = await harness.open()
      checkEqual(codeOf(await harness.openAgain!()), 'LOCKED', 'opening it twice')
      directory = await harness.reopen!(directory)
      checkEqual(codeOf(await harness.openAgain!()), 'LOCKED', 'opening it twice after reopening')
      for (const end of [harness.kill, harness.crash]) {
        if (end === undefined) continue
        directory = await end(directory)
        checkEqual(codeOf(await harness.openAgain!()), 'LOCKED', 'opening it twice after its process ended')
      }
    },
  },
  {
    id: 'D4',
    title: 'reopened, it lists and holds what was synced',
    needs: ['reopen'],
    async run(harness) {
      let directory = await harness.open()
      const log = await openLog(harness, directory, 'log')
      log.append(pattern(4, 100))
      await synced(harness, log)
      const pages = await openPages(harness, directory, 'pages')
      await synced(harness, pages)
      directory = await harness.reopen!(directory)
      checkEqual((await list(harness, directory)).slice().sort(), ['log', 'pages'], 'names')
      checkEqual(await read(harness, await openLog(harness, directory, 'log'), 0, 100), pattern(4, 100), 'the log')
    },
  },
]
