/**
 * What was committed, read again from the log: as far back as that goes, and no further than it is applied. Writes that changed nothing are left out (`idle-writes.ts`).
 */
import { type Index, index, type Timestamp, timestamp } from '../base/ids.ts'
import type { Entry } from '../raft/types.ts'
import { decodeCommand, opsDone, stampsOf, type WriteOp } from './command.ts'
import type { GroupLog } from './group-log.ts'
import type { IdleWrites } from './idle-writes.ts'

/** An entry may hold several. */
export interface Commit {
  readonly index: Index
  readonly at: Timestamp
  readonly ops: readonly WriteOp[]
}

export interface HistoryHost {
  readonly log: Pick<GroupLog, 'read'>
  readonly idle: Pick<IdleWrites, 'has'>
  applied(): Index
  /** The log begins behind this one. */
  base(): Index
}

/** All commits of the entries up to `through`, where it goes on. `gone`: the log does not go back so far, or not knowingly. */
export type Part = { readonly commits: readonly Commit[]; readonly through: Index } | 'gone'

const bytesAtOnce = 256 * 1024

export class History {
  private readonly host: HistoryHost

  constructor(host: HistoryHost) {
    this.host = host
  }

  /** A part of what came after the entry `after`. Does not complete once the owner has stopped. */
  read(after: Index, done: (part: Part) => void): void {
    const applied = this.host.applied()
    if (after < this.host.base()) return done('gone')
    if (after >= applied) return done({ commits: [], through: applied })
    this.host.log.read({ from: index(after + 1), through: applied, bytesMax: bytesAtOnce }, entries => {
      // Cut meanwhile.
      const first = entries[0]
      if (first === undefined || first.index !== after + 1 || after < this.host.base()) return done('gone')
      const commits: Commit[] = []
      for (const entry of entries) {
        for (const commit of commitsOf(entry)) {
          const idle = this.host.idle.has(commit)
          if (idle === undefined) return done('gone')
          if (!idle) commits.push(commit)
        }
      }
      done({ commits, through: (entries.at(-1) as Entry).index })
    })
  }

  /**
   * The last entry whose commits are all `at` or older, if the log shows that nothing in between is missing. Reads from its beginning: some tens of megabytes at
   * most.
   */
  find(at: Timestamp, done: (found: Index | 'gone') => void): void {
    const base = this.host.base()
    let found: Index | undefined = base === 0 ? base : undefined
    const step = (from: Index): void => {
      const applied = this.host.applied()
      if (from >= applied) return done(found ?? 'gone')
      this.host.log.read({ from: index(from + 1), through: applied, bytesMax: bytesAtOnce }, entries => {
        if (entries.length === 0 || entries[0]?.index !== from + 1) return done('gone')
        for (const entry of entries) {
          const stamps = stampsIn(entry)
          if (stamps === undefined) {
            if (found !== undefined) found = entry.index
            continue
          }
          // Timestamps of one history follow each other: what is one less is what was before.
          if (stamps.last > at) return done(found ?? (stamps.first <= at + 1 ? index(entry.index - 1) : 'gone'))
          found = entry.index
        }
        step((entries.at(-1) as Entry).index)
      })
    }
    step(base)
  }
}

function commitsOf(entry: Entry): readonly Commit[] {
  if (entry.kind !== 'command') return []
  const decoded = decodeCommand(entry.data)
  // It was applied: it can be decoded.
  if (!decoded.ok || decoded.value.command.type !== 'writes') return []
  const { header, command } = decoded.value
  return command.writes.map(({ ops, phase }, i) => {
    return { index: entry.index, at: timestamp(header.at + i), ops: opsDone(ops, phase) }
  })
}

function stampsIn(entry: Entry): { readonly first: Timestamp; readonly last: Timestamp } | undefined {
  if (entry.kind !== 'command') return undefined
  const decoded = decodeCommand(entry.data)
  if (!decoded.ok) return undefined
  const { header, command } = decoded.value
  return { first: header.at, last: timestamp(header.at + stampsOf(command) - 1) }
}
