/**
 * Leaving in good order: asks the leader, again and again, to take this peer out (or to take its vote), and gives up after a
 * while: a tab that closes has little time, and the others cope with a peer that vanishes.
 */
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Clock, Done } from '../platform.ts'
import type { RaftStatus } from '../raft/types.ts'
import type { Replica } from '../shard/replica.ts'
import { nobody } from './group-replay.ts'
import type { Own } from './membership.ts'
import type { PeerMessage } from './wire.ts'

/** `hand-over`: stay a voter, only do not leave as leader. `demote`: stay as learner. `remove`: for good. */
export type DepartureKind = 'hand-over' | 'demote' | 'remove'

const askEveryMs = 200
const patienceMs: Record<DepartureKind, number> = { 'hand-over': 1000, demote: 1500, remove: 5000 }

export interface DeparturesHost {
  readonly clock: Clock
  send(to: PeerId, message: PeerMessage): void
}

export class Departures {
  private readonly host: DeparturesHost
  private current:
    | { readonly kind: DepartureKind; readonly byMs: number; askedMs: number; readonly done: () => void }
    | undefined

  constructor(host: DeparturesHost) {
    this.host = host
  }

  /** For the autopilot of this peer itself, while it leads: its own wish to go. */
  get kind(): DepartureKind | 'no' {
    return this.current?.kind ?? 'no'
  }

  begin(kind: DepartureKind, done: () => void): void {
    this.finish()
    this.current = { kind, byMs: this.host.clock.now() + patienceMs[kind], askedMs: Number.NEGATIVE_INFINITY, done }
  }

  confirmed(): void {
    this.finish()
  }

  /** `linked`: who could take over or take note; with nobody there, there is nothing to wait for. */
  tick(
    status: RaftStatus | undefined,
    self: PeerId,
    leader: PeerId | undefined,
    linked: { has(id: PeerId): boolean },
  ): void {
    const { current } = this
    if (current === undefined) return
    const now = this.host.clock.now()
    const { voters, learners } = status?.configuration ?? nobody
    const others = [...voters, ...learners].filter(id => id !== self && linked.has(id))
    const member = voters.includes(self) || learners.includes(self)
    if (status === undefined || others.length === 0 || !member || now >= current.byMs) return this.finish()
    if (status.role === 'leader') return
    if (current.kind === 'hand-over') return this.finish()
    if (current.kind === 'demote' && !voters.includes(self) && !status.changePending) return this.finish()
    if (leader === undefined || now - current.askedMs < askEveryMs) return
    current.askedMs = now
    this.host.send(leader, { type: 'depart', remove: current.kind === 'remove' })
  }

  private finish(): void {
    const { current } = this
    this.current = undefined
    current?.done()
  }
}

/** A tab gives its vote up; a Node peer will be back, so it only does so where the others could not go on without it. */
export function goodbye(
  kind: 'tab' | 'node',
  { id: self, voters }: Pick<Own, 'id' | 'voters'>,
  linked: { has(id: PeerId): boolean },
): 'demote' | 'hand-over' {
  const stay = voters.filter(id => id !== self && linked.has(id)).length
  return kind === 'node' && stay * 2 > voters.length ? 'hand-over' : 'demote'
}

const handOverMsMax = 5000

/** Hands leadership to `to`, or to the most advanced voter, and looks every `everyMs` whether it has arrived. */
export function handOver(
  replica: () => Replica | undefined,
  to: PeerId | undefined,
  clock: Clock,
  everyMs: number,
  done: Done,
): void {
  const leader = replica()
  if (leader?.status().role !== 'leader') {
    const message = 'only the leader can hand leadership over; call this on the leading peer'
    return done(new HarmonyError('NOT_MEMBER', message, { retryable: true }))
  }
  if (!leader.transferLeadership(to)) {
    const message = `leadership cannot go to ${to ?? 'another peer'}: it must be a voter other than the leader`
    return done(new HarmonyError('VALIDATION', message))
  }
  const began = clock.now()
  const look = (): void => {
    const now = replica()?.status()
    if (now === undefined || now.role !== 'leader') return done(undefined)
    if (now.transferee === undefined || clock.now() - began > handOverMsMax) {
      return done(new HarmonyError('TIMEOUT', 'leadership was not taken over in time; this peer still leads'))
    }
    clock.after(everyMs, look)
  }
  look()
}
