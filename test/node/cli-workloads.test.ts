/** `harmonydb simulate --workload`: its report, a history that `harmonydb check` reads, stored plans, its exit status, and several processes that come to the same as one. */
import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mutating } from '../mutated-bundle.ts'
import { transactionMutations } from '../simulation/transaction-mutations.ts'
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

const short = ['--duration', '2', '--peers', '3']

test('one seed: a report, and a history that check judges as the run did', async () => {
  const history = folder.in('history')
  const level = ['--workload', 'list-append', '--isolation', 'read-committed']
  const first = await runHere(['simulate', ...level, '--seed', '2', '--duration', '6', '--history', history])
  expect(first).toMatchObject({ status: 0, err: '' })
  expect(first.out).toMatch(/^seed 2, list-append, read-committed: clean\n\d+ calls: \d+ answered/)
  expect(linesOf(readFileSync(history, 'utf8')).length).toBeGreaterThan(50)
  const asked = ['check', history, '--model', 'list-append', '--level']
  expect(await runHere([...asked, 'read-committed'])).toMatchObject({ status: 0 })
  // What the level allows happened, and a stronger one forbids it.
  expect(first.out).toContain('lost-update')
  expect(await runHere([...asked, 'snapshot'])).toMatchObject({ status: 1 })
})

test('two processes come to what one comes to, over all levels', { timeout: 120_000 }, async () => {
  const range = ['simulate', '--workload', 'counter', '--from', '5', '--seeds', '2', ...short, '--json']
  const alone = await runHere(range)
  const shared = await run(built.cli, [...range, '--jobs', '2'])
  expect(shared.status).toBe(0)
  expect(linesOf(alone.out)).toHaveLength(6)
  expect(linesOf(shared.out).sort()).toEqual(linesOf(alone.out).sort())
})

test('a plan that is stored runs again', async () => {
  const level = ['--workload', 'bank', '--isolation', 'serializable', '--json']
  const first = JSON.parse((await runHere(['simulate', ...level, '--seed', '2', ...short])).out)
  writeFileSync(folder.in('plan.json'), JSON.stringify(first.plan))
  const again = JSON.parse((await runHere(['simulate', ...level, '--schedule', folder.in('plan.json')])).out)
  expect(again).toEqual(first)
})

test('a promise that is broken: status 1, and the command that replays and shrinks it', {
  timeout: 120_000,
}, async () => {
  const mistake = transactionMutations.find(({ name }) => name === 'the first committer does not win')!
  const broken = await bundle([mutating(mistake)])
  try {
    const level = ['simulate', '--workload', 'counter', '--isolation', 'snapshot', ...short]
    const several = await run(broken.cli, [...level, '--seeds', '1'])
    expect(several.status).toBe(1)
    const again = /again: harmonydb (.*)/.exec(several.out)?.[1]?.split(' ')
    expect(again).toBeDefined()
    const replayed = await run(broken.cli, again!)
    expect(replayed.status).toBe(1)
    expect(replayed.out).toMatch(/BROKEN\n {2}out-of-bounds/)
    // It needs no fault at all.
    expect(replayed.out).toContain('"schedule":[]')
  } finally {
    broken.remove()
  }
})

test.each([
  [['--isolation', 'snapshot'], '--isolation goes with --workload'],
  [['--workload', 'bank', '--trace', 'x'], '--trace and --diagram go without --workload'],
  [['--workload', 'bank', '--shrink'], '--seed or --schedule'],
  [['--workload', 'bank', '--seed', '1', '--seeds', '2'], '--seeds goes without'],
  [['--workload', 'bank', '--seed', '1', '--history', 'x'], 'one --isolation'],
  [['--workload', 'nothing'], 'nothing'],
])('%j is a mistake of usage', async (args, said) => {
  const { status, err } = await runHere(['simulate', ...args])
  expect(status).toBe(2)
  expect(err).toContain(said)
})
