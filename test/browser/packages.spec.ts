/** Before any other test: packages are prepared for browsers once, instead of by the server of each worker at the same time, in one folder. */
import { test } from '@playwright/test'
import { startPageServer } from './page-server.ts'

test('packages are prepared for browsers', async () => {
  const server = await startPageServer()
  await server.prepared()
  await server.stop()
})
