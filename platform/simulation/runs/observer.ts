/**
 * What `harmonydb simulate --trace` writes, and which interesting states a run came to.
 *
 * The trace: objects in one total order, `n` from 1. Each has `n`, `ms` (virtual) and `event`; those of a peer have `peer` and its state after the event: `cluster` (its own until it joins),
 * `term`, `role`, `vote` (null: none), `leader` (null: unknown), `commit`, `applied`, `last` (index of the last entry), `lastTerm`, `voters`, `learners`.
 *
 *   sent, received             `message`: its `type`, `from`, `to`, `term` and what its type has; of entries `index`, `term`, `kind` and `bytes`
 *   term role vote commit      the state changed there (seen at the end of a turn; one event for each part that changed, in this order)
 *   append truncate            entries came to the log's end, or went from it
 *   configuration              voters or learners changed
 *   start crash snapshot       of the process; a whole state was received, up to `index`
 *   fault                      `fault`: its kind; the other fields as in the plan; `struck`: who "leader" was
 *
 * Peers are named p0, p1… where the trace knows them, else by id.
 */
import type { PeerStatus } from '../../../src/cluster/peer-types.ts'
import type { Message } from '../../../src/raft/types.ts'

export const states = [
  'leader changed',
  'leader changed while a snapshot was received',
  'snapshot installed',
  'crash while a snapshot was received',
  'configuration changed under faults',
  'configuration changed under a partition',
  'log of a follower truncated',
  'two leaders at once, of different terms',
  'crash of the leader',
  'damaged frame closed a link',
  'failed sync or read stopped a peer',
  'damaged member began anew',
  'member lost its disk',
  'copy of a member was refused',
] as const
export type Coverage = Readonly<Record<(typeof states)[number], number>>

export class Observer {
  readonly coverage: Record<(typeof states)[number], number>
  /** Messages are to be reported. */
  readonly traces: boolean
  partitioned = false
  underFaults = false
  private readonly now: () => number
  private readonly sink: ((line: object) => void) | undefined
  private readonly names = new Map<string, string>()
  private readonly last = new Map<string, PeerStatus>()
  private sequence = 0

  constructor(now: () => number, sink: ((line: object) => void) | undefined) {
    this.now = now
    this.sink = sink
    this.traces = sink !== undefined
    this.coverage = Object.fromEntries(states.map(state => [state, 0])) as Record<(typeof states)[number], number>
  }

  started(peer: string, id: string): void {
    this.names.set(id, peer)
    this.write('start', { peer, id })
  }

  crashed(peer: string, status: PeerStatus | undefined): void {
    if (status?.raft.role === 'leader') this.coverage['crash of the leader']++
    if (status?.receivedBytes !== undefined) this.coverage['crash while a snapshot was received']++
    this.last.delete(peer)
    this.write('crash', { peer })
  }

  /** What the run itself sees of `states`. */
  reached(state: (typeof states)[number]): void {
    this.coverage[state]++
  }

  snapshotInstalled(peer: string, index: number): void {
    this.coverage['snapshot installed']++
    this.write('snapshot', { peer, index })
  }

  fault(kind: string, { kind: _, ...fields }: { readonly kind?: string }): void {
    this.write('fault', { fault: kind, ...fields })
  }

  message(event: 'sent' | 'received', peer: string, message: Message, status: PeerStatus): void {
    if (!this.traces) return
    const { from, to, ...rest } = message
    const entries =
      message.type === 'append'
        ? {
            entries: message.entries.map(({ index, term, kind, data }) => ({ index, term, kind, bytes: data.length })),
          }
        : {}
    this.write(event, {
      peer,
      message: { ...rest, from: this.nameOf(from), to: this.nameOf(to), ...entries },
      ...this.stateOf(status),
    })
  }

  changed(peer: string, status: PeerStatus): void {
    const before = this.last.get(peer)
    this.last.set(peer, status)
    const { raft } = status
    const was = before?.cluster === status.cluster ? before.raft : undefined
    const say = (event: string, when: boolean): void => {
      if (when) this.write(event, { peer, ...this.stateOf(status) })
    }
    say('term', raft.term !== was?.term)
    say('role', raft.role !== was?.role)
    say('vote', raft.vote !== was?.vote)
    say('commit', raft.commit !== was?.commit)
    say('append', raft.lastIndex > (was?.lastIndex ?? 0))
    say('truncate', raft.lastIndex < (was?.lastIndex ?? 0))
    const reconfigured = was !== undefined && members(was.configuration) !== members(raft.configuration)
    say('configuration', was === undefined || reconfigured)
    if (this.underFaults) this.cover(was, status, reconfigured)
  }

  private cover(was: PeerStatus['raft'] | undefined, { raft, cluster }: PeerStatus, reconfigured: boolean): void {
    const { coverage } = this
    const all = [...this.last.values()]
    if (raft.role === 'leader' && was?.role !== 'leader') {
      coverage['leader changed']++
      if (all.some(one => one.receivedBytes !== undefined)) coverage['leader changed while a snapshot was received']++
      if (all.some(one => one.raft.role === 'leader' && one.cluster === cluster && one.raft.term < raft.term))
        coverage['two leaders at once, of different terms']++
    }
    if (was !== undefined && raft.lastIndex < was.lastIndex) coverage['log of a follower truncated']++
    if (!reconfigured) return
    coverage['configuration changed under faults']++
    if (this.partitioned) coverage['configuration changed under a partition']++
  }

  private stateOf({ raft, cluster }: PeerStatus): object {
    const { term, role, vote, leader, commit, applied, lastIndex, lastTerm, configuration } = raft
    return {
      cluster,
      term,
      role,
      vote: vote === undefined ? null : this.nameOf(vote),
      leader: leader === undefined ? null : this.nameOf(leader),
      commit,
      applied,
      last: lastIndex,
      lastTerm,
      voters: configuration.voters.map(id => this.nameOf(id)),
      learners: configuration.learners.map(id => this.nameOf(id)),
    }
  }

  private nameOf(id: string): string {
    return this.names.get(id) ?? id
  }

  private write(event: string, fields: object): void {
    this.sink?.({ n: ++this.sequence, ms: Math.round(this.now() * 1000) / 1000, event, ...fields })
  }
}

const members = (configuration: PeerStatus['raft']['configuration']): string => JSON.stringify(configuration)
