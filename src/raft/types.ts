/**
 * What goes into the consensus core and what comes out. `raft.ts` is a pure state machine over these: no clock, no I/O,
 * no randomness but what it is given. Terms and rules follow "In Search of an Understandable Consensus Algorithm"
 * (Ongaro and Ousterhout, extended version) and Ongaro's thesis.
 *
 * The owner's duties (the replica in `shard/`):
 *  O1  Call `ready()` after every input (step, tick, propose, readIndex, appended, applied, fetched) until it is empty,
 *      and do what it says, in this order of effects:
 *      a. append `hardState` and `entries` to the write-ahead log (entries replace everything at or after the first one's index);
 *      b. send `messages` at once, whether or not (a) is durable yet;
 *      c. once (a) is durable, send `messagesAfterAppend`, then call `appended(ready.append)`. Completions keep their order.
 *  O2  Apply `committed` in order, then call `applied(index)`. They may be applied before they are durable on this peer
 *      (a majority has them); the core hands out only what is in this peer's log.
 *  O3  Serve `fetch` by reading those entries from the log file and calling `fetched`. One fetch is out at a time.
 *  O4  A failed append is a crash: the object is dropped; a new one is made from what is on disk.
 */
import type { HarmonyError } from '../base/errors.ts'
import type { Index, PeerId, Term } from '../base/ids.ts'

/** What the total decoders here return; the shape of the ports' `Result`, which lies above this folder. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: HarmonyError }

/** `command` is opaque to Raft; `configuration` holds an encoded `Configuration`; `noop` opens a leader's term. */
export type EntryKind = 'noop' | 'command' | 'configuration'

export interface Entry {
  readonly index: Index
  readonly term: Term
  readonly kind: EntryKind
  readonly data: Uint8Array
}

/** Must be durable before any message that depends on it leaves (`commit` alone may lag behind). */
export interface HardState {
  readonly term: Term
  readonly vote: PeerId | undefined
  readonly commit: Index
}

/**
 * Who votes and who only listens. While `outgoing` is not empty the configuration is joint (thesis, 4.3): elections and
 * commits need a majority of `voters` and one of `outgoing`. Effective as soon as it is in the log. Arrays are sorted, without
 * doubles; `learners` shares no one with `voters`. `learnersNext`: voters of `outgoing` who become learners on leaving.
 * The leader leaves a joint configuration by itself as soon as it is committed (auto-leave).
 */
export interface Configuration {
  readonly voters: readonly PeerId[]
  readonly outgoing: readonly PeerId[]
  readonly learners: readonly PeerId[]
  readonly learnersNext: readonly PeerId[]
}

/** The wished final state; the core finds the way there (simple or joint). */
export interface ConfigurationChange {
  readonly voters: readonly PeerId[]
  readonly learners: readonly PeerId[]
}

interface Common {
  readonly from: PeerId
  readonly to: PeerId
  readonly term: Term
}

export type Message =
  /** `term` of a pre-vote is the term that the candidate would campaign in; `transfer` overrides the leader's lease. */
  | (Common & {
      readonly type: 'preVote' | 'vote'
      readonly lastIndex: Index
      readonly lastTerm: Term
      readonly transfer: boolean
    })
  | (Common & { readonly type: 'preVoteReply' | 'voteReply'; readonly granted: boolean })
  | (Common & {
      readonly type: 'append'
      readonly prevIndex: Index
      readonly prevTerm: Term
      readonly entries: readonly Entry[]
      readonly commit: Index
    })
  /** `match`: the last index known to equal the leader's. Not `ok`: `rejected` is the prevIndex refused, `hintIndex`/`hintTerm`
   *  the follower's last entry that could still match (etcd's fast backtracking). */
  | (Common & {
      readonly type: 'appendReply'
      readonly ok: boolean
      readonly match: Index
      readonly rejected: Index
      readonly hintIndex: Index
      readonly hintTerm: Term
    })
  /** `context` is 0, or a read round that the reply confirms. `commit` never exceeds what the receiver is known to have. */
  | (Common & { readonly type: 'heartbeat'; readonly commit: Index; readonly context: number })
  | (Common & { readonly type: 'heartbeatReply'; readonly context: number })
  /** Any peer to the leader; `context` is the asker's own number, never used twice. `index` 0 in a reply: refused, ask again. */
  | (Common & { readonly type: 'readIndex'; readonly context: number })
  | (Common & { readonly type: 'readIndexReply'; readonly context: number; readonly index: Index })
  | (Common & { readonly type: 'timeoutNow' })
  /** The leader is there and has nothing to say, now and for a while: everybody's log ends with `commit`. Answered as a heartbeat is. */
  | (Common & { readonly type: 'rest'; readonly commit: Index })
  /** The group is wanted: the leader should show that it is there. */
  | (Common & { readonly type: 'wake' })
  /** What the follower needs next is not in the leader's log any more, which begins after `index`: it has to ask for a snapshot (paper, section 7). */
  | (Common & { readonly type: 'snapshot'; readonly index: Index })

/** `index` is safe to read at once it is applied; undefined: the leader is unknown or gone, the caller asks again with a new context. */
export interface ReadState {
  readonly context: number
  readonly index: Index | undefined
}

/** Names one Ready's append; handed back to `appended`. A late one never vouches for entries that replaced its own. */
export interface AppendToken {
  readonly term: Term
  readonly lastIndex: Index
  readonly sequence: number
}

/** Entries from `from` on that are no longer in memory; at least one, at most about `bytesMax` of data, not past `through`. */
export interface FetchRequest {
  readonly from: Index
  readonly through: Index
  readonly bytesMax: number
}

export interface Ready {
  readonly hardState: HardState | undefined
  readonly entries: readonly Entry[]
  /** Present when there is anything to append or messages that wait for an append. */
  readonly append: AppendToken | undefined
  readonly messages: readonly Message[]
  readonly messagesAfterAppend: readonly Message[]
  readonly committed: readonly Entry[]
  readonly reads: readonly ReadState[]
  readonly fetch: FetchRequest | undefined
  /** The leader's log has no room for this peer's next entry: the owner gets a snapshot from `from` and calls `restore`. Said again and again. */
  readonly snapshot: { readonly from: PeerId; readonly index: Index } | undefined
}

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader'

/** One follower as its leader sees it. */
export interface Progress {
  readonly id: PeerId
  readonly match: Index
  readonly next: Index
  readonly state: 'probe' | 'replicate' | 'snapshot'
  /** Was heard from within the last election timeout. */
  readonly active: boolean
}

export interface RaftStatus {
  readonly id: PeerId
  readonly role: Role
  readonly term: Term
  readonly vote: PeerId | undefined
  readonly leader: PeerId | undefined
  readonly commit: Index
  readonly applied: Index
  /** Of the oldest entry that the log has, or would have. */
  readonly firstIndex: Index
  readonly lastIndex: Index
  readonly lastTerm: Term
  readonly configuration: Configuration
  /** A configuration entry is in the log and not yet committed, or the configuration is joint. */
  readonly changePending: boolean
  /** Nothing happens in the group, as far as this peer knows: no heartbeats are sent or missed. */
  readonly resting: boolean
  readonly transferee: PeerId | undefined
  /** Of the leader only; without itself. */
  readonly progress: readonly Progress[]
  readonly cachedEntryBytes: number
}

/** All bounds that the core keeps; units last. */
export interface RaftLimits {
  readonly electionTicks: number
  readonly heartbeatTicks: number
  /** A leader that has had nothing to do for so long rests (`quiescence.ts`); 0: never. */
  readonly idleTicks: number
  /** How often it then shows that it is there. */
  readonly restTicks: number
  /** Data bytes in one append message (always at least one entry). */
  readonly messageBytesMax: number
  /** Per follower, sent and not acknowledged. */
  readonly inflightBytesMax: number
  readonly inflightMessagesMax: number
  /** Proposed and not committed, at the leader; beyond it `propose` refuses with `full`. */
  readonly uncommittedBytesMax: number
  /** Entries kept in memory that are durable and applied; the rest is fetched back from the log file. */
  readonly cacheBytesMax: number
  /** Data bytes handed out in one Ready's `committed`. */
  readonly applyBytesMax: number
}

/** Where a log begins: after this entry, which is applied, and of which nothing but its term is known. */
export interface LogBase {
  readonly index: Index
  readonly term: Term
  /** In force there. Empty everywhere for a peer that waits to be added. */
  readonly configuration: Configuration
}

/** What the log on disk says at start. */
export interface RestoredLog {
  readonly hardState: HardState
  /** Index 0 and term 0 for a log that was never cut at its front. */
  readonly base: LogBase
  /** The log holds the entries after `base` through here. */
  readonly lastIndex: Index
  /** The terms of all entries of the log. Ascending; each run reaches up to the next one's `from`. */
  readonly termRuns: readonly { readonly from: Index; readonly term: Term }[]
  /** Every configuration entry in the log, ascending; the last one is in force, or the base's. */
  readonly configurations: readonly { readonly index: Index; readonly configuration: Configuration }[]
  /** The state machine begins with everything through here applied: from the base's index to `lastIndex`. Without it: with the base. */
  readonly applied?: Index
}

export interface RaftOptions {
  readonly id: PeerId
  readonly limits: RaftLimits
  /** Uniform in 0…2^32-1; used for election timeouts only. */
  readonly random: () => number
  /** Every heartbeat of a leader begins a read round, from which the owner may draw a lease (`leaseRound`). */
  readonly leases?: boolean
  readonly restored: RestoredLog
}

export type ProposeResult =
  | { readonly ok: true; readonly index: Index; readonly term: Term }
  /** `full`: too much uncommitted; `transferring`: leadership is on its way to another; `pending`: one change at a time. */
  | { readonly ok: false; readonly reason: 'not-leader' | 'full' | 'transferring' | 'pending' | 'invalid' }

/** The surface of the class `Raft` in `raft.ts`. */
export interface RaftCore {
  status(): RaftStatus
  tick(): void
  step(message: Message): void
  /** `asker`: the member that is to hear at once when it is committed. */
  propose(data: Uint8Array, asker?: PeerId): ProposeResult
  /** Leader: a follower that could hear it has not been told what is committed. Nobody need wait for it long: `tellCommit`, a moment later. */
  readonly hasUntold: boolean
  /** False: everybody has been told meanwhile. */
  tellCommit(): boolean
  proposeConfiguration(change: ConfigurationChange): ProposeResult
  readonly resting: boolean
  /** The group is wanted, or a link has changed: ends its rest. */
  stir(): void
  /** Answered through `Ready.reads`, on the leader and on followers alike. `context` ≥ 1, never used twice by this peer. */
  readIndex(context: number): void
  /**
   * Leader: the newest read round that a majority of the configuration in force has confirmed; each of them keeps its vote back for `electionTicks` - 1 ticks at
   * least from when it heard of the round, and so from when it began. 0: nothing may be concluded.
   */
  readonly leaseRound: number
  /** The owner knows (by its lease) that no other leader can have been elected: what waits for a read round is answered without one. */
  confirmReads(): void
  /** Leader only; without `to`, the most advanced active voter. False: not leader, or nobody to hand over to. */
  transferLeadership(to?: PeerId): boolean
  /** Start an election now (a solo group at birth; tests). */
  campaign(): void
  ready(): Ready
  hasReady(): boolean
  appended(token: AppendToken): void
  applied(index: Index): void
  fetched(request: FetchRequest, entries: readonly Entry[]): void
  /** This very entry is in the log, or its base. */
  has(entry: Pick<LogBase, 'index' | 'term'>): boolean
  /** What a log that begins after `at` begins with; `at` was handed out to be applied (`applied` may not have said so yet), and is in this log or its base. */
  baseAt(at: Index): LogBase
  /** The log file has no entries through `base` any more, or will soon not have them; a checkpoint has them. */
  compact(base: Index): void
  /**
   * The state machine was replaced by a snapshot, newer than what it had applied, that is durable; the log begins after it, unless it has that very entry.
   */
  restore(base: LogBase): void
}
