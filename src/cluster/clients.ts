/** What this process asks of the database: reads at a chosen consistency and writes, over the peer's replica. */
import { HarmonyError } from '../base/errors.ts'
import { type Index, type PeerId, type Timestamp, timestamp } from '../base/ids.ts'
import type { Clock, Done, Random } from '../platform.ts'
import type { Applied } from '../shard/apply.ts'
import type { Command, SessionId } from '../shard/command.ts'
import type { Kept } from '../shard/prepared.ts'
import type { Replica } from '../shard/replica.ts'
import type { Compacted, Engine, EngineSnapshot, View } from '../storage/engine.ts'
import { type LockAnswer, Locks, type LockWish } from './locks.ts'
import type { ReadLevel } from './peer-types.ts'
import { PreparedDeadlines } from './prepared-deadlines.ts'
import { Reads } from './reads.ts'
import { Watchers } from './watchers.ts'
import type { PeerMessage } from './wire.ts'
import { type PostResult, type WriteRequest, type WriteResult, Writes } from './writes.ts'

/** `at`: every version in it is this one or older. */
export interface TakenSnapshot {
  readonly snapshot: EngineSnapshot
  readonly at: Timestamp
}

/** See `Clients.watchFrom`. */
export interface WatchStart {
  readonly from: Index | undefined
  /** Of the entries behind `from` the watch has the commits up to this one. */
  readonly behind: Timestamp
  readonly at: Timestamp
}

export interface ClientsHost {
  readonly clock: Clock
  readonly random: Random
  readonly engine: Engine
  readonly self: PeerId
  send(to: PeerId, message: PeerMessage): void
  /** Undefined while a new history is being begun. */
  replica(): Replica | undefined
  /** Local reads wait for this index; undefined: not known before the first catch-up. */
  localFrom(): Index | undefined
  /** Why nothing at all is answered (closed, stopped by an error). */
  unusable(): HarmonyError | undefined
  /** Why nothing that needs a majority is taken. */
  refusal(): HarmonyError | undefined
  post(session: SessionId, serial: number, command: Command): PostResult
  /** What is stored here cannot be read. Others may have it whole; who is alone goes on with the rest. */
  damaged(error: HarmonyError): void
}

const readableMsMax = 2 ** 31 - 1

const unready = (): HarmonyError => new HarmonyError('TIMEOUT', 'a new history is being begun; try again')

export class Clients {
  readonly writes: Writes
  readonly reads: Reads
  readonly watchers: Watchers
  readonly locks: Locks
  private readonly host: ClientsHost
  private readonly deadlines: PreparedDeadlines
  /** Local reads that came before the log was replayed. */
  private readonly locals = new Set<Done>()

  constructor(host: ClientsHost) {
    this.host = host
    const { clock, random } = host
    this.writes = new Writes({ clock, random, post: (session, serial, command) => host.post(session, serial, command) })
    this.reads = new Reads({
      clock,
      readIndex: context => {
        const replica = host.replica()
        if (replica !== undefined) replica.readIndex(context)
        else this.reads.onReadIndex(context, undefined)
      },
      whenApplied: (index, run) => host.replica()?.whenApplied(index, run),
    })
    this.locks = new Locks({
      clock,
      random,
      self: host.self,
      leader: () => host.replica()?.leader,
      leads: () => {
        const status = host.replica()?.status()
        return status?.role === 'leader' ? status.term : undefined
      },
      send: (to, message) => host.send(to, message),
    })
    this.deadlines = new PreparedDeadlines({
      clock,
      replica: () => host.replica(),
      write: (request, timeoutMs, done) => this.write(request, timeoutMs, done),
    })
    this.watchers = new Watchers({
      replica: () => host.replica(),
      unusable: () => host.unusable(),
      whenReadable: done => this.barrier({ consistency: 'local' }, readableMsMax, done),
    })
  }

  /** In log order. */
  applied({ session, writes }: Extract<Applied, { type: 'writes' }>, index: Index): void {
    this.watchers.applied(index, writes)
    this.writes.applied(session, writes)
  }

  /** The state is another peer's now: entries in between were not applied one by one. */
  installed(): void {
    this.watchers.jumped()
    // What was asked for before may have been done on the way: the answers have to be asked for again.
    this.writes.kick(true)
  }

  /**
   * Where a watch begins: behind what is applied here now, so that nothing which is acknowledged after the call is missed (what was acknowledged elsewhere just before it may be told,
   * too); or behind `since`. `from` undefined: what came since then is not to be had any more. `at`: the version that it has everything of.
   */
  watchFrom(since: Timestamp | undefined, timeoutMs: number, done: (result: WatchStart | HarmonyError) => void): void {
    const begun = this.localReady ? this.host.replica()?.applied : undefined
    this.barrier({ consistency: 'local' }, timeoutMs, error => {
      const replica = this.host.replica()
      if (error !== undefined || replica === undefined) return done(error ?? unready())
      const { stateTimestamp: at } = replica
      if (since === undefined) return done({ from: begun ?? this.host.localFrom(), behind: timestamp(0), at })
      if (since <= at) return this.watchBehind(replica, since, done)
      // Another peer was ahead of this one; or it is of another history, or was never given out.
      this.barrier({ consistency: 'linearizable' }, timeoutMs, unread => {
        if (unread !== undefined) return done(unread)
        const { stateTimestamp: newest } = replica
        if (since > newest || replica !== this.host.replica())
          done({ from: undefined, behind: timestamp(0), at: newest })
        else this.watchBehind(replica, since, done)
      })
    })
  }

  private watchBehind(replica: Replica, since: Timestamp, done: (result: WatchStart) => void): void {
    if (since === replica.stateTimestamp) return done({ from: replica.applied, behind: since, at: since })
    replica.history.find(since, found => {
      const isGone = found === 'gone' || replica !== this.host.replica()
      done({ from: isGone ? undefined : found, behind: since, at: since })
    })
  }

  /** `done` is called in the turn in which the answer is true; `operation` may run more than once (see `storage/engine.ts`). */
  read<T>(
    level: ReadLevel,
    timeoutMs: number,
    operation: (view: View) => T,
    done: (result: T | HarmonyError) => void,
  ): void {
    this.barrier(level, timeoutMs, error => {
      if (error !== undefined) done(error)
      else
        this.host.engine.read(operation, result => {
          if (!result.ok && result.error.code === 'CORRUPT') this.host.damaged(result.error)
          done(result.ok ? result.value : result.error)
        })
    })
  }

  /** May this replica answer `local` reads, at once? */
  get localReady(): boolean {
    const from = this.host.localFrom()
    const replica = this.host.replica()
    return this.host.unusable() === undefined && from !== undefined && replica !== undefined && replica.applied >= from
  }

  /** As `read`, where neither the level nor a page has to be waited for; else undefined. @throws HarmonyError: what `unusable` says. */
  peek<T>(level: ReadLevel, operation: (view: View) => T): { readonly value: T } | undefined {
    return this.passes(level) ? this.host.engine.peek(operation) : undefined
  }

  /** A read at this level need not wait for others. @throws HarmonyError: what `unusable` says. */
  passes(level: ReadLevel): boolean {
    const unusable = this.host.unusable()
    if (unusable !== undefined) throw unusable
    return this.isPassed(level)
  }

  /** The barrier of this level is none at this moment. */
  private isPassed({ consistency }: ReadLevel): boolean {
    if (consistency === 'local' || consistency === 'session') return this.localReady
    // Who is a majority alone need not ask anybody.
    return this.host.replica()?.readable === true && this.host.unusable() === undefined
  }

  /** The state at the level asked for, to be read for a while. The receiver releases it. */
  snapshot(level: ReadLevel, timeoutMs: number, done: (result: TakenSnapshot | HarmonyError) => void): void {
    this.barrier(level, timeoutMs, error => {
      if (error !== undefined) return done(error)
      this.host.engine.snapshot(taken => {
        const at = this.host.replica()?.stateTimestamp ?? timestamp(0)
        done(taken.ok ? { snapshot: taken.value, at } : taken.error)
      })
    })
  }

  write(request: WriteRequest, timeoutMs: number, done: (result: WriteResult) => void): void {
    const refusal = this.host.refusal()
    if (refusal !== undefined) return done({ error: refusal })
    this.writes.submit(request, timeoutMs, done)
  }

  /** What is prepared and not decided, by a linearizable read. */
  prepared(timeoutMs: number, done: (result: readonly Kept[] | HarmonyError) => void): void {
    this.barrier({ consistency: 'linearizable' }, timeoutMs, error => {
      done(error ?? this.host.replica()?.prepared.list() ?? unready())
    })
  }

  /** Errors: as `Locks.lock`, and what writes are refused with. */
  lock(wish: LockWish, timeoutMs: number, done: (answer: LockAnswer) => void): void {
    const refusal = this.host.refusal()
    if (refusal !== undefined) return done(refusal)
    this.host.replica()?.stir()
    this.locks.lock(wish, timeoutMs, done)
  }

  /** Gives free space of the storage back to the host. */
  compact(done: (result: Compacted | HarmonyError) => void): void {
    const unusable = this.host.unusable()
    const replica = this.host.replica()
    if (unusable !== undefined) done(unusable)
    else if (replica === undefined) done(unready())
    else replica.compact(result => done(result.ok ? result.value : result.error))
  }

  /** Whoever waits for a leader may go on. */
  leaderKnown(): void {
    this.writes.kick(true)
    this.reads.kick()
    this.locks.kick()
  }

  tick(): void {
    this.writes.tick()
    this.reads.tick()
    this.watchers.tick()
    this.locks.tick()
    this.deadlines.tick()
  }

  /** Everybody who waits hears `why`; `maybeCommitted` is set for writes that left this peer. */
  failAll(why: (maybeCommitted: boolean) => HarmonyError): void {
    this.writes.failAll(why)
    this.reads.failAll(() => why(false))
    this.locks.failAll(why(false))
  }

  /** As `failAll`, and for good: also those who wait for what is on this peer's own disk. */
  close(why: (maybeCommitted: boolean) => HarmonyError): void {
    this.failAll(why)
    const waiting = [...this.locals]
    this.locals.clear()
    for (const done of waiting) done(why(false))
    this.watchers.close(why(false))
  }

  /** The replica begins a new history. */
  restart(): void {
    this.writes.restart()
    this.reads.restart()
    this.watchers.jumped()
  }

  private awaitLocal(replica: Replica, from: Index, done: Done): void {
    if (replica.applied >= from) return done(undefined)
    this.locals.add(done)
    replica.whenApplied(from, () => {
      if (this.locals.delete(done)) done(undefined)
    })
  }

  private barrier(level: ReadLevel, timeoutMs: number, done: Done): void {
    if (level.consistency === 'local' || level.consistency === 'session') {
      const unusable = this.host.unusable()
      if (unusable !== undefined) return done(unusable)
      // Own writes are answered when this replica has applied them: whatever is local has them all.
      const from = this.host.localFrom()
      const replica = this.host.replica()
      if (from !== undefined && replica !== undefined) return this.awaitLocal(replica, from, done)
    }
    if (this.isPassed({ consistency: 'linearizable' })) return done(undefined)
    const refusal = this.host.refusal()
    if (refusal !== undefined) return done(refusal)
    if (level.consistency === 'bounded') this.reads.boundedBarrier(level.maxStalenessMs, timeoutMs, done)
    else this.reads.barrier(timeoutMs, done)
  }
}
