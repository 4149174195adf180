/** The tests in a real Chromium: `npx playwright test`. Each waits for its own conditions: no retries. */
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
  forbidOnly: true,
  reporter: 'list',
  projects: [
    // What waits more than it computes: two at a time, with `--workers 2`.
    { name: 'browser', testIgnore: '**/demo.spec.ts', fullyParallel: false },
    // Failovers within two seconds, ten tabs at once: alone.
    { name: 'demo', testMatch: '**/demo.spec.ts', workers: 1 },
  ],
  use: {
    launchOptions: { executablePath },
    screenshot: 'only-on-failure',
    // What was done, and what pages said. Pictures of every tab, all the time, take a fifth of the processor time: `--trace retain-on-failure` has them, too.
    trace: { mode: 'retain-on-failure', screenshots: false, snapshots: false },
  },
})
