/** Several writers and several readers on one tree, in the workers of a cross-origin isolated page: as `test/node/writers.test.ts` does in Node. */
import { expect, test } from '@playwright/test'
import type { OwnerOrder, OwnerReport } from '../node/writers-threads.ts'
import { type PageServer, startPageServer } from './page-server.ts'

const ms = process.env.DEEP === '1' ? 60_000 : 3_000

let server: PageServer
test.beforeAll(async () => {
  server = await startPageServer({ isolated: true })
})
test.afterAll(() => server.stop())

for (const shown of [true, false]) {
  test(`workers write one tree at once: ${shown ? 'each change' : 'a section'} shows`, async ({ page }) => {
    test.setTimeout(ms + 90_000)
    await page.goto(server.url)
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true)
    const order: OwnerOrder = {
      seed: 1,
      ms,
      frames: 8192,
      pageBytes: 512,
      longMax: 3000,
      writers: 3,
      readers: 2,
      reserve: 2000,
      shown,
    }
    const report = (await page.evaluate(
      given =>
        new Promise<unknown>((resolve, reject) => {
          const worker = new Worker('./writers-worker.ts', { type: 'module' })
          worker.onmessage = ({ data }) => resolve(data)
          worker.onerror = ({ message }) => reject(new Error(message))
          worker.postMessage(given)
        }),
      order,
    )) as OwnerReport
    if (process.env.VERBOSE !== undefined) console.log(JSON.stringify(report))
    expect(report.failures).toEqual([])
    expect(report.sections).toBeGreaterThan(5)
    expect(report.answers.done).toBeGreaterThan(1000)
    expect(report.readers.reduce((sum, { reads }) => sum + reads, 0)).toBeGreaterThan(20)
  })
}
