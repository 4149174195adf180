/** Tabs in which a test calls `open-page.ts`. */
import { type BrowserContext, type Page, test } from '@playwright/test'
import { callsTo } from './page-calls.ts'
import { type PageServer, startPageServer } from './page-server.ts'

export type Here = typeof import('./open-page.ts')

export const call = callsTo<Here>('./open-page.ts')

let server: PageServer
/** Of the file whose tests run; one process runs one file after the other. */
export const pageUrl = (): string => server.url

/** For the file that says so, while its tests run. */
export function serveTabs(): void {
  test.beforeAll(async () => {
    server = await startPageServer()
  })
  test.afterAll(() => server.stop())
}

export async function tab(context: BrowserContext): Promise<Page> {
  const page = await context.newPage()
  await page.goto(pageUrl())
  return page
}
