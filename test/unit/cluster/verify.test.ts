/** The check of a store: whole ones, what crashes leave, every flipped bit and every truncation. */
import { describe, expect, it } from 'vitest'
import { clusterId, index, lsn, term, timestamp } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { group0 } from '../../../src/cluster/group-replay.ts'
import { closeStore, openStore, type Store } from '../../../src/cluster/store.ts'
import { type StoreReport, verifyStore } from '../../../src/cluster/verify.ts'
import type { Directory, Result } from '../../../src/platform.ts'
import { ApplyMachine } from '../../../src/shard/apply.ts'
import { type Command, encodeBody, stampBody } from '../../../src/shard/command.ts'
import { FakeLog } from '../storage/fake-log.ts'
import { FakePages } from '../storage/fake-pages.ts'

const session = 'a'.repeat(32)
const keys = 20

/** The two files of a peer; `settle` makes what waits complete. */
function directoryOf(log: FakeLog, pages: FakePages): Directory & { settle(): void } {
  return {
    openLog: (_name, done) => done({ ok: true, value: log }),
    openPages: (_name, done) => done({ ok: true, value: pages }),
    list: done => done({ ok: true, value: ['log', 'pages'] }),
    remove: (_name, done) => done(undefined),
    close: done => done(undefined),
    settle() {
      for (let i = 0; i < 20; i++) {
        log.settle()
        pages.settle()
      }
    },
  }
}

function opened(directory: ReturnType<typeof directoryOf>): Store {
  let store: Result<Store> | undefined
  const clock = { now: () => 0, after: () => () => {} }
  openStore({ directory, platform: { random: seededRandom(1), clock }, cacheBytes: 0 }, result => {
    store = result
  })
  directory.settle()
  if (store === undefined || !store.ok) throw new Error('the store did not open')
  return store.value
}

interface Bytes {
  readonly log: Uint8Array
  readonly pages: Uint8Array
}

/** A store with one session, `keys` keys and one deletion, all committed, and one entry after them that is not. */
function written(checkpoint = false): Bytes & { readonly logEnd: number } {
  const log = new FakeLog()
  const pages = new FakePages()
  const directory = directoryOf(log, pages)
  const store = opened(directory)
  const write = (serial: number, type: 'put' | 'delete', key: number): Command => ({
    type: 'writes',
    session,
    floor: 0,
    writes: [
      {
        serial,
        idempotencyKey: undefined,
        checks: [],
        ranges: [],
        ops: [
          type === 'put'
            ? { type, key: Uint8Array.of(key), value: new Uint8Array(10) }
            : { type, key: Uint8Array.of(key) },
        ],
      },
    ],
  })
  const commands: Command[] = [{ type: 'openSession', session }]
  for (let i = 1; i <= keys; i++) commands.push(write(i, 'put', i))
  commands.push(write(keys + 1, 'delete', 1))
  commands.push(write(keys + 2, 'put', 99))
  for (const [i, command] of commands.entries()) {
    const data = stampBody({ at: timestamp(i + 1), wallMs: 0 }, encodeBody(command))
    const [at, kind] = [index(i + 1), 1]
    store.wal.append({ type: 'entry', group: group0, index: at, term: term(1), kind, data })
  }
  const commit = index(commands.length - 1)
  if (checkpoint) {
    const { cluster } = store.restored
    const machine = new ApplyMachine(store.engine, cluster)
    for (const [i, command] of commands.entries()) {
      if (i + 1 > commit) break
      const data = stampBody({ at: timestamp(i + 1), wallMs: 0 }, encodeBody(command))
      machine.apply([{ index: index(i + 1), term: term(1), kind: 'command', data }], 0, () => directory.settle())
      directory.settle()
    }
    store.engine.checkpoint(
      machine.note(cluster),
      durable => store.wal.flush(durable),
      () => {},
    )
    directory.settle()
  }
  store.wal.append({ type: 'hardState', group: group0, term: term(1), vote: undefined, commit })
  closeStore(store, () => {})
  directory.settle()
  return { log: log.image, pages: pages.durable, logEnd: log.end }
}

function check({ log, pages }: Bytes): StoreReport {
  const directory = directoryOf(new FakeLog(log), new FakePages(pages))
  let report: StoreReport | undefined
  verifyStore(
    directory,
    () => {},
    found => {
      report = found
    },
  )
  directory.settle()
  if (report === undefined) throw new Error('the check did not end')
  return report
}

const damages = (report: StoreReport): number => report.findings.filter(({ severity }) => severity === 'damage').length

const flipped = (bytes: Uint8Array, at: number): Uint8Array => {
  const copy = bytes.slice()
  copy[at] = copy[at]! ^ (1 << (at % 8))
  return copy
}

describe('the check of a store', () => {
  const whole = written()

  it('finds nothing wrong with a whole one, counts what is committed, and changes nothing', () => {
    const log = new FakeLog(whole.log)
    const pages = new FakePages(whole.pages)
    const directory = directoryOf(log, pages)
    const reports: StoreReport[] = []
    const told: number[] = []
    verifyStore(
      directory,
      step => told.push(step),
      report => reports.push(report),
    )
    directory.settle()
    expect(reports).toHaveLength(1)
    expect(reports[0]).toMatchObject({
      findings: [],
      log: { bytes: whole.logEnd, lastIndex: keys + 3, commit: keys + 2 },
      state: { keys: keys - 1 },
    })
    expect(reports[0]?.peer).toMatch(/^[0-9a-f]{32}$/)
    expect(log.image).toEqual(whole.log)
    expect(log.appends + log.syncs + pages.syncs).toBe(0)
  })

  it('one flipped bit at every byte of a closed log is damage', () => {
    for (let at = 0; at < whole.log.length; at++) {
      expect([at, damages(check({ ...whole, log: flipped(whole.log, at) }))]).toEqual([at, 1])
    }
  })

  it('a closed log that was cut at any length is damage', () => {
    for (let length = 0; length < whole.log.length; length++) {
      expect([length, damages(check({ ...whole, log: whole.log.slice(0, length) })) > 0]).toEqual([length, true])
    }
  })

  it('one flipped bit anywhere in a superblock is found; with the other gone too, it is damage', () => {
    const zeroed = whole.pages.slice()
    const newest = check(whole).peer
    for (const place of [0, 4096]) {
      for (let at = place; at < place + 256; at++) {
        const report = check({ ...whole, pages: flipped(whole.pages, at) })
        expect([at, report.findings.length > 0]).toEqual([at, true])
        expect(report.peer).toBe(newest)
      }
    }
    zeroed.fill(7, 0, 256)
    zeroed.fill(7, 4096, 4096 + 256)
    expect(damages(check({ ...whole, pages: zeroed }))).toBeGreaterThan(0)
  })

  it('an unfinished write at the end of an open log is a note, not damage', () => {
    const open = written()
    // The mark of an orderly end is gone: as after a crash.
    const pages = open.pages.slice()
    pages.fill(0, 4096, 4096 + 256)
    const torn = new Uint8Array(open.log.length + 30)
    torn.set(open.log)
    torn.fill(9, open.log.length + 3)
    const report = check({ log: torn, pages })
    expect(report.findings.map(({ severity }) => severity)).not.toContain('damage')
    expect(report.findings.some(({ message }) => message.includes('30 bytes of an unfinished write'))).toBe(true)
    expect(report.state.keys).toBe(keys - 1)
  })

  it('a record that the checksum approves and the rules do not is damage', () => {
    const log = new FakeLog(whole.log)
    const pages = new FakePages(whole.pages)
    const directory = directoryOf(log, pages)
    const store = opened(directory)
    const birth = {
      type: 'birth',
      group: group0,
      cluster: clusterId('e'.repeat(32)),
      birth: new Uint8Array([1]),
    } as const
    store.wal.append(birth)
    closeStore(store, () => {})
    directory.settle()
    const report = check({ log: log.image, pages: pages.durable })
    expect(report.findings).toMatchObject([{ severity: 'damage', code: 'CORRUPT' }])
    expect(report.findings[0]?.message).toContain('configuration')
    expect(lsn(report.log.bytes)).toBeGreaterThan(whole.logEnd)
  })
})

describe('the check of a store with a checkpoint', () => {
  const whole = written(true)

  it('reads every page, and finds the same state there as in the log', () => {
    const report = check(whole)
    expect(report.findings).toEqual([])
    expect(report.checkpoint).toMatchObject({ number: 1, keys: keys - 1, applied: keys + 2 })
    expect(report.checkpoint?.pages).toBeGreaterThan(0)
    expect(report.state.keys).toBe(keys - 1)
  })

  it('one flipped bit anywhere in the page file is found, or is where nothing stands', () => {
    let found = 0
    for (let at = 8192; at < whole.pages.length; at++) {
      const report = check({ ...whole, pages: flipped(whole.pages, at) })
      if (damages(report) > 0) found++
      // Free sectors, and zeros to the end of an extent's last one.
      else expect([at, report.checkpoint?.keys, report.state.keys]).toEqual([at, keys - 1, keys - 1])
    }
    expect(found).toBeGreaterThan(300)
  })

  it('a page file that was cut is damage', () => {
    for (let length = 8192; length < whole.pages.length; length += 512) {
      expect([length, damages(check({ ...whole, pages: whole.pages.slice(0, length) })) > 0]).toEqual([length, true])
    }
  })

  it('a log that ends before the checkpoint is damage', () => {
    const { log } = written()
    const pages = whole.pages.slice()
    expect(damages(check({ log: log.slice(0, 200), pages }))).toBeGreaterThan(0)
  })
})
