/**
 * One peer for tests: a consensus core over a model of its disk and state machine. It does the owner's duties (O1 to O4 of
 * `src/raft/types.ts`); appends complete when the test says so, and a crash loses those that did not.
 */
import { type Index, index, type PeerId, peerId, type Term, term } from '../../../src/base/ids.ts'
import { decodeConfiguration } from '../../../src/raft/configuration.ts'
import { Raft } from '../../../src/raft/raft.ts'
import type {
  AppendToken,
  Configuration,
  Entry,
  FetchRequest,
  HardState,
  LogBase,
  Message,
  RaftLimits,
  ReadState,
  Ready,
  RestoredLog,
} from '../../../src/raft/types.ts'

/** Node 1 is 00…01, in hex. */
export const idOf = (n: number): PeerId => peerId(n.toString(16).padStart(32, '0'))
export const numberOf = (id: PeerId): number => Number.parseInt(id, 16)

export const limits: RaftLimits = {
  electionTicks: 10,
  heartbeatTicks: 1,
  idleTicks: 0,
  restTicks: 20,
  messageBytesMax: 1 << 16,
  inflightBytesMax: 1 << 20,
  inflightMessagesMax: 64,
  uncommittedBytesMax: 1 << 20,
  cacheBytesMax: 1 << 20,
  applyBytesMax: 1 << 16,
}

export const configurationOf = (voters: readonly number[], learners: readonly number[] = []): Configuration => ({
  voters: voters.map(idOf),
  outgoing: [],
  learners: learners.map(idOf),
  learnersNext: [],
})

const textEncoder = new TextEncoder()
const textDecoder = new TextDecoder()
export const data = (text: string): Uint8Array => textEncoder.encode(text)
export const textOf = (bytes: Uint8Array): string => textDecoder.decode(bytes)

/** What a crash leaves. */
export interface Disk {
  hardState: HardState
  entries: Entry[]
  /** Where the log begins; undefined: at its birth. */
  base?: LogBase
}

interface PendingAppend {
  readonly token: AppendToken
  readonly hardState: HardState | undefined
  readonly entries: readonly Entry[]
  readonly messages: readonly Message[]
}

export interface ModelNodeOptions {
  readonly id: number
  readonly birth: Configuration
  readonly random: () => number
  readonly limits?: Partial<RaftLimits>
  readonly leases?: boolean
  readonly send: (message: Message) => void
  /** Sees every Ready before its effects. */
  readonly onReady?: (ready: Ready) => void
  readonly onApply?: (entry: Entry) => void
  readonly onRead?: (read: ReadState) => void
}

export class ModelNode {
  readonly id: PeerId
  readonly disk: Disk = { hardState: { term: term(0), vote: undefined, commit: index(0) }, entries: [] }
  raft: Raft
  /** Written, not yet durable. */
  pending: PendingAppend[] = []
  fetching: FetchRequest | undefined
  /** Everything written, durable or not: what reads of the log file see. */
  file: Entry[] = []
  applied: Entry[] = []
  /** Who said that this node needs a snapshot. */
  snapshotFrom: PeerId | undefined
  /** A newer commit index alone is written with what must be written anyway. */
  private lazyHardState: HardState | undefined
  private readonly options: ModelNodeOptions

  constructor(options: ModelNodeOptions) {
    this.options = options
    this.id = idOf(options.id)
    this.raft = this.make()
  }

  private make(): Raft {
    return new Raft({
      id: this.id,
      limits: { ...limits, ...this.options.limits },
      random: this.options.random,
      leases: this.options.leases ?? false,
      restored: restoredLog(this.disk, this.options.birth),
    })
  }

  /** One Ready and its effects, up to what waits for the disk. False: there was none. Followers hear of commits without delay. */
  process(): boolean {
    if (!this.raft.hasReady()) this.raft.tellCommit()
    if (!this.raft.hasReady()) return false
    const ready = this.raft.ready()
    this.options.onReady?.(ready)
    for (const entry of ready.entries) replaceFrom(this.file, entry)
    if (ready.hardState !== undefined) this.lazyHardState = ready.hardState
    if (ready.append !== undefined) {
      const { append: token, entries, messagesAfterAppend: messages } = ready
      this.pending.push({ token, hardState: this.lazyHardState, entries, messages })
      this.lazyHardState = undefined
    } else if (ready.entries.length > 0 || ready.messagesAfterAppend.length > 0)
      throw new Error('nothing names the append')
    for (const message of ready.messages) this.options.send(message)
    for (const read of ready.reads) this.options.onRead?.(read)
    for (const entry of ready.committed) {
      this.applied.push(entry)
      this.options.onApply?.(entry)
    }
    if (ready.committed.length > 0) this.raft.applied(ready.committed[ready.committed.length - 1]!.index)
    this.fetching ??= ready.fetch
    this.snapshotFrom = ready.snapshot?.from ?? this.snapshotFrom
    return true
  }

  /** The oldest append becomes durable. False: nothing was under way. */
  completeAppend(): boolean {
    const append = this.pending.shift()
    if (append === undefined) return false
    const { hardState } = append
    // An older one stands before the place where a checkpoint says that the log is read from.
    if (hardState !== undefined && hardState.term >= this.disk.hardState.term) this.disk.hardState = hardState
    for (const entry of append.entries) replaceFrom(this.disk.entries, entry)
    for (const message of append.messages) this.options.send(message)
    this.raft.appended(append.token)
    return true
  }

  /** The log file as it is now answers the fetch that is out. False: there is none. */
  completeFetch(): boolean {
    const fetch = this.fetching
    if (fetch === undefined) return false
    this.fetching = undefined
    const entries: Entry[] = []
    let bytes = 0
    for (let at = fetch.from as number; at <= fetch.through && bytes < fetch.bytesMax; at++) {
      const entry = this.file[at - 1]
      if (entry === undefined) break
      entries.push(entry)
      bytes += entry.data.length
    }
    this.raft.fetched(fetch, entries)
    return true
  }

  /** How far the log may be cut at its front: what is applied and on disk. */
  get compactable(): number {
    let at = Math.min(this.raft.status().applied, this.disk.entries.length)
    while (at > 0 && this.disk.entries[at - 1]!.term !== this.file[at - 1]?.term) at--
    return at
  }

  /** A checkpoint has everything through `at`: the log forgets it. (The model keeps all entries, to compare them.) */
  compact(at: number): void {
    const base = this.raft.baseAt(index(at))
    this.disk.base = base
    this.raft.compact(base.index)
  }

  /** Takes over what another node has applied, as a received snapshot does. False: that is nothing new. */
  install(from: ModelNode): boolean {
    const through = from.raft.status().applied
    this.snapshotFrom = undefined
    if (through <= this.raft.status().applied) return false
    const base = from.raft.baseAt(through)
    this.applied = from.applied.slice(0, through)
    if (!this.raft.has(base)) {
      this.file = from.applied.slice(0, through)
      // In the log file they lie before the place where it goes on from the checkpoint.
      this.pending = this.pending.map(append => ({ ...append, entries: [] }))
      const { term, vote } = this.raft.status()
      const later = base.term > term
      this.disk.hardState = { term: later ? base.term : term, vote: later ? undefined : vote, commit: through }
      this.disk.entries = [...this.file]
      this.disk.base = base
    }
    this.raft.restore(base)
    return true
  }

  /** Until there is nothing left to do without the network. */
  settle(): void {
    while (this.process() || this.completeFetch() || this.completeAppend()) {}
  }

  /** Crash and start again from the disk; what was not durable is lost. */
  restart(): void {
    this.pending = []
    this.fetching = undefined
    this.lazyHardState = undefined
    this.snapshotFrom = undefined
    this.file = [...this.disk.entries]
    this.applied = this.file.slice(0, this.disk.base?.index ?? 0)
    this.raft = this.make()
  }
}

function replaceFrom(entries: Entry[], entry: Entry): void {
  if (entry.index > entries.length + 1) throw new Error(`a hole before entry ${entry.index}`)
  entries.length = entry.index - 1
  entries.push(entry)
}

export function restoredLog(disk: Disk, birth: Configuration): RestoredLog {
  const termRuns: { from: Index; term: Term }[] = []
  const configurations: { index: Index; configuration: Configuration }[] = []
  const { hardState, entries, base = { index: index(0), term: term(0), configuration: birth } } = disk
  for (const entry of entries.slice(base.index)) {
    if (termRuns[termRuns.length - 1]?.term !== entry.term) termRuns.push({ from: entry.index, term: entry.term })
    if (entry.kind !== 'configuration') continue
    const decoded = decodeConfiguration(entry.data)
    if (!decoded.ok) throw decoded.error
    configurations.push({ index: entry.index, configuration: decoded.value })
  }
  return { hardState, base, lastIndex: index(entries.length), termRuns, configurations }
}
