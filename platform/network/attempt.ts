/**
 * One attempt to connect, as every WebRTC transport keeps it: introductions checked and passed on in order, a time-out, and
 * exactly one of `onOpen` and `onFailed` unless it is closed first (T2, T3). The host's adapter drives it by `describe`,
 * `opened` and `fail`, and learns by `dispose` when to let go of its connection.
 */
import type { Cancel, Clock, Connection, ConnectionEvents, Introduction, Lane } from '../../src/platform.ts'
import { createAdoption } from './adoption.ts'
import { bindingOf } from './binding.ts'
import {
  bufferedBytesMax,
  type ChannelEndpoint,
  createChannelEndpoint,
  type HostChannel,
  lanes,
  messageOverheadBytes,
} from './channel-endpoint.ts'
import { decodeIntroduction, introductionChecker, type RtcIntroduction } from './introduction.ts'

export const connectTimeoutMs = 15_000
const remakeDelayMs = 100

export interface AttemptOptions {
  readonly initiator: boolean
  /** The application's own connection: it does the introducing, and it closes it. */
  readonly adopted: boolean
  readonly events: ConnectionEvents
  readonly clock: Clock
  readonly channels: Readonly<Record<Lane, HostChannel>>
  readonly timeoutMs: number
  /** Hands one introduction of the other side to the host; the host calls `refused` if it does not like it. */
  readonly introduceToHost: (message: RtcIntroduction) => void
  /** Adopted only: both channels again, in place of those that were closed. Nothing is told if that is not possible yet. */
  readonly remakeChannels: () => void
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
  /** The host did not like an introduction. Once the link is open that does it no harm: anybody may have sent it. */
  refused(reason: string): void
  /** One of the channels was closed, not by us. */
  channelClosed(): void
  /** The host's connection is gone, or never came to be. */
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
  let earlyBytes = 0
  let timer: Cancel | undefined = clock.after(options.timeoutMs, () => {
    timer = undefined
    fail('timed out')
  })

  let met = !adopted
  let remaking: Cancel | undefined
  const adoption = adopted
    ? createAdoption({
        initiator,
        clock,
        send: mark => void channels.consensus.send(mark),
        met: () => {
          met = true
          openIfReady()
        },
      })
    : undefined

  /** The other side has not adopted yet and its stack has closed what it does not know. */
  function remake(): void {
    adoption?.suspend()
    open.clear()
    for (const lane of lanes) channels[lane].close()
    remaking ??= clock.after(remakeDelayMs, () => {
      remaking = undefined
      options.remakeChannels()
    })
  }

  /** No endpoint was handed out: the attempt ends without one. */
  function conclude(): void {
    over = true
    early = []
    timer?.()
    adoption?.suspend()
    remaking?.()
    for (const lane of lanes) channels[lane].close()
    dispose()
  }

  function fail(reason: string): void {
    if (over || endpoint !== undefined) return
    conclude()
    events.onFailed(reason)
  }

  function openIfReady(): void {
    if (over || endpoint !== undefined || binding === undefined || !met || open.size < lanes.length) return
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

  function ended(reason: string): void {
    if (endpoint !== undefined) endpoint.closed(reason)
    else fail(reason)
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
      if (over || open.has(lane)) return
      open.add(lane)
      if (open.size === lanes.length) adoption?.begin()
      openIfReady()
    },
    received(lane, bytes) {
      if (adoption !== undefined && lane === 'consensus') {
        const isMark = over ? true : adoption.take(bytes)
        if (isMark === undefined) return ended('the other side has not adopted the connection')
        if (isMark) return
      }
      if (endpoint !== undefined) return endpoint.received(lane, bytes)
      if (over) return
      // One lane can be open before the other.
      early.push({ lane, bytes })
      earlyBytes += bytes.length + messageOverheadBytes
      if (earlyBytes > bufferedBytesMax) fail('too much before the link was open')
    },
    receivedOther() {
      if (endpoint !== undefined) endpoint.receivedOther()
      else fail('message that is not binary')
    },
    low(lane) {
      endpoint?.low(lane)
    },
    refused: reason => fail(`introduction refused: ${reason}`),
    channelClosed() {
      if (!over && !met) remake()
      else ended('closed by the other side')
    },
    ended,
  }
}
