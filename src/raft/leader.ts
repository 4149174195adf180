/**
 * The leader: its term's first entry, proposals, replication, commit, configurations, reads, leadership transfer.
 *
 * Appends and read rounds are not sent where they become possible but when a Ready is made (`flushLeader`): everything that
 * came in one turn of the owner's event loop leaves in as few messages as fit.
 *
 * That entries are committed goes with the next append. By itself it is said at once only to who waits for it, for a client's sake (`Peer.awaits`);
 * the others hear it when the owner says so (`tellCommit`), a moment later, or with a heartbeat.
 */
import { assert } from '../base/assert.ts'
import { index, type PeerId } from '../base/ids.ts'
import { encodeConfiguration, isJoint, isVoter, leaveJoint, nextConfiguration } from './configuration.ts'
import { entryBytes } from './log.ts'
import { type Peer, Peers } from './progress.ts'
import { tickRest, wake } from './quiescence.ts'
import type { Answer, Question } from './read-index.ts'
import { becomeFollower, commitThrough, refuseRead, resetElectionTimer, type State, setLeader } from './state.ts'
import type { Configuration, ConfigurationChange, Entry, EntryKind, Message, ProposeResult } from './types.ts'

type AppendReply = Extract<Message, { type: 'appendReply' }>
type HeartbeatReply = Extract<Message, { type: 'heartbeatReply' }>

const noData = new Uint8Array(0)

export function becomeLeader(state: State): void {
  state.role = 'leader'
  setLeader(state, state.id)
  resetElectionTimer(state)
  state.votes.clear()
  state.heartbeatElapsed = 0
  state.resting = false
  state.idleElapsed = 0
  state.transferee = undefined
  state.handedOver = false
  state.promiseElapsed = state.limits.electionTicks
  state.uncommittedBytes = 0
  state.peers = new Peers(state.id, state.limits)
  state.peers.self.match = state.log.durable
  state.peers.configure(state.configurations.current, state.log.last, state.now)
  // Nothing of an earlier term is committed by counting (paper, 5.4.2): this entry carries it along.
  state.termStart = append(state, 'noop', noData).index
}

export function tickLeader(state: State): void {
  if (tickRest(state)) return
  if (state.now - state.peers.heardReached(state.now) >= state.limits.electionTicks) {
    // CheckQuorum: others may have a leader by now.
    becomeFollower(state, state.term, undefined)
    return
  }
  if (state.transferee !== undefined && ++state.transferElapsed >= state.limits.electionTicks) {
    state.transferee = undefined
    afterCommit(state)
    if (state.role !== 'leader') return
  }
  if (++state.heartbeatElapsed < state.limits.heartbeatTicks) return
  if (state.leases && knowsCommit(state) && state.rounds.hasRoom) beginRound(state)
  else sendHeartbeats(state)
}

function sendHeartbeats(state: State): void {
  const { id, term, commit, rounds } = state
  state.heartbeatElapsed = 0
  for (const { id: to, match } of state.peers.followers) {
    const known = index(Math.min(match, commit))
    state.messages.push({ type: 'heartbeat', from: id, to, term, commit: known, context: rounds.context })
  }
}

// Proposals

function append(state: State, kind: EntryKind, data: Uint8Array): Entry {
  wake(state)
  const entry = { index: index(state.log.last + 1), term: state.term, kind, data }
  state.log.append(entry)
  state.uncommittedBytes += entryBytes(entry)
  state.sendsDue = true
  return entry
}

const accepted = ({ index: at, term }: Entry): ProposeResult => ({ ok: true, index: at, term })

export function propose(state: State, data: Uint8Array, asker: PeerId | undefined): ProposeResult {
  if (state.role !== 'leader') return { ok: false, reason: 'not-leader' }
  // One that is on its way out of the configuration leads only until that is committed.
  if (state.transferee !== undefined || !isVoter(state.configurations.current, state.id)) {
    return { ok: false, reason: 'transferring' }
  }
  const { uncommittedBytes, log, limits } = state
  const tooMuch = uncommittedBytes > 0 && uncommittedBytes + data.length > limits.uncommittedBytesMax
  if (tooMuch || log.last >= Number.MAX_SAFE_INTEGER) return { ok: false, reason: 'full' }
  const entry = append(state, 'command', data)
  const waits = asker === undefined ? undefined : state.peers.get(asker)
  if (waits !== undefined) waits.awaits = entry.index
  return accepted(entry)
}

/** An entry of this term is committed: the leader knows everything that was ever committed. Before that it does not know what its predecessors committed. */
export const knowsCommit = (state: State): boolean => state.commit >= state.termStart

export const changePending = (state: State): boolean =>
  state.configurations.currentIndex > state.commit || isJoint(state.configurations.current)

export function proposeConfiguration(state: State, change: ConfigurationChange): ProposeResult {
  if (state.role !== 'leader') return { ok: false, reason: 'not-leader' }
  if (state.transferee !== undefined) return { ok: false, reason: 'transferring' }
  // The first half of this is the repair of the single-server change bug (pitfall 1).
  if (!knowsCommit(state) || changePending(state)) return { ok: false, reason: 'pending' }
  const next = nextConfiguration(state.configurations.current, change)
  if (next === undefined) return { ok: false, reason: 'invalid' }
  const entry = appendConfiguration(state, next)
  advanceCommit(state)
  return accepted(entry)
}

/** In force at once, for this leader as for everyone who gets the entry. */
function appendConfiguration(state: State, configuration: Configuration): Entry {
  const entry = append(state, 'configuration', encodeConfiguration(configuration))
  state.configurations.append(entry.index, configuration)
  state.peers.configure(configuration, state.log.last, state.now)
  // Who is still asked may be a majority that has answered already.
  answerReads(state)
  return entry
}

// Commit

/** What this peer has on disk itself counts like any follower's answer. */
export function ownAppendDurable(state: State): void {
  state.peers.self.match = state.log.durable
  advanceCommit(state)
}

function advanceCommit(state: State): void {
  const reached = state.peers.matchReached()
  if (reached <= state.commit || reached < state.termStart) return
  assert(reached <= state.log.last, 'a majority has more than the leader')
  for (let at = Math.max(state.commit + 1, state.termStart); at <= reached; at++) {
    state.uncommittedBytes -= entryBytes(state.log.cachedEntry(at))
  }
  commitThrough(state, index(reached))
  state.sendsDue = true
  afterCommit(state)
}

/** A committed joint configuration is left; a leader that a committed one leaves out goes. */
function afterCommit(state: State): void {
  const { current, currentIndex } = state.configurations
  if (!knowsCommit(state) || currentIndex > state.commit) return
  if (isJoint(current)) {
    if (state.transferee !== undefined) return
    appendConfiguration(state, leaveJoint(current))
    advanceCommit(state)
  } else if (!current.voters.includes(state.id)) {
    const heir = mostAdvanced(state)
    if (heir !== undefined) sendTimeoutNow(state, heir)
    becomeFollower(state, state.term, undefined)
  }
}

// Replication

/** Sends what may be sent: a read round, appends. */
export function flushLeader(state: State): void {
  if (roundDue(state)) beginRound(state)
  if (!state.sendsDue) return
  state.sendsDue = false
  for (const peer of state.peers.followers) replicate(state, peer)
  state.noticesDue = false
}

export const flushDue = (state: State): boolean => state.sendsDue || roundDue(state)

function replicate(state: State, peer: Peer): void {
  const { log, limits } = state
  peer.awaitsFetch = false
  if (peer.next <= log.base) return sayNeedsSnapshot(state, peer)
  if (peer.state === 'probe') {
    if (peer.paused) return
    // What is not in memory need not be fetched to find out where the logs part.
    const entries = peer.next > log.last ? undefined : log.slice(peer.next, log.last, limits.messageBytesMax)
    sendAppend(state, peer, entries ?? [])
    return
  }
  while (peer.next <= log.last && !peer.blocked) {
    const entries = log.slice(peer.next, log.last, limits.messageBytesMax)
    if (entries === undefined) {
      peer.awaitsFetch = true
      break
    }
    sendAppend(state, peer, entries)
  }
  const tells = peer.commitTold < state.commit && (state.noticesDue || peer.awaits > peer.commitTold)
  if (peer.nudged || tells) sendAppend(state, peer, [])
}

function sayNeedsSnapshot(state: State, peer: Peer): void {
  const { id, term, log } = state
  peer.needSnapshot()
  if (peer.paused) return
  peer.paused = true
  peer.nudged = false
  state.messages.push({ type: 'snapshot', from: id, to: peer.id, term, index: log.base })
}

function sendAppend(state: State, peer: Peer, entries: readonly Entry[]): void {
  const { id, term, log, commit } = state
  const prevIndex = index(peer.next - 1)
  const prevTerm = log.termOf(prevIndex)
  state.messages.push({ type: 'append', from: id, to: peer.id, term, prevIndex, prevTerm, entries, commit })
  peer.nudged = false
  peer.commitTold = commit
  if (entries.length === 0) {
    if (peer.state === 'probe') peer.paused = true
    return
  }
  let bytes = 0
  for (const entry of entries) bytes += entryBytes(entry)
  peer.sent(index(prevIndex + entries.length), bytes)
}

export function onAppendReply(state: State, message: AppendReply): void {
  const peer = followerOf(state, message.from)
  if (peer === undefined) return
  const { log } = state
  if (message.ok) {
    if (message.match > log.last || !peer.acknowledge(message.match)) return
    state.sendsDue = true
    advanceCommit(state)
    if (state.role === 'leader' && state.transferee === peer.id && peer.match === log.last) sendTimeoutNow(state, peer)
    return
  }
  // The follower's hint, shortened by what this log says: a whole term of conflicts is passed over in one step.
  const hint = log.lastAtMost(message.hintIndex, message.hintTerm)
  if (peer.refuse(message.rejected, hint)) state.sendsDue = true
}

export function onHeartbeatReply(state: State, message: HeartbeatReply): void {
  const peer = followerOf(state, message.from)
  if (peer === undefined) return
  // It is there but has not acknowledged everything: whatever was on the way may be lost.
  if (peer.match < state.log.last || peer.state !== 'replicate') {
    peer.paused = false
    peer.nudged = true
    state.sendsDue = true
  }
  if (message.context <= state.rounds.context && message.context > peer.readRound) {
    peer.readRound = message.context
    answerReads(state)
  }
}

/** Undefined for who is not in the configuration (any more): its answers count for nothing. */
function followerOf(state: State, id: PeerId): Peer | undefined {
  const peer = state.peers.get(id)
  if (peer === undefined || peer === state.peers.self) return undefined
  peer.heardTick = state.now
  return peer
}

// Reads

const roundDue = (state: State): boolean => state.rounds.canBegin && knowsCommit(state)

function beginRound(state: State): void {
  state.peers.self.readRound = state.rounds.begin(state.commit)
  sendHeartbeats(state)
  answerReads(state)
}

/** See `RaftCore.leaseRound`. Who may have been asked to campaign does so without regard to anybody's promise, and who is on its way out of the configuration has a part in no majority. */
export const leaseRound = (state: State): number => {
  const { role, handedOver, configurations, id } = state
  const concludes = role === 'leader' && !handedOver && knowsCommit(state) && isVoter(configurations.current, id)
  return concludes ? state.peers.readRoundReached() : 0
}

/** See `RaftCore.confirmReads`. */
export function confirmReads(state: State): void {
  if (roundDue(state)) answer(state, state.rounds.takeWaiting(state.commit))
}

export function askRead(state: State, question: Question): void {
  wake(state)
  if (!state.rounds.ask(question)) refuseRead(state, question)
}

function answerReads(state: State): void {
  answer(state, state.rounds.confirmed(state.peers.readRoundReached()))
}

function answer(state: State, answers: readonly Answer[]): void {
  const { id, term } = state
  for (const { from, context, index: at } of answers) {
    if (from === undefined) state.reads.push({ context, index: at })
    else {
      state.messages.push({ type: 'readIndexReply', from: id, to: from, term, context, index: at })
      const asker = state.peers.get(from)
      if (asker === undefined) continue
      asker.awaits = Math.max(asker.awaits, at)
      state.sendsDue = true
    }
  }
}

// Leadership transfer (thesis, 3.10)

/** @returns false if there is nobody to hand over to. */
export function transfer(state: State, to: PeerId | undefined): boolean {
  wake(state)
  const peer = to === undefined ? mostAdvanced(state) : state.peers.get(to)
  if (peer === undefined || peer === state.peers.self) return false
  if (!state.configurations.current.voters.includes(peer.id)) return false
  if (state.transferee === peer.id) return true
  state.transferee = peer.id
  state.transferElapsed = 0
  if (peer.match === state.log.last) sendTimeoutNow(state, peer)
  else {
    // What is on the way may be lost; there is no time to wait for a heartbeat to find out.
    peer.nudged = true
    state.sendsDue = true
  }
  return true
}

/** The voter with the longest known log among those that were heard lately. */
function mostAdvanced(state: State): Peer | undefined {
  let best: Peer | undefined
  for (const peer of state.peers.followers) {
    const active = state.now - peer.heardTick < state.limits.electionTicks
    if (!active || !state.configurations.current.voters.includes(peer.id)) continue
    if (best === undefined || peer.match > best.match) best = peer
  }
  return best
}

function sendTimeoutNow(state: State, { id: to }: Peer): void {
  state.handedOver = true
  state.messages.push({ type: 'timeoutNow', from: state.id, to, term: state.term })
}
