/**
 * Quiescence: a group in which nothing happens says next to nothing.
 *
 *   awake --nothing to do for `idleTicks`, everybody here--> at rest --anything at all--> awake
 *
 *  Q1  A leader rests while everybody in the configuration, itself included, has one and the same log, all of it committed and known to be, and was heard lately. Instead of heartbeats it says
 *      `rest`, each `restTicks`. Whoever has not answered by the next one wakes it. CheckQuorum rests, too.
 *  Q2  A follower rests with its leader if its log is what the leader speaks of, all committed. It then campaigns only when nothing was heard for three times `restTicks` and its timeout.
 *  Q3  A proposal, a question, a vote request, or another message of its leader wakes; so does the owner when a link changes or a client wants something (`stir`). A follower that was stirred tells
 *      all members (`wake`), and who is woken by it tells its leader: then all count again, and one that does not hear of its leader within an election timeout campaigns.
 *
 * What rest can cost is time: a leader that dies without that any link breaks is missed when somebody wants something, or after three times `restTicks`. It costs no safety: leases are drawn from
 * confirmed rounds, of which there are none at rest, and who may vote for whom does not depend on it.
 */
import { membersOf } from './configuration.ts'
import type { Peer } from './progress.ts'
import { resetElectionTimer, type State } from './state.ts'
import type { Message } from './types.ts'

/** One tick of a leader. True: it is at rest, and there is nothing else to do. */
export function tickRest(state: State): boolean {
  const { limits, now } = state
  if (state.resting) {
    if (++state.restElapsed < limits.restTicks) return true
    const allAnswered = state.peers.followers.every(({ heardTick }) => heardTick >= now - limits.restTicks)
    if (!allAnswered) {
      wake(state)
      return false
    }
  } else {
    if (limits.idleTicks === 0 || !isIdle(state)) {
      state.idleElapsed = 0
      return false
    }
    if (++state.idleElapsed < limits.idleTicks) return false
    state.resting = true
  }
  state.restElapsed = 0
  const { id, term, commit } = state
  for (const { id: to } of state.peers.followers) state.messages.push({ type: 'rest', from: id, to, term, commit })
  return true
}

function isIdle(state: State): boolean {
  const { commit, applied, log, termStart, transferee, rounds, configurations, peers } = state
  if (commit < log.last || applied < commit || commit < termStart || transferee !== undefined) return false
  if (rounds.hasQuestions || configurations.current.outgoing.length > 0) return false
  return peers.followers.every(peer => isLevel(peer, state))
}

const isLevel = ({ state: of, match, heardTick }: Peer, { log, now, limits }: State): boolean =>
  of === 'replicate' && match === log.last && now - heardTick < limits.electionTicks

/** Something is to be done. */
export function wake(state: State): void {
  state.idleElapsed = 0
  if (!state.resting) return
  state.resting = false
  if (state.role !== 'leader') return resetElectionTimer(state)
  // Nobody was asked meanwhile, and nobody can be missed yet.
  for (const peer of state.peers.followers) peer.heardTick = state.now
  // With the next tick.
  state.heartbeatElapsed = state.limits.heartbeatTicks
}

/** As `wake`, for the owner's reasons: the others should look after their leader as well. */
export function stir(state: State): void {
  if (!state.resting) return
  wake(state)
  if (state.role !== 'leader') for (const to of membersOf(state.configurations.current)) tell(state, to)
}

export function onWake(state: State, { from }: Message): void {
  if (!state.resting) return
  wake(state)
  if (state.role !== 'leader' && state.leader !== undefined && state.leader !== from) tell(state, state.leader)
}

function tell(state: State, to: Message['to']): void {
  if (to !== state.id) state.messages.push({ type: 'wake', from: state.id, to, term: state.term })
}

/** How many ticks a peer that does not lead waits for its leader. */
export const patienceTicks = ({ resting, electionTimeout, limits }: State): number =>
  resting ? electionTimeout + 3 * limits.restTicks : electionTimeout
