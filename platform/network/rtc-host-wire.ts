/**
 * What the transport in a worker and the host of its connections on the page say to each other over a MessagePort.
 *
 * RTCPeerConnection exists only on pages; the core runs in a worker. So the page owns the connections and does as it is told, and
 * everything that decides (checks, time-outs, rules of the Endpoint) is in the worker, whose timers are not throttled.
 *
 * Handing the port over (whoever opens the database does it):
 *   page     const { port1, port2 } = new MessageChannel()
 *            const host = createRtcHost(port1)
 *            worker.postMessage({ …, rtcPort: port2 }, [port2])            or any message that reaches the worker
 *   worker   const transport = createRtcTransport(rtcPort, { clock })
 * Before the worker is terminated the page calls `host.close()`: a worker that is gone leaves its channels open.
 *
 * A core on the page itself does the same within one realm; with `createLocalPorts()` in place of the MessageChannel its channels
 * need no bridge.
 *
 * One attempt, from its id:
 *   worker → connect | adopt              `takesChannels`: it is a dedicated worker, to which alone channels can be transferred;
 *                                         the page makes the connection and, unless it is an adopted one, both channels, and in
 *                                         the same task
 *   page   → channels                     hands them over: transferred, bridged (none comes along), or as they are (core on the page)
 *   both   ↔ introduction                 one session description or candidate
 *   page   → described                    both descriptions are in place
 *   page   → refused                      the browser did not like an introduction; the worker decides what that means
 *   page   → ended                        the connection failed or was closed; nothing follows for this id
 *   worker → slot                         adopted only: make the channels of this slot (`adoption.ts`); `channels` or `closed` follows
 *   worker → closeSlot                    adopted only, bridged: close them
 *   worker → close                        let go of it; nothing follows for this id
 * Bridged channels, besides:
 *   worker → send                         bytes for a lane
 *   page   → opened, message, closed, left   `left`: how many bytes of those sent so far the channel got rid of, in all
 *
 * Both ends come from one build and the port is private to them, so messages are not checked again; introductions are, in
 * the worker.
 */
import type { Lane } from '../../src/platform.ts'
import type { RtcIntroduction } from './introduction.ts'
import type { RtcOptions } from './rtc-transport.ts'

export type ToHost =
  | {
      readonly op: 'connect'
      readonly id: number
      readonly initiator: boolean
      readonly rtc: RtcOptions | undefined
      readonly takesChannels: boolean
    }
  | { readonly op: 'adopt'; readonly id: number; readonly lent: number; readonly takesChannels: boolean }
  | { readonly op: 'introduction'; readonly id: number; readonly message: RtcIntroduction }
  | {
      readonly op: 'send'
      readonly id: number
      readonly slot: number
      readonly lane: Lane
      readonly bytes: Uint8Array
    }
  | { readonly op: 'slot' | 'closeSlot'; readonly id: number; readonly slot: number }
  | { readonly op: 'close'; readonly id: number }

export type FromHost =
  | {
      readonly op: 'channels'
      readonly id: number
      readonly slot: number
      /** RTCDataChannels, in the order of `lanes`; none if they are bridged. */
      readonly channels: readonly object[]
    }
  | { readonly op: 'introduction'; readonly id: number; readonly message: RtcIntroduction }
  | { readonly op: 'described'; readonly id: number; readonly local: string; readonly remote: string }
  | { readonly op: 'opened' | 'closed'; readonly id: number; readonly slot: number; readonly lane: Lane }
  | {
      readonly op: 'message'
      readonly id: number
      readonly slot: number
      readonly lane: Lane
      readonly data: unknown
    }
  | { readonly op: 'left'; readonly id: number; readonly slot: number; readonly lane: Lane; readonly bytes: number }
  | { readonly op: 'refused'; readonly id: number; readonly reason: string }
  | { readonly op: 'ended'; readonly id: number; readonly reason: string }

/** The part of MessagePort that is used. */
export interface HostPort {
  /** Objects go across as they are: both ends are in one realm. */
  readonly local?: true
  onmessage: ((event: never) => void) | null
  postMessage(message: ToHost | FromHost, transfer: object[]): void
  close(): void
}

/** An application's RTCPeerConnection that the page's host keeps for the worker: what `adopt` takes there. */
export interface LentConnection {
  readonly harmonydbLent: number
}

export function isLentConnection(value: unknown): value is LentConnection {
  return typeof value === 'object' && value !== null && typeof (value as LentConnection).harmonydbLent === 'number'
}
