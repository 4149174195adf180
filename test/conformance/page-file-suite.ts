/** The rules of PageFile (G1 to G5 of `src/platform.ts`). */
import { AssertionError } from '../../src/base/assert.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { PageFile, Result } from '../../src/platform.ts'
import { check, checkEqual, type Rule } from './rule.ts'
import {
  closed,
  openPages,
  outcome,
  pattern,
  read,
  readResult,
  type StorageHarness,
  synced,
} from './storage-harness.ts'

const codeOf = (result: Result<unknown>): string => (result.ok ? 'done' : result.error.code)

const sectors = (pages: PageFile, count: number): number => pages.sectorBytes * count

function isBug(run: () => void): boolean {
  try {
    run()
    return false
  } catch (error) {
    return error instanceof AssertionError
  }
}

export const pageFileRules: readonly Rule<StorageHarness>[] = [
  {
    id: 'G1',
    title: 'an extent reads back as last written, synced or not; never written sectors are zeros',
    async run(harness) {
      const pages = await openPages(harness, await harness.open())
      const one = sectors(pages, 1)
      checkEqual(pages.bytes, 0, 'a new file')
      checkEqual(await read(harness, pages, 5 * one, 2 * one), new Uint8Array(2 * one), 'never written')
      pages.write(2 * one, pattern(1, 3 * one))
      checkEqual(await read(harness, pages, 2 * one, 3 * one), pattern(1, 3 * one), 'unsynced')
      await synced(harness, pages)
      pages.write(3 * one, pattern(2, one))
      const expected = pattern(1, 3 * one)
      expected.set(pattern(2, one), one)
      checkEqual(await read(harness, pages, 2 * one, 3 * one), expected, 'overwritten in the middle')
      const around = new Uint8Array(6 * one)
      around.set(expected, 2 * one)
      checkEqual(await read(harness, pages, 0, 6 * one), around, 'with what was never written around it')
    },
  },
  {
    id: 'G1',
    title: 'random writes, reads, cuts and syncs agree with a model, also after reopening',
    async run(harness) {
      const random = seededRandom('pages against a model')
      let directory = await harness.open()
      let pages = await openPages(harness, directory)
      const one = pages.sectorBytes
      const spread = 40
      const model = new Uint8Array(spread * one)
      const lengthMax = Math.min(8, Math.floor(pages.extentBytesMax / one))
      const extent = (): [number, number] => {
        const length = random.between(1, lengthMax)
        return [random.below(spread - length + 1), length]
      }
      let reach = 0
      for (let step = 0; step < 250; step++) {
        const [at, length] = extent()
        switch (random.below(6)) {
          case 0:
            await synced(harness, pages)
            break
          case 1:
            if (random.chance(0.2)) {
              pages.truncate(at * one)
              model.fill(0, at * one)
              reach = Math.min(reach, at * one)
            }
            break
          case 2:
            if (harness.reopen !== undefined && random.chance(0.1)) {
              await synced(harness, pages)
              directory = await harness.reopen(directory)
              pages = await openPages(harness, directory)
            }
            break
          case 3: {
            const bytes = pattern(step, length * one)
            pages.write(at * one, bytes)
            model.set(bytes, at * one)
            reach = Math.max(reach, (at + length) * one)
            break
          }
          default:
            checkEqual(
              await read(harness, pages, at * one, length * one),
              model.slice(at * one, (at + length) * one),
              `step ${step}: ${length} sectors at ${at}`,
            )
        }
        checkEqual(pages.bytes, reach, `step ${step}: bytes`)
      }
    },
  },
  {
    id: 'G2',
    title: 'what was synced is there after an orderly end',
    needs: ['reopen'],
    async run(harness) {
      let directory = await harness.open()
      let pages = await openPages(harness, directory)
      const page = pages.pageBytesPreferred
      for (let i = 0; i < 20; i += 2) pages.write(i * page, pattern(i, page))
      await synced(harness, pages)
      directory = await harness.reopen!(directory)
      pages = await openPages(harness, directory)
      checkEqual(pages.bytes, 19 * page, 'bytes')
      for (let i = 0; i < 20; i++) {
        checkEqual(
          await read(harness, pages, i * page, page),
          i % 2 === 0 ? pattern(i, page) : new Uint8Array(page),
          `page ${i}`,
        )
      }
    },
  },
  {
    id: 'G2',
    title: 'after any crash synced sectors are whole; others hold what was written once, or what was there',
    needs: ['crash'],
    async run(harness) {
      const random = seededRandom(`page crashes ${harness.crashRounds}`)
      let directory = await harness.open()
      let pages = await openPages(harness, directory)
      const one = pages.sectorBytes
      const spread = 24
      /** For each 512 bytes, the smallest that may tear: everything that it may hold. */
      const grain = 512
      const options = Array.from({ length: (spread * one) / grain }, (): Uint8Array[] => [new Uint8Array(grain)])
      let stamp = 0
      for (let round = 0; round < (harness.crashRounds ?? 1); round++) {
        const steps = random.below(10)
        const settled = new Map<number, Uint8Array>()
        for (let step = 0; step < steps; step++) {
          if (random.chance(0.25)) {
            await synced(harness, pages)
            for (const [piece, bytes] of settled) options[piece] = [bytes]
            settled.clear()
            continue
          }
          const length = random.between(1, 4)
          const at = random.below(spread - length + 1)
          const bytes = pattern(++stamp, length * one)
          pages.write(at * one, bytes)
          for (let i = 0; i < bytes.length; i += grain) {
            const piece = (at * one + i) / grain
            const part = bytes.slice(i, i + grain)
            options[piece]!.push(part)
            settled.set(piece, part)
          }
        }
        directory = await harness.crash!(directory)
        pages = await openPages(harness, directory)
        for (let piece = 0; piece < options.length; piece++) {
          const sector = Math.floor((piece * grain) / one)
          const whole = await read(harness, pages, sector * one, one)
          const from = (piece * grain) % one
          const found = whole.slice(from, from + grain)
          check(
            options[piece]!.some(option => String(option) === String(found)),
            `round ${round}: the 512 bytes at ${piece * grain} are none of the ${options[piece]!.length} that they may be`,
          )
          options[piece] = [found]
        }
      }
    },
  },
  {
    id: 'G3',
    title: 'misaligned, empty and oversized extents are bugs; the largest one works',
    async run(harness) {
      const pages = await openPages(harness, await harness.open())
      const { sectorBytes: one, extentBytesMax } = pages
      check(one >= 512 && one % 512 === 0 && extentBytesMax % one === 0, 'whole sectors')
      check(pages.pageBytesPreferred <= extentBytesMax && pages.pageBytesPreferred % one === 0, 'a page is an extent')
      const nobody = () => check(false, 'a bug was answered')
      for (const [offset, length] of [
        [1, one],
        [0, one - 1],
        [0, 0],
        [0, extentBytesMax + one],
        [-one, one],
      ] as const) {
        check(
          isBug(() => pages.write(offset, new Uint8Array(length))),
          `write of ${length} at ${offset}`,
        )
        check(
          isBug(() => pages.read(offset, length, nobody)),
          `read of ${length} at ${offset}`,
        )
      }
      check(
        isBug(() => pages.truncate(1)),
        'truncate to 1',
      )
      pages.write(one, pattern(3, extentBytesMax))
      await synced(harness, pages)
      checkEqual(await read(harness, pages, one, extentBytesMax), pattern(3, extentBytesMax), 'the largest')
    },
  },
  {
    id: 'G4',
    title: 'bytes is the end of the last sector written and not cut; what was cut reads as zeros, for good',
    async run(harness) {
      let directory = await harness.open()
      let pages = await openPages(harness, directory)
      const one = pages.sectorBytes
      pages.write(9 * one, pattern(4, one))
      checkEqual(pages.bytes, 10 * one, 'after a write')
      pages.write(0, pattern(5, 4 * one))
      checkEqual(pages.bytes, 10 * one, 'after a write before it')
      await synced(harness, pages)
      pages.truncate(3 * one)
      checkEqual(pages.bytes, 3 * one, 'after a cut')
      checkEqual(await read(harness, pages, 9 * one, one), new Uint8Array(one), 'what was cut')
      pages.truncate(20 * one)
      checkEqual(pages.bytes, 3 * one, 'a cut does not extend')
      pages.write(11 * one, pattern(6, one))
      await synced(harness, pages)
      if (harness.reopen !== undefined) {
        directory = await harness.reopen(directory)
        pages = await openPages(harness, directory)
      }
      checkEqual(pages.bytes, 12 * one, 'in the end')
      checkEqual(await read(harness, pages, 3 * one, 8 * one), new Uint8Array(8 * one), 'what was cut, in the end')
      checkEqual(await read(harness, pages, 0, 3 * one), pattern(5, 4 * one).slice(0, 3 * one), 'what was not cut')
    },
  },
  {
    id: 'G5',
    title: 'pitfall 18: a failed sync is final',
    needs: ['failNextSync'],
    async run(harness) {
      const pages = await openPages(harness, await harness.open())
      const one = pages.sectorBytes
      pages.write(0, pattern(7, one))
      await synced(harness, pages)
      await harness.failNextSync!()
      pages.write(0, pattern(8, one))
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'STORAGE_LOST', 'the sync')
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'STORAGE_LOST', 'the next sync')
      checkEqual(codeOf(await readResult(harness, pages, 0, one)), 'STORAGE_LOST', 'a read')
    },
  },
  {
    id: 'G5',
    title: 'pitfall 17, 23: a write that finds no space ends in QUOTA; what was synced before is untouched',
    needs: ['fillUp', 'reopen'],
    async run(harness) {
      let directory = await harness.open()
      let pages = await openPages(harness, directory)
      const page = pages.pageBytesPreferred
      pages.write(0, pattern(9, page))
      await synced(harness, pages)
      await harness.fillUp!()
      const large = pages.extentBytesMax
      for (let i = 1; i < 4; i++) pages.write(i * large, pattern(i, large))
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'QUOTA', 'the sync')
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'QUOTA', 'the next sync')
      directory = await harness.reopen!(directory)
      pages = await openPages(harness, directory)
      checkEqual(await read(harness, pages, 0, page), pattern(9, page), 'what was synced')
    },
  },
  {
    id: 'G5',
    title: 'close waits for what is in flight; afterwards everything is CLOSED',
    async run(harness) {
      const directory = await harness.open()
      const pages = await openPages(harness, directory)
      const one = pages.sectorBytes
      pages.write(0, pattern(10, one))
      const heard: string[] = []
      pages.sync(error => heard.push(`sync ${error?.code ?? 'done'}`))
      pages.read(0, one, result => heard.push(`read ${codeOf(result)}`))
      pages.close(error => heard.push(`close ${error?.code ?? 'done'}`))
      await harness.until(() => heard.length === 3, 'all have answered')
      checkEqual(heard.slice().sort(), ['close done', 'read done', 'sync done'], 'answers')
      checkEqual(heard[2], 'close done', 'the last answer')
      checkEqual(await outcome(harness, 'sync', done => pages.sync(done)), 'CLOSED', 'a sync')
      checkEqual(codeOf(await readResult(harness, pages, 0, one)), 'CLOSED', 'a read')
      checkEqual(await outcome(harness, 'close', done => pages.close(done)), 'CLOSED', 'another close')
      const again = await openPages(harness, directory)
      checkEqual(await read(harness, again, 0, one), pattern(10, one), 'its content')
      await closed(harness, again)
    },
  },
  {
    id: 'P1',
    title: 'syncs and reads answer in the order of their calls',
    async run(harness) {
      const pages = await openPages(harness, await harness.open())
      const one = pages.sectorBytes
      const syncs: number[] = []
      const reads: number[] = []
      for (let i = 0; i < 30; i++) {
        pages.write(i * one, pattern(i, one))
        pages.sync(error => syncs.push(error === undefined ? i : -1))
        pages.read(i * one, one, result => {
          reads.push(i)
          check(result.ok && String(result.value) === String(pattern(i, one)), `what read ${i} found`)
        })
      }
      await harness.until(() => syncs.length === 30 && reads.length === 30, 'all have answered')
      const inOrder = Array.from({ length: 30 }, (_, i) => i)
      checkEqual([syncs, reads], [inOrder, inOrder], 'answers')
    },
  },
]
