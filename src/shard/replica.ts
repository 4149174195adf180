/**
 * One Raft group on this peer: drives the consensus core, writes its log, applies what is committed, and answers when reads
 * may be served. It has no idea of links, clients or membership policy: those are `cluster/`.
 *
 * Order of effects for each Ready (duties O1 to O4 of `raft/types.ts`): append to the log, send what may go at once, apply; when the
 * append is durable, send what waited for it. Work of one turn of the event loop is taken together: one Ready, one sync.
 */
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, type GroupId, type Index, index, type PeerId, term, timestamp } from '../base/ids.ts'
import type { Clock, Completion, Done } from '../platform.ts'
import { Raft } from '../raft/raft.ts'
import type {
  AppendToken,
  Configuration,
  ConfigurationChange,
  Entry,
  EntryKind,
  FetchRequest,
  HardState,
  Message,
  ProposeResult,
  RaftLimits,
  RaftStatus,
  Ready,
  RestoredLog,
} from '../raft/types.ts'
import type { Compacted, Engine } from '../storage/engine.ts'
import type { Wal } from '../storage/wal.ts'
import { type Applied, ApplyMachine } from './apply.ts'
import { stampBody } from './command.ts'
import { Positions } from './positions.ts'

const kinds: readonly EntryKind[] = ['noop', 'command', 'configuration']
export const kindNumber = (kind: EntryKind): number => kinds.indexOf(kind)
export const kindOf = (n: number): EntryKind | undefined => kinds[n]

/** How often a commit index that nothing else carries to the log is written by itself: what a restart can show before it meets others. */
const commitMarkEveryTicks = 20

/** What the log on disk holds of one group. */
export interface RestoredGroup {
  readonly group: GroupId
  readonly cluster: ClusterId
  readonly log: RestoredLog
  readonly positions: Positions
}

/** How much may have to be applied again after a crash before a checkpoint is made, in bytes of log. */
export const checkpointBytesDefault = 32 * 1024 * 1024
/** Less than this is left to the log when the store is closed. */
const checkpointBytesAtClose = 64 * 1024

export interface ReplicaHost {
  readonly clock: Clock
  readonly wal: Wal
  readonly engine: Engine
  /** A checkpoint is made when so much of the log would have to be applied again. */
  readonly checkpointBytes: number
  send(message: Message): void
  /** In log order, each once, also for other peers' commands. */
  onApplied(applied: Applied, index: Index): void
  /** Answers `readIndex`: undefined means ask again with another context. */
  onReadIndex(context: number, index: Index | undefined): void
  /** Something in `status()` may have changed. */
  onProgress(): void
  /** Storage or state are not to be trusted any more: the peer must stop. */
  onFatal(error: unknown): void
}

export class Replica {
  readonly group: GroupId
  readonly cluster: ClusterId
  private readonly raft: Raft
  private readonly host: ReplicaHost
  private readonly machine: ApplyMachine
  private readonly positions: Positions
  private ticks = 0
  private pumpScheduled = false
  private pumping = false
  /** Committed entries are being applied; they wait for pages, perhaps. */
  private applying = false
  private checkpointsWanted: Done[] = []
  private awaitingCheckpoint = false
  private stopped = false
  /** The newest hard state with only a newer commit index: written with the next record that must be written anyway. */
  private lazyHardState: HardState | undefined
  /** The newest timestamp given out here as leader. */
  private stamped = timestamp(0)
  /** Once `index` is applied, this leader knows every timestamp that earlier ones gave out. */
  private leadingSince: { readonly term: number; readonly index: Index } | undefined
  private waiting: { readonly index: Index; readonly run: () => void }[] = []

  constructor(id: PeerId, limits: RaftLimits, random: () => number, restored: RestoredGroup, host: ReplicaHost) {
    this.group = restored.group
    this.cluster = restored.cluster
    this.host = host
    this.positions = restored.positions
    this.machine = new ApplyMachine(host.engine, restored.cluster)
    const { applied } = this.machine
    if (applied > restored.log.lastIndex) {
      const message = `the log ends at entry ${restored.log.lastIndex}, before the checkpoint at ${applied}: its end was lost`
      throw new HarmonyError('CORRUPT', message)
    }
    this.raft = new Raft({ id, limits, random, restored: { ...restored.log, applied } })
  }

  status(): RaftStatus {
    return this.raft.status()
  }

  get applied(): Index {
    return this.machine.applied
  }
  /** This replica's state is the newest there is, and nobody else can make a newer one: it may be read without a round of questions. */
  get readable(): boolean {
    return !this.stopped && this.raft.leadsAlone && this.machine.applied === this.raft.commit
  }
  get hasData(): boolean {
    return this.machine.hasData
  }
  get fingerprint(): number {
    return this.machine.fingerprint
  }

  tick(): void {
    if (this.stopped) return
    this.raft.tick()
    this.schedule()
    this.ticks++
    if (this.ticks % commitMarkEveryTicks !== 0 || this.lazyHardState === undefined) return
    this.writeHardState()
    this.host.wal.flush(error => {
      if (error !== undefined && !this.stopped) this.fail(error)
    })
  }

  step(message: Message): void {
    if (this.stopped) return
    this.raft.step(message)
    this.schedule()
  }

  /**
   * Leader only. `body` is an encoded command body that the caller has decoded once (a malformed entry would stop every replica).
   * A leader waits with commands until it has applied an entry of its own term: before that it does not know the newest timestamp.
   */
  propose(body: Uint8Array): ProposeResult {
    const status = this.raft.status()
    if (this.stopped || status.role !== 'leader') return { ok: false, reason: 'not-leader' }
    if (!this.readyToLead(status)) return { ok: false, reason: 'pending' }
    const at = timestamp(Math.max(this.machine.timestamp, this.stamped) + 1)
    const wallMs = Math.max(0, Math.floor(this.host.clock.wall()))
    const result = this.raft.propose(stampBody({ at, wallMs }, body))
    // Nothing to do for a refusal: to be woken by it would be to ask again without end.
    if (!result.ok) return result
    this.stamped = at
    this.schedule()
    return result
  }

  private readyToLead(status: RaftStatus): boolean {
    if (this.leadingSince === undefined || this.leadingSince.term !== status.term) {
      // The log's end at the first question in this term is its own no-op or later: earlier leaders' entries lie before it.
      this.leadingSince = { term: status.term, index: status.lastIndex }
    }
    return this.machine.applied >= this.leadingSince.index
  }

  proposeConfiguration(change: ConfigurationChange): ProposeResult {
    if (this.stopped) return { ok: false, reason: 'not-leader' }
    const result = this.raft.proposeConfiguration(change)
    if (result.ok) this.schedule()
    return result
  }

  readIndex(context: number): void {
    if (this.stopped) return
    this.raft.readIndex(context)
    this.schedule()
  }

  transferLeadership(to?: PeerId): boolean {
    if (this.stopped) return false
    const started = this.raft.transferLeadership(to)
    this.schedule()
    return started
  }

  campaign(): void {
    if (this.stopped) return
    this.raft.campaign()
    this.schedule()
  }

  /** Runs `run` once everything through `through` is applied; at once if it is. */
  whenApplied(through: Index, run: () => void): void {
    if (this.machine.applied >= through) run()
    else this.waiting.push({ index: through, run })
  }

  /** No effect leaves this replica any more; callbacks that are under way are dropped. */
  stop(): void {
    this.stopped = true
    this.waiting = []
    const wanted = this.checkpointsWanted
    this.checkpointsWanted = []
    for (const done of wanted) done(new HarmonyError('CLOSED', 'no checkpoint was made: the replica was stopped'))
  }

  private fail(error: unknown): void {
    this.stop()
    this.host.onFatal(error)
  }

  private schedule(): void {
    if (this.pumpScheduled || this.stopped) return
    this.pumpScheduled = true
    this.host.clock.soon(() => {
      this.pumpScheduled = false
      this.pump()
    })
  }

  private pump(): void {
    if (this.stopped || this.pumping) return
    this.pumping = true
    try {
      while (!this.stopped && this.raft.hasReady()) this.process(this.raft.ready())
    } catch (error) {
      this.fail(error)
      return
    } finally {
      this.pumping = false
    }
    if (!this.stopped) this.host.onProgress()
  }

  private process(ready: Ready): void {
    this.append(ready)
    for (const message of ready.messages) this.host.send(message)
    for (const read of ready.reads) this.host.onReadIndex(read.context, read.index)
    this.apply(ready.committed)
    if (ready.fetch !== undefined) this.fetch(ready.fetch)
  }

  private append(ready: Ready): void {
    if (ready.hardState !== undefined) this.lazyHardState = ready.hardState
    if (ready.append === undefined) return
    this.writeHardState()
    const { wal } = this.host
    for (const entry of ready.entries) {
      const { index: at, term: of, data } = entry
      const position = wal.append({
        type: 'entry',
        group: this.group,
        index: at,
        term: of,
        kind: kindNumber(entry.kind),
        data,
      })
      this.positions.set(at, position)
    }
    const token = ready.append
    const messages = ready.messagesAfterAppend
    wal.flush(error => this.afterAppend(error, token, messages))
  }

  private afterAppend(error: HarmonyError | undefined, token: AppendToken, messages: readonly Message[]): void {
    if (this.stopped) return
    if (error !== undefined) return this.fail(error)
    for (const message of messages) this.host.send(message)
    this.raft.appended(token)
    if (!this.pumping) this.pump()
  }

  /** Also called when the peer closes, so that a restart knows what was committed. */
  writeHardState(): void {
    if (this.lazyHardState === undefined) return
    this.host.wal.append({ type: 'hardState', group: this.group, ...this.lazyHardState })
    this.lazyHardState = undefined
  }

  /**
   * One entry after the other; where one has to wait for its pages, the rest goes on when they have come. The core hands out no more
   * until all of these are applied.
   */
  private apply(entries: readonly Entry[]): void {
    if (entries.length === 0) return
    this.applying = true
    let next = 0
    let looping = false
    const loop = (): void => {
      if (looping) return
      looping = true
      let arrived = true
      while (arrived && next < entries.length && !this.stopped) {
        const entry = entries[next] as Entry
        arrived = false
        this.machine.apply(entry, applied => {
          if (this.stopped) return
          if (!applied.ok) return this.fail(applied.error)
          next++
          if (applied.value !== undefined) this.host.onApplied(applied.value, entry.index)
          arrived = true
          if (!looping) this.resume(loop)
        })
      }
      looping = false
      if (next < entries.length || this.stopped) return
      this.applying = false
      this.raft.applied(this.machine.applied)
      this.wake()
      this.startCheckpoint()
      this.schedule()
    }
    loop()
  }

  /** Goes on after a wait. */
  private resume(loop: () => void): void {
    try {
      loop()
    } catch (error) {
      this.fail(error)
    }
  }

  /**
   * Makes the state between two entries durable: a restart then replays the log only from there. One at a time; who asks while one is
   * being made gets the next one.
   */
  checkpoint(done: Done): void {
    this.checkpointsWanted.push(done)
    this.startCheckpoint()
  }

  /** Gives free space of the page file back. Errors: CLOSED, those of the page file. */
  compact(done: Completion<Compacted>): void {
    this.host.engine.compact(next => {
      if (this.stopped) next(new HarmonyError('CLOSED', 'the database was closed, or began another history, meanwhile'))
      else this.checkpoint(next)
    }, done)
  }

  private startCheckpoint(): void {
    const { engine } = this.host
    if (this.stopped || this.applying) return
    if (this.checkpointsWanted.length === 0 && engine.uncheckpointedBytes < this.host.checkpointBytes) return
    if (engine.checkpointing) {
      // Perhaps one of the history that this peer had before.
      if (!this.awaitingCheckpoint) engine.whenIdle(() => this.retryCheckpoint())
      this.awaitingCheckpoint = true
      return
    }
    const dones = this.checkpointsWanted
    this.checkpointsWanted = []
    this.writeCheckpoint(error => {
      if (error !== undefined && !this.stopped) this.fail(error)
      else if (!this.stopped) this.host.onProgress()
      for (const done of dones) done(error)
    })
  }

  private retryCheckpoint(): void {
    this.awaitingCheckpoint = false
    this.startCheckpoint()
  }

  private writeCheckpoint(done: Done): void {
    const { engine, wal } = this.host
    // Entries may be applied before the log holds them durably: the checkpoint must not be in force before that.
    engine.checkpoint(this.machine.note(this.cluster), durable => wal.flush(durable), done)
  }

  /**
   * Stops, and leaves a checkpoint where that saves the next start some work. One that fails costs nothing: everything is in the log.
   */
  close(done: () => void): void {
    const { engine } = this.host
    const between = !this.stopped && !this.applying
    this.writeHardState()
    this.stop()
    engine.whenIdle(() => {
      if (between && engine.uncheckpointedBytes >= checkpointBytesAtClose) this.writeCheckpoint(() => done())
      else done()
    })
  }

  private wake(): void {
    if (this.waiting.length === 0) return
    const { applied } = this.machine
    const due = this.waiting.filter(waiter => waiter.index <= applied)
    if (due.length === 0) return
    this.waiting = this.waiting.filter(waiter => waiter.index > applied)
    for (const waiter of due) waiter.run()
  }

  /** Reads entries back that are no longer in memory, one after the other, until the request's size is reached. */
  private fetch(request: FetchRequest): void {
    const entries: Entry[] = []
    let bytes = 0
    let next = request.from as number
    let looping = false
    // A loop instead of recursion: where reads complete at once, thousands come in one turn.
    const loop = (): void => {
      if (looping) return
      looping = true
      let arrived = true
      while (arrived && !this.stopped) {
        // The log may have been cut since the core asked: what is gone is simply not delivered, and the core asks anew.
        if (next > request.through || next > this.positions.lastIndex || bytes >= request.bytesMax) {
          this.raft.fetched(request, entries)
          this.schedule()
          return
        }
        arrived = false
        this.readEntry(index(next), entry => {
          entries.push(entry)
          bytes += entry.data.length
          next++
          arrived = true
          loop()
        })
      }
      looping = false
    }
    loop()
  }

  private readEntry(at: Index, done: (entry: Entry) => void): void {
    this.host.wal.read(this.positions.get(at), result => {
      if (this.stopped) return
      const record = result.ok ? result.value : undefined
      const kind = record?.type === 'entry' && record.index === at ? kindOf(record.kind) : undefined
      if (record?.type !== 'entry' || kind === undefined) {
        this.stop()
        this.host.onFatal(
          result.ok
            ? new HarmonyError('CORRUPT', `log entry ${at} cannot be read back: another record stands there`)
            : result.error,
        )
        return
      }
      done({ index: at, term: record.term, kind, data: record.data })
    })
  }
}

/** A group as it is at birth: an empty log under `birth`. */
export function newGroup(group: GroupId, cluster: ClusterId, birth: Configuration): RestoredGroup {
  const hardState: HardState = { term: term(0), vote: undefined, commit: index(0) }
  const log: RestoredLog = { hardState, lastIndex: index(0), termRuns: [], configurations: [], birth }
  return { group, cluster, log, positions: new Positions() }
}
