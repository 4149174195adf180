/** `npm run bench -- storage-browser`, tiny, with what needs no other packages. Figures of such runs mean nothing. */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@playwright/test'

const root = fileURLToPath(new URL('../..', import.meta.url))

function bench(
  ...args: string[]
): Promise<{ status: number | null; out: string; err: string; pid: number | undefined }> {
  return new Promise((resolve, reject) => {
    const command = [`${root}test/bench/run.mjs`, 'storage-browser', ...args]
    const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', text => (out += text))
    child.stderr.setEncoding('utf8').on('data', text => (err += text))
    child.on('error', reject)
    child.on('close', status => resolve({ status, out, err, pid: child.pid }))
  })
}

const tiny = ['--records', '200', '--rounds', '1', '--seconds', '0.02']
const cases = ['put-64', 'scan-100', 'ycsb-a', 'start', 'get-in-worker']

test('storage-browser --json prints one line for each case and engine, and leaves nothing behind', async () => {
  const { status, out, err, pid } = await bench(
    ...['--json', ...tiny, '--engines', 'harmonydb,indexeddb', '--cases', cases.join(',')],
  )
  expect(status, err).toBe(0)
  const lines = out
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)
  const withTransaction = ['harmonydb', 'indexeddb', 'indexeddb-transaction']
  expect(lines.map(line => `${line.case} ${line.engine}`)).toEqual(
    cases.flatMap(name =>
      (name === 'put-64' ? withTransaction : withTransaction.slice(0, 2)).map(engine => `${name} ${engine}`),
    ),
  )
  for (const line of lines) {
    expect(line).toMatchObject({ suite: 'storage-browser', records: 200, rounds: 1 })
    expect(line.opsPerSecond).toBeGreaterThan(0)
    // A get inside the worker takes less than the browser's clock can tell: 0.
    expect(line.p50Ms).toBeGreaterThanOrEqual(0)
    expect(line.p99Ms).toBeGreaterThanOrEqual(Number(line.p50Ms))
  }
  const scratch = `${root}node_modules/.cache`
  const left = existsSync(scratch) ? readdirSync(scratch) : []
  expect(left).not.toContain(`harmonydb-bench-${pid}`)
})

test('storage-browser: a browser that is killed while it writes is followed by another, which finds the records', async () => {
  const { status, out, err } = await bench(...tiny, '--engine', 'harmonydb', '--case', 'crash-start')
  expect(status, err).toBe(0)
  expect(out).toMatch(/\| crash-start \| [\d.]+ ms/)
})

test('storage-browser: an engine that is not there is said, and no figure given', async () => {
  const { status, out, err } = await bench('--json', '--engine', 'harmonydb', '--module', 'dist/none.js')
  expect(out).toBe('')
  expect(err).toMatch(/harmonydb is left out: .*none\.js is not there: npm run build/)
  expect(status).toBe(1)
})
