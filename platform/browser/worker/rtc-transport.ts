/**
 * The Transport of browsers, for the realm in which the core runs: a dedicated worker, or the page itself. The connections live with
 * the page's host (`page/rtc-host.ts`) behind a port; `network/rtc-host-wire.ts` has the protocol and how the port is handed over.
 *
 * Channels come transferred (they are this worker's then, a busy page does not delay them), as they are (core on the page), or
 * not at all: then their messages go through the page, and this side counts what the page has not got rid of yet.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Clock, Connection, ConnectionEvents, Lane } from '../../../src/platform.ts'
import { assertNotAdopted } from '../../network/adoption.ts'
import { type Attempt, connectTimeoutMs, createAttempt } from '../../network/attempt.ts'
import { type HostChannel, lanes, lowWaterBytes } from '../../network/channel-endpoint.ts'
import {
  type FromHost,
  type HostPort,
  isLentConnection,
  type LentConnection,
  type ToHost,
} from '../../network/rtc-host-wire.ts'
import type { RtcOptions, RtcTransport } from '../../network/rtc-transport.ts'

export interface RtcTransportOptions {
  readonly clock: Clock
  readonly rtc?: RtcOptions
  /** For a core on the page: the host's `lend`, so that `adopt` takes an RTCPeerConnection itself. */
  readonly lend?: (connection: never) => LentConnection
  /** An attempt that is not open by then has failed. Default 15,000. */
  readonly timeoutMs?: number
}

/** How the channels of the last link came: for tests and for status displays. */
export type HandedOver = 'channels' | 'bridge'

/** Only this kind of realm can be given channels of another. */
const takesChannels = 'DedicatedWorkerGlobalScope' in globalThis

export interface BrowserTransport extends RtcTransport {
  readonly handedOver: HandedOver | undefined
}

export function createRtcTransport(port: HostPort, options: RtcTransportOptions): BrowserTransport {
  const { clock, lend, timeoutMs = connectTimeoutMs } = options
  const links = new Map<number, Link>()
  let rtc = options.rtc
  let count = 0
  let closed = false
  let handedOver: HandedOver | undefined

  const post = (message: ToHost, transfer: object[] = []): void => port.postMessage(message, transfer)

  function start(
    initiator: boolean,
    adopted: boolean,
    events: ConnectionEvents,
    request: (id: number) => ToHost,
  ): Connection {
    const id = ++count
    const link = createLink(id, post)
    const attempt = createAttempt({
      initiator,
      adopted,
      events,
      clock,
      channels: link.channels,
      timeoutMs,
      introduceToHost: message => post({ op: 'introduction', id, message }),
      openSlot: slot => post({ op: 'slot', id, slot }),
      dispose: () => {
        if (links.delete(id)) post({ op: 'close', id })
      },
    })
    if (closed) {
      clock.soon(() => attempt.ended('the transport is closed'))
      return attempt
    }
    link.attempt = attempt
    links.set(id, link)
    post(request(id))
    attempt.begin()
    return attempt
  }

  port.onmessage = (event: { readonly data: FromHost }) => {
    const message = event.data
    const link = links.get(message.id)
    if (link === undefined) {
      // Channels of an attempt that was given up while they were on their way.
      if (message.op === 'channels') for (const channel of message.channels) (channel as RTCDataChannel).close()
      return
    }
    if (message.op === 'channels') handedOver = message.channels.length > 0 ? 'channels' : 'bridge'
    // The page has forgotten it: nothing to close there.
    if (message.op === 'ended') links.delete(message.id)
    link.take(message)
  }

  return {
    get handedOver() {
      return handedOver
    },
    configure(next) {
      rtc = next
    },
    connect: (_remote, initiator, events) =>
      start(initiator, false, events, id => ({ op: 'connect', id, initiator, rtc, takesChannels })),
    adopt(connection, initiator, events) {
      const lent = isLentConnection(connection)
        ? connection
        : lend !== undefined
          ? lend(asLendable(connection))
          : undefined
      if (lent === undefined) throw notLent()
      return start(initiator, true, events, id => ({ op: 'adopt', id, lent: lent.harmonydbLent, takesChannels }))
    },
    assertAdoptable(connection) {
      if (isLentConnection(connection)) return
      if (lend === undefined) throw notLent()
      assertNotAdopted(asLendable(connection))
    },
    close() {
      closed = true
      for (const link of [...links.values()]) link.attempt?.close()
    },
  }
}

function notLent(): HarmonyError {
  const message = 'adopt takes an RTCPeerConnection here, lent by the page if the database is in a worker'
  return new HarmonyError('VALIDATION', message)
}

/** By shape: the class belongs to the page, and this file is also a worker's. */
function asLendable(connection: unknown): never {
  const verbs = ['createDataChannel', 'setLocalDescription', 'addEventListener']
  const fits =
    typeof connection === 'object' &&
    connection !== null &&
    verbs.every(verb => typeof (connection as Record<string, unknown>)[verb] === 'function')
  if (!fits) throw new HarmonyError('VALIDATION', 'adopt takes an RTCPeerConnection here')
  return connection as never
}

interface Link {
  channels(slot: number): Readonly<Record<Lane, HostChannel>>
  attempt: Attempt | undefined
  take(message: FromHost): void
}

function createLink(id: number, post: (message: ToHost, transfer?: object[]) => void): Link {
  const slots = new Map<number, Record<Lane, LaneChannel>>()
  function channels(slot: number): Record<Lane, LaneChannel> {
    const known = slots.get(slot)
    if (known !== undefined) return known
    const closeBridged = (): void => post({ op: 'closeSlot', id, slot })
    const made = { consensus: createLaneChannel(closeBridged), bulk: createLaneChannel(closeBridged) }
    slots.set(slot, made)
    return made
  }
  /** The same bytes may be on their way to several peers: they are not ours to give away. */
  const sendCopy = (bytes: Uint8Array, slot: number, lane: Lane): void => {
    const copy = bytes.slice()
    post({ op: 'send', id, slot, lane, bytes: copy }, [copy.buffer])
  }
  const link: Link = {
    channels,
    attempt: undefined,
    take(message) {
      const attempt = link.attempt!
      switch (message.op) {
        case 'channels':
          for (const [i, lane] of lanes.entries()) {
            const channel = message.channels[i] as RTCDataChannel | undefined
            const own = channels(message.slot)[lane]
            if (channel === undefined) own.bridge(bytes => sendCopy(bytes, message.slot, lane))
            else own.use(channel, message.slot, lane, attempt)
          }
          return
        case 'introduction':
          return attempt.introduction(message.message)
        case 'described':
          return attempt.described(message.local, message.remote)
        case 'opened':
          return attempt.channelOpened(message.slot, message.lane)
        case 'message':
          return receive(message.data, message.slot, message.lane, attempt)
        case 'closed':
          return attempt.channelClosed(message.slot)
        case 'left':
          channels(message.slot)[message.lane].left(message.bytes)
          return attempt.low(message.slot, message.lane)
        case 'refused':
          return attempt.refused(message.reason)
        case 'ended':
          return attempt.ended(message.reason)
      }
    },
  }
  return link
}

function receive(data: unknown, slot: number, lane: Lane, attempt: Attempt): void {
  if (data instanceof ArrayBuffer) attempt.received(slot, lane, new Uint8Array(data))
  else attempt.receivedOther()
}

/** One lane, in whichever of the two ways it came. Until then it takes nothing. */
interface LaneChannel extends HostChannel {
  use(channel: RTCDataChannel, slot: number, lane: Lane, attempt: Attempt): void
  bridge(send: (bytes: Uint8Array) => void): void
  left(bytes: number): void
}

/** `closeBridged`: asks the page to close what never came over. */
function createLaneChannel(closeBridged: () => void): LaneChannel {
  let channel: RTCDataChannel | undefined
  let sendBridged: ((bytes: Uint8Array) => void) | undefined
  let closed = false
  let postedBytes = 0
  let leftBytes = 0
  return {
    use(handed, slot, lane, attempt) {
      // It was still on its way when another slot was chosen.
      if (closed) return handed.close()
      channel = handed
      sendBridged = undefined
      handed.binaryType = 'arraybuffer'
      handed.bufferedAmountLowThreshold = lowWaterBytes
      handed.onopen = () => attempt.channelOpened(slot, lane)
      handed.onmessage = ({ data }: MessageEvent<unknown>) => receive(data, slot, lane, attempt)
      handed.onbufferedamountlow = () => attempt.low(slot, lane)
      // A close always follows an error.
      handed.onclose = () => attempt.channelClosed(slot)
      if (handed.readyState === 'open') attempt.channelOpened(slot, lane)
    },
    bridge(send) {
      if (closed) return
      sendBridged = send
      postedBytes = leftBytes = 0
    },
    left(bytes) {
      leftBytes = bytes
    },
    send(bytes) {
      if (sendBridged !== undefined) {
        postedBytes += bytes.length
        sendBridged(bytes)
        return 'taken'
      }
      if (channel?.readyState !== 'open') return 'gone'
      try {
        channel.send(bytes as Uint8Array<ArrayBuffer>)
        return 'taken'
      } catch {
        return channel.readyState === 'open' ? 'full' : 'gone'
      }
    },
    bufferedBytes: () => (channel === undefined ? postedBytes - leftBytes : channel.bufferedAmount),
    close() {
      if (!closed && channel === undefined) closeBridged()
      closed = true
      sendBridged = () => {}
      if (channel === undefined) return
      channel.onopen = channel.onmessage = channel.onbufferedamountlow = channel.onclose = null
      channel.close()
      channel = undefined
    },
  }
}
