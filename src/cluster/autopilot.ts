/**
 * Who should vote: a pure function from what a leader sees to the next configuration, or undefined where nothing is to do.
 *
 *  A1  One change at a time; none while one is pending.
 *  A2  The voters are an odd number, at most `votersMax`, as large as there are live eligible members to fill it.
 *  A3  A learner is promoted only when it is linked, active and caught up. To fill an empty seat it does not wait: safety of a write grows with it. Somebody's seat it takes only after it
 *      was so for `steadyAfterMs` without a break: one that comes and goes moves nobody.
 *  A4  A voter that was silent for `deadAfterMs` gives its seat to a learner that can take it. Seats are never given up for silence
 *      alone while there is nobody to fill them: the silent one may come back, and a smaller set would not be safer.
 *  A5  Never below a live majority: no change whose new voters would not have a majority alive right now.
 *  A6  Who leaves in good order goes at once; a seat that it empties is filled first, if anybody can.
 *  A8  Where there are more who can vote than seats: the leader, then who wishes to (or was promoted), then Node peers before tabs (all tabs of a browser close
 *      at once; one that is not linked has the benefit of the doubt), then who has a seat.
 *  A7  A learner that was silent for `removeAfterMs` is removed.
 */
import type { PeerId } from '../base/ids.ts'
import type { Configuration, ConfigurationChange } from '../raft/types.ts'
import type { Wish } from './wire.ts'

export interface MemberView {
  readonly id: PeerId
  readonly kind: 'tab' | 'node' | 'unknown'
  /** Time since anything was heard of it; 0 for the leader itself. */
  readonly silentMs: number
  /** How long it has been linked and active without a break, as far as this leader knows. */
  readonly steadyMs: number
  /** Its log reaches to the commit index or near it. */
  readonly caughtUp: boolean
  readonly wish: Wish
  /** `demote`: closing, will come back; `remove`: leaving for good. */
  readonly departing: 'no' | 'demote' | 'remove'
}

export interface ClusterView {
  readonly leader: PeerId
  readonly configuration: Configuration
  readonly changePending: boolean
  /** Members of the configuration, the leader included, and those who ask to be admitted. */
  readonly members: readonly MemberView[]
}

export interface AutopilotPolicy {
  readonly votersMax: number
  readonly aliveWithinMs: number
  readonly deadAfterMs: number
  /** The stabilisation time. */
  readonly steadyAfterMs: number
  readonly removeAfterMs: number
}

export const defaultPolicy: AutopilotPolicy = {
  votersMax: 5,
  aliveWithinMs: 1500,
  deadAfterMs: 5000,
  steadyAfterMs: 2000,
  removeAfterMs: 60_000,
}

export function planMembership(
  view: ClusterView,
  policy: AutopilotPolicy = defaultPolicy,
): ConfigurationChange | undefined {
  if (view.changePending || view.configuration.outgoing.length > 0) return undefined
  const { configuration, leader } = view
  const byId = new Map(view.members.map(member => [member.id, member]))
  const isVoter = (id: PeerId): boolean => configuration.voters.includes(id)
  const silent = (id: PeerId): number => byId.get(id)?.silentMs ?? Number.POSITIVE_INFINITY
  const alive = (id: PeerId): boolean => silent(id) <= policy.aliveWithinMs

  const stays = view.members.filter(member => member.departing !== 'remove')
  const canVote = (member: MemberView): boolean =>
    member.departing === 'no' &&
    member.wish !== 'learner' &&
    alive(member.id) &&
    (member.caughtUp || isVoter(member.id))

  const seated = stays.filter(member => isVoter(member.id) && member.departing === 'no' && member.wish !== 'learner')
  const sitting = seated.filter(member => member.silentMs < policy.deadAfterMs)
  const silentSitters = seated.filter(member => member.silentMs >= policy.deadAfterMs)
  const candidates = stays.filter(member => !isVoter(member.id) && canVote(member))

  // The leader keeps its seat (it cannot be silent to itself); the rest in a fixed order.
  const rank = (member: MemberView): number =>
    (member.id === leader ? 8 : 0) +
    (member.wish === 'voter' ? 4 : 0) +
    (member.kind === 'tab' ? 0 : 2) +
    (isVoter(member.id) ? 1 : 0)
  const seat = (newcomers: readonly MemberView[]): PeerId[] => {
    const able = [...sitting, ...newcomers].sort((a, b) => rank(b) - rank(a) || (a.id < b.id ? -1 : 1))
    const size = oddSize(able.length, seated.length, policy.votersMax)
    const taken = able.slice(0, size)
    return [...taken, ...silentSitters.slice(0, size - taken.length)].map(member => member.id).sort()
  }
  const filled = seat(candidates)
  const voters = seated.every(member => filled.includes(member.id))
    ? filled
    : seat(candidates.filter(member => member.steadyMs >= policy.steadyAfterMs))

  const learners = stays
    .map(member => member.id)
    .filter(
      id => !voters.includes(id) && (isVoter(id) || !isMember(configuration, id) || silent(id) < policy.removeAfterMs),
    )
    .sort()

  if (voters.length === 0) return undefined
  if (same(voters, configuration.voters) && same(learners, configuration.learners)) return undefined
  // A5: both the old set and the new one must be able to agree on the change, and the new one to go on after it.
  if (!majorityAlive(voters, alive) || !majorityAlive(configuration.voters, alive)) return undefined
  return { voters, learners }
}

/** The largest odd number of voters that `available` can fill; those who are silent keep it from shrinking (A4). */
function oddSize(available: number, seated: number, votersMax: number): number {
  const size = Math.min(Math.max(available, seated), votersMax)
  return size % 2 === 1 ? size : Math.max(1, size - 1)
}

const isMember = (configuration: Configuration, id: PeerId): boolean =>
  configuration.voters.includes(id) || configuration.learners.includes(id)

const same = (a: readonly PeerId[], b: readonly PeerId[]): boolean =>
  a.length === b.length && a.every((id, at) => id === b[at])

const majorityAlive = (voters: readonly PeerId[], alive: (id: PeerId) => boolean): boolean =>
  voters.filter(alive).length * 2 > voters.length
