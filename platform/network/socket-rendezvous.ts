/**
 * The Rendezvous over a WebSocket, for every host: the socket is the host's, handed in.
 *
 * Invariants
 *  - `onState` tells changes only: 'open' when the server took us into the room, 'down' with a reason when that is over
 *    (and once if the first attempt fails). Nothing is told after `close`.
 *  - While it is down it tries again: after 250 ms doubled each time, up to 15 s, times a random factor of 0.5 to 1, so that the
 *    clients of a restarted server do not come all at once. A connection that stood for 10 s resets the delay.
 *  - Messages sent while it is down are dropped, as is what the socket does not get rid of (256 KiB): stale introductions help nobody.
 *  - A server that is silent for three heartbeats is dead, whatever TCP thinks.
 */

import { HarmonyError } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/ids.ts'
import type { Cancel, Clock, Random, Rendezvous, RendezvousEvents, RendezvousSession } from '../../src/platform.ts'
import { closeCodes, decodeServerFrame, encodeClientFrame, encodeJoin, heartbeatIntervalMs } from './signal-wire.ts'

/** The part of the W3C WebSocket that is needed; `ws` has it too. */
export interface SocketLike {
  readonly readyState: number
  readonly bufferedAmount: number
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  send(text: string): void
  close(code?: number, reason?: string): void
}

export interface SocketRendezvousOptions {
  /** `ws://…`, `wss://…`, or the same with http; without a path, `/signal` is meant. */
  readonly url: string
  readonly clock: Clock
  readonly random: Random
  /** May throw. */
  readonly openSocket: (url: string) => SocketLike
  /** An attempt that is not open by then is given up. Default 10,000. */
  readonly connectTimeoutMs?: number
}

const readyStateOpen = 1
const delayFirstMs = 250
const delayMsMax = 15_000
const stableMs = 10_000
const bufferedBytesMax = 262_144

/** @throws HarmonyError VALIDATION for a URL that is none. */
export function createSocketRendezvous(options: SocketRendezvousOptions): Rendezvous {
  const base = signalingUrl(options.url)
  return {
    connect(room, self, events) {
      const query = encodeJoin(room, self)
      if (query === undefined) throw new HarmonyError('VALIDATION', 'a room name has 1 to 128 characters')
      return connectSession(options, `${base}?${query}`, self, events)
    },
  }
}

/**
 * The address to connect to, without a query.
 * @throws HarmonyError VALIDATION
 */
export function signalingUrl(url: string): string {
  const match = /^(ws|http)(s?):\/\/([^/?#\s]+)(\/[^?#\s]*)?$/i.exec(url.trim())
  if (match === null) {
    throw new HarmonyError(
      'VALIDATION',
      `"${url}" is not a signalling address: write ws://host:port or wss://host:port`,
    )
  }
  const [, , secure, host, path] = match
  return `ws${secure!.toLowerCase()}://${host}${path === undefined || path === '/' ? '/signal' : path}`
}

function connectSession(
  { clock, random, openSocket, connectTimeoutMs = 10_000 }: SocketRendezvousOptions,
  url: string,
  self: PeerId,
  events: RendezvousEvents,
): RendezvousSession {
  let socket: SocketLike | undefined
  let state: 'open' | 'down' | undefined
  let closed = false
  let failures = 0
  let openedAtMs = 0
  let timer: Cancel | undefined

  function tell(next: 'open' | 'down', reason: string): void {
    if (closed || state === next) return
    state = next
    events.onState(next, reason)
  }

  function attempt(): void {
    let opened: SocketLike
    try {
      opened = openSocket(url)
    } catch (error) {
      return lost(undefined, error instanceof Error ? error.message : 'the socket could not be made')
    }
    socket = opened
    timer = clock.after(connectTimeoutMs, () => lost(opened, 'connecting timed out'))
    opened.onopen = () => {
      if (socket !== opened) return
      openedAtMs = clock.now()
      heard(opened)
      tell('open', 'connected')
    }
    opened.onmessage = (event: { readonly data?: unknown }) => {
      if (socket !== opened) return
      heard(opened)
      const frame = typeof event.data === 'string' ? decodeServerFrame(event.data) : undefined
      if (frame !== undefined && frame !== 'heartbeat' && frame.from !== self) {
        events.onMessage(frame.from, frame.message)
      }
    }
    // A close always follows an error.
    opened.onerror = () => {}
    opened.onclose = (event: { readonly code?: unknown; readonly reason?: unknown }) =>
      lost(opened, describeClose(event.code, event.reason, state === 'open'))
  }

  function heard(from: SocketLike): void {
    timer?.()
    timer = clock.after(heartbeatIntervalMs * 3, () => lost(from, 'the server went silent'))
  }

  function lost(which: SocketLike | undefined, reason: string): void {
    if (closed || (which !== undefined && which !== socket)) return
    timer?.()
    if (which !== undefined) discard(which)
    socket = undefined
    if (state === 'open' && clock.now() - openedAtMs >= stableMs) failures = 0
    const delayMs = Math.min(delayMsMax, delayFirstMs * 2 ** Math.min(failures, 10)) * jitter(random)
    failures++
    timer = clock.after(delayMs, attempt)
    tell('down', reason)
  }

  // The first attempt is made later too: nothing is told before the caller holds the session.
  clock.soon(() => {
    if (!closed) attempt()
  })

  return {
    send(to, message) {
      if (socket === undefined || state !== 'open' || socket.readyState !== readyStateOpen) return
      const frame = encodeClientFrame(to, message)
      if (frame === undefined || socket.bufferedAmount > bufferedBytesMax) return
      try {
        socket.send(frame)
      } catch {
        // It is closing; `onclose` tells.
      }
    },
    close() {
      if (closed) return
      closed = true
      timer?.()
      if (socket !== undefined) discard(socket)
      socket = undefined
    },
  }
}

/** 0.5 to 1. */
function jitter(random: Random): number {
  const bytes = new Uint8Array(2)
  random.fill(bytes)
  return 0.5 + (bytes[0]! * 256 + bytes[1]!) / 131_072
}

/** Closes for good: a socket that is still connecting must not come up later, nor its error go unheard. */
function discard(socket: SocketLike): void {
  socket.onopen = null
  socket.onmessage = null
  socket.onclose = null
  socket.onerror = () => {}
  try {
    socket.close()
  } catch {
    // Closed already.
  }
}

function describeClose(code: unknown, reason: unknown, wasOpen: boolean): string {
  if (typeof reason === 'string' && reason !== '') return reason
  if (code === closeCodes.roomFull) return 'the room is full'
  return wasOpen ? 'the connection to the server was lost' : 'the server cannot be reached'
}
