/** `peek` on a page: from the memory that it shares with its worker where it is cross-origin isolated, `undefined` where it is not. */
import { expect, test } from '@playwright/test'
import { callsTo } from './page-calls.ts'
import { type PageServer, startPageServer } from './page-server.ts'

let isolated: PageServer
let plain: PageServer

test.beforeAll(async () => {
  isolated = await startPageServer({ isolated: true })
  plain = await startPageServer()
})
test.afterAll(() => Promise.all([isolated.stop(), plain.stop()]))

type Here = typeof import('./open-page.ts')

const call = callsTo<Here>('./open-page.ts')

const durationMs = process.env.DEEP === '1' ? 60_000 : 2_000

for (const storage of ['memory', 'indexeddb', 'opfs'] as const) {
  test(`answers at once while the worker writes (${storage})`, async ({ page }) => {
    test.setTimeout(durationMs + 60_000)
    await page.goto(isolated.url)
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true)
    await call(page, 'start', { name: 'peek', storage })
    expect(await call(page, 'peek', 'nothing')).toBeNull()
    const found = (await call(page, 'peekWhileWriting', durationMs)) as Awaited<ReturnType<Here['peekWhileWriting']>>
    if (process.env.VERBOSE !== undefined) console.log(storage, JSON.stringify(found))
    expect(found.wrong).toEqual([])
    expect(found.puts).toBeGreaterThan(20)
    expect(found.peeks - found.undefineds).toBeGreaterThan(500)
    await call(page, 'close')
    await expect(call(page, 'peek', 'counter')).rejects.toThrow(/closed/)
  })
}

test('is undefined for what the worker does not have in memory', async ({ page }) => {
  await page.goto(isolated.url)
  await call(page, 'start', { name: 'much', storage: 'indexeddb', cacheBytes: 1024 * 1024 })
  const found = (await call(page, 'peekAtMuch', 4000)) as Awaited<ReturnType<Here['peekAtMuch']>>
  expect(found.wrong).toBe(0)
  expect(found.right).toBeGreaterThan(100)
  expect(found.undefineds).toBeGreaterThan(500)
})

test("is undefined where memory is not shared; on the page itself it is the core's own", async ({ page }) => {
  await page.goto(plain.url)
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(false)
  await call(page, 'start', { name: 'apart', storage: 'memory' })
  await call(page, 'put', 'lamp', 3)
  expect(await call(page, 'peek', 'lamp')).toBeUndefined()
  await call(page, 'start', { name: 'here', storage: 'memory' }, 'page')
  await call(page, 'put', 'lamp', 4, 1)
  expect(await call(page, 'peek', 'lamp', 1)).toMatchObject({ key: ['lamp'], value: 4 })
})
