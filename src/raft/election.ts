/**
 * Elections: PreVote (thesis, 9.6) asks first whether an election could be won, so that a peer that was cut off does not
 * come back with a higher term and depose a working leader; the election itself follows the paper, 5.2 and 5.4.1.
 *
 *   follower --timeout--> preCandidate --majority would--> candidate --majority did--> leader
 *   follower --timeoutNow (the leader wants it)--> candidate
 *
 * A vote request leaves only after the candidate's own term, vote and log are durable. Otherwise a candidate that crashes could
 * campaign in the same term again with a shorter log, and be elected by answers to its first request.
 */
import { type PeerId, type Term, term } from '../base/ids.ts'
import { isVoter, votersOf } from './configuration.ts'
import { becomeLeader } from './leader.ts'
import { patienceTicks } from './quiescence.ts'
import { tallyJoint } from './quorum.ts'
import { becomeFollower, keepsVoteBack, resetElectionTimer, type State, setLeader } from './state.ts'
import type { Message } from './types.ts'

type VoteRequest = Extract<Message, { type: 'preVote' | 'vote' }>
type VoteReply = Extract<Message, { type: 'preVoteReply' | 'voteReply' }>

/**
 * Only who has a vote may ask for votes. One that its newest configuration leaves out goes on until that is committed: it may be
 * the only one whose log is long enough to finish the change. It does not count itself then (thesis, 4.2.2).
 * The last term that a number can hold is never left.
 */
const mayCampaign = (state: State): boolean =>
  state.role !== 'leader' && state.configurations.mayVote(state.id) && state.term < Number.MAX_SAFE_INTEGER

/** A majority by itself. */
export const isSoleVoter = (state: State): boolean => {
  const voters = votersOf(state.configurations.current)
  return voters.length === 1 && voters[0] === state.id
}

/** One tick of anybody but the leader. */
export function tickElection(state: State): void {
  state.promiseElapsed++
  // The requests of an election leave when the own vote is durable: a slow disk does not use up the election's time.
  if (state.role === 'candidate' && !state.ballotDurable) return
  state.electionElapsed++
  // There is nobody to wait for, unless a leader is on its way out of the configuration.
  const alone = state.role === 'follower' && state.leader === undefined && isSoleVoter(state)
  if (!alone && state.electionElapsed < patienceTicks(state)) return
  if (mayCampaign(state)) campaign(state, 'preVote')
  else becomeFollower(state, state.term, undefined)
}

export function campaign(state: State, how: 'preVote' | 'vote' | 'transfer'): void {
  if (!mayCampaign(state)) return
  setLeader(state, undefined)
  state.resting = false
  state.votes.clear()
  resetElectionTimer(state)
  if (how === 'preVote') {
    state.role = 'preCandidate'
    request(state, 'preVote', term(state.term + 1), false)
    recordVote(state, state.id, true)
  } else {
    state.role = 'candidate'
    state.term = term(state.term + 1)
    state.vote = state.id
    state.ballotDurable = false
    request(state, 'vote', state.term, how === 'transfer')
  }
}

function request(state: State, type: 'preVote' | 'vote', inTerm: Term, transfer: boolean): void {
  const { id, log } = state
  const { last: lastIndex, lastTerm } = log
  const outbox = type === 'vote' ? state.messagesAfterAppend : state.messages
  for (const to of votersOf(state.configurations.current)) {
    if (to !== id) outbox.push({ type, from: id, to, term: inTerm, lastIndex, lastTerm, transfer })
  }
}

/** This peer's term and its vote in it are durable: its own vote counts from now on. */
export function ownVoteDurable(state: State, inTerm: Term, vote: PeerId | undefined): void {
  if (state.role !== 'candidate' || inTerm !== state.term || vote !== state.id || state.ballotDurable) return
  state.ballotDurable = true
  recordVote(state, state.id, true)
}

function recordVote(state: State, from: PeerId, granted: boolean): void {
  const { current } = state.configurations
  if (!isVoter(current, from) || state.votes.has(from)) return
  state.votes.set(from, granted)
  const result = tallyJoint(current.voters, current.outgoing, state.votes)
  if (result === 'lost') becomeFollower(state, state.term, undefined)
  else if (result === 'won' && state.role === 'preCandidate') campaign(state, 'vote')
  else if (result === 'won') becomeLeader(state)
}

/** Of this term, or of a later one for a pre-vote. Learners answer too: the candidate may know that they were promoted. */
export function onVoteRequest(state: State, message: VoteRequest): void {
  const { log } = state
  const upToDate =
    message.lastTerm > log.lastTerm || (message.lastTerm === log.lastTerm && message.lastIndex >= log.last)
  if (message.type === 'preVote') {
    const free = message.term > state.term || mayVoteFor(state, message.from)
    const granted = free && upToDate
    replyPreVote(state, message.from, granted ? message.term : state.term, granted)
    return
  }
  const granted = mayVoteFor(state, message.from) && upToDate
  if (granted) {
    state.vote = message.from
    resetElectionTimer(state)
  }
  const { id, term: inTerm } = state
  state.messagesAfterAppend.push({ type: 'voteReply', from: id, to: message.from, term: inTerm, granted })
}

const mayVoteFor = (state: State, candidate: PeerId): boolean =>
  state.vote === candidate || (state.vote === undefined && state.leader === undefined)

/** Promises nothing, so it waits for nothing. */
export function replyPreVote(state: State, to: PeerId, inTerm: Term, granted: boolean): void {
  state.messages.push({ type: 'preVoteReply', from: state.id, to, term: inTerm, granted })
}

/** A removed or restarted peer must not disturb a working leader, unless the leader itself asked it to. */
export const ignoresVoteRequest = (state: State, message: VoteRequest): boolean =>
  !message.transfer && keepsVoteBack(state)

/** Of this term; a granted pre-vote: of the term that this peer would campaign in. */
export function onVoteReply(state: State, message: VoteReply): void {
  const { role, term: inTerm } = state
  if (message.type === 'voteReply') {
    if (role === 'candidate' && message.term === inTerm) recordVote(state, message.from, message.granted)
  } else if (role === 'preCandidate' && message.term === (message.granted ? inTerm + 1 : inTerm)) {
    recordVote(state, message.from, message.granted)
  }
}

/** The leader hands over: campaign at once, without asking first. */
export function onTimeoutNow(state: State, from: PeerId): void {
  if (state.role === 'follower' && state.leader === from) campaign(state, 'transfer')
}
