/**
 * What a leader says, and what its followers make of it (paper, 5.3).
 *
 * A follower never touches a committed entry, whatever it is told: an append that contradicts one is dropped as a
 * violation, and so is one that is not well-formed (indexes in a row, terms that do not fall, configurations that decode),
 * and one from a second leader of the same term.
 */
import { assert } from '../base/assert.ts'
import { type Index, index, term as termOf } from '../base/ids.ts'
import { ConfigurationHistory, decodeConfiguration } from './configuration.ts'
import { RaftLog } from './log.ts'
import { becomeFollower, commitThrough, type State } from './state.ts'
import type { Configuration, Entry, LogBase, Message } from './types.ts'

type Append = Extract<Message, { type: 'append' }>
type Heartbeat = Extract<Message, { type: 'heartbeat' }>
type Rest = Extract<Message, { type: 'rest' }>
type NeedsSnapshot = Extract<Message, { type: 'snapshot' }>
type ReadIndexReply = Extract<Message, { type: 'readIndexReply' }>

/** Of this term. False: it cannot be its leader. */
function acceptLeader(state: State, { from, term }: Append | Heartbeat | Rest | NeedsSnapshot): boolean {
  if (state.role === 'leader') return false
  if (state.role !== 'follower' || state.leader === undefined) becomeFollower(state, term, from)
  else if (state.leader !== from) return false
  state.electionElapsed = 0
  state.promiseElapsed = 0
  state.resting = false
  return true
}

export function onRest(state: State, message: Rest): void {
  if (!acceptLeader(state, message)) return
  const { id, term, log } = state
  if (message.commit === log.last) commitThrough(state, message.commit)
  state.resting = state.commit === log.last && message.commit === log.last
  state.messages.push({ type: 'heartbeatReply', from: id, to: message.from, term, context: 0 })
}

export function onHeartbeat(state: State, message: Heartbeat): void {
  if (!acceptLeader(state, message)) return
  // The leader never speaks of more than what it knows to be here.
  if (message.commit <= state.log.last) commitThrough(state, message.commit)
  const { id, term } = state
  state.messages.push({ type: 'heartbeatReply', from: id, to: message.from, term, context: message.context })
}

export function onNeedsSnapshot(state: State, message: NeedsSnapshot): void {
  if (!acceptLeader(state, message)) return
  // An old message, perhaps: what is committed here is what the leader has.
  if (message.index <= state.commit) acknowledge(state, state.commit)
  else state.snapshotNeeded = { from: message.from, index: message.index }
}

/** A snapshot is in place of everything through `base`: the log has to go on from there. */
export function restore(state: State, base: LogBase): void {
  const { log } = state
  assert(base.index > state.applied, `a snapshot of entry ${base.index} after entry ${state.applied} was applied`)
  state.snapshotNeeded = undefined
  // It may come before any message of its term does.
  if (base.term > state.term) becomeFollower(state, base.term, undefined)
  if (log.matches(base.index, base.term)) commitThrough(state, base.index)
  else {
    const { term, vote } = state
    const hardState = { term, vote, commit: base.index }
    state.log = new RaftLog({ hardState, base, lastIndex: base.index, termRuns: [], configurations: [] })
    state.appends.truncated(index(1))
    state.configurations = new ConfigurationHistory(base, [])
    state.acknowledgement = undefined
    state.acknowledged = index(0)
    state.commit = base.index
  }
  state.delivered = base.index
  state.applied = base.index
  if (state.leader !== undefined && state.role === 'follower') acknowledge(state, base.index)
}

export function onAppend(state: State, message: Append): void {
  if (!acceptLeader(state, message) || !isWellFormed(message)) return
  const { log, commit } = state
  const { entries } = message
  const lastNew = index(message.prevIndex + entries.length)
  // What lies below the commit index was settled before: an old message that comes late has nothing to say about it.
  const skipped = Math.min(entries.length, Math.max(0, commit - message.prevIndex))
  if (message.prevIndex < commit && lastNew <= commit) return acknowledge(state, commit)
  const prevIndex = index(message.prevIndex + skipped)
  const prevTerm = skipped === 0 ? message.prevTerm : entries[skipped - 1]!.term
  if (!log.matches(prevIndex, prevTerm)) {
    if (skipped === 0) refuse(state, message)
    return
  }
  if (!takeEntries(state, entries, skipped)) return
  commitThrough(state, index(Math.min(message.commit, lastNew)))
  // What only tells that more is committed needs no answer; told again, it is answered: an answer may have been lost.
  if (entries.length === 0 && state.commit > commit && state.acknowledged >= lastNew) return
  acknowledge(state, lastNew)
}

function isWellFormed({ prevIndex, prevTerm, entries, term }: Append): boolean {
  if (prevIndex + entries.length > Number.MAX_SAFE_INTEGER || prevTerm > term) return false
  if ((prevIndex === 0) !== (prevTerm === 0)) return false
  let last: number = prevTerm
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (entry.index !== prevIndex + 1 + i || entry.term < last || entry.term === 0) return false
    last = entry.term
  }
  return last <= term
}

/** Takes the entries from the first one that is new or differs (pitfall 13). False: one of them cannot be taken. */
function takeEntries(state: State, entries: readonly Entry[], from: number): boolean {
  const { log, configurations } = state
  let news = from
  while (news < entries.length && log.matches(entries[news]!.index, entries[news]!.term)) news++
  if (news === entries.length) return true
  const changes: { index: Index; configuration: Configuration }[] = []
  for (let i = news; i < entries.length; i++) {
    const entry = entries[i]!
    if (entry.kind !== 'configuration') continue
    const decoded = decodeConfiguration(entry.data)
    if (!decoded.ok || decoded.value.voters.length === 0) return false
    changes.push({ index: entry.index, configuration: decoded.value })
  }
  const first = entries[news]!.index
  if (first <= log.last) cut(state, first)
  for (let i = news; i < entries.length; i++) log.append(entries[i]!)
  for (const change of changes) configurations.append(change.index, change.configuration)
  return true
}

/** Entries from here on belong to a leader that lost: configurations among them are rolled back with them. */
function cut(state: State, from: Index): void {
  state.log.truncate(from)
  state.appends.truncated(from)
  state.configurations.truncate(from)
  if (state.acknowledgement !== undefined && state.acknowledgement >= from) state.acknowledgement = undefined
  if (state.acknowledged >= from) state.acknowledged = index(0)
}

/** Said in the next Ready, once everything in the log now is durable. */
function acknowledge(state: State, match: Index): void {
  if (state.acknowledgement === undefined || state.acknowledgement < match) state.acknowledgement = match
}

/** The logs part at or before `prevIndex`: names the last own entry that the leader could have as well. */
function refuse(state: State, message: Append): void {
  const { id, term, log } = state
  const hintIndex = log.lastAtMost(message.prevIndex, message.prevTerm)
  state.messages.push({
    type: 'appendReply',
    from: id,
    to: message.from,
    term,
    ok: false,
    match: index(0),
    rejected: message.prevIndex,
    hintIndex,
    hintTerm: log.termOf(hintIndex),
  })
}

/** A leader of an older term learns from the answer's term that it is none any more; else a peer with a higher term could
 *  stay outside for ever: it hears nobody that it may follow, and PreVote keeps it from being elected (pitfall 8). */
export function onStaleLeader(state: State, message: Append | Heartbeat | Rest | NeedsSnapshot): void {
  const { id, term } = state
  const nothing = { match: index(0), rejected: index(0), hintIndex: index(0), hintTerm: termOf(0) }
  state.messages.push({ type: 'appendReply', from: id, to: message.from, term, ok: false, ...nothing })
}

export function onReadIndexReply(state: State, { from, context, index: at }: ReadIndexReply): void {
  if (from !== state.leader || !state.forwarded.answered(context)) return
  state.reads.push({ context, index: at === 0 ? undefined : at })
}
