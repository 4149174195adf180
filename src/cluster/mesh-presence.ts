/**
 * A mesh's presence at its rendezvous: says that it is here when one opens, again after moments (messages get lost, and others come at the
 * same time), then every now and then; hears the others, within a budget; carries signals to one of them.
 */
import { isId128, type PeerId, peerId } from '../base/ids.ts'
import type { Clock, Rendezvous, RendezvousSession } from '../platform.ts'
import { decodeSignal, encodeSignal, type Signal } from './introduction.ts'
import { Budget } from './mesh-budget.ts'

const firstDelaysMs = [250, 1000, 3000] as const
const signalsBurstMax = 4096
const signalsPerSecondMax = 512

export interface PresenceOptions {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly unit: () => number
  readonly room: string
  readonly self: PeerId
  readonly instance: string
  readonly everyMs: number
  isCut(): boolean
  onSignal(way: number, from: PeerId, signal: Signal): void
  onState(state: 'open' | 'down', reason: string): void
}

interface Place {
  session: RendezvousSession | undefined
  open: boolean
  said: number
  nextMs: number
  readonly budget: Budget
}

export class Presence {
  private readonly options: PresenceOptions
  private readonly places: Place[] = []
  private opened = false
  private closed = false

  constructor(options: PresenceOptions) {
    this.options = options
  }

  /** One of them was open at least once. */
  get hasOpened(): boolean {
    return this.opened
  }

  start(rendezvous: readonly Rendezvous[]): void {
    const { room, self, clock, onState } = this.options
    for (const [way, host] of rendezvous.entries()) {
      if (this.closed) return
      const budget = new Budget(signalsBurstMax, signalsPerSecondMax, clock.now())
      const place: Place = { session: undefined, open: false, said: 0, nextMs: Number.POSITIVE_INFINITY, budget }
      this.places.push(place)
      place.session = host.connect(room, self, {
        onMessage: (from, message) => this.receive(way, place, from, message),
        onState: (state, reason) => {
          if (this.closed) return
          place.open = state === 'open'
          this.opened ||= place.open
          place.said = 0
          place.nextMs = place.open ? clock.now() : Number.POSITIVE_INFINITY
          // It may say so from within `connect`, before there is a session to speak through.
          if (place.open && place.session !== undefined) this.speak(place)
          onState(state, reason)
        },
      })
      if (place.open && place.said === 0) this.speak(place)
    }
  }

  isOpen(way: number): boolean {
    return this.places[way]?.open === true
  }

  /** To one peer, or to all. False if this rendezvous is down. */
  send(way: number, to: PeerId | '*', signal: Signal): boolean {
    const place = this.places[way]
    if (place?.session === undefined || !place.open || this.closed) return false
    if (!this.options.isCut()) place.session.send(to, encodeSignal(signal))
    return true
  }

  /** Everywhere, now, and as often as after opening. */
  announce(): void {
    for (const place of this.places) {
      place.said = 0
      if (place.open) this.speak(place)
    }
  }

  tick(): void {
    const now = this.options.clock.now()
    for (const place of this.places) if (place.open && now >= place.nextMs) this.speak(place)
  }

  close(): void {
    for (const way of this.places.keys()) this.send(way, '*', { type: 'bye', instance: this.options.instance })
    this.closed = true
    for (const { session } of this.places) session?.close()
  }

  private speak(place: Place): void {
    const { clock, unit, everyMs, instance, isCut } = this.options
    const delayMs = firstDelaysMs[place.said] ?? everyMs
    place.said++
    place.nextMs = clock.now() + delayMs * (0.8 + 0.4 * unit())
    if (!isCut()) place.session?.send('*', encodeSignal({ type: 'here', instance, reply: false }))
  }

  private receive(way: number, place: Place, from: string, message: unknown): void {
    const { clock, self, isCut, onSignal } = this.options
    if (this.closed || isCut() || !place.budget.take(clock.now())) return
    if (!isId128(from) || from === self) return
    const signal = decodeSignal(message)
    if (signal !== undefined) onSignal(way, peerId(from), signal)
  }
}
