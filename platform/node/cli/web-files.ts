/** Serves the files of one folder over HTTP, for pages that live beside a peer (the demo). Reads only, and only inside the folder. */
import { createReadStream } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import type http from 'node:http'
import { extname, join, resolve, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.txt': 'text/plain; charset=utf-8',
}

export type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void

export function webFiles(folder: string): Handler {
  const root = resolve(folder)
  return (request, response) => {
    void respond(root, request, response).catch(() => {
      // A reader that goes away in the middle of a file.
      response.destroy()
    })
  }
}

async function respond(root: string, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405)
  const path = await fileOf(root, request.url ?? '/')
  if (path === undefined) return end(response, 404)
  const { size } = await stat(path)
  response.writeHead(200, {
    'content-type': types[extname(path)] ?? 'application/octet-stream',
    'content-length': size,
    // What is served may have been built anew a moment ago.
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
  })
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  await pipeline(createReadStream(path), response)
}

/** The file that an address names; undefined for none, for a folder without index.html, and for what lies outside. */
async function fileOf(root: string, address: string): Promise<string | undefined> {
  const [escaped = ''] = address.split(/[?#]/, 1)
  try {
    const path = decodeURIComponent(escaped)
    if (path.includes('\0') || path.includes('\\')) return undefined
    const asked = join(root, path.endsWith('/') ? `${path}index.html` : path)
    // Symbolic links resolved: what counts is where the bytes are.
    const [real, realRoot] = await Promise.all([realpath(asked), realpath(root)])
    if (!real.startsWith(realRoot + sep)) return undefined
    return (await stat(real)).isFile() ? real : undefined
  } catch {
    return undefined
  }
}

function end(response: http.ServerResponse, status: number): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${status}\n`)
}
