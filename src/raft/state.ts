/**
 * What one peer knows of its group, and the few changes of it that every role shares. The rules of the roles are functions over
 * this state: `election.ts`, `follower.ts`, `leader.ts`; `raft.ts` puts them together.
 *
 * Invariants
 *   - `applied` ≤ `delivered` ≤ `commit` ≤ the log's end. `commit`, `delivered` and `applied` only grow.
 *   - `leader` is undefined while this peer campaigns. `leader` is this peer exactly while `role` is leader.
 *   - `vote` changes from one peer to another only with `term`.
 */
import { assert } from '../base/assert.ts'
import { type Index, index, type PeerId, type Term } from '../base/ids.ts'
import { Appends } from './appends.ts'
import { ConfigurationHistory } from './configuration.ts'
import { RaftLog } from './log.ts'
import { Peers } from './progress.ts'
import { ForwardedReads, type Question, ReadRounds } from './read-index.ts'
import type { Message, RaftLimits, RaftOptions, ReadState, Role } from './types.ts'

export class State {
  readonly id: PeerId
  readonly limits: RaftLimits
  readonly random: () => number
  readonly leases: boolean

  term: Term
  vote: PeerId | undefined
  role: Role = 'follower'
  leader: PeerId | undefined = undefined
  log: RaftLog
  readonly appends = new Appends()
  configurations: ConfigurationHistory
  commit: Index
  /** Through where committed entries were handed out. */
  delivered = index(0)
  applied = index(0)

  /** Ticks since this object was made. */
  now = 0
  /** Ticks since the leader was heard, a vote was given or a campaign began. */
  electionElapsed = 0
  electionTimeout = 0
  /** Ticks since a leader was heard, whoever it was. A peer that has just started may have heard one just before. */
  promiseElapsed: number
  readonly votes = new Map<PeerId, boolean>()
  /** Of a candidate: its term and its vote for itself are on disk. */
  ballotDurable = false

  /** Of the leader only: made anew in each of its terms. */
  peers: Peers
  /** The first entry of this leader's term. */
  termStart = index(0)
  heartbeatElapsed = 0
  /** See `quiescence.ts`, for these three. */
  resting = false
  idleElapsed = 0
  restElapsed = 0
  uncommittedBytes = 0
  transferee: PeerId | undefined = undefined
  transferElapsed = 0
  /** In this term it asked somebody to campaign, who may do so at any time. */
  handedOver = false
  /** Something may be sent to followers that could not be sent before. */
  sendsDue = false
  /** Also that entries are committed, to those who do not wait for it. */
  noticesDue = false

  readonly rounds = new ReadRounds()
  readonly forwarded = new ForwardedReads()

  messages: Message[] = []
  messagesAfterAppend: Message[] = []
  /** This much of the leader's log is in ours: to be said once it is durable. One answer for all appends since the last Ready. */
  acknowledgement: Index | undefined = undefined
  /** The last one that left for this leader in this term. */
  acknowledged = index(0)
  /** The leader said that this peer needs a snapshot. */
  snapshotNeeded: { readonly from: PeerId; readonly index: Index } | undefined = undefined
  reads: ReadState[] = []

  constructor({ id, limits, random, restored, leases = false }: RaftOptions) {
    this.id = id
    this.limits = limits
    this.random = random
    this.leases = leases
    this.promiseElapsed = restored.hardState.term > 0 ? 0 : limits.electionTicks
    this.term = restored.hardState.term
    this.vote = restored.hardState.vote
    this.log = new RaftLog(restored)
    // A torn tail may have lost entries whose commit was already noted: a majority has them, and will say so again.
    const { base, lastIndex } = restored
    const { applied = base.index } = restored
    assert(applied >= base.index && applied <= lastIndex, `applied ${applied} of ${base.index}…${lastIndex}`)
    this.commit = index(Math.max(applied, Math.min(restored.hardState.commit, lastIndex)))
    this.delivered = applied
    this.applied = applied
    this.configurations = new ConfigurationHistory(base, restored.configurations)
    this.configurations.committed(this.commit)
    this.peers = new Peers(id, limits)
    resetElectionTimer(this)
  }
}

/** One tick more than a lease has, at least: the others' ticks may come a little later than this peer's, and who asks within their lease gets no answer. */
export function resetElectionTimer(state: State): void {
  const { electionTicks } = state.limits
  state.electionElapsed = 0
  state.electionTimeout = electionTicks + Math.max(1, Math.floor((state.random() / 0x1_0000_0000) * electionTicks))
}

/**
 * It leads, or a leader was heard so lately that nobody else can have been elected for good reasons (thesis, 4.2.3). What that leader concludes for its reads must not depend on what this
 * peer has learnt or forgotten since: neither a later term nor a restart ends it (pitfall 15).
 */
export const keepsVoteBack = (state: State): boolean =>
  state.role === 'leader' || state.promiseElapsed < state.limits.electionTicks

export function setLeader(state: State, leader: PeerId | undefined): void {
  if (leader === state.leader) return
  state.leader = leader
  state.acknowledgement = undefined
  state.acknowledged = index(0)
  state.snapshotNeeded = undefined
  dropForwardedReads(state, state.now)
}

/** Also for a leader or candidate that steps down within its term. */
export function becomeFollower(state: State, term: Term, leader: PeerId | undefined): void {
  if (term > state.term) {
    state.term = term
    state.vote = undefined
    // The same peer may lead again in the new term: what was asked or said in the old one is void all the same.
    setLeader(state, undefined)
  }
  // An election that is over (or was, before the next pre-vote) asks nobody any more: the log may change before the next Ready, and the requests
  // speak of it.
  if (state.role !== 'follower') {
    state.messagesAfterAppend = state.messagesAfterAppend.filter(({ type }) => type !== 'vote')
  }
  state.role = 'follower'
  state.resting = false
  state.transferee = undefined
  for (const question of state.rounds.abandon()) refuseRead(state, question)
  setLeader(state, leader)
  resetElectionTimer(state)
}

/** The asker is told to ask again. */
export function refuseRead(state: State, { from, context }: Question): void {
  if (from === undefined) state.reads.push({ context, index: undefined })
  else {
    const { id, term } = state
    state.messages.push({ type: 'readIndexReply', from: id, to: from, term, context, index: index(0) })
  }
}

/** Forwarded questions asked at or before this tick get no answer any more. */
export function dropForwardedReads(state: State, tick: number): void {
  for (const context of state.forwarded.expire(tick)) state.reads.push({ context, index: undefined })
}

export function commitThrough(state: State, through: Index): void {
  if (through <= state.commit) return
  state.commit = through
  state.configurations.committed(through)
}
