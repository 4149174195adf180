/**
 * One Raft group on this peer: drives the consensus core, writes its log, applies what is committed, and answers when reads
 * may be served. It has no idea of links, clients or membership policy: those are `cluster/`.
 *
 * Order of effects for each Ready (duties O1 to O4 of `raft/types.ts`): append to the log, send what may go at once, apply; when the
 * append is durable, send what waited for it. Work of one turn of the event loop is taken together: one Ready, one sync.
 */
import { type HarmonyError, isHarmonyError } from '../base/errors.ts'
import { type ClusterId, type GroupId, type Index, index, type PeerId, type Timestamp, timestamp } from '../base/ids.ts'
import type { Completion } from '../platform.ts'
import { Raft } from '../raft/raft.ts'
import type {
  ConfigurationChange,
  Entry,
  Message,
  ProposeResult,
  RaftLimits,
  RaftStatus,
  Ready,
} from '../raft/types.ts'
import type { Compacted } from '../storage/engine.ts'
import { LocalOracle, type Oracle } from '../txn/oracle.ts'
import { AppliedWaiters } from './applied-waiters.ts'
import { ApplyMachine } from './apply.ts'
import { applyInOrder } from './apply-in-order.ts'
import { encodeCheckpointNote, type LogBegin } from './checkpoint-note.ts'
import { Checkpoints, chooseBase, heldLogBytesMax } from './checkpoints.ts'
import { stampBody } from './command.ts'
import { CommitNotices } from './commit-notices.ts'
import { assertMeet, GroupLog, type RestoredGroup } from './group-log.ts'
import { History } from './history.ts'
import { Lease } from './lease.ts'
import type { PreparedTransactions } from './prepared.ts'
import type { ReplicaHost, StateMark } from './replica-host.ts'
import { install } from './snapshot-install.ts'
import { type ReceivedSnapshot, SnapshotSink } from './snapshot-sink.ts'
import { SnapshotSource } from './snapshot-source.ts'
import type { SnapshotAsk, SnapshotPiece } from './snapshot-wire.ts'

/** How often a commit index that nothing else carries to the log is written by itself: what a restart can show before it meets others. */
const commitMarkEveryTicks = 20
const handOverMsMax = 1000

export class Replica {
  readonly group: GroupId
  readonly cluster: ClusterId
  readonly history: History
  readonly prepared: PreparedTransactions
  private readonly raft: Raft
  private readonly host: ReplicaHost
  private readonly machine: ApplyMachine
  private readonly random: () => number
  private readonly checkpoints: Checkpoints
  private readonly source: SnapshotSource
  private readonly sink: SnapshotSink
  private readonly log: GroupLog
  private readonly lease: Lease
  private ticks = 0
  private pumpScheduled = false
  private pumping = false
  /** Committed entries are being applied; they may wait for pages. */
  private applying = false
  /** A received state is being taken over. */
  private installing = false
  /** Waits for the end of what is being applied. */
  private received: ReceivedSnapshot | undefined
  /** No message and no time reaches the core: what it would write must not come between a received state and its checkpoint. */
  private frozen = false
  private stopped = false
  /** Why it stops once it has handed leadership over. */
  private leaving: HarmonyError | undefined
  private readonly oracle: Oracle = new LocalOracle()
  private readonly notices: CommitNotices
  private readonly waiters = new AppliedWaiters()

  constructor(id: PeerId, limits: RaftLimits, random: () => number, restored: RestoredGroup, host: ReplicaHost) {
    this.group = restored.group
    this.cluster = restored.cluster
    this.host = host
    this.random = random
    this.log = new GroupLog({ wal: host.wal, stopped: () => this.stopped, failed: error => this.fail(error) }, restored)
    this.machine = new ApplyMachine(host.engine, restored.cluster)
    const { applied, idle } = this.machine
    this.prepared = this.machine.prepared
    assertMeet(restored.log, applied)
    this.lease = new Lease(host.clock, host.leaseMs)
    this.raft = new Raft({ id, limits, random, restored: { ...restored.log, applied }, leases: this.lease.isOffered })
    this.notices = new CommitNotices({ clock: host.clock, raft: this.raft, told: () => this.schedule() })
    idle.forget(restored.log.base.index)
    const base = (): Index => index(this.raft.status().firstIndex - 1)
    this.history = new History({ log: this.log, idle, applied: () => this.applied, base })
    this.checkpoints = this.makeCheckpoints()
    this.source = this.makeSource(limits.messageBytesMax)
    this.sink = this.makeSink()
  }

  private makeCheckpoints(): Checkpoints {
    const { engine, clock, wal, checkpointBytes } = this.host
    return new Checkpoints({
      engine,
      clock,
      checkpointBytes,
      ready: () => !this.stopped && !this.applying && this.host.mayWrite(),
      stopped: () => this.stopped,
      describe: () => {
        const begin = this.log.beginBehind(this.chooseBase(), this.raft)
        return { begin, note: encodeCheckpointNote(begin, this.machine.note(this.cluster)) }
      },
      flushLog: done => wal.flush(done),
      inForce: begin => this.shorten(begin),
      failed: error => this.fail(error),
    })
  }

  private makeSource(pieceBytesMax: number): SnapshotSource {
    const { engine, clock, checkpointBytes } = this.host
    return new SnapshotSource({
      engine,
      clock,
      pieceBytesMax,
      random: this.random,
      describe: () => {
        const { applied, settled } = this.machine
        if (this.stopped || this.installing || !settled || applied === 0) return undefined
        return { base: this.raft.baseAt(applied), note: this.machine.note(this.cluster) }
      },
      writing: () => this.raft.commit < this.raft.status().lastIndex,
      reaches: base => base.index + 1 >= this.raft.status().firstIndex,
      overdue: (base, times) =>
        this.log.bytesBehind(base.index) > times * heldLogBytesMax(checkpointBytes, engine.status().bytes),
      send: (to, piece) => this.host.sendPiece(to, piece),
      onFatal: error => this.fail(error),
    })
  }

  private makeSink(): SnapshotSink {
    const { clock, directory } = this.host
    return new SnapshotSink({
      clock,
      directory,
      leader: () => (this.raft.status().role === 'follower' ? this.raft.leader : undefined),
      cluster: this.cluster,
      wants: base => base.index > this.raft.status().commit,
      send: (to, ask) => this.host.sendAsk(to, ask),
      received: snapshot => this.install(snapshot),
      refused: problem => this.host.onRefused(problem),
      onFatal: error => this.fail(error),
    })
  }

  /** `applied`: as the state machine is, which the core hears of a little later; 0 while it is filled with a received state. */
  status(): RaftStatus {
    const status = this.raft.status()
    const applied = this.installing ? index(0) : this.machine.applied
    return status.applied === applied ? status : { ...status, applied }
  }

  get applied(): Index {
    return this.machine.applied
  }
  /** As `status` says, and cheaper. */
  get leader(): PeerId | undefined {
    return this.raft.leader
  }
  /** Every version of the state here is this one or older. */
  get stateTimestamp(): Timestamp {
    return this.machine.stateTimestamp
  }
  /** This replica's state is the newest there is, and nobody else can make a newer one: it may be read without a round of questions. */
  get readable(): boolean {
    return !this.stopped && this.machine.applied === this.raft.commit && (this.raft.leadsAlone || this.hasLease)
  }
  private get hasLease(): boolean {
    return this.lease.isOffered && this.lease.holds(this.raft.leaseRound)
  }
  /** Nothing happens, and nobody expects to hear of anybody (`raft/quiescence.ts`). */
  get resting(): boolean {
    return this.raft.resting
  }
  get hasData(): boolean {
    return this.machine.hasData
  }
  get fingerprint(): number | undefined {
    return this.installing || this.applying ? undefined : this.machine.fingerprint
  }

  /** Undefined in the middle of an entry. */
  mark(): StateMark | undefined {
    const { applied, fingerprint, settled } = this.machine
    if (this.stopped || this.installing || !settled) return undefined
    const { keys, bytes } = this.host.engine.status()
    return { index: applied, fingerprint, keys, bytes }
  }

  tick(): void {
    if (this.stopped) return
    // Also while a state is taken over: its source is told that it is still needed.
    this.sink.tick()
    if (this.frozen) return
    this.raft.tick()
    this.leadersNeedNoState()
    this.source.tick()
    this.checkpoints.tick()
    this.schedule()
    if (++this.ticks % commitMarkEveryTicks !== 0 || !this.log.hasUnwritten) return
    this.log.writeHardState()
    this.host.wal.flush(error => {
      if (error !== undefined) this.fail(error)
    })
  }

  step(message: Message): void {
    if (this.stopped || this.frozen) return
    this.raft.step(message)
    this.schedule()
  }

  /** A peer asks for this one's state. */
  snapshotAsked(from: PeerId, ask: SnapshotAsk): void {
    // Who does not lead may be far behind itself.
    if (!this.stopped && !this.installing && this.raft.status().role === 'leader') this.source.asked(from, ask)
  }

  snapshotArrived(piece: SnapshotPiece): void {
    if (!this.stopped && !this.installing) this.sink.arrived(piece)
  }

  /** `linked`: to this peer there is a new one, and what was on its way over an older one is lost. */
  linksChanged(linked: PeerId | undefined): void {
    this.stir()
    if (linked !== undefined) this.sink.linked(linked)
  }

  private leadersNeedNoState(): void {
    if (this.sink.receivedBytes === undefined || this.installing || this.raft.status().role !== 'leader') return
    this.received = undefined
    this.sink.end()
  }

  /** Of a state that is being received, in bytes; undefined: none is. */
  get receivedBytes(): number | undefined {
    return this.sink.receivedBytes
  }

  /**
   * Leader only. `body` is an encoded command body that the caller has decoded once (a malformed entry would stop every replica), and takes so many timestamps.
   * A leader waits with commands until it has applied an entry of its own term: before that it does not know the newest timestamp.
   */
  propose(body: Uint8Array, stamps: number, asker?: PeerId): ProposeResult {
    const status = this.raft.status()
    if (this.stopped || status.role !== 'leader') return { ok: false, reason: 'not-leader' }
    if (!this.oracle.ready(status, this.machine.applied)) return { ok: false, reason: 'pending' }
    const at = this.oracle.next(this.machine.timestamp)
    const wallMs = Math.max(0, Math.floor(this.host.clock.wall()))
    const result = this.raft.propose(stampBody({ at, wallMs }, body), asker)
    // Nothing to do for a refusal: to be woken by it would be to ask again without end.
    if (!result.ok) return result
    this.oracle.given(timestamp(at + stamps - 1))
    this.schedule()
    return result
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
    if (!this.stopped) this.raft.campaign()
    this.schedule()
  }

  /** Runs `run` once everything through `through` is applied; at once if it is. */
  whenApplied(through: Index, run: () => void): void {
    if (this.machine.applied >= through) run()
    else this.waiters.add(through, run)
  }

  /** The group is wanted, or a link has changed. */
  stir(): void {
    if (this.stopped || !this.raft.resting) return
    this.raft.stir()
    this.schedule()
  }

  /** Applies what is known to be committed, without any tick. */
  wake(): void {
    this.schedule()
  }

  /** No effect leaves this replica any more; callbacks that are under way are dropped. */
  stop(): void {
    this.stopped = true
    this.waiters.clear()
    this.checkpoints.stop()
    this.source.stop()
    this.sink.stop()
  }

  /** Without space a leader waits until another one leads: what it acknowledges from now on, a majority of the others has. */
  private fail(error: unknown): void {
    if (this.stopped || this.leaving !== undefined) return
    if (!isHarmonyError(error, 'QUOTA') || !this.raft.transferLeadership()) return this.end(error)
    this.leaving = error
    this.host.clock.after(handOverMsMax, () => this.end(error))
    this.schedule()
  }

  private end(error: unknown): void {
    if (this.stopped) return
    this.stop()
    this.host.engine.close()
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
    if (this.stopped || this.pumping || this.frozen) return
    this.pumping = true
    try {
      if (this.hasLease) this.raft.confirmReads()
      while (!this.stopped && !this.frozen && this.raft.hasReady()) this.process(this.raft.ready())
    } catch (error) {
      return this.fail(error)
    } finally {
      this.pumping = false
    }
    if (this.leaving !== undefined && this.raft.status().role !== 'leader') this.end(this.leaving)
    if (this.stopped) return
    this.notices.look()
    this.host.onProgress()
  }

  private process(ready: Ready): void {
    for (const message of ready.messages) {
      if (message.type === 'heartbeat') this.lease.leaves(message.context)
      this.host.send(message)
    }
    this.append(ready)
    for (const read of ready.reads) this.host.onReadIndex(read.context, read.index)
    this.apply(ready.committed)
    if (ready.snapshot !== undefined) this.sink.needed()
    const { fetch } = ready
    if (fetch === undefined) return
    this.log.read(fetch, entries => {
      this.raft.fetched(fetch, entries)
      this.schedule()
    })
  }

  private append(ready: Ready): void {
    if (ready.hardState !== undefined) this.log.note(ready.hardState)
    if (ready.append === undefined) return
    this.log.writeHardState()
    this.log.append(ready.entries)
    const flush = (): void => this.host.wal.flush(error => this.afterAppend(error, ready))
    // A log may be synced within the call: what need not wait for that is on its way before.
    if (ready.messages.length === 0) flush()
    else this.host.clock.soon(flush)
  }

  private afterAppend(error: HarmonyError | undefined, { append, messagesAfterAppend }: Ready): void {
    if (this.stopped || error !== undefined || append === undefined) return this.fail(error)
    for (const message of messagesAfterAppend) this.host.send(message)
    this.raft.appended(append)
    if (!this.pumping) this.pump()
  }

  /** The core hands out no more until all of these are applied. */
  private apply(entries: readonly Entry[]): void {
    // What comes while a newer state is taken over is part of it, or comes again.
    if (entries.length === 0 || this.installing) return
    this.applying = true
    applyInOrder(this.machine, entries, {
      stopped: () => this.stopped,
      onApplied: (applied, at) => this.host.onApplied(applied, at),
      onStep: () => this.source.retry(),
      onEnd: () => this.allApplied(),
      onError: error => this.fail(error),
    })
  }

  private allApplied(): void {
    this.applying = false
    this.raft.applied(this.machine.applied)
    this.waiters.wake(this.machine.applied)
    const { received } = this
    this.received = undefined
    if (received !== undefined) this.install(received)
    this.checkpoints.step()
    this.schedule()
  }

  /** Gives free space of the page file back. Errors: CLOSED, those of the page file. */
  compact(done: Completion<Compacted>): void {
    this.checkpoints.compact(done)
  }

  /** Stops, and leaves a checkpoint where that saves the next start some work. */
  close(done: () => void): void {
    const settled = !this.stopped && !this.applying
    this.log.writeHardState()
    this.stop()
    this.checkpoints.close(settled, done)
  }

  private chooseBase(): Index {
    const status = this.raft.status()
    // Without data the group may still give way to another one, which each member has to see.
    if (!this.machine.hasData) return index(status.firstIndex - 1)
    return chooseBase({
      status,
      endLsn: this.host.wal.endLsn,
      before: at => this.log.before(at),
      tailBytes: this.host.checkpointBytes,
      held: this.source.holds?.index,
    })
  }

  private shorten(begin: LogBegin): void {
    this.log.begin(begin)
    if (this.stopped) return
    this.raft.compact(begin.base.index)
    this.machine.idle.forget(begin.base.index)
    this.host.onProgress()
  }

  /**
   * Puts a received state in place of this peer's own. Its checkpoint is the one step in which that happens on disk: before it, a restart finds what was there;
   * after it, a log that begins behind the new state. While it is being made, this replica is as good as paused.
   */
  private install(snapshot: ReceivedSnapshot): void {
    if (this.applying) {
      this.received = snapshot
      return
    }
    // A new leader may have sent the entries meanwhile.
    if (snapshot.base.index <= this.machine.applied) return this.sink.end()
    this.applying = true
    this.installing = true
    this.source.stop()
    const { engine } = this.host
    engine.whenIdle(() => {
      if (this.stopped) return
      install(this.machine, engine, snapshot, error => {
        if (error !== undefined) return this.fail(error)
        // What the core has goes into the log first: it may hold the very entry that the state was made by.
        this.pump()
        if (this.stopped) return
        this.frozen = true
        const { base } = snapshot
        const isKnown = this.raft.has(base)
        const begin = isKnown
          ? this.log.beginBehind(index(this.raft.status().firstIndex - 1), this.raft)
          : this.log.beginAnew(base, this.raft)
        this.checkpoints.write(encodeCheckpointNote(begin, this.machine.note(this.cluster)), failed => {
          if (this.stopped || failed !== undefined) return this.fail(failed)
          this.raft.restore(base)
          this.machine.idle.forget(begin.base.index)
          if (!isKnown) this.log.replace(begin)
          this.installed()
        })
      })
    })
  }

  private installed(): void {
    this.sink.end()
    this.frozen = false
    this.installing = false
    this.applying = false
    this.host.onInstalled()
    this.waiters.wake(this.machine.applied)
    this.checkpoints.step()
    this.schedule()
  }
}
