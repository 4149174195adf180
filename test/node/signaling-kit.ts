/** What the tests of signalling share: servers and clients that are closed after each test, and raw sockets of the protocol. */
import { WebSocket } from 'ws'
import { encodeJoin } from '../../platform/network/signal-wire.ts'
import { createNodeRendezvous } from '../../platform/node/signaling/client.ts'
import {
  type SignalingOptions,
  type SignalingServer,
  startSignalingServer,
} from '../../platform/node/signaling/server.ts'
import type { PeerId } from '../../src/base/ids.ts'
import type { Clock, RendezvousSession } from '../../src/platform.ts'
import { clock, idA, random, until } from './network-kit.ts'

/** What a test started; the test file closes it after each. */
export const toClose: (() => unknown)[] = []
export async function closeAll(): Promise<void> {
  for (const close of toClose.splice(0).reverse()) await close()
}

export async function server(options: SignalingOptions & { port?: number } = {}): Promise<SignalingServer> {
  const started = await startSignalingServer({ port: 0, ...options })
  toClose.push(() => started.close())
  return started
}

export interface Member {
  readonly session: RendezvousSession
  readonly received: [string, unknown][]
  readonly states: ('open' | 'down')[]
  readonly reasons: string[]
}

export function member(url: string, room: string, id: PeerId, on: Clock = clock): Member {
  const received: [string, unknown][] = []
  const states: ('open' | 'down')[] = []
  const reasons: string[] = []
  const session = createNodeRendezvous({ url, clock: on, random }).connect(room, id, {
    onMessage: (from, message) => received.push([from, message]),
    onState: (state, reason) => {
      states.push(state)
      reasons.push(reason)
    },
  })
  toClose.push(() => session.close())
  return { session, received, states, reasons }
}

export const open = (...members: Member[]): Promise<void> =>
  until(() => members.every(({ states }) => states.at(-1) === 'open'), 'open')

/** A raw socket of the protocol, for frames that no client sends. */
export async function raw(
  url: string,
  room = 'r',
  id: string = idA,
): Promise<WebSocket & { codes: number[]; frames: string[] }> {
  const codes: number[] = []
  const frames: string[] = []
  const socket = new WebSocket(`${url}/signal?${encodeJoin(room, id)}`)
  socket.on('error', () => {})
  socket.on('close', code => codes.push(code))
  socket.on('message', data => frames.push(String(data)))
  toClose.push(() => socket.terminate())
  await until(() => socket.readyState === WebSocket.OPEN, 'open')
  return Object.assign(socket, { codes, frames })
}

/** The HTTP status of a refused upgrade; 101 if it was taken. */
export async function upgradeStatus(url: string): Promise<number | undefined> {
  const socket = new WebSocket(url)
  return new Promise(resolve => {
    socket.on('error', () => {})
    socket.on('open', () => resolve(101))
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode)
      request.destroy()
    })
  })
}
