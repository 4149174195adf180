/**
 * What a person wants of the membership: that somebody votes, or is a member no more. Any peer takes it, and asks the leader, again and again, until its own replica
 * shows that it is so, or time is up.
 */
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Clock, Done } from '../platform.ts'
import { membersOf } from '../raft/configuration.ts'
import type { Configuration, RaftStatus } from '../raft/types.ts'
import type { Order, PeerMessage } from './wire.ts'

const askEveryMs = 200
const patienceMs = 10_000
const ordersMax = 64

export interface OrdersHost {
  readonly clock: Clock
  readonly self: PeerId
  status(): RaftStatus | undefined
  leader(): PeerId | undefined
  send(to: PeerId, message: PeerMessage): void
  /** This peer leads. */
  take(order: Order, id: PeerId): void
}

interface Pending {
  readonly order: Order
  readonly id: PeerId
  readonly byMs: number
  askedMs: number
  readonly done: Done
}

export class Orders {
  private readonly host: OrdersHost
  private pending: Pending[] = []

  constructor(host: OrdersHost) {
    this.host = host
  }

  /** Errors: VALIDATION (no such member), TIMEOUT (too many, or nothing came of it). */
  begin(order: Order, id: PeerId, done: Done): void {
    const configuration = this.host.status()?.configuration
    if (configuration === undefined || !membersOf(configuration).includes(id)) {
      return done(new HarmonyError('VALIDATION', `"${id}" is no member of this cluster; see cluster.members()`))
    }
    if (this.pending.length >= ordersMax) return done(new HarmonyError('TIMEOUT', 'too many changes wait already'))
    const byMs = this.host.clock.now() + patienceMs
    this.pending.push({ order, id, byMs, askedMs: Number.NEGATIVE_INFINITY, done })
    this.tick()
  }

  tick(): void {
    if (this.pending.length === 0) return
    const now = this.host.clock.now()
    const status = this.host.status()
    const ended: (() => void)[] = []
    this.pending = this.pending.filter(one => {
      if (status !== undefined && isSo(status.configuration, one)) ended.push(() => one.done(undefined))
      else if (now >= one.byMs) ended.push(() => one.done(late(one)))
      else {
        if (now - one.askedMs >= askEveryMs) this.ask(one, now)
        return true
      }
      return false
    })
    for (const end of ended) end()
  }

  failAll(error: HarmonyError): void {
    const { pending } = this
    this.pending = []
    for (const { done } of pending) done(error)
  }

  private ask(one: Pending, now: number): void {
    const leader = this.host.leader()
    if (leader === undefined) return
    one.askedMs = now
    const { order, id } = one
    if (leader === this.host.self) this.host.take(order, id)
    else this.host.send(leader, { type: 'order', order, id })
  }
}

function isSo(configuration: Configuration, { order, id }: Pending): boolean {
  if (configuration.outgoing.length > 0) return false
  return order === 'promote' ? configuration.voters.includes(id) : !membersOf(configuration).includes(id)
}

function late({ order, id }: Pending): HarmonyError {
  const why =
    order === 'promote'
      ? 'who votes must be linked and caught up, the voters are an odd number, and of two members one votes'
      : 'a majority of the voters has to agree'
  return new HarmonyError('TIMEOUT', `${id} was not ${order === 'promote' ? 'promoted' : 'removed'} in time: ${why}`)
}
