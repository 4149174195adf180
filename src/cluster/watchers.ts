/**
 * Who watches ranges of keys: each commit that changes something in them, once, in order, as long as they ask. A watcher asks for more when it has dealt with what it has,
 * so a slow one costs nothing but its place in the log; where the log no longer goes back that far, or another history was taken over, it hears `resync` and goes on
 * from there (pitfall 28).
 *
 *  V1  Commits come in the order of the log, each at most once, whole, and none is left out between two that came, unless `resync` stands between them.
 *  V2  Nothing comes that is not applied here: whoever hears of a commit can read it here.
 *  V3  A watcher's place is an entry of the log, wherever it stands; nothing is kept for it.
 */
import { compareBytes, keyBehind } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Index, index, type Timestamp, timestamp } from '../base/ids.ts'
import type { AppliedWrite } from '../shard/apply.ts'
import type { WriteOp } from '../shard/command.ts'
import type { Commit } from '../shard/history.ts'
import type { Replica } from '../shard/replica.ts'
import { RangeIndex } from './range-index.ts'

export interface WatchedRange {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
}

/** `ops`: the last of each key. `resync`: what happened up to `at` may have been missed, the present state says what came of it. */
export interface WatchedCommit {
  readonly at: Timestamp
  readonly ops: readonly WriteOp[]
  readonly resync: boolean
}

export interface WatchersHost {
  /** Undefined while a new history is being begun. */
  replica(): Replica | undefined
  /** Why nothing at all is answered. */
  unusable(): HarmonyError | undefined
  /** Calls back once this replica's state may be read, or with why not. */
  whenReadable(done: (error: HarmonyError | undefined) => void): void
}

type Next = (result: readonly WatchedCommit[] | HarmonyError) => void

/** Of commits that came last, for those who are a little behind. */
const recentBytesMax = 4 * 1024 * 1024
const commitsAtOnce = 64
const bytesAtOnce = 256 * 1024
export const watchersMax = 100_000

export class Watchers {
  private readonly host: WatchersHost
  private readonly all = new Set<Watcher>()
  private readonly ranges = new RangeIndex<Watcher>()
  /** Commits after `recentFrom`, those of an entry together, while anybody watches. */
  private recent: Commit[][] = []
  private recentFrom = index(0)
  private recentBytes = 0
  private later: (() => void)[] = []

  constructor(host: WatchersHost) {
    this.host = host
  }

  get size(): number {
    return this.all.size
  }

  /** Begins behind the entry `from`, with what is newer than `behind`; `from` undefined: with a `resync`. */
  open(
    ranges: readonly WatchedRange[],
    start: { readonly from: Index | undefined; readonly behind: Timestamp },
  ): Watcher {
    if (this.all.size === 0) this.forget()
    const watcher = new Watcher(this, ranges, start.from, start.behind)
    this.all.add(watcher)
    for (const range of ranges) this.ranges.add(range, watcher)
    return watcher
  }

  /** An entry of these writes was applied. */
  applied(at: Index, writes: readonly AppliedWrite[]): void {
    if (this.all.size === 0) return
    const concerned = new Set<Watcher>()
    const commits: Commit[] = []
    for (const write of writes) {
      if (write.ops.length === 0) continue
      commits.push({ index: at, at: write.at, ops: write.ops })
      for (const op of write.ops) {
        this.recentBytes += bytesOf(op)
        this.ranges.at(op.key, watcher => concerned.add(watcher))
      }
    }
    if (commits.length === 0) return
    this.recent.push(commits)
    while (this.recentBytes > recentBytesMax && this.recent.length > 1) {
      const [oldest] = this.recent.splice(0, 1) as [Commit[]]
      this.recentFrom = (oldest[0] as Commit).index
      for (const { ops } of oldest) for (const op of ops) this.recentBytes -= bytesOf(op)
    }
    for (const watcher of concerned) watcher.wake(commits)
  }

  /** What is applied here now did not come entry by entry, or is another history. */
  jumped(): void {
    this.forget()
    for (const watcher of this.all) watcher.jump()
  }

  close(why: HarmonyError): void {
    for (const watcher of [...this.all]) watcher.end(why)
  }

  /** For watchers: they are gone. */
  drop(watcher: Watcher): void {
    if (!this.all.delete(watcher)) return
    for (const range of watcher.ranges) this.ranges.remove(range)
    if (this.all.size === 0) this.forget()
  }

  /** A part of what came behind `after`. */
  read(
    after: Index,
    done: (part: { readonly commits: readonly Commit[]; readonly through: Index } | 'gone') => void,
  ): void {
    const replica = this.host.replica()
    if (replica === undefined) return done('gone')
    const { applied } = replica
    if (after < this.recentFrom || this.recentFrom > applied) return replica.history.read(after, done)
    let [low, high] = [0, this.recent.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.recent[middle]![0]!.index <= after) low = middle + 1
      else high = middle
    }
    const commits: Commit[] = []
    while (low < this.recent.length && commits.length < commitsAtOnce) commits.push(...(this.recent[low++] as Commit[]))
    done({ commits, through: low === this.recent.length ? applied : (commits.at(-1) as Commit).index })
  }

  get appliedIndex(): Index {
    return this.host.replica()?.applied ?? index(0)
  }

  /** The present state, once there is one. */
  present(done: (at: { readonly index: Index; readonly at: Timestamp } | HarmonyError) => void): void {
    const unusable = this.host.unusable()
    if (unusable !== undefined) return done(unusable)
    this.host.whenReadable(error => {
      const replica = this.host.replica()
      if (error === undefined && replica !== undefined) done({ index: replica.applied, at: replica.stateTimestamp })
      // A new history is being begun, perhaps: it will be there.
      else this.later.push(() => this.present(done))
    })
  }

  /** Called regularly. */
  tick(): void {
    const due = this.later
    this.later = []
    for (const run of due) run()
  }

  private forget(): void {
    this.recent = []
    this.recentBytes = 0
    this.recentFrom = this.appliedIndex
  }
}

const ended = new HarmonyError('CLOSED', 'this watch has ended')

export class Watcher {
  readonly ranges: readonly WatchedRange[]
  private readonly owner: Watchers
  /** Everything through this entry was handed out, or is none of its; undefined: it hears `resync` next. */
  private place: Index | undefined
  /** Of the entries behind `place` everything up to this was handed out before. */
  private behind: Timestamp
  private asked: Next | undefined
  /** Everything so far was handed out: what is applied next is looked at by itself. */
  private parked = false
  private why: HarmonyError | undefined
  /** Moves on with each jump: what was begun before is forgotten. */
  private generation = 0

  constructor(owner: Watchers, ranges: readonly WatchedRange[], from: Index | undefined, behind: Timestamp) {
    this.owner = owner
    this.ranges = ranges
    this.place = from
    this.behind = behind
  }

  /** The next commits, one at least; waits for them. The next call comes after `done`. */
  next(done: Next): void {
    if (this.why !== undefined) return done(this.why)
    if (this.asked !== undefined) {
      return done(new HarmonyError('VALIDATION', 'this watch is waiting already; ask for one thing after the other'))
    }
    this.asked = done
    this.advance()
  }

  close(): void {
    this.end(ended)
  }

  end(why: HarmonyError): void {
    if (this.why !== undefined) return
    this.why = why
    this.generation++
    this.owner.drop(this)
    this.finish(why)
  }

  jump(): void {
    this.generation++
    this.lose()
    if (this.asked !== undefined) this.advance()
  }

  /** Those of an entry. */
  wake(commits: readonly Commit[]): void {
    if (!this.parked) return
    const found = commits.map(commit => this.within(commit)).filter(commit => commit !== undefined)
    if (found.length === 0) return
    this.place = (commits[0] as Commit).index
    this.finish(found)
  }

  private lose(): void {
    this.place = undefined
    this.behind = timestamp(0)
  }

  private finish(result: readonly WatchedCommit[] | HarmonyError): void {
    const { asked } = this
    this.asked = undefined
    // Where it stands while nobody asks.
    if (this.parked && this.place !== undefined && result instanceof HarmonyError) this.place = this.owner.appliedIndex
    this.parked = false
    asked?.(result)
  }

  private advance(): void {
    this.parked = false
    const { generation } = this
    if (this.place === undefined) {
      this.owner.present(present => {
        if (generation !== this.generation) return
        if (present instanceof HarmonyError) return this.finish(present)
        this.place = present.index
        this.finish([{ at: present.at, ops: [], resync: true }])
      })
      return
    }
    this.owner.read(this.place, part => {
      if (generation !== this.generation) return
      if (part === 'gone') {
        this.lose()
        return this.advance()
      }
      const found: WatchedCommit[] = []
      let bytes = 0
      for (const commit of part.commits) {
        // An entry's commits are handed out together.
        const isFull = found.length >= commitsAtOnce || bytes > bytesAtOnce
        if (isFull && commit.index !== this.place) return this.finish(found)
        this.place = commit.index
        const one = this.within(commit)
        if (one === undefined) continue
        found.push(one)
        for (const op of one.ops) bytes += bytesOf(op)
      }
      this.place = part.through
      if (found.length > 0) this.finish(found)
      else if (part.through < this.owner.appliedIndex) this.advance()
      else this.parked = true
    })
  }

  private within({ at, ops }: Commit): WatchedCommit | undefined {
    if (at <= this.behind) return undefined
    const mine = ops.filter(({ key }) => this.ranges.some(range => isWithin(key, range)))
    return mine.length === 0 ? undefined : { at, ops: mine.length === 1 ? mine : lastOfEach(mine), resync: false }
  }
}

const bytesOf = (op: WriteOp): number => op.key.length + 32 + (op.type === 'put' ? op.value.length : 0)

const isWithin = (key: Uint8Array, { from, to }: WatchedRange): boolean =>
  (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0)

/** A key that a commit writes twice has the last value. */
function lastOfEach(ops: readonly WriteOp[]): readonly WriteOp[] {
  const sorted = ops.map((op, i) => ({ op, i })).sort((a, b) => compareBytes(a.op.key, b.op.key) || a.i - b.i)
  return sorted
    .filter(({ op }, i) => i + 1 === sorted.length || compareBytes(op.key, sorted[i + 1]!.op.key) !== 0)
    .map(({ op }) => op)
}

/** The range of one key. */
export const onlyKey = (key: Uint8Array): WatchedRange => ({ from: key, to: keyBehind(key) })
