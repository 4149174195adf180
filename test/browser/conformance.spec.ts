/** The rules of storage and clock in a real Chromium: IndexedDB in a dedicated worker and on a page, one test for each rule. */
import { expect, test } from '@playwright/test'
import { clockRules } from '../conformance/clock-suite.ts'
import { directoryRules } from '../conformance/directory-suite.ts'
import { logFileRules } from '../conformance/log-file-suite.ts'
import { pageFileRules } from '../conformance/page-file-suite.ts'
import type { RuleOutcome } from '../conformance/rule.ts'
import { slotsRules } from '../conformance/slots-suite.ts'
import { callsTo } from './page-calls.ts'
import { type PageServer, startPageServer } from './page-server.ts'

let server: PageServer

test.beforeAll(async () => {
  server = await startPageServer()
})
test.afterAll(() => server.stop())

type Here = typeof import('./conformance-page.ts')

const call = callsTo<Here>('./conformance-page.ts')

const storageRules = [...logFileRules, ...pageFileRules, ...directoryRules, ...clockRules]

for (const [where, kind, title, rules] of [
  ['inWorker', 'indexeddb', "IndexedDB and the browser's clock, in a worker", storageRules],
  ['inPage', 'indexeddb', "IndexedDB and the browser's clock, on a page", storageRules],
  ['inWorker', 'opfs', 'the origin private file system, in a worker', storageRules],
  ['slotsInPage', undefined, "slots by the browser's locks", slotsRules],
] as const) {
  test.describe(title, () => {
    let outcomes: RuleOutcome[] = []

    test.beforeAll(async ({ browser }) => {
      test.setTimeout(120_000)
      const page = await browser.newPage()
      await page.goto(server.url)
      outcomes = (await call(page, where, kind)) as RuleOutcome[]
      await page.close()
    })

    for (const [i, { id, title: rule }] of rules.entries()) {
      test(`${id}: ${rule}`, () => {
        const outcome = outcomes[i]
        expect(outcome?.title).toBe(rule)
        test.skip(outcome?.state === 'skipped', 'the harness cannot do what it takes')
        expect(outcome?.state === 'failed' ? outcome.reason : undefined).toBeUndefined()
      })
    }
  })
}

for (const id of ['L6', 'G5']) {
  test(`${id}: pitfall 23: an origin without space answers QUOTA, and nothing of it is acknowledged`, async ({
    page,
  }) => {
    const tools = await page.context().newCDPSession(page)
    const { origin } = new URL(server.url)
    await page.exposeFunction('liftQuota', () => tools.send('Storage.overrideQuotaForOrigin', { origin }))
    await tools.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1_000_000 })
    await page.goto(server.url)
    const outcomes = (await call(page, 'whenFull', id)) as RuleOutcome[]
    expect(outcomes).toMatchObject([{ id, state: 'passed' }])
  })
}

test('pitfall 22: what was acknowledged is there after the worker was killed in the middle of its writing', async ({
  page,
}) => {
  await page.goto(server.url)
  for (const rounds of [1, 7, 30]) expect(await call(page, 'killedInTheMiddle', rounds)).toBeGreaterThanOrEqual(rounds)
})

test('pitfall 23: a database that is deleted underneath answers STORAGE_LOST', async ({ page }) => {
  await page.goto(server.url)
  const [first, ...later] = (await call(page, 'deletedUnderneath')) as string[]
  expect(first).toBe('done')
  expect(later.slice(0, 2)).toEqual(['STORAGE_LOST', 'STORAGE_LOST'])
})

test('pitfall 44: databases of others, of a newer version, and damaged ones are typed errors', async ({ page }) => {
  await page.goto(server.url)
  expect(await call(page, 'strangers')).toEqual(['CORRUPT', 'VERSION_MISMATCH'])
  expect(await call(page, 'damaged')).toEqual(['open CORRUPT', 'read CORRUPT', 'read CORRUPT'])
})
