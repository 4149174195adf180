/** `npm run bench`, tiny: what it prints, and what it says where it cannot measure. Figures of such runs mean nothing. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Bundle, bundle } from './cli-kit.ts'

const root = join(import.meta.dirname, '../..')
let built: Bundle

beforeAll(async () => {
  built = await bundle()
})
afterAll(() => built.remove())

const tiny = ['--records', '200', '--rounds', '1', '--seconds', '0.02']

function bench(...args: string[]): Promise<{ status: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'test/bench/run.mjs'), ...args])
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', text => (out += text))
    child.stderr.setEncoding('utf8').on('data', text => (err += text))
    child.on('error', reject)
    child.on('close', status => resolve({ status, out, err }))
  })
}

const parsed = (out: string): Record<string, unknown>[] =>
  out
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)

const cases = ['put-64', 'scan-100', 'ycsb-a', 'disk']

test('--json prints one line for each case and engine, with rate, median and 99th percentile', async () => {
  const chosen = cases.flatMap(name => ['--case', name])
  const engines = ['--engine', 'harmonydb', '--engine', 'lmdb']
  const { status, out, err } = await bench('storage', '--json', ...tiny, ...engines, ...chosen, '--module', built.index)
  expect(status, err).toBe(0)
  const lines = parsed(out)
  const found = lines.map(line => `${line.case} ${line.engine}`)
  expect(found).toEqual(cases.flatMap(name => [`${name} harmonydb`, `${name} lmdb`]))
  for (const line of lines) {
    expect(line).toMatchObject({ suite: 'storage', records: 200, rounds: 1 })
    for (const field of ['opsPerSecond', 'p50Ms', 'p99Ms']) expect(line[field], field).toBeGreaterThan(0)
    expect(line.p99Ms).toBeGreaterThanOrEqual(Number(line.p50Ms))
    if (line.case === 'disk') expect(line.bytes).toBeGreaterThan(200 * 116)
    else expect(line).not.toHaveProperty('bytes')
  }
})

test('threads: the owner alone, several threads, and batches made together', async () => {
  const engines = ['--engine', 'owner', '--engine', 'threads-2']
  const { status, out, err } = await bench('threads', '--json', ...tiny, ...engines, '--module', built.index)
  expect(status, err).toBe(0)
  const found = parsed(out)
  const names = ['get-100000', 'put-10000', 'batch-1000', 'batch-10000']
  expect(found.map(line => `${line.case} ${line.engine}`)).toEqual(
    names.flatMap(name => [`${name} owner`, `${name} threads-2`]),
  )
  for (const line of found) expect(line.opsPerSecond).toBeGreaterThan(100)
})

test('transactions: optimistic and with locks, and how often they were tried again or waited', async () => {
  const chosen = ['--cases', 'increment-64-hot,transfer-1', '--engines', 'harmonydb,harmonydb-pessimistic,lmdb']
  const { status, out, err } = await bench('transactions', '--json', ...tiny, ...chosen, '--module', built.index)
  expect(status, err).toBe(0)
  const lines = parsed(out)
  const names = ['harmonydb', 'harmonydb-pessimistic', 'lmdb']
  expect(lines.map(line => `${line.case} ${line.engine}`)).toEqual(
    ['increment-64-hot', 'transfer-1'].flatMap(name => names.map(engine => `${name} ${engine}`)),
  )
  for (const line of lines) expect(line).toMatchObject({ suite: 'transactions', retriesPerOp: expect.any(Number) })
  const [optimistic, pessimistic, lmdb, alone] = lines
  expect(optimistic!.retriesPerOp).toBeGreaterThan(0)
  expect(pessimistic!.waitsPerOp).toBeGreaterThan(0)
  expect(lmdb).not.toHaveProperty('waitsPerOp')
  expect(alone!.retriesPerOp).toBe(0)
})

/** Links are given up after four seconds, and come again in some more. */
const enduranceMsMax = 180_000

test(
  'endurance: a follower gets the state over links that are cut; a dead one costs nothing',
  async () => {
    const few = ['--records', '200', '--rounds', '1', '--seconds', '0.5', '--cases', 'return,dead-follower']
    const { status, out, err } = await bench('endurance', '--json', ...few, '--module', built.index)
    expect(status, err).toBe(0)
    const [back, dead] = parsed(out)
    expect(back).toMatchObject({ suite: 'endurance', case: 'return', records: 200, cuts: 3, begunAnew: 0 })
    for (const field of ['ratio', 'putsPerSecondBefore', 'transferMs']) expect(back![field], field).toBeGreaterThan(0)
    expect(back!.awayPuts).toBeGreaterThanOrEqual(200)
    expect(back!.receivedBytes).toBeGreaterThanOrEqual(12 * 1024 * 1024)
    expect(dead).toMatchObject({ case: 'dead-follower', puts: 2000 })
    expect(dead!.logBytesMost).toBeGreaterThan(2000 * 116)
  },
  enduranceMsMax,
)

test('a process that is killed while it writes is opened again, and has its records', async () => {
  const only = ['--engine', 'harmonydb', '--case', 'crash-start', '--module', built.index]
  const { status, out, err } = await bench('storage', ...tiny, ...only)
  expect(status, err).toBe(0)
  expect(out).toMatch(/\| crash-start \| [\d.]+ ms/)
})

describe('what cannot be measured is said', () => {
  test('an engine that is not installed: what to do, and no figure', async () => {
    const { status, out, err } = await bench('storage', '--json', '--engine', 'harmonydb', '--module', 'dist/none.js')
    expect(out).toBe('')
    expect(err).toMatch(/harmonydb is left out: .*none\.js is not there: npm run build/)
    expect(status).toBe(1)
  })

  test.each([
    [['storage', '--case', 'get-all'], 'there is no case get-all; there are: put-1, '],
    [['network'], 'there is no suite network; there is: storage'],
  ])('%j', async (args, message) => {
    const { status, out, err } = await bench(...args, '--module', built.index)
    expect({ status, out }).toEqual({ status: 2, out: '' })
    expect(err).toContain(message)
  })
})
