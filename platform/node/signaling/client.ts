/** The WebSocket Rendezvous in Node, over `ws` (Node 20 has no WebSocket of its own). */
import { WebSocket } from 'ws'
import type { Clock, Random, Rendezvous } from '../../../src/platform.ts'
import { relayedBytesMax } from '../../network/signal-wire.ts'
import { createSocketRendezvous } from '../../network/socket-rendezvous.ts'

export interface NodeRendezvousOptions {
  readonly url: string
  readonly clock: Clock
  readonly random: Random
}

/**
 * `url`: ws://host:port (path /signal), or a full address.
 * @throws HarmonyError VALIDATION for a URL that is none.
 */
export function createNodeRendezvous({ url, clock, random }: NodeRendezvousOptions): Rendezvous {
  return createSocketRendezvous({
    url,
    clock,
    random,
    openSocket: address =>
      new WebSocket(address, { perMessageDeflate: false, maxPayload: relayedBytesMax, handshakeTimeout: 10_000 }),
  })
}
