/** Serves the sources of this repository to a real browser, as Vite's development server does to an application. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { createServer, type Plugin } from 'vite'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Where the worker is served as one file: a development server sends it in seventy, once for each worker. */
export const bundledWorkerPath = '/bundled-worker.js'

const bundledWorker: Plugin = {
  name: 'bundled-worker',
  configureServer(server) {
    const bundle = build({
      absWorkingDir: root,
      entryPoints: ['platform/browser/worker/entry.ts'],
      bundle: true,
      write: false,
      format: 'esm',
      logLevel: 'silent',
    })
    bundle.catch(() => {}) // It is told where it is asked for.
    server.middlewares.use(bundledWorkerPath, (_, response, next) => {
      bundle.then(({ outputFiles }) => {
        response.setHeader('content-type', 'text/javascript')
        response.end(outputFiles[0]?.contents)
      }, next)
    })
  },
}

const packages = [
  '@noble/ed25519',
  '@noble/hashes/hkdf.js',
  '@noble/hashes/hmac.js',
  '@noble/hashes/scrypt.js',
  '@noble/hashes/sha2.js',
  '@vitest/expect',
  'comlink',
  'idb',
  'snappyjs/snappy_compressor.js',
  'snappyjs/snappy_decompressor.js',
]

export interface PageServer {
  /** An empty page of an origin of its own; modules are at `/src/…`, `/test/…`. */
  readonly url: string
  /** What pages load from packages is made. */
  prepared(): Promise<void>
  stop(): Promise<void>
}

/** @param isolated Pages are cross-origin isolated: they may share memory with their workers. */
export async function startPageServer({ isolated = false } = {}): Promise<PageServer> {
  const server = await createServer({
    root,
    configFile: false,
    plugins: [bundledWorker],
    logLevel: 'error',
    cacheDir: 'node_modules/.vite-test',
    server: {
      port: 0,
      host: '127.0.0.1',
      hmr: false,
      watch: null,
      ...(isolated
        ? { headers: { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' } }
        : {}),
    },
    resolve: { alias: { vitest: '/test/browser/vitest-in-page.ts' } },
    optimizeDeps: {
      entries: [],
      // All of them: one that is found later has the others made anew, under the feet of pages that load.
      include: packages,
    },
  })
  await server.listen()
  return {
    url: `${server.resolvedUrls?.local[0]}test/browser/page.html`,
    async prepared() {
      const made = server.environments.client.depsOptimizer?.metadata.depInfoList ?? []
      await Promise.all(made.map(({ processing }) => processing))
    },
    stop: () => server.close(),
  }
}
