/**
 * How simulated processes get connected: the initiator's offer and the responder's answer travel by whatever way the mesh has for
 * introductions; then, if the way is free in both directions, a link opens at each end in its own moment.
 *
 * An introduction has the fields `type` ('offer' | 'answer'), `attempt` (the sender's attempt), and in an answer `to` (the offer's
 * attempt). An answer to another attempt is ignored, as one with another connection's credentials would be.
 */

import { HarmonyError } from '../../src/base/errors.ts'
import type { Cancel, Connection, ConnectionEvents, Introduction, Transport } from '../../src/platform.ts'
import type { NetworkConditions } from './conditions.ts'
import type { Incarnation } from './incarnation.ts'
import { type LinkEnd, SimulatedLink } from './link.ts'

/** While the way is cut an attempt looks again after this. */
const retryMs = 200

/** All attempts and links of a world, for those who have to find the other side. */
export interface Switchboard {
  readonly conditions: NetworkConditions
  readonly attempts: Map<number, Attempt>
  readonly links: Set<SimulatedLink>
  nextAttempt: number
}

/** One half of a connection "made elsewhere"; `Transport.adopt` takes it. */
export class AdoptableConnection {
  readonly pair: { readonly attempts: Attempt[] }
  used = false

  constructor(pair: { readonly attempts: Attempt[] }) {
    this.pair = pair
  }
}

function asAdoptable(connection: unknown): AdoptableConnection {
  if (connection instanceof AdoptableConnection && !connection.used) return connection
  const message = 'the simulated transport adopts an unused half of world.network.adoptablePair()'
  throw new HarmonyError('VALIDATION', message)
}

export function adoptablePair(): [AdoptableConnection, AdoptableConnection] {
  const pair = { attempts: [] }
  return [new AdoptableConnection(pair), new AdoptableConnection(pair)]
}

export class Attempt implements Connection {
  readonly id: number
  readonly process: Incarnation
  /** Of the other side, once it is known. */
  remote: Attempt | undefined
  end: LinkEnd | undefined
  private readonly board: Switchboard
  private readonly initiator: boolean
  private readonly events: ConnectionEvents
  private readonly timeout: Cancel
  private state: 'waiting' | 'open' | 'over' = 'waiting'

  constructor(board: Switchboard, process: Incarnation, initiator: boolean, events: ConnectionEvents) {
    this.board = board
    this.process = process
    this.initiator = initiator
    this.events = events
    this.id = board.nextAttempt++
    board.attempts.set(this.id, this)
    this.timeout = process.after(board.conditions.options.connectTimeoutMs, 'connect timeout', () =>
      this.fail('timed out'),
    )
  }

  /** Alive, and neither open nor given up. */
  get waiting(): boolean {
    return this.state === 'waiting' && this.process.alive
  }

  offer(): void {
    this.process.soon('offer', () => {
      if (this.waiting) this.events.onIntroduction({ type: 'offer', attempt: this.id })
    })
  }

  introduce(message: Introduction): void {
    if (!this.waiting) return
    const { type, attempt, to } = message
    const expected = this.initiator ? 'answer' : 'offer'
    if (type !== expected || typeof attempt !== 'number' || (this.initiator && typeof to !== 'number')) {
      this.process.soon('malformed introduction', () => this.fail('malformed introduction'))
      return
    }
    const remote = this.board.attempts.get(attempt)
    if (this.initiator) {
      if (to === this.id && remote !== undefined) meet(this.board, this, remote)
      return
    }
    this.process.soon('answer', () => {
      if (this.waiting) this.events.onIntroduction({ type: 'answer', attempt: this.id, to: attempt })
    })
  }

  /** The link is there: this side learns of it now. */
  opened(end: LinkEnd): void {
    if (!this.waiting) return end.close('the attempt was given up')
    this.timeout()
    this.state = 'open'
    this.end = end
    this.board.attempts.delete(this.id)
    this.events.onOpen(end)
  }

  close(): void {
    if (this.state === 'open') this.end!.close('closed')
    this.giveUp()
  }

  fail(reason: string): void {
    if (!this.waiting) return
    this.giveUp()
    this.events.onFailed(reason)
  }

  private giveUp(): void {
    this.timeout()
    this.state = 'over'
    this.board.attempts.delete(this.id)
  }
}

/** Both sides know of each other: opens a link as soon as the way is free, until one of them gives up. */
function meet(board: Switchboard, a: Attempt, b: Attempt): void {
  const { conditions } = board
  const { scheduler } = conditions
  const names = [a.process.name, b.process.name] as const
  const look = (): void => {
    if (!a.waiting || !b.waiting) return
    if (
      conditions.isCut(names[0], names[1]) ||
      conditions.isCut(names[1], names[0]) ||
      a.process.frozen ||
      b.process.frozen
    ) {
      scheduler.after(retryMs, `${names.join('-')} connect`, look)
      return
    }
    const link = new SimulatedLink(conditions, [a.process, b.process], () => board.links.delete(link))
    board.links.add(link)
    a.process.after(conditions.delayMs(), 'open', () => a.opened(link.ends[0]))
    b.process.after(conditions.delayMs(), 'open', () => b.opened(link.ends[1]))
  }
  // Finding the way and proving it takes a few round trips.
  scheduler.after(4 * conditions.delayMs(), `${names.join('-')} connect`, look)
}

export class SimulatedTransport implements Transport {
  private readonly board: Switchboard
  private readonly process: Incarnation
  private readonly own = new Set<Attempt>()
  private closed = false

  constructor(board: Switchboard, process: Incarnation) {
    this.board = board
    this.process = process
  }

  connect(_remote: string, initiator: boolean, events: ConnectionEvents): Connection {
    const attempt = this.start(initiator, events)
    if (initiator) attempt.offer()
    return attempt
  }

  adopt(connection: unknown, initiator: boolean, events: ConnectionEvents): Connection {
    const half = asAdoptable(connection)
    half.used = true
    const attempt = this.start(initiator, events)
    const { attempts } = half.pair
    attempts.push(attempt)
    if (attempts.length === 2) meet(this.board, attempts[0]!, attempts[1]!)
    return attempt
  }

  assertAdoptable(connection: unknown): void {
    asAdoptable(connection)
  }

  close(): void {
    this.closed = true
    for (const attempt of this.own) attempt.close()
    this.own.clear()
  }

  private start(initiator: boolean, events: ConnectionEvents): Attempt {
    const attempt = new Attempt(this.board, this.process, initiator, events)
    for (const old of this.own) if (!old.waiting && (old.end?.closed ?? true)) this.own.delete(old)
    this.own.add(attempt)
    if (this.closed) this.process.soon('transport closed', () => attempt.fail('the transport is closed'))
    return attempt
  }
}
