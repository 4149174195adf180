/** The WebSocket Rendezvous in browsers, in a worker or on a page. */
import type { Clock, Random, Rendezvous } from '../../../../src/platform.ts'
import { createSocketRendezvous } from '../../../network/socket-rendezvous.ts'

export interface WebSocketRendezvousOptions {
  readonly url: string
  readonly clock: Clock
  readonly random: Random
}

/**
 * `url`: ws://host:port (path /signal), or a full address.
 * @throws HarmonyError VALIDATION for a URL that is none.
 */
export function createWebSocketRendezvous(options: WebSocketRendezvousOptions): Rendezvous {
  return createSocketRendezvous({ ...options, openSocket: address => new WebSocket(address) })
}
