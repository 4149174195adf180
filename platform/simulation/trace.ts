/**
 * The lines of `harmonydb simulate --trace`: what happened in a run of consensus, in one total order, `n` from 1. README.md ("Simulate HarmonyDB itself") says the same in a table, for
 * those who validate a run with tools of their own; `test/simulation/trace.test.ts` is such a tool.
 *
 * Peers are named p0, p1… where the trace knows them, else by id. Times are virtual. Beside messages, what a peer did is seen at the end of a turn of its event loop, when everything that
 * it did there has been done: one line for each part of its state that changed, in the order of `stateEvents`, all with the same state.
 */
import type { Outcome } from '../histories/recorder.ts'
/** Of the message types of `src/raft/types.ts`; entries without their data. */
export interface TracedMessage {
  readonly type: string
  readonly from: string
  readonly to: string
  readonly term: number
  readonly granted?: boolean
  readonly transfer?: boolean
  readonly lastIndex?: number
  readonly lastTerm?: number
  readonly prevIndex?: number
  readonly prevTerm?: number
  readonly entries?: readonly TracedEntry[]
  readonly commit?: number
  readonly ok?: boolean
  readonly match?: number
  readonly rejected?: number
  readonly hintIndex?: number
  readonly hintTerm?: number
  readonly context?: number
  readonly index?: number
}

export interface TracedEntry {
  readonly index: number
  readonly term: number
  readonly kind: 'noop' | 'command' | 'configuration'
  readonly bytes: number
}

/** Of a peer, after the event. */
export interface TracedState {
  readonly peer: string
  /** Its own until it joins. */
  readonly cluster: string
  readonly term: number
  readonly role: 'follower' | 'preCandidate' | 'candidate' | 'leader'
  /** In this term; null: for nobody. */
  readonly vote: string | null
  /** null: unknown. */
  readonly leader: string | null
  readonly commit: number
  readonly applied: number
  /** Index and term of the last entry of its log. */
  readonly last: number
  readonly lastTerm: number
  readonly voters: readonly string[]
  /** Not empty: the configuration is joint, and elections and commits need a majority of these, too. */
  readonly outgoing: readonly string[]
  readonly learners: readonly string[]
  /** Those of `outgoing` who become learners when the joint configuration is left. */
  readonly learnersNext: readonly string[]
  /** Over all that was applied: equal for equal `cluster` and `applied`; null: in the middle of applying. */
  readonly fingerprint: number | null
}

/** `append` and `truncate`: the end of the log went forth or back. */
export const stateEvents = ['term', 'role', 'vote', 'commit', 'apply', 'append', 'truncate', 'configuration'] as const
export type StateEvent = (typeof stateEvents)[number]

/** Fields of a fault in a plan (`runs/plan.ts`), beside its kind. */
export interface TracedFault {
  readonly atMs?: number
  readonly forMs?: number
  readonly peer?: number | 'leader'
  readonly peers?: readonly number[]
  readonly amount?: number
}

export interface TracedCall {
  readonly op?: string
  readonly key?: string
  readonly value?: string
  readonly expected?: string
  readonly applied?: boolean
  readonly error?: string
}

export type TraceEvent =
  | ({ readonly event: StateEvent } & TracedState)
  | ({ readonly event: 'sent' | 'received'; readonly message: TracedMessage } & TracedState)
  /** Its process begins a life, under this id. */
  | { readonly event: 'start'; readonly peer: string; readonly id: string }
  | { readonly event: 'crash'; readonly peer: string }
  /** A whole state was received, as it is after the entry `index`. */
  | { readonly event: 'snapshot'; readonly peer: string; readonly index: number }
  /** `struck`: whom it met, where the plan names one peer. `fault: 'heal'` ends all that are left. */
  | ({ readonly event: 'fault'; readonly fault: string; readonly struck?: string } & TracedFault)
  /** The fault that the line `of` told of is over: links are whole, a frozen peer thaws… A crash ends with the peer's `start`. */
  | { readonly event: 'mended'; readonly fault: string; readonly of: number; readonly struck?: string }
  /** A client of `peer`, as in a history (`platform/histories/events.ts`): before a call `op` and its fields, after it the answer, or the code of an error. */
  | ({ readonly event: 'invoke' | Outcome; readonly peer: string; readonly client: string } & TracedCall)
  /** A promise is broken. `at`: when, in ms; the history of the clients is judged at the end, so that it may lie back. */
  | { readonly event: 'violation'; readonly what: string; readonly at: number; readonly peer?: string }

/** One line, as JSON. `ms`: since the world began, to the microsecond. */
export type TraceLine = { readonly n: number; readonly ms: number } & TraceEvent

export const isState = (line: TraceLine): line is TraceLine & { readonly event: StateEvent } & TracedState =>
  (stateEvents as readonly string[]).includes(line.event)
