/** What the suite `endurance` asks of its members besides, and what they answer. Times are milliseconds of the system's clock: several processes tell them. */
import type { Database } from '../../src/database/types.ts'
import type { OwnedLinks } from './clusters/owned-links.ts'

/** Puts of records `from` … `from + keys - 1` (`records.ts`), over and over, from so many callers, each of which waits for its answer. */
export interface PutLoad {
  readonly records: number
  readonly valueBytes: number
  readonly prefix: string
  readonly from: number
  readonly keys: number
  readonly callers: number
  /** Undefined: until they are told to end. */
  readonly total?: number
}

export interface PutsTold {
  readonly acknowledged: number
  /** Attempts that ended with an error, and were made again. */
  readonly refused: number
  /** All of `total` are acknowledged. */
  readonly done: boolean
}

/** So many were acknowledged by then, and so long had the process computed. */
export interface PutsSample {
  readonly atMs: number
  readonly acknowledged: number
  readonly cpuMs: number
}

export interface PutsMade extends PutsTold {
  readonly load: PutLoad
  /** Of each key, what was acknowledged last; 0: nothing was. */
  readonly versions: Uint32Array
  /** Every 100 ms. */
  readonly samples: readonly PutsSample[]
  readonly p50Ms: number
  readonly p99Ms: number
}

/** How a member is. */
export interface Condition {
  readonly rssBytes: number
  /** Of JavaScript's objects and of what they hold outside of the heap. */
  readonly heapBytes: number
  readonly logBytes: number
  /** What the files take on the disk; `logFileBytes`: those of the log. */
  readonly directoryBytes: number
  readonly logFileBytes: number
  readonly firstIndex: number
  readonly lastIndex: number
  readonly appliedIndex: number
  /** Of keys and values. */
  readonly stateBytes: number
}

/** What came of a member's joining. */
export interface Joining {
  /** Received of a state, as far as it was seen: the most. */
  readonly receivedBytes: number
  /** How often there was less of it than before: it was begun anew. */
  readonly begunAnew: number
  /** When the first of it was there, when all of it was, when it had taken the place of the old state (the event `snapshot`), and when the member had joined. */
  readonly begunMs: number | undefined
  readonly receivedMs: number | undefined
  readonly installedMs: number | undefined
  readonly joinedMs: number | undefined
  readonly snapshots: number
  /** Why it did not join; what went wrong. */
  readonly problems: readonly string[]
  /** Of everything that came until then. */
  readonly frameBytes: number
}

export interface EnduranceAsks {
  beginPuts(load: PutLoad): Promise<void>
  puts(nothing: null): Promise<PutsTold>
  endPuts(nothing: null): Promise<PutsMade>
  condition(how: { readonly collected: boolean }): Promise<Condition>
  joining(nothing: null): Promise<Joining>
  /** Closes all connections, and each new one at once until `mendLinks`. @returns How many were connected. */
  cutLinks(nothing: null): Promise<number>
  mendLinks(nothing: null): Promise<void>
  /** @throws Error unless this replica has, of each key, what was acknowledged last. */
  verifyPuts(made: Pick<PutsMade, 'load' | 'versions'>): Promise<void>
  /** Of all keys, values and versions that this replica has. */
  digest(nothing: null): Promise<{ readonly appliedIndex: number; readonly keys: number; readonly sha256: string }>
}

/** A member that can be asked so. */
export interface EnduringMember {
  readonly db: Database
  readonly dir: string
  readonly links: OwnedLinks
  joining(): Joining
}
