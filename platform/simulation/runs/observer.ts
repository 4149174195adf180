/** Writes the trace of a run (`trace.ts` says what is in it), and counts which interesting states the run came to. */

import type { PeerStatus } from '../../../src/cluster/peer-types.ts'
import type { Configuration, Entry, Message } from '../../../src/raft/types.ts'
import type { Outcome } from '../../histories/recorder.ts'
import type { StateEvent, TracedCall, TracedEntry, TracedFault, TracedState, TraceEvent, TraceLine } from '../trace.ts'

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
  'leader at rest',
  'crash of a leader at rest',
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
  private readonly sink: ((line: TraceLine) => void) | undefined
  private readonly names = new Map<string, string>()
  private readonly last = new Map<string, PeerStatus>()
  private sequence = 0

  constructor(now: () => number, sink: ((line: TraceLine) => void) | undefined) {
    this.now = now
    this.sink = sink
    this.traces = sink !== undefined
    this.coverage = Object.fromEntries(states.map(state => [state, 0])) as Record<(typeof states)[number], number>
  }

  started(peer: string, id: string): void {
    this.names.set(id, peer)
    this.write({ event: 'start', peer, id })
  }

  crashed(peer: string, status: PeerStatus | undefined): void {
    if (status?.raft.role === 'leader') {
      this.coverage['crash of the leader']++
      if (status.raft.resting) this.coverage['crash of a leader at rest']++
    }
    if (status?.receivedBytes !== undefined) this.coverage['crash while a snapshot was received']++
    this.last.delete(peer)
    this.write({ event: 'crash', peer })
  }

  /** What the run itself sees of `states`. */
  reached(state: (typeof states)[number]): void {
    this.coverage[state]++
  }

  snapshotInstalled(peer: string, index: number): void {
    this.coverage['snapshot installed']++
    this.write({ event: 'snapshot', peer, index })
  }

  /** @returns What `mended` is to be told. */
  fault(
    kind: string,
    { kind: _, ...fields }: TracedFault & { readonly kind?: string; readonly struck?: string },
  ): number {
    this.write({ event: 'fault', fault: kind, ...fields })
    return this.sequence
  }

  mended(kind: string, of: number, struck: string | undefined): void {
    this.write({ event: 'mended', fault: kind, of, ...(struck === undefined ? {} : { struck }) })
  }

  call(event: 'invoke' | Outcome, peer: string, client: string, fields: TracedCall): void {
    this.write({ event, peer, client, ...fields })
  }

  violation(what: string, at: number, peer: string | undefined): void {
    this.write({ event: 'violation', what, at: micro(at), ...(peer === undefined ? {} : { peer }) })
  }

  message(event: 'sent' | 'received', peer: string, message: Message, status: PeerStatus): void {
    if (!this.traces) return
    const names = { from: this.nameOf(message.from), to: this.nameOf(message.to) }
    const told =
      message.type === 'append'
        ? { ...message, ...names, entries: message.entries.map(withoutData) }
        : { ...message, ...names }
    this.write({ event, message: told, ...this.stateOf(peer, status) })
  }

  changed(peer: string, status: PeerStatus): void {
    const before = this.last.get(peer)
    this.last.set(peer, status)
    const { raft } = status
    const was = before?.cluster === status.cluster ? before.raft : undefined
    const reconfigured = was !== undefined && isOther(was.configuration, raft.configuration)
    if (this.traces) {
      const state = this.stateOf(peer, status)
      const say = (event: StateEvent, when: boolean): void => {
        if (when) this.write({ event, ...state })
      }
      say('term', raft.term !== was?.term)
      say('role', raft.role !== was?.role)
      say('vote', raft.vote !== was?.vote)
      say('commit', raft.commit !== was?.commit)
      say('apply', raft.applied !== was?.applied)
      say('append', raft.lastIndex > (was?.lastIndex ?? 0))
      say('truncate', raft.lastIndex < (was?.lastIndex ?? 0))
      say('configuration', was === undefined || reconfigured)
    }
    if (this.underFaults) this.cover(was, status, reconfigured)
  }

  nameOf(id: string): string {
    return this.names.get(id) ?? id
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
    if (raft.role === 'leader' && raft.resting && was?.resting !== true) coverage['leader at rest']++
    if (was !== undefined && raft.lastIndex < was.lastIndex) coverage['log of a follower truncated']++
    if (!reconfigured) return
    coverage['configuration changed under faults']++
    if (this.partitioned) coverage['configuration changed under a partition']++
  }

  private stateOf(peer: string, { raft, cluster, fingerprint }: PeerStatus): TracedState {
    const { term, role, vote, leader, commit, applied, lastIndex, lastTerm, configuration } = raft
    const named = (ids: readonly string[]): string[] => ids.map(id => this.nameOf(id))
    return {
      peer,
      cluster,
      term,
      role,
      vote: vote === undefined ? null : this.nameOf(vote),
      leader: leader === undefined ? null : this.nameOf(leader),
      commit,
      applied,
      last: lastIndex,
      lastTerm,
      voters: named(configuration.voters),
      outgoing: named(configuration.outgoing),
      learners: named(configuration.learners),
      learnersNext: named(configuration.learnersNext),
      fingerprint: fingerprint ?? null,
    }
  }

  private write(event: TraceEvent): void {
    this.sequence++
    this.sink?.({ n: this.sequence, ms: micro(this.now()), ...event })
  }
}

const isOther = (a: Configuration, b: Configuration): boolean => a !== b && JSON.stringify(a) !== JSON.stringify(b)
const withoutData = ({ index, term, kind, data }: Entry): TracedEntry => ({ index, term, kind, bytes: data.length })
const micro = (ms: number): number => Math.round(ms * 1000) / 1000
