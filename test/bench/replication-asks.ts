/** What the suites of three nodes ask of their processes, by messages, and what they answer. */
import type { JoinOptions } from '../../src/database/types.ts'
import type { EnduranceAsks, EnduringMember } from './endurance-asks.ts'
import type { Measured } from './measure.ts'
import type { LoadName, ReplicatedStore } from './replication-cases.ts'
import type { TransactionCase, TransactionsMeasured } from './transaction-cases.ts'

/** What a member says of itself; of a client, nothing. */
export interface Standing {
  readonly self: string
  readonly leads: boolean
  readonly voters: number
  readonly connected: number
  readonly lag: number
}

export interface Replica extends ReplicatedStore {
  standing(): Standing | undefined
  leave(): Promise<void>
  /** Of HarmonyDB. */
  readonly enduring?: EnduringMember
}

export type Opening =
  | {
      readonly engine: 'harmonydb'
      readonly modulePath: string
      readonly dir: string
      readonly join: JoinOptions
      /** It is open before it has joined, which may take long. */
      readonly joins?: 'meanwhile'
      /** Of log, before a checkpoint is made; default: HarmonyDB's. */
      readonly checkpointBytes?: number
    }
  | { readonly engine: 'etcd' | 'etcd-gateway'; readonly host: string }

export interface Loading {
  readonly records: number
}

/** What can be asked, and what the answer is. */
export interface Asks extends EnduranceAsks {
  open(opening: Opening): Promise<void>
  standing(nothing: null): Promise<Standing | undefined>
  load(loading: Loading): Promise<void>
  measure(
    task: Loading & { readonly name: LoadName; readonly round: number; readonly seconds: number },
  ): Promise<Measured>
  transact(
    task: Loading & {
      readonly name: TransactionCase
      readonly engine: string
      readonly round: number
      readonly seconds: number
    },
  ): Promise<TransactionsMeasured>
  /** The records are counters that sum to this. */
  checkSum(task: Loading & { readonly increments: number }): Promise<void>
  /** One caller writes, again and again, until `endWrites`. */
  beginWrites(loading: Loading): Promise<void>
  /** The longest time from one acknowledged write to the next since then or since the last time it was asked, and how many there were since that. */
  gap(nothing: null): Promise<{ readonly longestMs: number; readonly since: number }>
  endWrites(nothing: null): Promise<void>
  leave(nothing: null): Promise<void>
  close(nothing: null): Promise<void>
}

export interface Question {
  readonly id: number
  readonly ask: keyof Asks
  readonly with: unknown
}
export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string })
