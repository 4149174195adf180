/**
 * What must hold at every event of a simulated cluster. Sources: "paper" is "In Search of an Understandable Consensus Algorithm (extended
 * version)", figure 3; the rest names its own. Facts come in by `observe` and `onMessage`; the first fact that breaks an invariant is kept.
 */

/** What one living peer says of itself. */
export interface ObservedPeer {
  readonly id: string
  readonly cluster: string
  readonly role: string
  readonly term: number
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  /** Hash over all that was applied; undefined: not known at this moment. */
  readonly fingerprint: number | undefined
}

/** The part of a consensus message that the invariants read. */
export interface ObservedMessage {
  readonly type: string
  readonly from: string
  readonly to: string
  readonly term: number
  readonly granted?: boolean
}

export interface InvariantOptions {
  /** What reports call a peer. Default: the beginning of its id. */
  readonly nameOf?: (id: string) => string
  /** Hears of a violation when it happens; `id`: the peer that was looked at. */
  readonly onViolation?: (text: string, id: string) => void
}

export class Invariants {
  readonly violations: string[] = []
  /** Terms with a leader, over all clusters: how often leadership changed. */
  get terms(): number {
    return this.leaders.size
  }
  private readonly nameOf: (id: string) => string
  private readonly onViolation: ((text: string, id: string) => void) | undefined
  private readonly leaders = new Map<string, string>()
  private readonly votes = new Map<string, string>()
  private readonly states = new Map<string, { readonly fingerprint: number; readonly id: string }>()
  /** The last index of each term's leader. */
  private readonly leaderLogs = new Map<string, number>()
  /** By cluster and term: the greatest index that a peer of that term knew to be committed. */
  private readonly committed = new Map<string, Map<number, number>>()
  private readonly progress = new Map<string, { readonly term: number; readonly commit: number }>()

  constructor({ nameOf = id => id.slice(0, 6), onViolation }: InvariantOptions = {}) {
    this.nameOf = nameOf
    this.onViolation = onViolation
  }

  /** A new life of a peer may know less than the one before knew in memory. */
  forget(id: string): void {
    for (const name of this.progress.keys()) if (name.startsWith(id)) this.progress.delete(name)
  }

  observe(peer: ObservedPeer): void {
    this.electionSafety(peer)
    this.leaderAppendOnly(peer)
    this.leaderCompleteness(peer)
    this.stateMachineSafety(peer)
    this.monotonicity(peer)
  }

  /** One vote a term (paper, 5.2; persistence: 5.1 and pitfall 10): over all lives of the voter. Who asks for votes has given itself its own. */
  onMessage(cluster: string, message: ObservedMessage): void {
    const candidate = candidateOf(message)
    if (candidate === undefined) return
    const name = `${cluster} ${message.from} ${message.term}`
    const earlier = this.votes.get(name)
    if (earlier === undefined) this.votes.set(name, candidate)
    else if (earlier !== candidate) {
      this.violate(
        message.from,
        `one vote a term: ${this.nameOf(message.from)} voted for ${this.nameOf(earlier)} and ${this.nameOf(candidate)} in term ${message.term}`,
      )
    }
  }

  /** At most one leader a term (paper, figure 3: Election Safety). */
  private electionSafety({ cluster, role, term, id }: ObservedPeer): void {
    if (role !== 'leader') return
    const name = `${cluster} ${term}`
    const earlier = this.leaders.get(name)
    if (earlier === undefined) this.leaders.set(name, id)
    else if (earlier !== id)
      this.violate(id, `election safety: ${this.nameOf(earlier)} and ${this.nameOf(id)} both lead in term ${term}`)
  }

  /** A leader never takes entries of its log away (paper, figure 3: Leader Append-Only). */
  private leaderAppendOnly({ cluster, role, term, id, lastIndex }: ObservedPeer): void {
    if (role !== 'leader') return
    const name = `${cluster} ${term}`
    const earlier = this.leaderLogs.get(name) ?? 0
    if (lastIndex < earlier) {
      this.violate(
        id,
        `leader append-only: ${this.nameOf(id)} went from index ${earlier} to ${lastIndex} in term ${term}`,
      )
    }
    this.leaderLogs.set(name, lastIndex)
  }

  /** What was committed in an earlier term is in the log of every later leader (paper, figure 3: Leader Completeness). Looks at the length only. */
  private leaderCompleteness({ cluster, role, term, id, commit, lastIndex }: ObservedPeer): void {
    const known = this.committed.get(cluster) ?? new Map<number, number>()
    this.committed.set(cluster, known)
    if (commit > (known.get(term) ?? 0)) known.set(term, commit)
    if (role !== 'leader') return
    for (const [earlier, index] of known) {
      if (earlier < term && index > lastIndex) {
        this.violate(
          id,
          `leader completeness: ${this.nameOf(id)} leads in term ${term} with ${lastIndex} entries; ${index} were committed by term ${earlier}`,
        )
      }
    }
  }

  /** Whoever has applied an index has applied the same (paper, figure 3: State Machine Safety, and with it Log Matching below it). */
  private stateMachineSafety({ cluster, applied, fingerprint, id }: ObservedPeer): void {
    if (applied === 0 || fingerprint === undefined) return
    const name = `${cluster} ${applied}`
    const earlier = this.states.get(name)
    if (earlier === undefined) this.states.set(name, { fingerprint, id })
    else if (earlier.fingerprint !== fingerprint) {
      this.violate(
        id,
        `state machine safety: ${this.nameOf(earlier.id)} and ${this.nameOf(id)} differ after index ${applied}`,
      )
    }
  }

  /** Terms and commit indexes never go back within one life (paper, 5.1, and figure 2: volatile state "increases monotonically"). */
  private monotonicity({ cluster, id, term, commit, applied }: ObservedPeer): void {
    const name = `${id} ${cluster}`
    const before = this.progress.get(name)
    if (before !== undefined && (term < before.term || commit < before.commit)) {
      this.violate(
        id,
        `monotonicity: ${this.nameOf(id)} went from term ${before.term}, commit ${before.commit} to ${term}, ${commit}`,
      )
    }
    if (applied > commit) this.violate(id, `applied beyond commit: ${this.nameOf(id)} applied ${applied} of ${commit}`)
    this.progress.set(name, { term, commit })
  }

  private violate(id: string, text: string): void {
    if (this.violations.length >= 20) return
    this.violations.push(text)
    this.onViolation?.(text, id)
  }
}

/** For whom the sender of this message has voted. */
function candidateOf({ type, from, to, granted }: ObservedMessage): string | undefined {
  if (type === 'vote') return from
  return type === 'voteReply' && granted === true ? to : undefined
}
