/**
 * The Endpoint over two channels of a host, one for each lane: what is the same for a browser's RTCDataChannel, one that
 * is bridged through the page, and libdatachannel's. The host's adapter feeds in what its channels report (`received`, `low`,
 * `closed`), the endpoint keeps the rules E1 to E4.
 *
 * Invariants
 *  - Per lane, the host gets no more than 256 KiB ahead, or what it takes; the rest waits in `queued`, in order. (Some hosts have one
 *    queue for all channels: a deep one would hold up the other lane.)
 *  - `bufferedBytes` = what the host says that it holds + what waits here; past 16 MiB the endpoint closes (`overflow`).
 *  - While a lane is above the low-water mark its owner is owed one `onDrain`. Hosts report the fall by an event, but some
 *    lose it, so a poll looks as well as long as something is owed.
 *  - What arrives before `listen` waits, up to 16 MiB; past that the endpoint closes.
 *  - After `close` nothing reaches the events, and no timer runs.
 */
import { assert } from '../../src/base/assert.ts'
import type { Cancel, Clock, Endpoint, EndpointEvents, Lane } from '../../src/platform.ts'

export const lanes: readonly Lane[] = ['consensus', 'bulk']
/** Every implementation takes 64 KiB; larger ones delay what comes behind them. */
export const messageBytesMax = 65_536
export const lowWaterBytes = 65_536
export const bufferedBytesMax = 16 * 1024 * 1024
/** What a waiting message costs besides its bytes, roughly: many small ones must not add up to much more than the bound. */
export const messageOverheadBytes = 100
const hostBytesMax = 262_144
const pollIntervalMs = 50

/** One lane's channel in the host. No verb throws. */
export interface HostChannel {
  /** `full`: not now, again after `low` or a while. `gone`: never again (the host reports `closed` as well). */
  send(bytes: Uint8Array): 'taken' | 'full' | 'gone'
  bufferedBytes(): number
  close(): void
}

export interface ChannelEndpoint extends Endpoint {
  /** The host's channel delivered one message; the bytes are the endpoint's from now on. */
  received(lane: Lane, bytes: Uint8Array): void
  /** Text, or anything else that the protocol does not know. */
  receivedOther(): void
  /** The host's buffer fell to the low-water mark. */
  low(lane: Lane): void
  /** The host's channel or connection has ended. */
  closed(reason: string): void
}

interface LaneState {
  readonly channel: HostChannel
  /** What the host did not take yet, in order. */
  queued: Uint8Array[]
  queuedBytes: number
  drainOwed: boolean
}

/** `released` is called once, when the endpoint has closed for whatever reason, after the channels were told to close. */
export function createChannelEndpoint(options: {
  readonly binding: Uint8Array
  readonly channels: Readonly<Record<Lane, HostChannel>>
  readonly clock: Clock
  readonly released: () => void
}): ChannelEndpoint {
  const { binding, channels, clock, released } = options
  const states: Record<Lane, LaneState> = {
    consensus: { channel: channels.consensus, queued: [], queuedBytes: 0, drainOwed: false },
    bulk: { channel: channels.bulk, queued: [], queuedBytes: 0, drainOwed: false },
  }
  let events: EndpointEvents | undefined
  let early: { lane: Lane; bytes: Uint8Array }[] = []
  let earlyBytes = 0
  let closedReason: string | undefined
  let closeTold = false
  let poll: Cancel | undefined

  function buffered(state: LaneState): number {
    return state.channel.bufferedBytes() + state.queuedBytes
  }

  /** False: not now. */
  function offer({ channel }: LaneState, bytes: Uint8Array): boolean {
    return channel.bufferedBytes() < hostBytesMax && channel.send(bytes) !== 'full'
  }

  function flush(state: LaneState): void {
    let taken = 0
    for (const bytes of state.queued) {
      if (!offer(state, bytes)) break
      taken++
      state.queuedBytes -= bytes.length
    }
    if (taken > 0) state.queued = state.queued.slice(taken)
  }

  /** Sends what waits and tells the owner of a lane that fell below its mark. */
  function relieve(lane: Lane): void {
    const state = states[lane]
    if (closedReason !== undefined) return
    flush(state)
    if (!state.drainOwed || buffered(state) > lowWaterBytes) return
    state.drainOwed = false
    events?.onDrain(lane)
  }

  function watch(): void {
    if (poll !== undefined || closedReason !== undefined) return
    if (!lanes.some(lane => states[lane].drainOwed)) return
    poll = clock.after(pollIntervalMs, () => {
      poll = undefined
      for (const lane of lanes) relieve(lane)
      watch()
    })
  }

  function end(reason: string): void {
    if (closedReason !== undefined) return
    closedReason = reason
    poll?.()
    for (const lane of lanes) {
      const state = states[lane]
      state.queued = []
      state.queuedBytes = 0
      state.channel.close()
    }
    released()
    // What came before the close and was not listened for yet is still handed over first (E4).
    if (events !== undefined) tellClosed(events)
  }

  function tellClosed(to: EndpointEvents): void {
    if (closeTold) return
    closeTold = true
    to.onClose(closedReason!)
  }

  return {
    binding,
    messageBytesMax,
    listen(listener) {
      assert(events === undefined, 'an endpoint has one listener')
      events = listener
      const waiting = early
      early = []
      earlyBytes = 0
      for (const { lane, bytes } of waiting) {
        if (closeTold) return
        listener.onMessage(lane, bytes)
      }
      if (closedReason !== undefined) tellClosed(listener)
    },
    send(lane, bytes) {
      assert(bytes.length > 0 && bytes.length <= messageBytesMax, 'a message has 1 to messageBytesMax bytes')
      if (closedReason !== undefined) return
      const state = states[lane]
      if (state.queued.length > 0 || !offer(state, bytes)) {
        state.queued.push(bytes)
        state.queuedBytes += bytes.length
      }
      const total = buffered(state)
      if (total > bufferedBytesMax) return end('overflow')
      if (total <= lowWaterBytes || state.drainOwed) return
      state.drainOwed = true
      watch()
    },
    bufferedBytes(lane) {
      return closedReason === undefined ? buffered(states[lane]) : 0
    },
    close(reason) {
      end(reason)
    },
    received(lane, bytes) {
      if (closedReason !== undefined) return
      if (bytes.length === 0 || bytes.length > messageBytesMax) return end('message of a forbidden size')
      if (events !== undefined) return events.onMessage(lane, bytes)
      early.push({ lane, bytes })
      earlyBytes += bytes.length + messageOverheadBytes
      if (earlyBytes > bufferedBytesMax) end('overflow')
    },
    receivedOther() {
      end('message that is not binary')
    },
    low: relieve,
    closed: end,
  }
}
