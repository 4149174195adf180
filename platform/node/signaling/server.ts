/**
 * The signalling server: introduces the peers of a room to each other, then is not needed any more. Wire: `network/signal-wire.ts`.
 *
 * It holds no secrets and proves nothing: whoever knows a room's name may listen and send in it, from any web page (the Origin
 * header is not looked at). Peers prove to each other over the channel that they know the room's secret, bound to both
 * certificates, so neither a stranger nor this server gets in or between. What it must do is stay up:
 *  - frames have at most 64 KiB, a request's head what Node allows;
 *  - connections, rooms, and connections of a room and of an address are limited;
 *  - who sends frames faster than the allowance, or reads slower than 1 MiB of backlog, is cut;
 *  - who does not answer two pings is cut;
 *  - nothing that arrives makes it throw: every socket has an error listener, every frame goes through a total decoder.
 *
 * One id may be connected several times (a peer that reconnects before its old socket was found dead): each gets what is sent to the id.
 */
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import { HarmonyError } from '../../../src/base/errors.ts'
import {
  closeCodes,
  decodeClientFrame,
  decodeJoin,
  encodeServerFrame,
  frameBytesMax,
  heartbeatFrame,
  heartbeatIntervalMs,
} from '../../network/signal-wire.ts'

export interface SignalingLimits {
  /** All connections; further ones get HTTP 503. Default 10,000. */
  readonly connectionsMax?: number
  /** Connections in one room; further ones are closed with 4409. Default 256. */
  readonly connectionsPerRoomMax?: number
  /**
   * Connections from one address (many tabs may share one, and all share a reverse proxy's: then raise it to
   * `connectionsMax`); further ones get HTTP 429. Default 1,024.
   */
  readonly connectionsPerAddressMax?: number
  /** Frames that one connection may send at once, and per second in the long run. Defaults 2,000 and 200. */
  readonly framesBurstMax?: number
  readonly framesPerSecondMax?: number
  /** What may wait to be read by one connection. Default 1 MiB. */
  readonly backlogBytesMax?: number
}

export interface SignalingOptions extends SignalingLimits {
  /** The path that is served. Default '/signal'. */
  readonly path?: string
  /** Default 15,000; tests take less. */
  readonly heartbeatIntervalMs?: number
}

export interface SignalingStats {
  readonly connections: number
  readonly rooms: number
  readonly framesRelayed: number
  /** Connections that were cut or refused: malformed, too slow, too much, full. */
  readonly refused: number
}

export interface Signaling {
  stats(): SignalingStats
  /** Cuts every connection and stops listening for new ones; the HTTP server stays. */
  close(): void
}

/** What is retained of each connection is bounded, and so is what a newcomer gets at once. */
const retainedCharsMax = 1024

interface Client {
  readonly socket: WebSocket
  readonly room: string
  readonly id: string
  readonly address: string
  alive: boolean
  /** The last small thing that it said to all: repeated to whoever connects later. */
  retained: string | undefined
  tokens: number
  refilledAtMs: number
}

/**
 * Serves signalling on an HTTP server that someone else owns. Upgrades to other paths are left to the owner, who must answer each
 * that nobody takes (`refuseUpgrade`): Node leaves such a socket open.
 */
export function attachSignaling(server: http.Server, options: SignalingOptions = {}): Signaling {
  const {
    path = '/signal',
    connectionsMax = 10_000,
    connectionsPerRoomMax = 256,
    connectionsPerAddressMax = 1_024,
    framesBurstMax = 2_000,
    framesPerSecondMax = 200,
    backlogBytesMax = 1_048_576,
  } = options
  const rooms = new Map<string, Set<Client>>()
  const clients = new Set<Client>()
  const perAddress = new Map<string, number>()
  let framesRelayed = 0
  let refused = 0

  const acceptor = new WebSocketServer({ noServer: true, maxPayload: frameBytesMax, perMessageDeflate: false })

  function deliver(client: Client, frame: string): void {
    const { socket } = client
    if (socket.readyState !== socket.OPEN) return
    if (socket.bufferedAmount > backlogBytesMax) {
      refused++
      // A close frame would wait behind the backlog.
      socket.terminate()
      return
    }
    framesRelayed++
    socket.send(frame)
  }

  function cut(client: Client, code: number, reason: string): void {
    refused++
    client.socket.close(code, reason)
  }

  /** A bucket that holds a burst and fills up at the allowed rate. */
  function allowed(client: Client): boolean {
    const nowMs = performance.now()
    const refill = ((nowMs - client.refilledAtMs) / 1_000) * framesPerSecondMax
    client.tokens = Math.min(framesBurstMax, client.tokens + refill)
    client.refilledAtMs = nowMs
    client.tokens -= 1
    return client.tokens >= 0
  }

  function relay(client: Client, data: RawData, isBinary: boolean): void {
    // A socket that is being closed may still deliver what was on its way.
    if (client.socket.readyState !== client.socket.OPEN) return
    if (!allowed(client)) return cut(client, closeCodes.tooMuch, 'too many frames')
    const frame = isBinary ? undefined : decodeClientFrame(data.toString())
    const text = frame && encodeServerFrame(client.id, frame.message)
    if (frame === undefined || text === undefined) return cut(client, closeCodes.malformed, 'malformed frame')
    if (frame.to === '*' && text.length <= retainedCharsMax) client.retained = text
    for (const other of rooms.get(client.room) ?? []) {
      if (other.id !== client.id && (frame.to === '*' || frame.to === other.id)) deliver(other, text)
    }
  }

  function accept(socket: WebSocket, room: string, id: string, address: string): void {
    const members = rooms.get(room) ?? new Set()
    const client: Client = {
      socket,
      room,
      id,
      address,
      alive: true,
      retained: undefined,
      tokens: framesBurstMax,
      refilledAtMs: performance.now(),
    }
    // Before anything else: an error event without a listener would end the process. The close event follows it.
    socket.on('error', () => {})
    if (members.size >= connectionsPerRoomMax) return cut(client, closeCodes.roomFull, 'the room is full')
    for (const other of members) if (other.retained !== undefined && other.id !== id) deliver(client, other.retained)
    rooms.set(room, members.add(client))
    clients.add(client)
    perAddress.set(address, (perAddress.get(address) ?? 0) + 1)
    socket.on('pong', () => {
      client.alive = true
    })
    socket.on('message', (data, isBinary) => relay(client, data, isBinary))
    socket.on('close', () => {
      clients.delete(client)
      members.delete(client)
      if (members.size === 0) rooms.delete(room)
      const left = (perAddress.get(address) ?? 1) - 1
      if (left > 0) perAddress.set(address, left)
      else perAddress.delete(address)
    })
  }

  function onUpgrade(request: http.IncomingMessage, socket: Duplex, head: Buffer): void {
    const [asked, query = ''] = (request.url ?? '').split('?', 2)
    if (asked !== path) return
    socket.on('error', () => {})
    const join = decodeJoin(query)
    const address = request.socket.remoteAddress ?? 'unknown'
    if (join === undefined) return refuse(socket, '400 Bad Request')
    if (clients.size >= connectionsMax) return refuse(socket, '503 Service Unavailable')
    if ((perAddress.get(address) ?? 0) >= connectionsPerAddressMax) return refuse(socket, '429 Too Many Requests')
    acceptor.handleUpgrade(request, socket, head, webSocket => accept(webSocket, join.room, join.id, address))
  }

  function refuse(socket: Duplex, status: string): void {
    refused++
    refuseUpgrade(socket, status)
  }

  const heartbeat = setInterval(() => {
    for (const client of clients) {
      if (!client.alive) {
        refused++
        client.socket.terminate()
        continue
      }
      client.alive = false
      client.socket.ping()
      client.socket.send(heartbeatFrame)
    }
  }, options.heartbeatIntervalMs ?? heartbeatIntervalMs)
  heartbeat.unref()

  server.on('upgrade', onUpgrade)

  return {
    stats: () => ({ connections: clients.size, rooms: rooms.size, framesRelayed, refused }),
    close() {
      clearInterval(heartbeat)
      server.off('upgrade', onUpgrade)
      for (const client of clients) {
        client.socket.close(1001, 'the server stops')
        client.socket.terminate()
      }
      acceptor.close()
    },
  }
}

/** Answers an upgrade request that is not taken, and ends it. */
export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

export interface SignalingServerOptions extends SignalingOptions {
  /** 0 takes any free one. */
  readonly port: number
  /** Default '127.0.0.1'; '::' or '0.0.0.0' for all interfaces. */
  readonly host?: string
}

export interface SignalingServer {
  readonly port: number
  /** What clients are given: ws://host:port. */
  readonly url: string
  stats(): SignalingStats
  close(): Promise<void>
}

/**
 * A signalling server that stands alone. `GET /` answers with its statistics, for health checks.
 * @throws HarmonyError LOCKED if the port is taken, VALIDATION if it cannot be listened on otherwise.
 */
export async function startSignalingServer(options: SignalingServerOptions): Promise<SignalingServer> {
  const { port, host = '127.0.0.1', path = '/signal' } = options
  const server = http.createServer((request, response) => {
    const known = request.method === 'GET' && request.url === '/'
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(known ? `${JSON.stringify({ service: 'harmonydb-signal', ...signaling.stats() })}\n` : '{}\n')
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  server.on('upgrade', (request, socket) => {
    if (request.url?.split('?', 1)[0] === path) return
    socket.on('error', () => {})
    refuseUpgrade(socket, '404 Not Found')
  })
  const signaling = attachSignaling(server, { ...options, path })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, resolve)
    })
  } catch (error) {
    signaling.close()
    throw listenError(error, host, port)
  }
  server.on('error', () => {})
  const address = server.address() as AddressInfo
  const shownHost = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return {
    port: address.port,
    url: `ws://${shownHost}:${address.port}`,
    stats: signaling.stats,
    close() {
      signaling.close()
      return new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
  }
}

function listenError(cause: unknown, host: string, port: number): HarmonyError {
  const code = (cause as NodeJS.ErrnoException).code
  if (code === 'EADDRINUSE')
    return new HarmonyError('LOCKED', `port ${port} on ${host} is in use: choose another`, { cause })
  return new HarmonyError('VALIDATION', `cannot listen on ${host} port ${port} (${code ?? String(cause)})`, { cause })
}
