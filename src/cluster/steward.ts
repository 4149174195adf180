/**
 * The leader's housekeeping: gathers what it has heard of the members, asks the autopilot what should change, and proposes it.
 * Does nothing on other peers but listen, so that a new leader knows who spoke lately.
 */
import type { PeerId } from '../base/ids.ts'
import type { Clock } from '../platform.ts'
import type { Configuration, RaftStatus } from '../raft/types.ts'
import type { Replica } from '../shard/replica.ts'
import { type AutopilotPolicy, type ClusterView, type MemberView, planMembership } from './autopilot.ts'
import type { DepartureKind } from './departures.ts'
import type { Advert } from './mesh-types.ts'
import type { Order, Wish } from './wire.ts'

const requestValidMs = 1500
const askersMax = 1024
/** A learner this close to the end of the log has caught up: the rest is in flight. */
const catchUpEntries = 64

export interface StewardOptions {
  readonly clock: Clock
  readonly policy: AutopilotPolicy
  readonly kind: MemberView['kind']
  /** What linked peers say of themselves. */
  linked(): ReadonlyMap<PeerId, Pick<Advert, 'kind'>>
}

export class Steward {
  private readonly clock: Clock
  private readonly policy: AutopilotPolicy
  private readonly heardMs = new Map<PeerId, number>()
  private readonly wishes = new Map<PeerId, { readonly wish: Wish; readonly atMs: number }>()
  private readonly departures = new Map<PeerId, { readonly kind: 'demote' | 'remove'; readonly atMs: number }>()
  /** Who is to go because a person said so, and when that was said last. */
  private readonly dismissals = new Map<PeerId, number>()
  private readonly ownKind: MemberView['kind']
  private readonly linked: StewardOptions['linked']
  private electedMs = 0
  /** Since when each member has been linked and active, without a break. */
  private readonly steadySinceMs = new Map<PeerId, number>()
  /** When nobody was expected to say anything, last. */
  private restedMs = 0

  constructor(options: StewardOptions) {
    this.clock = options.clock
    this.policy = options.policy
    this.ownKind = options.kind
    this.linked = options.linked
  }

  heard(from: PeerId): void {
    this.heardMs.set(from, this.clock.now())
    forgetOldest(this.heardMs)
  }

  asked(from: PeerId, wish: Wish): void {
    // It has yet to hear that it is dismissed.
    if (this.fresh(this.dismissals.get(from))) return
    this.wishes.set(from, { wish, atMs: this.clock.now() })
    forgetOldest(this.wishes)
    this.departures.delete(from)
  }

  departing(from: PeerId, kind: 'demote' | 'remove'): void {
    this.departures.set(from, { kind, atMs: this.clock.now() })
    forgetOldest(this.departures)
  }

  /** By a person; the leader's own removal is the leader's to begin. */
  ordered(order: Order, id: PeerId): void {
    if (order === 'promote') return this.asked(id, 'voter')
    this.departing(id, 'remove')
    this.dismissals.set(id, this.clock.now())
    forgetOldest(this.dismissals)
  }

  onElected(): void {
    this.electedMs = this.clock.now()
    this.steadySinceMs.clear()
  }

  /** As far as this peer can tell, the voters are as many as they should be; only then a join is complete. */
  isSettled(status: RaftStatus | undefined): boolean {
    if (status === undefined || status.changePending || status.configuration.outgoing.length > 0) return false
    const { voters, learners } = status.configuration
    const members = Math.min(voters.length + learners.length, this.policy.votersMax)
    return voters.length >= (members % 2 === 1 ? members : members - 1)
  }

  tick(
    replica: Replica,
    self: PeerId,
    ownDeparture: DepartureKind | 'no',
    confirm: (to: PeerId, word: 'departed' | 'dismissed') => void,
  ): void {
    const status = replica.status()
    if (status.role !== 'leader' || status.transferee !== undefined) return
    if (status.resting) this.restedMs = this.clock.now()
    this.confirmDeparted(status, confirm)
    if (ownDeparture === 'hand-over') {
      replica.transferLeadership()
      return
    }
    const change = planMembership(this.view(status, self, ownDeparture), this.policy)
    if (change === undefined) return
    const current = status.configuration
    const keepsSeat = change.voters.includes(self) || !current.voters.includes(self)
    if (keepsSeat) {
      replica.proposeConfiguration(change)
      return
    }
    // The leader gives its seat up: hand over first, so that nobody waits for an election; the successor makes the change.
    const heirs = current.voters.filter(id => id !== self && change.voters.includes(id))
    if (heirs.length > 0) {
      replica.transferLeadership()
      return
    }
    const voters = [...change.voters, self].sort()
    replica.proposeConfiguration({ voters, learners: change.learners.filter(id => id !== self) })
  }

  private confirmDeparted(status: RaftStatus, confirm: (to: PeerId, word: 'departed' | 'dismissed') => void): void {
    if (status.changePending || status.configuration.outgoing.length > 0) return
    for (const [id, { kind }] of this.departures) {
      if (!this.fresh(this.departures.get(id)?.atMs)) this.departures.delete(id)
      else if (hasDeparted(status.configuration, id, kind)) {
        confirm(id, this.fresh(this.dismissals.get(id)) ? 'dismissed' : 'departed')
      }
    }
  }

  private view(status: RaftStatus, self: PeerId, ownDeparture: 'no' | 'demote' | 'remove'): ClusterView {
    const { configuration } = status
    const ids = new Set([...configuration.voters, ...configuration.learners])
    for (const [id, { atMs }] of this.wishes) if (this.fresh(atMs)) ids.add(id)
    const linked = this.linked()
    const progress = new Map(status.progress.map(one => [one.id, one]))
    const nowMs = this.clock.now()
    const { aliveWithinMs } = this.policy
    for (const id of this.steadySinceMs.keys()) if (!ids.has(id)) this.steadySinceMs.delete(id)
    const members = [...ids].map((id): MemberView => {
      const { ownKind: kind } = this
      if (id === self)
        return { id, kind, silentMs: 0, steadyMs: nowMs, caughtUp: true, wish: 'auto', departing: ownDeparture }
      const match = progress.get(id)?.match ?? 0
      const unheardMs = nowMs - Math.max(this.heardMs.get(id) ?? 0, this.electedMs, this.restedMs)
      // Whose link is gone is not alive, however lately it spoke.
      const silentMs = linked.has(id) ? unheardMs : Math.max(unheardMs, aliveWithinMs + 1)
      const departure = this.departures.get(id)
      return {
        id,
        kind: linked.get(id)?.kind ?? 'unknown',
        silentMs,
        steadyMs: this.steadyMs(id, silentMs <= aliveWithinMs, nowMs),
        caughtUp: progress.has(id) && match > 0 && match + catchUpEntries >= status.lastIndex,
        wish: this.wishes.get(id)?.wish ?? 'auto',
        departing: departure !== undefined && this.fresh(departure.atMs) ? departure.kind : 'no',
      }
    })
    return { leader: self, configuration, changePending: status.changePending, members }
  }

  private steadyMs(id: PeerId, isAlive: boolean, nowMs: number): number {
    if (!isAlive) {
      this.steadySinceMs.delete(id)
      return 0
    }
    const sinceMs = this.steadySinceMs.get(id) ?? nowMs
    this.steadySinceMs.set(id, sinceMs)
    return nowMs - sinceMs
  }

  private fresh(atMs: number | undefined): boolean {
    return atMs !== undefined && this.clock.now() - atMs <= requestValidMs
  }
}

function hasDeparted(configuration: Configuration, id: PeerId, kind: 'demote' | 'remove'): boolean {
  if (configuration.voters.includes(id)) return false
  return kind === 'demote' || !configuration.learners.includes(id)
}

function forgetOldest(map: Map<PeerId, unknown>): void {
  if (map.size <= askersMax) return
  for (const oldest of map.keys()) {
    map.delete(oldest)
    return
  }
}
