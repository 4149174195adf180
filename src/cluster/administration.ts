/** What is done about the members, besides Raft: the leader's housekeeping, who leaves, what a person orders, and whether all have the same state. */
import type { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Clock } from '../platform.ts'
import type { Replica } from '../shard/replica.ts'
import { type AutopilotPolicy, defaultPolicy } from './autopilot.ts'
import { Comparison } from './comparison.ts'
import { type DepartureKind, Departures } from './departures.ts'
import { group0 } from './group-replay.ts'
import type { Links } from './links.ts'
import { Orders } from './orders.ts'
import { leaderOf } from './peer-types.ts'
import { Steward } from './steward.ts'
import type { Order, PeerMessage } from './wire.ts'

export interface AdministrationHost {
  readonly self: PeerId
  readonly kind: 'tab' | 'node'
  readonly clock: Clock
  readonly policy: Partial<AutopilotPolicy> | undefined
  links(): Links
  replica(): Replica | undefined
  /** Somebody had this peer removed. */
  dismissed(): void
  diverged(error: HarmonyError): void
}

export class Administration {
  readonly steward: Steward
  readonly orders: Orders
  private readonly host: AdministrationHost
  private readonly departures: Departures
  private readonly comparison: Comparison

  constructor(host: AdministrationHost) {
    this.host = host
    const { clock, kind, policy, self } = host
    const send = (to: PeerId, message: PeerMessage): void => void host.links().send(to, message)
    this.steward = new Steward({
      clock,
      kind,
      policy: { ...defaultPolicy, ...policy },
      linked: () => host.links().adverts,
    })
    this.departures = new Departures({ clock, send })
    this.orders = new Orders({
      clock,
      self,
      send(to, message) {
        host.replica()?.stir()
        send(to, message)
      },
      status: () => host.replica()?.status(),
      leader: () => this.leader(),
      take: (order, id) => this.take(order, id),
    })
    this.comparison = new Comparison(error => host.diverged(error))
  }

  /** In a room. */
  tick(): void {
    const replica = this.host.replica()
    const links = this.host.links()
    if (replica !== undefined && links.open) {
      const { self } = this.host
      this.steward.tick(replica, self, this.departures.kind, (to, type) => links.send(to, { type }))
      this.comparison.tick(replica, mark => {
        for (const to of links.adverts.keys()) links.send(to, { type: 'state', group: group0, mark })
      })
    }
    this.tickDepartures()
    this.orders.tick()
  }

  depart(kind: DepartureKind, done: () => void): void {
    this.departures.begin(kind, done)
    this.tickDepartures()
  }

  /** Nothing comes of what is under way. */
  stop(why: HarmonyError): void {
    this.orders.failAll(why)
    this.departures.confirmed()
  }

  /** The replica begins a new history. */
  restart(): void {
    this.comparison.restart()
  }

  received(
    replica: Replica,
    from: PeerId,
    message: Extract<PeerMessage, { type: 'admit' | 'depart' | 'departed' | 'order' | 'dismissed' | 'state' }>,
  ): void {
    switch (message.type) {
      case 'admit':
        return this.steward.asked(from, message.wish)
      case 'depart':
        return this.steward.departing(from, message.remove ? 'remove' : 'demote')
      case 'departed':
        return this.departures.confirmed()
      case 'order':
        if (this.leader() === this.host.self) this.take(message.order, message.id)
        return
      case 'dismissed':
        return this.host.dismissed()
      case 'state':
        // A leader that was deposed may be right, and may be behind.
        if (from === this.leader()) this.comparison.received(replica, from, message.mark)
    }
  }

  private take(order: Order, id: PeerId): void {
    if (order === 'remove' && id === this.host.self) this.host.dismissed()
    else this.steward.ordered(order, id)
  }

  private leader(): PeerId | undefined {
    const status = this.host.replica()?.status()
    return status === undefined ? undefined : leaderOf(status)
  }

  private tickDepartures(): void {
    this.departures.tick(this.host.replica()?.status(), this.host.self, this.leader(), this.host.links().adverts)
  }
}
