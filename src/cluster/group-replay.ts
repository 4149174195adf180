/** Collects one group's records, in log order, behind what the newest checkpoint says of the log. */
import { type ClusterId, groupId, type Index, index, type Lsn, lsn, type Term, term } from '../base/ids.ts'
import { decodeConfiguration } from '../raft/configuration.ts'
import type { Configuration, HardState, LogBase } from '../raft/types.ts'
import type { CheckpointNote } from '../shard/checkpoint-note.ts'
import { bornHardState, kindOf, type RestoredGroup } from '../shard/group-log.ts'
import { Positions } from '../shard/positions.ts'
import type { Position, WalRecord } from '../storage/wal-types.ts'

/** The one group of now; more will come when the key space is cut into shards. */
export const group0 = groupId(0)

export class GroupReplay {
  /** Where the log is to be read from. */
  readonly from: Lsn
  private cluster: ClusterId | undefined
  private base: LogBase = { index: index(0), term: term(0), configuration: nobody }
  private hardState = bornHardState
  private positions = new Positions()
  private termRuns: { from: Index; term: Term }[] = []
  private configurations: { index: Index; configuration: Configuration }[] = []
  private lastIndex = 0
  private begunAt: Lsn

  constructor(checkpoint: CheckpointNote | undefined) {
    const log = checkpoint?.log
    this.from = log?.from ?? lsn(0)
    this.begunAt = this.from
    if (checkpoint === undefined || log === undefined) return
    this.cluster = checkpoint.machine.cluster
    this.begin(log.base)
    this.hardState = { term: log.term, vote: log.vote, commit: checkpoint.machine.applied }
  }

  private begin(base: LogBase): void {
    this.base = base
    this.positions = new Positions(base.index)
    this.termRuns = []
    this.configurations = []
    this.lastIndex = base.index
  }

  /** Returns what is wrong with the record, if anything. */
  visit(record: WalRecord, position: Position): string | undefined {
    switch (record.type) {
      case 'birth': {
        const birth = decodeConfiguration(record.birth)
        if (!birth.ok) return 'its first configuration is malformed'
        this.cluster = record.cluster
        this.hardState = bornHardState
        this.begin({ index: index(0), term: term(0), configuration: birth.value })
        this.begunAt = position.lsn
        return undefined
      }
      case 'hardState':
        this.take(record)
        return undefined
      case 'entry':
        return this.entry(record, position)
    }
  }

  /** The checkpoint may know a newer one than what stands behind the place where the log is read from. */
  private take({ term: of, vote, commit }: HardState): void {
    const known = this.hardState
    if (of < known.term) return
    this.hardState = {
      term: of,
      vote: of === known.term ? (vote ?? known.vote) : vote,
      commit: index(Math.max(commit, known.commit)),
    }
  }

  private entry(record: WalRecord & { type: 'entry' }, position: Position): string | undefined {
    if (this.cluster === undefined) return `entry ${record.index} of a cluster that is not named`
    // Replaced by the checkpoint.
    if (record.index <= this.base.index) return undefined
    if (record.index > this.lastIndex + 1) return `entry ${record.index} follows entry ${this.lastIndex}`
    const kind = kindOf(record.kind)
    if (kind === undefined) return `entry ${record.index} has the unknown kind ${record.kind}`
    while (this.termRuns.length > 0 && this.termRuns[this.termRuns.length - 1]!.from >= record.index)
      this.termRuns.pop()
    while (
      this.configurations.length > 0 &&
      this.configurations[this.configurations.length - 1]!.index >= record.index
    ) {
      this.configurations.pop()
    }
    if (this.termRuns[this.termRuns.length - 1]?.term !== record.term)
      this.termRuns.push({ from: record.index, term: record.term })
    if (kind === 'configuration') {
      const configuration = decodeConfiguration(record.data)
      if (!configuration.ok) return `the configuration in entry ${record.index} is malformed`
      this.configurations.push({ index: record.index, configuration: configuration.value })
    }
    this.positions.set(record.index, position)
    this.lastIndex = record.index
    return undefined
  }

  result(): RestoredGroup | undefined {
    const { base, cluster, configurations, positions, termRuns } = this
    if (cluster === undefined) return undefined
    const lastIndex = index(this.lastIndex)
    // The commit index is written lazily and may speak of entries that a later record replaced only in a damaged log.
    const hardState = { ...this.hardState, commit: index(Math.min(this.hardState.commit, lastIndex)) }
    const log = { hardState, base, lastIndex, termRuns, configurations }
    return { group: group0, cluster, log, positions, from: this.begunAt }
  }
}

export const nobody: Configuration = { voters: [], outgoing: [], learners: [], learnersNext: [] }
