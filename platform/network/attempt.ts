/**
 * One attempt to connect, as every WebRTC transport keeps it: introductions checked and passed on in order, a time-out, and
 * exactly one of `onOpen` and `onFailed` unless it is closed first (T2, T3). The host's adapter drives it by `describe`,
 * `opened` and `fail`, and learns by `dispose` when to let go of its connection.
 */
import type { Cancel, Clock, Connection, ConnectionEvents, Introduction, Lane } from '../../src/platform.ts'
import { bindingOf } from './binding.ts'
import { type ChannelEndpoint, createChannelEndpoint, type HostChannel, lanes } from './channel-endpoint.ts'
import { decodeIntroduction, introductionChecker, type RtcIntroduction } from './introduction.ts'

export const connectTimeoutMs = 15_000

export interface AttemptOptions {
  readonly initiator: boolean
  /** The application's own connection: it does the introducing, and it closes it. */
  readonly adopted: boolean
  readonly events: ConnectionEvents
  readonly clock: Clock
  readonly channels: Readonly<Record<Lane, HostChannel>>
  readonly timeoutMs: number
  /** Hands one introduction of the other side to the host; the host calls `fail` if it does not like it. */
  readonly introduceToHost: (message: RtcIntroduction) => void
  /** Called once, at the end, whatever it was: let go of the connection. The channels were told to close if it had opened. */
  readonly dispose: () => void
}

export interface Attempt extends Connection {
  /** The host has something for the other side. */
  introduction(message: RtcIntroduction): void
  /** Both descriptions are in place. May come again with the same ones. */
  described(localSdp: string, remoteSdp: string): void
  channelOpened(lane: Lane): void
  received(lane: Lane, bytes: Uint8Array): void
  receivedOther(): void
  low(lane: Lane): void
  /** The host's connection or one of its channels is gone, or never came to be. */
  ended(reason: string): void
}

export function createAttempt(options: AttemptOptions): Attempt {
  const { initiator, adopted, events, clock, channels, introduceToHost, dispose } = options
  const check = introductionChecker(initiator)
  const open = new Set<Lane>()
  let binding: Uint8Array | undefined
  let endpoint: ChannelEndpoint | undefined
  let over = false
  let early: { lane: Lane; bytes: Uint8Array }[] = []
  let timer: Cancel | undefined = clock.after(options.timeoutMs, () => {
    timer = undefined
    fail('timed out')
  })

  /** No endpoint was handed out: the attempt ends without one. */
  function conclude(): void {
    over = true
    early = []
    timer?.()
    for (const lane of lanes) channels[lane].close()
    dispose()
  }

  function fail(reason: string): void {
    if (over || endpoint !== undefined) return
    conclude()
    events.onFailed(reason)
  }

  function openIfReady(): void {
    if (over || endpoint !== undefined || binding === undefined || open.size < lanes.length) return
    timer?.()
    endpoint = createChannelEndpoint({
      binding,
      channels,
      clock,
      released: () => {
        over = true
        dispose()
      },
    })
    for (const { lane, bytes } of early) endpoint.received(lane, bytes)
    early = []
    events.onOpen(endpoint)
  }

  return {
    introduce(message: Introduction) {
      // Candidates go on coming after the link is up; they may still improve it.
      if (over) return
      const decoded = decodeIntroduction(message)
      const wrong = adopted ? 'the application introduces' : decoded === undefined ? 'malformed' : check(decoded)
      if (wrong !== undefined || decoded === undefined) return fail(`introduction refused: ${wrong}`)
      introduceToHost(decoded)
    },
    close() {
      if (over) return
      if (endpoint === undefined) conclude()
      else endpoint.close('closed by this side')
    },
    introduction(message) {
      if (!over) events.onIntroduction({ ...message })
    },
    described(localSdp, remoteSdp) {
      if (over || binding !== undefined) return
      const found = bindingOf(localSdp, remoteSdp)
      if (found.length === 0) return fail('no fingerprint to bind to')
      binding = found
      openIfReady()
    },
    channelOpened(lane) {
      open.add(lane)
      openIfReady()
    },
    received(lane, bytes) {
      if (endpoint !== undefined) return endpoint.received(lane, bytes)
      // One lane can be open before the other; nobody sends much before the first round trip.
      if (over) return
      early.push({ lane, bytes })
      if (early.length > 256) fail('too much before the link was open')
    },
    receivedOther() {
      if (endpoint !== undefined) endpoint.receivedOther()
      else fail('message that is not binary')
    },
    low(lane) {
      endpoint?.low(lane)
    },
    ended(reason) {
      if (endpoint !== undefined) endpoint.closed(reason)
      else fail(reason)
    },
  }
}
