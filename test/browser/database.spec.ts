import { expect, test } from '@playwright/test'
import { type PageServer, startPageServer } from './page-server.ts'
import type { Outcome } from './vitest-in-page.ts'

let server: PageServer

test.beforeAll(async () => {
  server = await startPageServer()
})
test.afterAll(() => server.stop())

/** Every case that failed, with its error; and how many there were. */
const summary = (outcomes: readonly Outcome[]) => ({
  count: outcomes.length,
  failed: outcomes.flatMap(({ name, error }) => (error === undefined ? [] : [`${name}\n${error}`])),
})

test('the database keeps its rules over a real worker', async ({ page }) => {
  await page.goto(server.url)
  const outcomes = await page.evaluate(async () => {
    // Relative to the page, which lies beside this file.
    const { overWorker } = await import('./database-page.ts')
    return overWorker()
  })
  const { count, failed } = summary(outcomes)
  expect(failed).toEqual([])
  expect(count).toBeGreaterThan(60)
})
