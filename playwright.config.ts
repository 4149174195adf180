/** The tests in a real Chromium: `npx playwright test`. They share two cores, and each waits for its own conditions: no retries. */
import { defineConfig } from '@playwright/test'
import { chromiumAdvice, findChromium } from './test/browser/find-chromium.mjs'

const executablePath = findChromium()
if (executablePath === undefined) throw new Error(chromiumAdvice)

export default defineConfig({
  testDir: 'test/browser',
  outputDir: 'test-results',
  timeout: 60_000,
  retries: 0,
  workers: 1,
  fullyParallel: false,
  forbidOnly: true,
  reporter: 'list',
  use: { launchOptions: { executablePath }, screenshot: 'only-on-failure', trace: 'retain-on-failure' },
})
