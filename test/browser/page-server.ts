/**
 * Serves the sources of this repository to a real browser. What a page or a worker begins with is sent as one file, with all that it imports: a development server
 * would send it in seventy or more, to each tab and to each worker again, and most of a test's time would go by with that.
 */
import { readFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** In one file with others, a module is not any more where `import.meta.url` says: it is told its own place. */
const ownPlaces: Plugin = {
  name: 'own-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const place = JSON.stringify(`/${relative(root, path).split(sep).join('/')}`)
      const text = await readFile(path, 'utf8')
      return { contents: text.replaceAll('import.meta.url', `new URL(${place}, import.meta.url).href`), loader: 'ts' }
    })
  },
}

async function bundled(module: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [`.${module}`],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    logLevel: 'silent',
    alias: { vitest: './test/browser/vitest-in-page.ts' },
    plugins: [ownPlaces],
  })
  return outputFiles[0]!.contents
}

/** By path; made once in a process. */
const modules = new Map<string, Promise<Uint8Array>>()

async function answer(path: string): Promise<{ readonly type: string; readonly body: Uint8Array }> {
  if (path.endsWith('.html')) return { type: 'text/html', body: await readFile(`${root}${path.slice(1)}`) }
  if (!path.endsWith('.ts')) throw new Error(`${path} is not served`)
  const made = modules.get(path) ?? bundled(path)
  modules.set(path, made)
  return { type: 'text/javascript', body: await made }
}

export interface PageServer {
  /** An empty page of an origin of its own; modules are at `/src/…`, `/test/…`. */
  readonly url: string
  stop(): Promise<void>
}

/** @param isolated Pages are cross-origin isolated: they may share memory with their workers. */
export async function startPageServer({ isolated = false } = {}): Promise<PageServer> {
  const headers = {
    // A tab keeps what it has compiled, for its next worker.
    'cache-control': 'max-age=3600',
    ...(isolated
      ? { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' }
      : {}),
  }
  const server = http.createServer((request, response) => {
    answer(new URL(request.url ?? '/', 'http://localhost').pathname).then(
      ({ type, body }) => response.writeHead(200, { 'content-type': `${type}; charset=utf-8`, ...headers }).end(body),
      (error: Error) => response.writeHead(404).end(error.message),
    )
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/test/browser/page.html`,
    async stop() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
