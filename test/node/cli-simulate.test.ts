/** `harmonydb simulate`: its report, its files, its exit status, and several processes that come to the same as one. */
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { diagram } from '../../platform/simulation/runs/diagram/diagram.ts'
import type { TraceLine } from '../../platform/simulation/trace.ts'
import { mutating } from '../mutated-bundle.ts'
import { mutations } from '../simulation/mutations.ts'
import { type Bundle, bundle, linesOf, run, runHere, temporaryFolder } from './cli-kit.ts'

const folder = temporaryFolder()
let built: Bundle
beforeAll(async () => {
  built = await bundle()
})
afterAll(() => {
  built.remove()
  folder.remove()
})

const short = ['--duration', '3', '--peers', '3']

test('one seed: a report, a trace and a history, the same each time', async () => {
  const files = ['--trace', folder.in('trace'), '--history', folder.in('history')]
  const first = await runHere(['simulate', '--seed', '2', ...short, ...files])
  expect(first).toMatchObject({ status: 0, err: '' })
  expect(first.out).toMatch(/^seed 2: clean\n\d+ operations/)
  const trace = readFileSync(folder.in('trace'), 'utf8')
  expect(linesOf(trace).map(line => JSON.parse(line).n)).toEqual(linesOf(trace).map((_, at) => at + 1))
  const history = readFileSync(folder.in('history'), 'utf8')
  const checked = await runHere(['check', folder.in('history')])
  expect(checked).toMatchObject({ status: 0, out: expect.stringMatching(/^holds: key-value, \d+ calls/) })
  // In the order in which it happened, and as the trace tells it.
  const calls = linesOf(history).map(line => JSON.parse(line))
  expect(calls.length).toBeGreaterThan(50)
  const traced = linesOf(trace).map(line => JSON.parse(line))
  const happened = traced.filter(({ event }) => ['invoke', 'ok', 'fail', 'info'].includes(event))
  expect(calls.map(({ client, type, time, op, key, value }) => [client, type, time, op, key, value])).toEqual(
    happened.map(({ client, event, ms, op, key, value }) => [client, event, ms, op, key, value]),
  )
  expect(await runHere(['simulate', '--seed', '2', ...short, ...files])).toEqual(first)
  expect(readFileSync(folder.in('trace'), 'utf8')).toBe(trace)
})

test('a diagram: of the stretch that is asked for, from the very lines of the trace', async () => {
  const [file, trace] = [folder.in('run.html'), folder.in('run.jsonl')]
  const where = ['--diagram-from', '4.5', '--diagram-for', '0.5']
  const files = ['--diagram', file, ...where, '--trace', trace]
  expect(await runHere(['simulate', '--seed', '2', ...short, ...files])).toMatchObject({ status: 0, err: '' })
  const html = readFileSync(file, 'utf8')
  const lines = linesOf(readFileSync(trace, 'utf8')).map(line => JSON.parse(line) as TraceLine)
  expect(diagram(lines, { fromMs: 4500, toMs: 5000 }, 'harmonydb simulate: seed 2, clean')).toBe(html)
  expect(html).toContain('4.500 s to 5.000 s')
  // Without it, from the first fault on.
  const { atMs } = lines.find(({ event }) => event === 'fault') as TraceLine & { atMs: number }
  const plan = JSON.parse((await runHere(['simulate', '--seed', '2', ...short, '--json'])).out)
  await runHere(['simulate', '--seed', '2', ...short, '--diagram', file])
  const begins = ((plan.faultsFromMs + atMs - 200) / 1000).toFixed(3)
  expect(readFileSync(file, 'utf8')).toContain(`${begins} s to `)
})

test('two processes come to what one comes to', async () => {
  const range = ['simulate', '--from', '5', '--seeds', '4', ...short, '--json']
  const alone = await runHere(range)
  const shared = await run(built.cli, [...range, '--jobs', '2'])
  expect(shared.status).toBe(0)
  expect(linesOf(alone.out)).toHaveLength(4)
  expect(linesOf(shared.out).sort()).toEqual(linesOf(alone.out).sort())
})

test('a plan that is stored runs again', async () => {
  const first = JSON.parse((await runHere(['simulate', '--seed', '2', ...short, '--json'])).out)
  writeFileSync(folder.in('plan.json'), JSON.stringify(first.plan))
  const again = JSON.parse((await runHere(['simulate', '--schedule', folder.in('plan.json'), '--json'])).out)
  expect(again).toEqual(first)
})

test('a promise that is broken: status 1, and the command that replays it', { timeout: 240_000 }, async () => {
  // Like that of the next test, it shows in nearly every seed.
  const mistake = mutations.find(({ name }) => name === 'a minority elects')!
  const broken = await bundle([mutating(mistake)])
  try {
    const several = await run(broken.cli, ['simulate', '--from', '5', '--seeds', '2'])
    expect(several.status).toBe(1)
    expect(several.out).toMatch(/\d BROKEN[\s\S]*\nagain: harmonydb simulate --seed \d+ --shrink\n$/)
    const [, seed] = several.out.match(/--seed (\d+) --shrink/)!
    const single = await run(broken.cli, ['simulate', '--seed', seed!])
    expect(single.status).toBe(1)
    // Which promise goes first depends on the seed.
    const [, promise] = single.out.match(
      /^seed \d+: BROKEN\n {2}(election safety|leader completeness|state machine safety): /,
    )!
    // What came before, in words; the diagram has the same at its end.
    expect(single.out).toMatch(
      /\nBefore it was broken [^\n]*\n( {2} +\d+\.\d{4} {2}p\d [^\n]*\n|[^\n]*\n)* {2} +\d+\.\d{4} {2}BROKEN: /,
    )
    const html = folder.in('broken.html')
    expect((await run(broken.cli, ['simulate', '--seed', seed!, '--diagram', html])).status).toBe(1)
    const [, told] = single.out.match(/ {2}BROKEN: (.*)\n/)!
    expect(readFileSync(html, 'utf8')).toContain(`</a> ${told}</li>`)
    // What was printed as the plan breaks the same promise.
    const plan = linesOf(single.out).at(-1)!
    writeFileSync(folder.in('broken.json'), plan)
    const again = await run(broken.cli, ['simulate', '--schedule', folder.in('broken.json'), '--json'])
    expect(again.status).toBe(1)
    expect(JSON.parse(again.out).violations[0]).toContain(`${promise}: `)
  } finally {
    broken.remove()
  }
})

test('a history that is not linearizable: check says so, too', { timeout: 240_000 }, async () => {
  const mistake = mutations.find(({ name }) => name === 'every read is local')!
  const broken = await bundle([mutating(mistake)])
  try {
    const several = await run(broken.cli, ['simulate', '--seeds', '2', '--json'])
    const reports = linesOf(several.out).map(line => JSON.parse(line))
    const found = reports.find(({ violations }) =>
      violations.some((one: string) => one.startsWith('linearizability: ')),
    )
    expect(found).toBeDefined()
    const history = folder.in('broken.jsonl')
    const one = await run(broken.cli, ['simulate', '--seed', `${found.seed}`, '--history', history])
    expect(one.status).toBe(1)
    const [, key] = one.out.match(/linearizability: key ("\w")/)!
    const checked = await runHere(['check', history])
    expect(checked).toMatchObject({ status: 1, err: '' })
    expect(checked.out).toContain(`key ${key}: no order explains`)
  } finally {
    broken.remove()
  }
})

test('a plan that makes no sense is refused', async () => {
  const plan = { seed: 1, peers: 3, faultMs: 1000, checkpointBytes: 1024, messageBytesMax: 0 }
  writeFileSync(folder.in('wrong.json'), JSON.stringify({ ...plan, schedule: 'none' }))
  const wrong = await runHere(['simulate', '--schedule', folder.in('wrong.json')])
  expect(wrong.status).toBe(2)
  expect(wrong.err).toContain('schedule is a list')
})

test.each([
  ['--trace', folder.in('x')],
  ['--seed', '1', '--seeds', '2'],
  ['--seed', 'x'],
  ['--schedule', folder.in('nowhere')],
  ['--shrink'],
  ['--diagram', folder.in('x')],
  ['--seed', '1', '--diagram-for', '1'],
  ['--seed', '1', '--diagram', folder.in('x'), '--diagram-from', '-1'],
  ['--seed', '1', '--diagram', folder.in('x'), '--workload', 'bank'],
  ['--seed', '1', ...short, '--diagram', folder.in('nowhere/x')],
])('refused: %s %s', async (...args) => {
  expect((await runHere(['simulate', ...args])).status).toBeGreaterThan(0)
})
