/**
 * The Transport of Node: WebRTC data channels by node-datachannel's native API, on the wire the same as a browser's
 * (two negotiated channels, trickle ICE, the initiator offers). See `native.ts` for how the library wants to be treated.
 *
 * Facts that shaped it
 *  - The library negotiates by itself: creating a channel makes the initiator's offer, setting the remote offer makes the
 *    answer. So the other side creates its channels right after the offer came in: before, it would offer as well.
 *  - Its send never refuses: it queues without bound. `bufferedAmount` counts, and the endpoint's 16 MiB end it.
 *  - It takes candidates only after the remote description: earlier ones wait here.
 *  - It lets ICE go ahead before it has noted the answer's fingerprint. If the other side knows our candidates by then, DTLS may run into
 *    that gap and fail, or its first message gets lost and costs a second. So the initiator holds its candidates back until the
 *    answer is in place.
 *  - 'disconnected' may heal; heartbeats above decide. 'failed' and 'closed' end the link.
 *
 * Caveat: incoming messages queue in the library while JavaScript is busy; nothing slows the sender down but its own window.
 */
import nodeDataChannel, { type DataChannel, type PeerConnection, type RtcConfig } from 'node-datachannel'
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Clock, Connection, ConnectionEvents, Lane } from '../../../src/platform.ts'
import { claimForAdoption } from '../../network/adoption.ts'
import { type Attempt, connectTimeoutMs, createAttempt } from '../../network/attempt.ts'
import { type HostChannel, lanes, lowWaterBytes } from '../../network/channel-endpoint.ts'
import { channelIds } from '../../network/channel-ids.ts'
import type { RtcIntroduction } from '../../network/introduction.ts'
import type { RtcOptions, RtcTransport } from '../../network/rtc-transport.ts'
import { asAdoptable } from './adoptable.ts'
import { nativeIceServers } from './ice-servers.ts'
import { assertMainThread, bindAddressNeeded, keep, release, shielded, tune } from './native.ts'

export interface NodeTransportOptions {
  readonly clock: Clock
  /** ICE servers for peers behind address translation; without them only the machine's own addresses are offered. */
  readonly rtc?: RtcOptions
  /** The local address to use alone. Default: all, or 127.0.0.1 where nothing else is up. */
  readonly bindAddress?: string
  /** An attempt that is not open by then has failed. Default 15,000. */
  readonly timeoutMs?: number
}

/** @throws HarmonyError VALIDATION in a worker thread, or for ICE servers that cannot be read. */
export function createNodeTransport(options: NodeTransportOptions): RtcTransport {
  assertMainThread()
  tune()
  const { clock, timeoutMs = connectTimeoutMs } = options
  const bindAddress = options.bindAddress ?? bindAddressNeeded()
  const configFor = (rtc: RtcOptions = {}): RtcConfig => ({
    iceServers: nativeIceServers(rtc),
    ...(rtc.iceTransportPolicy === undefined ? {} : { iceTransportPolicy: rtc.iceTransportPolicy }),
    ...(bindAddress === undefined ? {} : { bindAddress }),
  })
  let config = configFor(options.rtc)
  const attempts = new Set<Attempt>()
  let closed = false

  function start(
    initiator: boolean,
    events: ConnectionEvents,
    adopted: PeerConnection | undefined,
    makeOwn: () => PeerConnection,
  ): Connection {
    const native = createNativeLink(adopted)
    const attempt = createAttempt({
      initiator,
      adopted: adopted !== undefined,
      events,
      clock,
      channels: native.channels,
      timeoutMs,
      introduceToHost: native.introduce,
      openSlot: native.openSlot,
      dispose: () => {
        attempts.delete(attempt)
        native.dispose()
      },
    })
    attempts.add(attempt)
    // A failure to start is told like any other: later, not before the caller holds the connection.
    try {
      if (closed) throw new HarmonyError('CLOSED', 'the transport is closed')
      native.start(attempt, makeOwn, initiator)
    } catch (error) {
      clock.soon(() => attempt.ended(messageOf(error)))
    }
    return attempt
  }

  return {
    configure(rtc) {
      config = configFor(rtc)
    },
    connect: (_remote, initiator, events) =>
      start(initiator, events, undefined, () => new nodeDataChannel.PeerConnection('harmonydb', config)),
    adopt(connection, initiator, events) {
      const adopted = asAdoptable(connection)
      claimForAdoption(adopted)
      return start(initiator, events, adopted, () => adopted)
    },
    assertAdoptable: connection => void asAdoptable(connection),
    close() {
      closed = true
      for (const attempt of [...attempts]) attempt.close()
    },
  }
}

/** By then everything has closed, told or not. */
const forgetDelayMs = 5_000

interface NativeLink {
  channels(slot: number): Readonly<Record<Lane, HostChannel>>
  start(attempt: Attempt, make: () => PeerConnection, initiator: boolean): void
  introduce(message: RtcIntroduction): void
  openSlot(slot: number): void
  dispose(): void
}

function createNativeLink(adopted: PeerConnection | undefined): NativeLink {
  const slots = new Map<number, Record<Lane, NativeChannel>>()
  function channels(slot: number): Record<Lane, NativeChannel> {
    const known = slots.get(slot)
    if (known !== undefined) return known
    const made = { consensus: createNativeChannel(), bulk: createNativeChannel() }
    slots.set(slot, made)
    return made
  }
  let attempt: Attempt | undefined
  let connection: PeerConnection | undefined
  let remoteSet = false
  /** Theirs that came before their description; ours that must not leave before it. */
  let waiting: { candidate: string; mid: string }[] = []
  let withheld: { candidate: string; mid: string }[] = []
  let disposed = false

  function tellDescriptions(): void {
    const local = connection?.localDescription()
    const remote = connection?.remoteDescription()
    if (local && remote) attempt!.described(local.sdp, remote.sdp)
  }

  function createChannels(slot: number): void {
    const ids = channelIds(adopted !== undefined, slot)
    for (const lane of lanes) {
      const channel = connection!.createDataChannel(lane, { negotiated: true, id: ids[lane] })
      channels(slot)[lane].attach(channel, {
        opened: () => {
          tellDescriptions()
          attempt!.channelOpened(slot, lane)
        },
        received: bytes => attempt!.received(slot, lane, bytes),
        receivedOther: () => attempt!.receivedOther(),
        low: () => attempt!.low(slot, lane),
        closed: () => attempt!.channelClosed(slot),
      })
    }
  }

  function introduce(message: RtcIntroduction): void {
    if (connection === undefined || disposed) return
    try {
      if (message.type === 'candidate') {
        if (remoteSet) connection.addRemoteCandidate(message.candidate, message.mid)
        else waiting.push(message)
        return
      }
      connection.setRemoteDescription(message.sdp, message.type)
      remoteSet = true
      if (message.type === 'offer') createChannels(0)
      for (const { candidate, mid } of waiting) connection.addRemoteCandidate(candidate, mid)
      for (const { candidate, mid } of withheld) attempt!.introduction({ type: 'candidate', candidate, mid })
      waiting = []
      withheld = []
    } catch (error) {
      attempt!.refused(messageOf(error))
    }
  }

  return {
    channels,
    introduce,
    start(to, make, initiator) {
      attempt = to
      const made = make()
      connection = made
      if (adopted !== undefined) return to.begin()
      keep(made)
      made.onLocalDescription(
        shielded((sdp, type) => {
          if (type === 'offer' || type === 'answer') to.introduction({ type, sdp })
        }),
      )
      made.onLocalCandidate(
        shielded((candidate, mid) => {
          if (initiator && !remoteSet) withheld.push({ candidate, mid })
          else to.introduction({ type: 'candidate', candidate, mid })
        }),
      )
      made.onStateChange(
        shielded(state => {
          if (state === 'closed') release(made)
          if (state === 'failed' || state === 'closed') to.ended(`connection ${state}`)
        }),
      )
      if (initiator) createChannels(0)
    },
    openSlot(slot) {
      if (disposed) return
      try {
        createChannels(slot)
      } catch {
        // The application has a channel there itself, or its connection is gone.
        setImmediate(() => attempt!.channelClosed(slot))
      }
    },
    dispose() {
      if (disposed) return
      disposed = true
      waiting = []
      withheld = []
      // The library forgets now and then to tell that something has closed.
      setTimeout(() => {
        if (connection !== undefined) release(connection)
        for (const pair of slots.values()) for (const lane of lanes) pair[lane].forget()
      }, forgetDelayMs).unref()
      // The application's own connection stays as it is, without our channels.
      if (adopted === undefined) connection?.close()
    },
  }
}

interface ChannelEvents {
  opened(): void
  received(bytes: Uint8Array): void
  receivedOther(): void
  low(): void
  closed(): void
}

interface NativeChannel extends HostChannel {
  attach(channel: DataChannel, events: ChannelEvents): void
  /** Lets the library's objects be collected. */
  forget(): void
}

function createNativeChannel(): NativeChannel {
  let channel: DataChannel | undefined
  const attached: DataChannel[] = []
  return {
    forget() {
      for (const native of attached) release(native)
    },
    attach(native, events) {
      channel = native
      attached.push(native)
      keep(native)
      native.setBufferedAmountLowThreshold(lowWaterBytes)
      native.onOpen(shielded(() => events.opened()))
      native.onBufferedAmountLow(shielded(() => events.low()))
      native.onMessage(
        shielded(message => {
          if (typeof message === 'string') return events.receivedOther()
          // A plain Uint8Array: a Buffer's `slice` would not copy.
          if (message instanceof ArrayBuffer) return events.received(new Uint8Array(message))
          events.received(new Uint8Array(message.buffer, message.byteOffset, message.byteLength))
        }),
      )
      // A close always follows an error.
      native.onError(shielded(() => {}))
      native.onClosed(
        shielded(() => {
          release(native)
          if (channel === native) events.closed()
        }),
      )
      // An adopted connection may be long open, and then so is the channel already.
      if (native.isOpen()) setImmediate(shielded(() => channel === native && events.opened()))
    },
    send(bytes) {
      if (channel === undefined) return 'gone'
      try {
        channel.sendMessageBinary(bytes)
        return 'taken'
      } catch {
        return channel.isOpen() ? 'full' : 'gone'
      }
    },
    bufferedBytes: () => channel?.bufferedAmount() ?? 0,
    close() {
      const closing = channel
      channel = undefined
      closing?.close()
    },
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
