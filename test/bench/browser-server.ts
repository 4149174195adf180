/** Serves the benchmark's page on loopback, isolated from other origins (COOP, COEP): so its clock is fine enough. */
import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, sep } from 'node:path'
import { pipeline } from 'node:stream'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
}

export interface BrowserServer {
  readonly url: string
  stop(): Promise<void>
}

/** @param folders By the first part of the path; of several, the first one that has the file. */
export async function startBrowserServer(folders: Readonly<Record<string, readonly string[]>>): Promise<BrowserServer> {
  const server = createServer((request, response) => {
    response.setHeader('cross-origin-opener-policy', 'same-origin')
    response.setHeader('cross-origin-embedder-policy', 'require-corp')
    response.setHeader('cross-origin-resource-policy', 'same-origin')
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    if (pathname === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8')
      response.end('<!doctype html><title>Benchmark</title><script type="module" src="/bench/page.js"></script>')
      return
    }
    const [, folder = '', ...rest] = decodeURIComponent(pathname).split('/')
    const path = fileIn(Object.hasOwn(folders, folder) ? folders[folder]! : [], rest)
    if (path === undefined) {
      response.writeHead(404).end()
      return
    }
    response.setHeader('content-type', types[extname(path)] ?? 'application/octet-stream')
    response.setHeader('cache-control', 'max-age=3600')
    pipeline(createReadStream(path), response, () => {})
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function fileIn(folders: readonly string[], parts: readonly string[]): string | undefined {
  if (parts.some(part => part === '' || part === '.' || part === '..' || part.includes(sep))) return undefined
  const paths = folders.map(folder => join(folder, ...parts))
  return paths.find(path => statSync(path, { throwIfNoEntry: false })?.isFile())
}
