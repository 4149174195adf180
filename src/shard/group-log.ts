/** One group's log in the write-ahead log: where its entries stand, and where it begins. */
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, type GroupId, type Index, index, type Lsn, lsn, term } from '../base/ids.ts'
import { repeat } from '../base/repeat.ts'
import type {
  Configuration,
  Entry,
  EntryKind,
  FetchRequest,
  HardState,
  LogBase,
  RaftCore,
  RestoredLog,
} from '../raft/types.ts'
import type { Wal } from '../storage/wal.ts'
import type { Position } from '../storage/wal-types.ts'
import type { LogBegin } from './checkpoint-note.ts'
import { Positions } from './positions.ts'

const kinds: readonly EntryKind[] = ['noop', 'command', 'configuration']
/** As the write-ahead log has it. */
export const kindOf = (n: number): EntryKind | undefined => kinds[n]

/** Entries are read back together, so many bytes at once. */
const readBytes = 256 * 1024
/** Records of others between them. */
const gapBytesMax = 4096

/** What the log on disk holds of one group. */
export interface RestoredGroup {
  readonly group: GroupId
  readonly cluster: ClusterId
  readonly log: RestoredLog
  readonly positions: Positions
  /** Where the write-ahead log is read from. */
  readonly from: Lsn
}

/** A checkpoint through `applied` and a log have everything between them. @throws HarmonyError CORRUPT */
export function assertMeet({ base, lastIndex }: RestoredLog, applied: Index): void {
  if (applied > lastIndex) {
    const message = `the log ends at entry ${lastIndex}, before the checkpoint at ${applied}: its end was lost`
    throw new HarmonyError('CORRUPT', message)
  }
  if (applied < base.index) {
    const message = `the log begins behind entry ${base.index}, after the checkpoint at ${applied}: what lies between was lost`
    throw new HarmonyError('CORRUPT', message)
  }
}

/** Of a peer that has heard nothing of its group yet. */
export const bornHardState: HardState = { term: term(0), vote: undefined, commit: index(0) }

/** A group as it is at birth: an empty log under `birth`. */
export function newGroup(group: GroupId, cluster: ClusterId, birth: Configuration): RestoredGroup {
  const base: LogBase = { index: index(0), term: term(0), configuration: birth }
  const log: RestoredLog = { hardState: bornHardState, base, lastIndex: index(0), termRuns: [], configurations: [] }
  return { group, cluster, log, positions: new Positions(), from: lsn(0) }
}

export interface GroupLogHost {
  readonly wal: Wal
  stopped(): boolean
  failed(error: HarmonyError): void
}

export class GroupLog {
  private readonly host: GroupLogHost
  private readonly group: GroupId
  private positions: Positions
  /** Where the newest checkpoint says that the write-ahead log is read from. */
  private from: Lsn
  /** The newest hard state with only a newer commit index: written with the next record that must be written anyway. */
  private lazyHardState: HardState | undefined

  constructor(host: GroupLogHost, { group, positions, from }: RestoredGroup) {
    this.host = host
    this.group = group
    this.positions = positions
    this.from = from
  }

  /** Not written yet. */
  note(hardState: HardState): void {
    this.lazyHardState = hardState
  }

  get hasUnwritten(): boolean {
    return this.lazyHardState !== undefined
  }

  /** So that a restart knows what was committed. */
  writeHardState(): void {
    if (this.lazyHardState === undefined) return
    this.host.wal.append({ type: 'hardState', group: this.group, ...this.lazyHardState })
    this.lazyHardState = undefined
  }

  /** Replaces everything at or after the first one's index. */
  append(entries: readonly Entry[]): void {
    const { group } = this
    for (const { index: at, term: of, kind, data } of entries) {
      const record = { type: 'entry', group, index: at, term: of, kind: kinds.indexOf(kind), data } as const
      this.positions.set(at, this.host.wal.append(record))
    }
  }

  /** The last entry that begins before a place of the write-ahead log. */
  before(at: Lsn): Index {
    return this.positions.before(at)
  }

  /** Of the write-ahead log, from the entry behind `at` on. */
  bytesBehind(at: Index): number {
    const { positions, host } = this
    if (at < positions.firstIndex - 1 || at >= positions.lastIndex) return 0
    return host.wal.endLsn - positions.get(index(at + 1)).lsn
  }

  /** How a log begins that is cut behind `at`. */
  beginBehind(at: Index, raft: RaftCore): LogBegin {
    const { term: of, vote } = raft.status()
    const { positions, host } = this
    let { from } = this
    if (at >= positions.firstIndex) from = at < positions.lastIndex ? positions.get(index(at + 1)).lsn : host.wal.endLsn
    return { from, base: raft.baseAt(at), term: of, vote }
  }

  /** How the log begins that goes on from a state that was received. */
  beginAnew(base: LogBase, raft: RaftCore): LogBegin {
    const { term: known, vote } = raft.status()
    const { endLsn: from } = this.host.wal
    // As `restore` will have it.
    return base.term > known ? { from, base, term: base.term, vote: undefined } : { from, base, term: known, vote }
  }

  /** A checkpoint with this is in force: what lies before may go. */
  begin({ from, base }: LogBegin): void {
    this.positions.compact(base.index)
    if (from <= this.from) return
    this.from = from
    this.host.wal.dropFront(from)
  }

  /** As `begin`, where the log has no entry of what the checkpoint holds. */
  replace(begin: LogBegin): void {
    this.positions = new Positions(begin.base.index)
    this.begin(begin)
  }

  /**
   * Reads entries back that are no longer in memory, some at once, until the request's size is reached. `done` may come before this
   * returns; it does not come at all once the owner has stopped.
   */
  read(request: FetchRequest, done: (entries: readonly Entry[]) => void): void {
    const entries: Entry[] = []
    let bytes = 0
    let next = request.from as number
    repeat(again => {
      const { host, positions } = this
      if (host.stopped()) return
      // The log may have been cut since the core asked, at either end: what is gone is simply not delivered, and the core asks anew.
      const gone = next > positions.lastIndex || next < positions.firstIndex
      if (gone || next > request.through || bytes >= request.bytesMax) return done(entries)
      this.readEntries(index(next), request.through, request.bytesMax - bytes, found => {
        for (const entry of found) {
          entries.push(entry)
          bytes += entry.data.length
        }
        next += found.length
        if (found.length === 0) done(entries)
        else again()
      })
    })
  }

  /** One or more; none where they are gone. */
  private readEntries(from: Index, through: Index, bytesMax: number, done: (entries: readonly Entry[]) => void): void {
    const { host } = this
    host.wal.readMany(this.positionsFrom(from, through, Math.min(bytesMax, readBytes)), result => {
      if (host.stopped()) return
      const records = result.ok ? result.value : []
      const entries: Entry[] = []
      for (const record of records) {
        const at = index(from + entries.length)
        const kind = record.type === 'entry' && record.index === at ? kindOf(record.kind) : undefined
        if (record.type !== 'entry' || kind === undefined) break
        entries.push({ index: at, term: record.term, kind, data: record.data })
      }
      // None: dropped with the log's front while it was being read.
      if (entries.length > 0 || from < this.positions.firstIndex) return done(entries)
      const message = `log entry ${from} cannot be read back: another record stands there`
      host.failed(result.ok ? new HarmonyError('CORRUPT', message) : result.error)
    })
  }

  /** Of entries that stand close together: one at least. */
  private positionsFrom(from: Index, through: Index, bytesMax: number): readonly Position[] {
    const { positions } = this
    const first = positions.get(from)
    const found = [first]
    let end = first.lsn + first.bytes
    for (let at = from + 1; at <= Math.min(through, positions.lastIndex); at++) {
      const position = positions.get(index(at))
      const near = position.lsn >= end && position.lsn - end <= gapBytesMax
      end = position.lsn + position.bytes
      if (!near || end - first.lsn > bytesMax) break
      found.push(position)
    }
    return found
  }
}
