/** Serves the sources of this repository to a real browser, as Vite's development server does to an application. */
import { fileURLToPath } from 'node:url'
import { createServer } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface PageServer {
  /** An empty page of an origin of its own; modules are at `/src/…`, `/test/…`. */
  readonly url: string
  stop(): Promise<void>
}

export async function startPageServer(): Promise<PageServer> {
  const server = await createServer({
    root,
    configFile: false,
    logLevel: 'error',
    cacheDir: 'node_modules/.vite-test',
    server: { port: 0, host: '127.0.0.1', hmr: false, watch: null },
    resolve: { alias: { vitest: '/test/browser/vitest-in-page.ts' } },
    optimizeDeps: { entries: [], include: ['@vitest/expect', 'comlink', 'idb', '@noble/hashes/sha2.js', '@noble/ed25519'] },
  })
  await server.listen()
  return {
    url: `${server.resolvedUrls?.local[0]}test/browser/page.html`,
    stop: () => server.close(),
  }
}
