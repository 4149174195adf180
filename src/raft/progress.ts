/**
 * What a leader knows of each peer, itself included, and who of them makes a majority.
 *
 *   probe      where the logs part is unknown: one append at a time, the next one after an answer or a heartbeat's answer
 *   snapshot   it needs entries that the leader's log has no more: it is told so, again with each answer to a heartbeat, and gets a
 *              snapshot beside the log; then it acknowledges what that holds
 *   replicate  they agree through `match`; appends go out ahead of their answers (`next` runs on), within the window
 *
 * An answer that refuses what replicate assumed leads back to probe at match + 1: something on the way was lost.
 */
import { type Index, index, type PeerId } from '../base/ids.ts'
import { membersOf } from './configuration.ts'
import { majorityReached } from './quorum.ts'
import type { Configuration, Progress, RaftLimits } from './types.ts'

/** Appends that were sent and are not acknowledged, oldest first: a ring that grows to its bound. */
export class Inflight {
  private lastIndexes: number[] = []
  private sizes: number[] = []
  private start = 0
  private messages = 0
  private bytes = 0
  private readonly messagesMax: number
  private readonly bytesMax: number

  constructor(messagesMax: number, bytesMax: number) {
    this.messagesMax = messagesMax
    this.bytesMax = bytesMax
  }

  get full(): boolean {
    return this.messages >= this.messagesMax || this.bytes >= this.bytesMax
  }

  add(lastIndex: number, bytes: number): void {
    const at = (this.start + this.messages) % this.messagesMax
    this.lastIndexes[at] = lastIndex
    this.sizes[at] = bytes
    this.messages++
    this.bytes += bytes
  }

  /** Everything through `match` has arrived. */
  free(match: number): void {
    while (this.messages > 0 && this.lastIndexes[this.start]! <= match) {
      this.bytes -= this.sizes[this.start]!
      this.start = (this.start + 1) % this.messagesMax
      this.messages--
    }
  }

  clear(): void {
    this.start = 0
    this.messages = 0
    this.bytes = 0
  }
}

export class Peer {
  readonly id: PeerId
  /** Of the leader itself: what is durable. */
  match = index(0)
  next: Index
  state: 'probe' | 'replicate' | 'snapshot' = 'probe'
  /** In probe and snapshot: it was asked or told, and has not answered. */
  paused = false
  /** Send an append even if it is empty: its answer tells whether something was lost. */
  nudged = false
  /** The newest commit index that an append told it. */
  commitTold = 0
  /** It waits to hear that everything through here is committed: one of its clients asked for it. */
  awaits = 0
  /** The tick in which it was last heard. */
  heardTick: number
  /** The newest read round that it confirmed. */
  readRound = 0
  /** Its next entries are not in memory; when it was last served tells whose turn it is. */
  awaitsFetch = false
  fetchServed = 0
  readonly inflight: Inflight

  constructor(id: PeerId, next: Index, tick: number, limits: RaftLimits) {
    this.id = id
    this.next = next
    this.heardTick = tick
    this.inflight = new Inflight(limits.inflightMessagesMax, limits.inflightBytesMax)
  }

  /** It has everything through `match`. True if that says anything new. */
  acknowledge(match: Index): boolean {
    const news = match > this.match || this.state !== 'replicate'
    if (match < this.match) return false
    this.match = match
    if (this.next <= match) this.next = index(match + 1)
    if (this.state !== 'replicate') {
      this.state = 'replicate'
      this.next = index(match + 1)
      this.inflight.clear()
      this.paused = false
    } else this.inflight.free(match)
    return news
  }

  /** It refused an append after `rejected`; `hint` is the last index that could still match. False for a stale answer. */
  refuse(rejected: Index, hint: Index): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false
      this.state = 'probe'
      this.inflight.clear()
      this.next = index(this.match + 1)
    } else {
      if (rejected !== this.next - 1) return false
      this.next = index(Math.max(this.match + 1, Math.min(rejected, hint + 1)))
    }
    this.paused = false
    this.awaitsFetch = false
    return true
  }

  /** An append could tell it at once that this much is committed, and it has not heard so. */
  mayHear(commit: Index): boolean {
    return this.state === 'replicate' && this.commitTold < commit
  }

  get blocked(): boolean {
    return this.state === 'replicate' ? this.inflight.full : this.paused
  }

  /** What it needs next is not in the log any more. */
  needSnapshot(): void {
    if (this.state === 'snapshot') return
    this.state = 'snapshot'
    this.paused = false
    this.awaitsFetch = false
    this.inflight.clear()
  }

  sent(lastIndex: Index, bytes: number): void {
    if (this.state === 'probe') {
      this.paused = true
      return
    }
    this.next = index(lastIndex + 1)
    this.inflight.add(lastIndex, bytes)
  }
}

/** The peers of the configuration in force. */
export class Peers {
  readonly self: Peer
  private readonly limits: RaftLimits
  private readonly byId = new Map<PeerId, Peer>()
  private others: readonly Peer[] = []
  private voters: readonly Peer[] = []
  private outgoing: readonly Peer[] = []
  private readonly scratch: number[] = []

  constructor(self: PeerId, limits: RaftLimits) {
    this.limits = limits
    this.self = new Peer(self, index(1), 0, limits)
  }

  /** Who is new starts after `last`, as if heard just now; who stays keeps what is known of it. */
  configure(configuration: Configuration, last: Index, tick: number): void {
    const members = membersOf(configuration)
    for (const id of [...this.byId.keys()]) if (!members.includes(id)) this.byId.delete(id)
    for (const id of members) {
      if (id === this.self.id) this.byId.set(id, this.self)
      else if (!this.byId.has(id)) this.byId.set(id, new Peer(id, index(last + 1), tick, this.limits))
    }
    this.voters = configuration.voters.map(id => this.byId.get(id)!)
    this.outgoing = configuration.outgoing.map(id => this.byId.get(id)!)
    this.others = [...this.byId.values()].filter(peer => peer !== this.self)
  }

  /** Everyone but this peer itself, in a fixed order. */
  get followers(): readonly Peer[] {
    return this.others
  }

  get(id: PeerId): Peer | undefined {
    return this.byId.get(id)
  }

  /** The largest value that a majority (of each half) has reached. */
  private reached(measure: (peer: Peer) => number): number {
    return Math.min(this.reachedBy(this.voters, measure), this.reachedBy(this.outgoing, measure))
  }

  private reachedBy(half: readonly Peer[], measure: (peer: Peer) => number): number {
    this.scratch.length = 0
    for (const peer of half) this.scratch.push(measure(peer))
    return majorityReached(this.scratch)
  }

  /** What a majority has on disk. */
  matchReached(): number {
    return this.reached(peer => peer.match)
  }

  /** The newest read round that a majority confirmed. */
  readRoundReached(): number {
    return this.reached(peer => peer.readRound)
  }

  /** The latest tick since which a majority was heard. */
  heardReached(tick: number): number {
    return this.reached(peer => (peer === this.self ? tick : peer.heardTick))
  }

  /** @param resting Nobody is missed. */
  describe(tick: number, resting: boolean): readonly Progress[] {
    return this.others.map(peer => ({
      id: peer.id,
      match: peer.match,
      next: peer.next,
      state: peer.state,
      active: resting || tick - peer.heardTick < this.limits.electionTicks,
    }))
  }
}
