import { defineConfig } from 'vitest/config'

// Projects are chosen with `vitest run --project NAME`; browser tests run under Playwright (test/browser).
// `forks`: a native data channel must not live in a worker thread.
export default defineConfig({
  test: {
    pool: 'forks',
    // All cores: the default leaves one idle, and most tests wait more than they compute.
    maxWorkers: '100%',
    projects: [
      { extends: true, test: { name: 'tidy', include: ['test/tidy/**/*.test.ts'], testTimeout: 60_000 } },
      { extends: true, test: { name: 'unit', include: ['test/{unit,golden,fuzz}/**/*.test.ts'], testTimeout: 60_000 } },
      { extends: true, test: { name: 'conformance', include: ['test/conformance/**/*.test.ts'], testTimeout: 60_000 } },
      { extends: true, test: { name: 'simulation', include: ['test/simulation/**/*.test.ts'], testTimeout: 120_000 } },
      {
        extends: true,
        test: { name: 'node', include: ['test/node/**/*.test.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        extends: true,
        test: { name: 'package', include: ['test/package/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 300_000 },
      },
    ],
  },
})
