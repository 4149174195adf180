/**
 * One attempt to connect, as every WebRTC transport keeps it: introductions checked and passed on in order, a time-out, and
 * exactly one of `onOpen` and `onFailed` unless it is closed first (T2, T3). The host's adapter drives it by `describe`,
 * `opened` and `fail`, and learns by `dispose` when to let go of its connection.
 */
import type { Cancel, Clock, Connection, ConnectionEvents, Introduction, Lane } from '../../src/platform.ts'
import { adoptionSlots, createAdoption } from './adoption.ts'
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

export interface AttemptOptions {
  readonly initiator: boolean
  /** The application's own connection: it does the introducing, and it closes it. */
  readonly adopted: boolean
  readonly events: ConnectionEvents
  readonly clock: Clock
  /** Of a slot: 0 on a connection of our own, which the host makes by itself; on an adopted one see `adoption.ts`. */
  readonly channels: (slot: number) => Readonly<Record<Lane, HostChannel>>
  readonly timeoutMs: number
  /** Hands one introduction of the other side to the host; the host calls `refused` if it does not like it. */
  readonly introduceToHost: (message: RtcIntroduction) => void
  /** Adopted only: makes both channels of a slot, or reports `channelClosed`. */
  readonly openSlot: (slot: number) => void
  /** Called once, at the end, whatever it was: let go of the connection. The channels were told to close if it had opened. */
  readonly dispose: () => void
}

export interface Attempt extends Connection {
  /** The host has something for the other side. */
  introduction(message: RtcIntroduction): void
  /** Both descriptions are in place. May come again with the same ones. */
  described(localSdp: string, remoteSdp: string): void
  channelOpened(slot: number, lane: Lane): void
  received(slot: number, lane: Lane, bytes: Uint8Array): void
  receivedOther(): void
  low(slot: number, lane: Lane): void
  /** The host did not like an introduction. Once the link is open that does it no harm: anybody may have sent it. */
  refused(reason: string): void
  /** One of the slot's channels was closed, not by us. */
  channelClosed(slot: number): void
  /** The host has made the connection; on an adopted one the channels are asked for now. */
  begin(): void
  /** The host's connection is gone, or never came to be. */
  ended(reason: string): void
}

export function createAttempt(options: AttemptOptions): Attempt {
  const { initiator, adopted, events, clock, channels, introduceToHost, dispose } = options
  const check = introductionChecker(initiator)
  const open = new Set<string>()
  let binding: Uint8Array | undefined
  let endpoint: ChannelEndpoint | undefined
  let over = false
  let early: { slot: number; lane: Lane; bytes: Uint8Array }[] = []
  let earlyBytes = 0
  let timer: Cancel | undefined = clock.after(options.timeoutMs, () => {
    timer = undefined
    fail('timed out')
  })

  /** The slot that both sides use, once they know. */
  let chosen: number | undefined = adopted ? undefined : 0
  const closeSlot = (slot: number): void => {
    const pair = channels(slot)
    for (const lane of lanes) pair[lane].close()
  }
  const adoption = adopted
    ? createAdoption({
        initiator,
        clock,
        openSlot: options.openSlot,
        closeSlot,
        send: (slot, mark) => void channels(slot).consensus.send(mark),
        met: slot => {
          chosen = slot
          openIfReady()
        },
      })
    : undefined

  const isOpen = (slot: number): boolean => lanes.every(lane => open.has(`${slot} ${lane}`))

  /** No endpoint was handed out: the attempt ends without one. */
  function conclude(): void {
    over = true
    early = []
    timer?.()
    adoption?.stop()
    for (let slot = 0; slot < (adopted ? adoptionSlots : 1); slot++) closeSlot(slot)
    dispose()
  }

  function fail(reason: string): void {
    if (over || endpoint !== undefined) return
    conclude()
    events.onFailed(reason)
  }

  function openIfReady(): void {
    if (over || endpoint !== undefined || binding === undefined || chosen === undefined || !isOpen(chosen)) return
    timer?.()
    const slot = chosen
    endpoint = createChannelEndpoint({
      binding,
      channels: channels(slot),
      clock,
      released: () => {
        over = true
        dispose()
      },
    })
    for (const message of early) if (message.slot === slot) endpoint.received(message.lane, message.bytes)
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
    begin() {
      if (!over) adoption?.begin()
    },
    channelOpened(slot, lane) {
      if (over) return
      open.add(`${slot} ${lane}`)
      if (isOpen(slot)) adoption?.opened(slot)
      openIfReady()
    },
    received(slot, lane, bytes) {
      if (chosen !== undefined && slot !== chosen) return
      if (adoption !== undefined && lane === 'consensus') {
        const isMark = over ? true : adoption.take(slot, bytes)
        if (isMark === undefined) return ended('the other side has not adopted the connection')
        if (isMark) return
      }
      if (endpoint !== undefined) return endpoint.received(lane, bytes)
      if (over) return
      // One lane can be open before the other.
      early.push({ slot, lane, bytes })
      earlyBytes += bytes.length + messageOverheadBytes
      if (earlyBytes > bufferedBytesMax) fail('too much before the link was open')
    },
    receivedOther() {
      if (endpoint !== undefined) endpoint.receivedOther()
      else fail('message that is not binary')
    },
    low(slot, lane) {
      if (slot === chosen) endpoint?.low(lane)
    },
    refused: reason => fail(`introduction refused: ${reason}`),
    channelClosed(slot) {
      if (over || (chosen !== undefined && slot !== chosen)) return
      if (chosen === undefined) adoption?.closed(slot)
      else ended('closed by the other side')
    },
    ended,
  }
}
