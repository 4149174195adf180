/**
 * One attempt to connect to one peer: hands the transport's introductions on with their numbers, and those of the other side to
 * the transport in order, each once, however the ways between have shuffled or doubled them.
 */
import type { PeerId } from '../base/ids.ts'
import type { Connection, Endpoint, Introduction, Transport } from '../platform.ts'
import { introductionsPerSessionMax } from './introduction.ts'
import type { Link } from './mesh-link.ts'

/** The way that introductions take: a rendezvous by its number, or a neighbour that passes them on. */
export type Way = number | PeerId

export interface AttemptOptions {
  readonly session: number
  readonly initiator: boolean
  readonly startedMs: number
  readonly way: Way | undefined
  send(attempt: Attempt, number: number, payload: Introduction): void
  onOpen(attempt: Attempt, endpoint: Endpoint): void
  onFailed(attempt: Attempt, reason: string): void
}

export class Attempt {
  readonly session: number
  readonly initiator: boolean
  readonly startedMs: number
  way: Way | undefined
  /** Something came back. */
  answered = false
  /** Set when the connection opened; the attempt is then as good as this link. */
  link: Link | undefined
  private readonly options: AttemptOptions
  private connection: Connection | undefined
  private over = false
  private sent = 0
  private expected = 0
  private readonly ahead = new Map<number, Introduction>()

  constructor(options: AttemptOptions) {
    this.options = options
    this.session = options.session
    this.initiator = options.initiator
    this.startedMs = options.startedMs
    this.way = options.way
  }

  connect(transport: Transport, peer: PeerId): void {
    this.begin(transport.connect(peer, this.initiator, this.events()))
  }

  /** @throws HarmonyError VALIDATION where the transport does not know such connections. */
  adopt(transport: Transport, connection: unknown): void {
    this.begin(transport.adopt(connection, this.initiator, this.events()))
  }

  introduce(number: number, payload: Introduction): void {
    if (this.over || number < this.expected) return
    this.answered = true
    this.ahead.set(number, payload)
    for (;;) {
      const next = this.ahead.get(this.expected)
      if (next === undefined || this.connection === undefined || this.over) return
      this.ahead.delete(this.expected++)
      this.connection.introduce(next)
    }
  }

  /** Gives it up; its link, if there is one, is closed with it unless it was let go before. */
  close(reason: string): void {
    if (this.over) return
    this.over = true
    this.ahead.clear()
    // A link closes its endpoint itself, and may want to say something first.
    if (this.link !== undefined) this.link.close(reason)
    else this.connection?.close()
  }

  private begin(connection: Connection): void {
    this.connection = connection
    if (this.over) connection.close()
  }

  private events() {
    return {
      onIntroduction: (payload: Introduction) => {
        if (!this.over && this.sent < introductionsPerSessionMax) this.options.send(this, this.sent++, payload)
      },
      onOpen: (endpoint: Endpoint) => {
        if (this.over) endpoint.close('given up')
        else this.options.onOpen(this, endpoint)
      },
      onFailed: (reason: string) => {
        if (this.over) return
        this.over = true
        this.options.onFailed(this, reason)
      },
    }
  }
}
