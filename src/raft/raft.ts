/**
 * The consensus core: one peer of one group, as a pure state machine. What goes in and what comes out is in `types.ts`, with
 * the owner's duties; the rules are in `election.ts`, `follower.ts` and `leader.ts`. This file sorts messages by term and
 * makes Readys.
 *
 * What leaves before and what after an append is durable
 *   at once       appends, heartbeats and their answers, pre-votes and their answers, refusals, reads, timeoutNow
 *   after append  vote requests and votes (term and vote), acknowledgements (entries): all that a restart must not take back
 * If nothing is under way to the disk and nothing new to write, what would wait leaves at once.
 */
import { assert } from '../base/assert.ts'
import type { PeerId } from '../base/ids.ts'
import { type Index, index, term as termOf } from '../base/ids.ts'
import {
  campaign,
  ignoresVoteRequest,
  isSoleVoter,
  onTimeoutNow,
  onVoteReply,
  onVoteRequest,
  ownVoteDurable,
  replyPreVote,
  tickElection,
} from './election.ts'
import { onAppend, onHeartbeat, onNeedsSnapshot, onReadIndexReply, onRest, onStaleLeader, restore } from './follower.ts'
import {
  askRead,
  changePending,
  confirmReads,
  flushDue,
  flushLeader,
  knowsCommit,
  leaseRound,
  onAppendReply,
  onHeartbeatReply,
  ownAppendDurable,
  propose,
  proposeConfiguration,
  tickLeader,
  transfer,
} from './leader.ts'
import type { Peer } from './progress.ts'
import { onWake, stir, wake } from './quiescence.ts'
import { becomeFollower, dropForwardedReads, refuseRead, State } from './state.ts'
import type {
  AppendToken,
  ConfigurationChange,
  Entry,
  FetchRequest,
  HardState,
  LogBase,
  Message,
  ProposeResult,
  RaftCore,
  RaftOptions,
  RaftStatus,
  Ready,
} from './types.ts'

/** One fetch for a follower brings about this many messages' worth. */
const fetchMessages = 4

export class Raft implements RaftCore {
  private readonly state: State
  /** What the owner was last told to write. */
  private written: HardState
  private fetching: FetchRequest | undefined
  private fetches = 0
  /** When entries to apply were last fetched; tells whose turn it is, as `Peer.fetchServed`. */
  private applyServed = 0

  constructor(options: RaftOptions) {
    const { hardState } = options.restored
    this.state = new State(options)
    this.written = { ...hardState, commit: this.state.commit }
    assert(this.state.log.lastTerm <= hardState.term, `the log's last term is beyond term ${hardState.term}`)
    assert(this.state.log.last === 0 || this.state.log.lastTerm > 0, 'the terms of a restored log are known')
  }

  status(): RaftStatus {
    const { state } = this
    const { id, role, term, vote, leader, commit, applied, log, configurations, transferee } = state
    return {
      id,
      role,
      term,
      vote,
      leader,
      commit,
      applied,
      firstIndex: index(log.base + 1),
      lastIndex: log.last,
      lastTerm: log.lastTerm,
      configuration: configurations.current,
      changePending: changePending(state),
      resting: state.resting,
      transferee,
      progress: role === 'leader' ? state.peers.describe(state.now, state.resting) : [],
      cachedEntryBytes: log.bytesInMemory,
    }
  }

  get commit(): Index {
    return this.state.commit
  }

  /** As far as this peer knows. A candidate knows none, whatever it remembers. */
  get leader(): PeerId | undefined {
    const { role, leader } = this.state
    return role === 'leader' || role === 'follower' ? leader : undefined
  }

  /**
   * Leader, and a majority by itself, in the newest configuration that it knows: nobody else can be elected without its vote. So a read round would ask
   * nobody (thesis, 6.4, with a majority of one).
   */
  get leadsAlone(): boolean {
    const { state } = this
    return state.role === 'leader' && knowsCommit(state) && isSoleVoter(state)
  }

  tick(): void {
    const { state } = this
    state.now++
    dropForwardedReads(state, state.now - state.limits.electionTicks)
    if (state.role === 'leader') tickLeader(state)
    else tickElection(state)
  }

  step(message: Message): void {
    const { state } = this
    if (message.to !== state.id || message.from === state.id) return
    // Who asks for votes misses a leader.
    if (message.type === 'preVote' || message.type === 'vote') wake(state)
    if (message.term > state.term) {
      if (!this.enterTerm(message)) return
    } else if (message.term < state.term) {
      this.answerStale(message)
      return
    }
    switch (message.type) {
      case 'preVote':
      case 'vote':
        return onVoteRequest(state, message)
      case 'preVoteReply':
      case 'voteReply':
        return onVoteReply(state, message)
      case 'append':
        return onAppend(state, message)
      case 'heartbeat':
        return onHeartbeat(state, message)
      case 'rest':
        return onRest(state, message)
      case 'wake':
        return onWake(state, message)
      case 'readIndexReply':
        return onReadIndexReply(state, message)
      case 'timeoutNow':
        return onTimeoutNow(state, message.from)
      case 'snapshot':
        return onNeedsSnapshot(state, message)
      case 'appendReply':
        if (state.role === 'leader') onAppendReply(state, message)
        return
      case 'heartbeatReply':
        if (state.role === 'leader') onHeartbeatReply(state, message)
        return
      case 'readIndex':
        if (state.role === 'leader') askRead(state, message)
        else refuseRead(state, message)
        return
    }
  }

  /** A message of a later term. False: it is to be ignored altogether. */
  private enterTerm(message: Message): boolean {
    const { state } = this
    switch (message.type) {
      case 'preVote':
        return !ignoresVoteRequest(state, message)
      case 'preVoteReply':
        // A granted one speaks of a term that nobody is in yet.
        if (!message.granted) becomeFollower(state, message.term, undefined)
        return true
      case 'vote':
        if (ignoresVoteRequest(state, message)) return false
        becomeFollower(state, message.term, undefined)
        return true
      case 'append':
      case 'heartbeat':
      case 'rest':
      case 'snapshot':
        becomeFollower(state, message.term, message.from)
        return true
      default:
        becomeFollower(state, message.term, undefined)
        return true
    }
  }

  /** A message of an earlier term: whoever waits for an answer learns the term from it. */
  private answerStale(message: Message): void {
    const { state } = this
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'rest':
      case 'snapshot':
        return onStaleLeader(state, message)
      case 'preVote':
        return replyPreVote(state, message.from, state.term, false)
      case 'readIndex':
        return refuseRead(state, message)
    }
  }

  propose(data: Uint8Array, asker?: PeerId): ProposeResult {
    return propose(this.state, data, asker)
  }

  get hasUntold(): boolean {
    const { role, peers, commit } = this.state
    return role === 'leader' && peers.followers.some(peer => peer.mayHear(commit))
  }

  tellCommit(): boolean {
    if (!this.hasUntold) return false
    const { state } = this
    state.noticesDue = true
    state.sendsDue = true
    return true
  }

  proposeConfiguration(change: ConfigurationChange): ProposeResult {
    return proposeConfiguration(this.state, change)
  }

  readIndex(context: number): void {
    const { state } = this
    const { id, term, leader } = state
    assert(context >= 1, 'a read has a context of 1 or more')
    stir(state)
    if (state.role === 'leader') askRead(state, { from: undefined, context })
    else if (leader !== undefined && state.forwarded.ask(context, state.now)) {
      state.messages.push({ type: 'readIndex', from: id, to: leader, term, context })
    } else refuseRead(state, { from: undefined, context })
  }

  get resting(): boolean {
    return this.state.resting
  }

  stir(): void {
    stir(this.state)
  }

  get leaseRound(): number {
    return leaseRound(this.state)
  }

  confirmReads(): void {
    if (this.state.role === 'leader') confirmReads(this.state)
  }

  transferLeadership(to?: PeerId): boolean {
    return this.state.role === 'leader' && transfer(this.state, to)
  }

  campaign(): void {
    campaign(this.state, 'preVote')
  }

  hasReady(): boolean {
    const { state } = this
    return (
      state.messages.length > 0 ||
      state.messagesAfterAppend.length > 0 ||
      state.reads.length > 0 ||
      state.acknowledgement !== undefined ||
      state.snapshotNeeded !== undefined ||
      state.log.hasUnhanded ||
      (state.role === 'leader' && flushDue(state)) ||
      this.mustPersist() ||
      state.commit !== this.written.commit ||
      (this.mayDeliver() && state.log.inMemory(state.delivered + 1)) ||
      this.nextFetch() !== undefined
    )
  }

  ready(): Ready {
    const { state } = this
    if (state.role === 'leader') flushLeader(state)
    this.sayAcknowledgement()
    const mustPersist = this.mustPersist() || state.log.hasUnhanded
    const hardState = this.takeHardState()
    const entries = state.log.takeUnhanded()
    let { messages, messagesAfterAppend } = state
    if (!mustPersist && messagesAfterAppend.length > 0 && state.appends.settled) {
      messages = messages.concat(messagesAfterAppend)
      messagesAfterAppend = []
    }
    const waits = mustPersist || messagesAfterAppend.length > 0
    const append = waits ? state.appends.begin(state.log.last, state.term, state.vote) : undefined
    const committed = this.takeCommitted()
    const { reads } = state
    state.messages = []
    state.messagesAfterAppend = []
    state.reads = []
    const fetch = this.beginFetch()
    const { snapshotNeeded: snapshot } = state
    state.snapshotNeeded = undefined
    return { hardState, entries, append, messages, messagesAfterAppend, committed, reads, fetch, snapshot }
  }

  private sayAcknowledgement(): void {
    const { state } = this
    const { acknowledgement: match, leader, id, term } = state
    if (match === undefined || leader === undefined) return
    const nothing = { rejected: index(0), hintIndex: index(0), hintTerm: termOf(0) }
    state.messagesAfterAppend.push({ type: 'appendReply', from: id, to: leader, term, ok: true, match, ...nothing })
    state.acknowledgement = undefined
    state.acknowledged = match
  }

  private mustPersist(): boolean {
    return this.state.term !== this.written.term || this.state.vote !== this.written.vote
  }

  private takeHardState(): HardState | undefined {
    const { term, vote, commit } = this.state
    if (!this.mustPersist() && commit === this.written.commit) return undefined
    this.written = { term, vote, commit }
    return this.written
  }

  /** The next committed entries are handed out when those before are applied: what is under way stays bounded. */
  private mayDeliver(): boolean {
    const { commit, delivered, applied } = this.state
    return commit > delivered && delivered === applied
  }

  private takeCommitted(): readonly Entry[] {
    const { state } = this
    if (!this.mayDeliver()) return []
    const entries = state.log.slice(state.delivered + 1, state.commit, state.limits.applyBytesMax)
    if (entries === undefined) return []
    state.delivered = entries[entries.length - 1]!.index
    return entries
  }

  appended(token: AppendToken): void {
    const { state } = this
    const completed = state.appends.complete(token)
    if (completed === undefined) return
    state.log.becameDurable(completed.through)
    ownVoteDurable(state, completed.term, completed.vote)
    if (state.role === 'leader') ownAppendDurable(state)
    state.log.evict(state.applied, state.limits.cacheBytesMax)
  }

  applied(through: Index): void {
    const { state } = this
    assert(through >= state.applied && through <= state.delivered, `applied ${through} of ${state.delivered}`)
    state.applied = through
    state.log.evict(through, state.limits.cacheBytesMax)
    if (!this.windowNeeded()) state.log.dropWindow()
  }

  baseAt(at: Index): LogBase {
    const { delivered, log, configurations } = this.state
    assert(at >= log.base && at <= delivered, `a log that begins after ${at}, of ${log.base}…${delivered}`)
    return { index: at, term: log.termOf(at), configuration: configurations.at(at) }
  }

  compact(base: Index): void {
    const { state } = this
    assert(base <= state.applied, `compacted to ${base}, applied ${state.applied}`)
    state.log.compact(base)
    state.configurations.compact(base)
    // Who waits for what is gone now needs a snapshot.
    if (state.role === 'leader') state.sendsDue = true
  }

  has({ index: at, term }: Pick<LogBase, 'index' | 'term'>): boolean {
    return this.state.log.matches(at, term)
  }

  restore(base: LogBase): void {
    restore(this.state, base)
  }

  fetched(request: FetchRequest, entries: readonly Entry[]): void {
    assert(request === this.fetching, 'a fetch is answered once')
    this.fetching = undefined
    this.state.log.fetched(request.from, entries)
    if (this.state.role === 'leader') this.state.sendsDue = true
  }

  /** Who waits longest for entries that are not in memory: the state machine or a follower. */
  private nextFetch(): Peer | 'apply' | undefined {
    const { state } = this
    if (this.fetching !== undefined) return undefined
    let next: Peer | 'apply' | undefined
    let served = Number.POSITIVE_INFINITY
    if (this.mayDeliver() && !state.log.inMemory(state.delivered + 1)) {
      next = 'apply'
      served = this.applyServed
    }
    if (state.role !== 'leader') return next
    for (const peer of state.peers.followers) {
      if (!peer.awaitsFetch || peer.fetchServed >= served || peer.next <= state.log.base) continue
      if (state.log.inMemory(peer.next)) continue
      next = peer
      served = peer.fetchServed
    }
    return next
  }

  private beginFetch(): FetchRequest | undefined {
    const next = this.nextFetch()
    if (next === undefined) return undefined
    const { limits, log, delivered, commit } = this.state
    const beforeCached = log.firstCached - 1
    this.fetches++
    if (next === 'apply') {
      this.applyServed = this.fetches
      const through = index(Math.min(commit, beforeCached))
      this.fetching = { from: index(delivered + 1), through, bytesMax: limits.applyBytesMax }
    } else {
      next.fetchServed = this.fetches
      const bytesMax = Math.max(
        limits.messageBytesMax,
        Math.min(limits.messageBytesMax * fetchMessages, limits.inflightBytesMax),
      )
      this.fetching = { from: next.next, through: index(beforeCached), bytesMax }
    }
    return this.fetching
  }

  /** Somebody is not yet past what left memory. */
  private windowNeeded(): boolean {
    const { commit, delivered, log, role, peers } = this.state
    if (delivered < commit && delivered + 1 < log.firstCached) return true
    return role === 'leader' && peers.followers.some(peer => peer.next > log.base && peer.next < log.firstCached)
  }
}
