/** Where a browser's database is kept, and how it gets from one place to the other. */
import { expect, type Page, test } from '@playwright/test'
import { call, serveTabs, tab } from './open-tabs.ts'

test.describe.configure({ mode: 'parallel' })
serveTabs()

const auto = { name: 'shop', storage: 'auto' }
const opfs = { name: 'shop', storage: 'opfs' }
const indexedDb = { name: 'shop', storage: 'indexeddb' }
const moves = async (page: Page): Promise<unknown> =>
  page.evaluate(async () => {
    const { events } = await import('./open-page.ts')
    return events.flatMap(event => (event.type === 'moved' ? [`${event.from} to ${event.to}`] : []))
  })

test('by itself it is the file system, and a reloaded tab finds it there', async ({ context }) => {
  const page = await tab(context)
  const self = await call(page, 'start', auto)
  expect(await call(page, 'kind')).toBe('opfs')
  await call(page, 'fill', 300)
  await call(page, 'close')
  for (const options of [auto, opfs, auto]) {
    await page.reload()
    expect(await call(page, 'start', options)).toBe(self)
    expect(await call(page, 'checkpoints')).toBeGreaterThan(0)
    expect(await call(page, 'filled')).toBe(300)
    await call(page, 'close')
  }
  expect(await call(page, 'databaseNames')).toEqual([])
})

test('a database moves from one place to the other and back, whole, as the same peer', async ({ context }) => {
  const page = await tab(context)
  const self = await call(page, 'start', indexedDb)
  expect(await call(page, 'kind')).toBe('indexeddb')
  await call(page, 'fill', 500)
  await call(page, 'close', -1)
  const steps = [
    { options: auto, kind: 'opfs' },
    { options: auto, kind: 'opfs' },
    { options: indexedDb, kind: 'indexeddb' },
    { options: indexedDb, kind: 'indexeddb' },
    { options: opfs, kind: 'opfs' },
  ]
  for (const [i, { options, kind }] of steps.entries()) {
    expect(await call(page, 'start', options)).toBe(self)
    expect(await call(page, 'kind', -1)).toBe(kind)
    expect(await call(page, 'filled')).toBe(500)
    // What is moved is a log whose front is gone.
    expect(await call(page, 'logBegins', -1)).toBeGreaterThan(1)
    expect(await call(page, 'get', 'step', -1)).toBe(i === 0 ? undefined : i - 1)
    await call(page, 'put', 'step', i, -1)
    await call(page, 'close', -1)
  }
  expect(await moves(page)).toEqual(['indexeddb to opfs', 'opfs to indexeddb', 'indexeddb to opfs'])
  // The former place is emptied at the next opening.
  await call(page, 'start', auto)
  expect(await call(page, 'databaseNames')).toEqual([])
})

for (const [from, to] of [
  [indexedDb, auto],
  [opfs, indexedDb],
]) {
  test(`a tab that dies while it moves a database from ${from?.storage} loses nothing`, async ({ context }) => {
    test.setTimeout(60_000)
    const page = await tab(context)
    const self = await call(page, 'start', from)
    await call(page, 'fill', 2000)
    await call(page, 'close', -1)
    // It takes some 100 ms to start, and then some 100 more to copy.
    for (const afterMs of [50, 120, 200, 260, 320, 380, 450]) {
      await call(page, 'startAndKill', to, afterMs)
      expect(await call(page, 'start', afterMs % 100 === 0 ? to : from)).toBe(self)
      expect(await call(page, 'filled')).toBe(2000)
      await call(page, 'close', -1)
    }
  })
}

test('pitfall 22: what was acknowledged is there after the worker was killed in the middle of its writing', async ({
  context,
}) => {
  const page = await tab(context)
  for (const afterMs of [100, 400, 900]) {
    await call(page, 'start', auto, 'own')
    const acknowledged = (await call(page, 'putUntilKilled', afterMs)) as number
    expect(acknowledged).toBeGreaterThan(0)
    await call(page, 'start', auto)
    expect(await call(page, 'kind', -1)).toBe('opfs')
    expect(await call(page, 'filled')).toBeGreaterThanOrEqual(acknowledged)
    await call(page, 'close', -1)
  }
})

test('without synchronous access it is IndexedDB; what is in the file system cannot be opened there, and says why', async ({
  context,
}) => {
  const page = await tab(context)
  await call(page, 'start', auto, 'older')
  expect(await call(page, 'kind')).toBe('indexeddb')
  await call(page, 'close')
  expect(await call(page, 'startFailing', opfs, 'older')).toMatch(/^VALIDATION: .*dedicated worker/)
  expect(await call(page, 'startFailing', opfs, 'page')).toMatch(/^VALIDATION: .*dedicated worker/)
  await call(page, 'start', opfs)
  await call(page, 'close', -1)
  expect(await call(page, 'startFailing', auto, 'page')).toMatch(/^VALIDATION: the data of this database is in/)
  expect(await call(page, 'locksHeld')).toEqual([])
})
