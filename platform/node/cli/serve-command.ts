/**
 * `harmonydb serve`: a peer that runs until it is told to stop, with signalling, the control endpoint for commands, and perhaps a
 * folder of web pages, on one HTTP server.
 *
 *   /signal    WebSocket: introductions (`signaling/server.ts`)
 *   /control   WebSocket: commands of this machine (`control-server.ts`)
 *   /health    JSON: the peer's state and signalling's numbers
 *   /…         files of --web
 *
 * Its end, on SIGINT or SIGTERM: the peer hands its duties over (`close`), the lock and `.serve.json` go, status 0. A second signal ends it
 * where it stands. It also ends, with the error, when its storage fails or is full: a peer without storage is none.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type ClusterStatus,
  createDatabase,
  type Database,
  type DatabaseEvent,
  type ErrorCode,
  HarmonyError,
  isHarmonyError,
  type JoinOptions,
} from '../../../src/index.ts'
import { openNodeCore } from '../open.ts'
import { attachSignaling, refuseUpgrade } from '../signaling/server.ts'
import { attachControl, controlPath } from './control-server.ts'
import { describe } from './exit-status.ts'
import type { Output } from './output.ts'
import { newToken, removeServeFile, writeServeFile } from './serve-file.ts'
import { type Place, placeOf } from './target.ts'
import { type Handler, webFiles } from './web-files.ts'

export interface ServeOptions extends Place {
  readonly room: string | undefined
  readonly secret: string | undefined
  readonly signaling: readonly string[]
  readonly port: number
  readonly host: string
  readonly web: string | undefined
  readonly role: 'auto' | 'voter' | 'learner'
  readonly bootstrap: boolean
  readonly discardLocal: boolean
  readonly leaseReads: boolean
  readonly json: boolean
}

const signalPath = '/signal'
const rejoinPauseMs = 1_000
/** The peer has stopped for good: whoever runs `serve` should hear of it, and start it again. */
const stoppingCodes: ReadonlySet<ErrorCode> = new Set(['STORAGE_LOST', 'QUOTA', 'CORRUPT'])

export async function serve(options: ServeOptions, output: Output, stopped: Promise<string>): Promise<void> {
  const dir = placeOf(options)
  const tell = teller(options.json, output)
  let fail: (error: HarmonyError) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  failed.catch(() => {}) // whoever waits for it hears it
  const onEvent = (event: DatabaseEvent): void => {
    tellEvent(event, tell)
    if (event.type === 'error' && stoppingCodes.has(event.error.code)) fail(event.error)
  }
  const core = await openNodeCore({ name: options.name, storage: { dir }, leaseReads: options.leaseReads, onEvent })
  const db = createDatabase(core)
  const token = newToken()
  let undo: () => void = () => {}
  try {
    const { server, port } = await listen(options)
    const signaling = attachSignaling(server, { path: signalPath })
    const control = attachControl(server, core, token)
    undo = () => {
      control.close()
      signaling.close()
      server.close()
      server.closeAllConnections()
    }
    const health = () => ({ service: 'harmonydb', ...db.cluster.status(), signaling: signaling.stats() })
    server.on('request', router(options.web === undefined ? undefined : webFiles(options.web), health))
    const host = urlHost(options.host)
    const url = `http://${host}:${port}/`
    const signal = `ws://${host}:${port}${signalPath}`
    const local = `ws://${urlHost(loopbackOf(options.host))}:${port}`
    await writeServeFile(dir, { pid: process.pid, url: `${local}${controlPath}`, token })
    const { self, clusterId } = db.cluster.status()
    tell('listening', { url, signal, dir, peer: self, cluster: clusterId }, [
      `HarmonyDB peer ${self}`,
      `  directory   ${dir}`,
      `  address     ${url}`,
      `  signalling  ${signal}`,
    ])
    const unsubscribe = db.cluster.subscribe(changesOf(tell))
    const ended = stopped.then(reason => tell('stopping', { reason }, [`${reason}: leaving`]))
    const join = joinOf(options, [`${local}${signalPath}`])
    const joining = join === undefined ? new Promise<never>(() => {}) : stayJoined(db, join, stopped, tell)
    await Promise.race([ended, joining, failed])
    unsubscribe()
  } finally {
    await removeServeFile(dir, token).catch(() => {})
    // A storage that failed fails to close too; its error is on its way already.
    await db.close().catch(error => tell('error', { message: describe(error) }, [`closing: ${describe(error)}`]))
    undo()
  }
}

/** Joins, and tries again what time can heal. Rejects with what it cannot; else it never settles. */
async function stayJoined(db: Database, join: JoinOptions, stopped: Promise<string>, tell: Tell): Promise<never> {
  let stopping = false
  void stopped.then(() => {
    stopping = true
  })
  for (;;) {
    try {
      await db.cluster.join(join)
      tell('joined', { room: join.room }, [`joined room ${join.room}`])
      return await new Promise<never>(() => {})
    } catch (error) {
      if (stopping) return await new Promise<never>(() => {})
      if (!isHarmonyError(error) || !error.retryable) throw error
      tell('retrying', { code: error.code, message: error.message }, [
        `joining ${join.room}: ${describe(error)}; again`,
      ])
      await new Promise(resolve => setTimeout(resolve, rejoinPauseMs))
    }
  }
}

function joinOf(options: ServeOptions, own: readonly string[]): JoinOptions | undefined {
  const { room, secret, role, bootstrap, discardLocal, signaling } = options
  if (room === undefined || secret === undefined) return undefined
  return {
    room,
    secret,
    role,
    signaling: [...own, ...signaling],
    bootstrap: bootstrap ? 'auto' : false,
    onConflict: discardLocal ? 'discard-local' : 'fail',
  }
}

type Tell = (event: string, fields: Readonly<Record<string, unknown>>, lines: readonly string[]) => void

/** Events as lines: for people, or one JSON object each. Where the reader has gone, the peer goes on. */
function teller(json: boolean, output: Output): Tell {
  return (event, fields, lines) => {
    const texts = json ? [JSON.stringify({ event, ...fields })] : lines
    for (const text of texts) output.line(text).catch(() => {})
  }
}

function tellEvent(event: DatabaseEvent, tell: Tell): void {
  switch (event.type) {
    case 'paused':
      return tell('paused', { code: event.code, message: event.message }, [`paused ${event.code}: ${event.message}`])
    case 'repaired':
      return tell('repaired', { message: event.message }, [`repaired: ${event.message}`])
    case 'signaling':
      return tell('signaling', { state: event.state, message: event.message }, [
        `signalling ${event.state}: ${event.message}`,
      ])
    case 'member':
      return tell('member', { id: event.id, change: event.change }, [`member ${event.id} ${event.change}`])
    case 'error':
      return tell('error', { code: event.error.code, message: event.error.message }, [`error ${describe(event.error)}`])
    default: // told from the status, or too much
  }
}

/** Health, leader and role, when one of them changes. */
function changesOf(tell: Tell): (status: ClusterStatus) => void {
  let before = ''
  return ({ health, leader, role, term, room }) => {
    const text = `health ${health}, ${role}, leader ${leader ?? 'none'}, term ${term}`
    if (text === before) return
    before = text
    tell('health', { health, role, leader, term, room }, [text])
  }
}

function router(files: Handler | undefined, health: () => object): Handler {
  return (request, response) => {
    const [path] = (request.url ?? '').split('?', 1)
    if (path === '/health' || (files === undefined && path === '/')) {
      response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
      response.end(`${JSON.stringify(health())}\n`)
    } else if (files !== undefined) files(request, response)
    else response.writeHead(404, { 'content-type': 'text/plain' }).end('404\n')
  }
}

async function listen({ port, host }: ServeOptions): Promise<{ server: http.Server; port: number }> {
  const server = http.createServer()
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('upgrade', (request, socket) => {
    const [path] = (request.url ?? '').split('?', 1)
    if (path === signalPath || path === controlPath) return
    socket.on('error', () => {})
    refuseUpgrade(socket, '404 Not Found')
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port)))
    server.listen(port, host, resolve)
  })
  return { server, port: (server.address() as AddressInfo).port }
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): HarmonyError {
  if (cause.code === 'EADDRINUSE')
    return new HarmonyError('LOCKED', `port ${port} on ${host} is in use; choose another with --port (0 takes any)`, {
      cause,
    })
  return new HarmonyError('VALIDATION', `cannot listen on ${host} port ${port}: ${cause.code ?? cause.message}`, {
    cause,
  })
}

const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** Where this machine itself reaches a server that listens on `host`. */
const loopbackOf = (host: string): string => (host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host)
