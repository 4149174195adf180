/**
 * When checkpoints of a group are made, and what of the log may go with each. A checkpoint says where the log goes on from it (`checkpoint-note.ts`); once it
 * is in force, what lies before is dropped.
 */
import { HarmonyError } from '../base/errors.ts'
import { type Index, type Lsn, lsn } from '../base/ids.ts'
import type { Clock, Completion, Done } from '../platform.ts'
import { membersOf } from '../raft/configuration.ts'
import type { RaftStatus } from '../raft/types.ts'
import type { Compacted, Engine } from '../storage/engine.ts'
import type { LogBegin } from './checkpoint-note.ts'

/** How much may have to be applied again after a crash before a checkpoint is made, in bytes of log. */
export const checkpointBytesDefault = 32 * 1024 * 1024
/** Less than this is left to the log when the store is closed. */
const checkpointBytesAtClose = 64 * 1024
/** A peer that nobody has written to for so long has the time to make one for this much: tabs are killed, and not closed. */
const idleMs = 3000
const checkpointBytesIdle = 1024 * 1024
/** A follower that is alive keeps so many times the tail in the log before it has to get a snapshot. */
const patienceTails = 4

const heldTails = 8
const heldStates = 4

/**
 * So much log is kept for who gets a state that is held, so many times as much after one that was let go (`snapshot-source.ts`); then the state is let go, and whoever
 * still gets it begins anew with a newer one. A large state takes long: four times its keys and values may be written meanwhile.
 */
export const heldLogBytesMax = (checkpointBytes: number, stateBytes: number): number =>
  Math.max(heldTails * checkpointBytes, heldStates * stateBytes)

export interface CheckpointsHost {
  readonly engine: Engine
  readonly clock: Pick<Clock, 'now'>
  /** A checkpoint is made when so much of the log would have to be applied again. */
  readonly checkpointBytes: number
  /** No entry is half applied, and the owner goes on. */
  ready(): boolean
  stopped(): boolean
  /** Where the log may begin behind this checkpoint, and the checkpoint's note. */
  describe(): { readonly begin: LogBegin; readonly note: Uint8Array }
  flushLog(done: Done): void
  inForce(begin: LogBegin): void
  failed(error: unknown): void
}

export class Checkpoints {
  private readonly host: CheckpointsHost
  private wanted: Done[] = []
  private awaiting = false
  /** As the last look found it, and since when. */
  private unsaved = { bytes: 0, sinceMs: 0 }

  constructor(host: CheckpointsHost) {
    this.host = host
  }

  /**
   * Makes the state between two entries durable: a restart then replays the log only from there. One at a time; who asks while one is
   * being made gets the next one.
   */
  make(done: Done): void {
    this.wanted.push(done)
    this.step()
  }

  /** Now and then. */
  tick(): void {
    const { engine, clock, checkpointBytes } = this.host
    const { uncheckpointedBytes: bytes } = engine
    if (bytes !== this.unsaved.bytes) this.unsaved = { bytes, sinceMs: clock.now() }
    const enough = bytes >= Math.min(checkpointBytesIdle, checkpointBytes)
    if (!enough || clock.now() - this.unsaved.sinceMs < idleMs) return
    if (this.host.ready() && !engine.checkpointing && this.wanted.length === 0) this.make(() => {})
  }

  /** Gives free space of the page file back. Errors: CLOSED, those of the page file. */
  compact(done: Completion<Compacted>): void {
    const { host } = this
    host.engine.compact(next => {
      if (host.stopped())
        next(new HarmonyError('CLOSED', 'the database was closed, or began another history, meanwhile'))
      else this.make(next)
    }, done)
  }

  /** Begins one if it is due. */
  step(): void {
    const { engine, checkpointBytes } = this.host
    if (!this.host.ready()) return
    if (this.wanted.length === 0 && engine.uncheckpointedBytes < checkpointBytes) return
    if (engine.checkpointing) {
      // Perhaps one of the history that this peer had before.
      if (!this.awaiting) {
        engine.whenIdle(() => {
          this.awaiting = false
          this.step()
        })
      }
      this.awaiting = true
      return
    }
    const dones = this.wanted
    this.wanted = []
    this.writeAndShorten(error => {
      if (error !== undefined && !this.host.stopped()) this.host.failed(error)
      for (const done of dones) done(error)
    })
  }

  /** At once; none may be under way. What its note says of the log is the caller's to bring about. */
  write(note: Uint8Array, done: Done): void {
    const { engine, flushLog } = this.host
    // Entries may be applied before the log holds them durably: the checkpoint must not be in force before that.
    engine.checkpoint(note, durable => flushLog(durable), done)
  }

  private writeAndShorten(done: Done): void {
    const { begin, note } = this.host.describe()
    this.write(note, error => {
      if (error === undefined) this.host.inForce(begin)
      done(error)
    })
  }

  /** Nobody who waits gets one any more. */
  stop(): void {
    const { wanted } = this
    this.wanted = []
    for (const done of wanted) done(new HarmonyError('CLOSED', 'no checkpoint was made: the replica was stopped'))
  }

  /**
   * A last one where that saves the next start some work. One that fails costs nothing: everything is in the log.
   * @param settled Whether it stopped between two entries.
   */
  close(settled: boolean, done: () => void): void {
    const { engine } = this.host
    engine.whenIdle(() => {
      if (settled && engine.uncheckpointedBytes >= checkpointBytesAtClose) this.writeAndShorten(() => done())
      else done()
    })
  }
}

/** What `chooseBase` goes by. */
export interface LogView {
  readonly status: Pick<RaftStatus, 'firstIndex' | 'applied' | 'role' | 'progress' | 'configuration'>
  readonly endLsn: Lsn
  /** The last entry that begins before a place. */
  before(at: Lsn): Index
  /** Kept for followers that were away for a moment, in bytes. */
  readonly tailBytes: number
  /** Entries behind this one will be asked for: a snapshot of it is being sent. */
  readonly held: Index | undefined
}

/**
 * Through which entry the log may be cut: everything that is applied, but for a tail where there are others; and what the living followers need, as long as that is
 * not too much.
 */
export function chooseBase({ status, endLsn, before, tailBytes, held }: LogView): Index {
  const { firstIndex, applied, role, progress, configuration } = status
  const alone = membersOf(configuration).length <= 1
  const behind = (bytes: number): Index => before(lsn(Math.max(0, endLsn - bytes)))
  let base: number = alone ? applied : Math.min(applied, behind(tailBytes))
  if (role === 'leader') {
    const patience = behind(tailBytes * patienceTails)
    for (const { match, active } of progress) if (active && match >= patience) base = Math.min(base, match)
  }
  if (held !== undefined) base = Math.min(base, held)
  return Math.max(base, firstIndex - 1) as Index
}
