/**
 * The control endpoint of `serve`: lets commands on the same machine use the running peer. Wire: `control-wire.ts`.
 *
 *  - Only who can read `.serve.json` in the peer's directory (mode 0600) knows the token; a request with an Origin header (a web page) is
 *    refused even with it.
 *  - One request at a time for each connection; who sends the next one before the answer is cut. So what is held for a connection is bounded
 *    by one frame each way. Connections are limited, idle ones are cut.
 *  - Nothing that arrives makes it throw.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type http from 'node:http'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { type Core, HarmonyError, isHarmonyError } from '../../../src/index.ts'
import { refuseUpgrade } from '../signaling/server.ts'
import {
  type Answer,
  decodeRequest,
  encodeAnswer,
  encodeFailure,
  frameBytesMax,
  plainBytes,
  type Request,
} from './control-wire.ts'

export const controlPath = '/control'
const connectionsMax = 32
const idleMsMax = 10 * 60_000

export interface ControlEndpoint {
  close(): void
}

/** Serves the core on upgrades to `/control`; upgrades to other paths are left to others. */
export function attachControl(server: http.Server, core: Core, token: string): ControlEndpoint {
  const acceptor = new WebSocketServer({ noServer: true, maxPayload: frameBytesMax, perMessageDeflate: false })

  function onUpgrade(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
    if ((request.url ?? '').split('?', 1)[0] !== controlPath) return
    socket.on('error', () => {})
    const { authorization = '', origin } = request.headers
    if (origin !== undefined || !sameSecret(authorization, `Bearer ${token}`)) {
      return refuseUpgrade(socket, '401 Unauthorized')
    }
    if (acceptor.clients.size >= connectionsMax) return refuseUpgrade(socket, '503 Service Unavailable')
    acceptor.handleUpgrade(request, socket, head, webSocket => serve(webSocket, core))
  }

  server.on('upgrade', onUpgrade)
  return {
    close() {
      server.off('upgrade', onUpgrade)
      for (const client of acceptor.clients) client.terminate()
      acceptor.close()
    },
  }
}

function serve(socket: WebSocket, core: Core): void {
  let busy = false
  let idle = setTimeout(() => {}, 0)
  const rest = () => {
    clearTimeout(idle)
    idle = setTimeout(() => socket.terminate(), idleMsMax)
    idle.unref()
  }
  rest()
  socket.on('error', () => {})
  socket.on('close', () => clearTimeout(idle))
  socket.on('message', (data: RawData, isBinary: boolean) => {
    const request = isBinary && Buffer.isBuffer(data) ? decodeRequest(plainBytes(data)) : undefined
    if (busy || request === undefined) {
      socket.close(4400, busy ? 'one request at a time' : 'malformed request')
      return
    }
    busy = true
    clearTimeout(idle)
    void respond(core, request).then(frame => {
      socket.send(frame, () => {
        busy = false
        rest()
      })
    })
  })
}

async function respond(core: Core, request: Request): Promise<Uint8Array> {
  try {
    const frame = encodeAnswer(await answer(core, request))
    if (frame.length <= frameBytesMax) return frame
    return encodeFailure(new HarmonyError('TOO_LARGE', 'the answer is larger than 24 MiB; ask for fewer keys'))
  } catch (error) {
    if (isHarmonyError(error)) return encodeFailure(error)
    const message = `the peer failed: ${error instanceof Error ? error.message : String(error)}`
    return encodeFailure(
      new HarmonyError('CLOSED', message, {
        maybeCommitted: request.verb === 'write' || request.verb === 'decide',
        cause: error,
      }),
    )
  }
}

async function answer(core: Core, request: Request): Promise<Answer> {
  switch (request.verb) {
    case 'read':
      return { verb: 'read', entries: await core.getMany(request.keys, request.options) }
    case 'scan':
      return { verb: 'scan', page: await core.scan(request.scan) }
    case 'write':
      return { verb: 'write', version: (await core.write(request.write)).version }
    case 'prepared':
      return { verb: 'prepared', transactions: await core.prepared(request.timeoutMs) }
    case 'decide':
      return { verb: 'decide', version: (await core.decide(request.decision)).version }
    case 'mirror':
      return { verb: 'mirror', mirror: core.mirror() }
  }
}

/** In a time that tells nothing of where they differ. */
function sameSecret(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(wanted))
}
