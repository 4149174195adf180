/**
 * An application's own `Signaling` as a `Rendezvous`, for cores. The application may fail, throw, answer late or be bridged from
 * another realm; what is lost here is what a rendezvous may lose anyway.
 *
 *  S1  Until closed, a connection that fails is tried again, after 0.5 s doubling up to 15 s.
 *  S2  Messages sent while there is no connection are kept, at most `queueMax` (the oldest go first), and sent when there is one.
 *  S3  A connection that comes after `close` is closed at once.
 */
import type { PeerId } from '../base/ids.ts'
import type { Cancel, Clock, Rendezvous, RendezvousEvents, RendezvousSession } from '../platform.ts'
import type { Signaling } from './types.ts'

const retryMsFirst = 500
const retryMsMax = 15_000
const queueMax = 256

type Connection = Awaited<ReturnType<Signaling['connect']>>

export function rendezvousOf(signaling: Signaling, clock: Clock): Rendezvous {
  return {
    connect: (room, self, events) => new OwnSession(signaling, clock, room, self, events),
  }
}

class OwnSession implements RendezvousSession {
  private readonly signaling: Signaling
  private readonly clock: Clock
  private readonly room: string
  private readonly self: PeerId
  private readonly events: RendezvousEvents
  private connection: Connection | undefined
  private readonly queue: { readonly to: string; readonly message: unknown }[] = []
  private retryMs = retryMsFirst
  private cancelRetry: Cancel = () => {}
  private closed = false

  constructor(signaling: Signaling, clock: Clock, room: string, self: PeerId, events: RendezvousEvents) {
    this.signaling = signaling
    this.clock = clock
    this.room = room
    this.self = self
    this.events = events
    void this.open()
  }

  send(to: string, message: unknown): void {
    if (this.closed) return
    this.queue.push({ to, message })
    if (this.queue.length > queueMax) this.queue.shift()
    this.flush()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.cancelRetry()
    this.drop()
  }

  private async open(): Promise<void> {
    try {
      const connection = await this.signaling.connect(this.room, this.self, (from, message) => {
        if (!this.closed && typeof from === 'string') this.events.onMessage(from, message)
      })
      if (this.closed) return closeQuietly(connection)
      this.connection = connection
      this.retryMs = retryMsFirst
      this.events.onState('open', '')
      this.flush()
    } catch (error) {
      this.fail(error)
    }
  }

  private flush(): void {
    for (;;) {
      const { connection } = this
      if (connection === undefined) return
      const next = this.queue.shift()
      if (next === undefined) return
      try {
        connection.send(next.to, next.message)
      } catch (error) {
        this.drop()
        this.fail(error)
      }
    }
  }

  private fail(error: unknown): void {
    if (this.closed) return
    this.events.onState('down', error instanceof Error ? error.message : String(error))
    this.cancelRetry = this.clock.after(this.retryMs, () => void this.open())
    this.retryMs = Math.min(this.retryMs * 2, retryMsMax)
  }

  private drop(): void {
    const { connection } = this
    this.connection = undefined
    if (connection !== undefined) closeQuietly(connection)
  }
}

function closeQuietly(connection: Connection): void {
  try {
    connection.close()
  } catch {
    // It is given up in any case, and its failing to close is the application's own affair.
  }
}
