/**
 * Gets the state from the leader, piece by piece, into a file of its own; only when all of it is there does it take the place of what this peer has
 * (`Replica.install`). So whatever happens to the link, the leader or this peer in between costs nothing but time.
 *
 * One ask is out at a time, and the next follows when the piece is written: neither side holds more than one. An ask that is not answered within
 * `patienceMs` is put again, to whoever leads then, and later each time: over a slow link the same piece would be sent again and again. It is put again at once over a new link, and when
 * there is somebody to ask who was not there before. Another leader has another state, and the file begins anew.
 *
 * What the leader sends is checked before it counts: a state whose note or rows make no sense is refused, and asked for again after `refusalMs`, or of another leader. While
 * the state is taken over, or a piece is being written for long, the leader hears every `keepMs` that it is still needed.
 *
 * Format of the file: records, each u32 length of the rows | u32 CRC-32C of the rows | rows (`snapshot-wire.ts`).
 */
import { ByteReader, ByteWriter, compareBytes } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Clock, Completion, Directory, LogFile } from '../platform.ts'
import type { LogBase } from '../raft/types.ts'
import type { Change } from '../storage/engine.ts'
import { decodeNote, type Note } from './apply-note.ts'
import {
  afterNote,
  areInOrder,
  type SnapshotAsk,
  type SnapshotPiece,
  stillNeeded,
  unpackRows,
} from './snapshot-wire.ts'

/** Name of the file in the store's directory; it means nothing after a restart. */
export const incomingFile = 'incoming'

const patienceMs = 2_000
const patienceMsMax = 16_000
/** Well below the time after which a source lets go (`snapshot-source.ts`). */
const keepMs = 4_000
const refusalMs = 30_000
/** More than the sessions and keys that a state machine keeps can take. */
const noteBytesMax = 512 * 1024 * 1024
const headBytes = 8

/** A whole state in the file, to be read once, from its beginning. */
export interface ReceivedSnapshot {
  readonly base: LogBase
  readonly note: Note
  /** Undefined: there is no more. It does not come at all once the sink has given up: another history may have begun. */
  next(done: Completion<readonly Change[] | undefined>): void
}

export interface SnapshotSinkHost {
  readonly clock: Clock
  readonly directory: Directory
  readonly cluster: ClusterId
  leader(): PeerId | undefined
  /** Is a state of this index news? */
  wants(base: LogBase): boolean
  send(to: PeerId, ask: SnapshotAsk): void
  /** All is there; `end` follows. */
  received(snapshot: ReceivedSnapshot): void
  /** What the leader sends is no state, for this reason. */
  refused(problem: string): void
  onFatal(error: unknown): void
}

export class SnapshotSink {
  private readonly host: SnapshotSinkHost
  private file: LogFile | undefined
  private opening = false
  /** The file is being written, or is whole. */
  private busy = false
  private stopped = false
  private active = false
  /** Moves on with each `end`: what was begun before means nothing any more. */
  private session = 0
  private askedMs = 0
  private asked: PeerId | undefined
  private patience = patienceMs
  private number = 0
  private base: LogBase | undefined
  private note: ByteWriter | undefined
  private after: Uint8Array | undefined
  private bytes = 0
  /** Who sent what was refused last, and when. */
  private refusal: { readonly from: PeerId | undefined; readonly atMs: number } | undefined

  constructor(host: SnapshotSinkHost) {
    this.host = host
  }

  /** Received so far; undefined: nothing is under way. */
  get receivedBytes(): number | undefined {
    return this.active ? this.bytes : undefined
  }

  /** The leader says that a snapshot is needed. */
  needed(): void {
    const { host, refusal } = this
    if (this.active || this.stopped) return
    if (refusal !== undefined && refusal.from === host.leader() && host.clock.now() - refusal.atMs < refusalMs) return
    this.active = true
    this.number = 0
    this.bytes = 0
    this.after = undefined
    this.patience = patienceMs
    this.ask()
  }

  /** A link to this peer came up: what was on its way over an older one is lost. */
  linked(peer: PeerId): void {
    if (!this.active || this.busy || peer !== this.host.leader()) return
    this.patience = patienceMs
    this.ask()
  }

  tick(): void {
    const { host, asked } = this
    if (!this.active) return
    if (this.busy) return this.keep()
    const leader = host.leader()
    if (asked !== leader) this.patience = patienceMs
    if (asked === undefined && leader !== undefined) return this.ask()
    if (host.clock.now() - this.askedMs <= this.patience) return
    // Kept for the next pieces: they come over the same link.
    if (asked !== undefined) this.patience = Math.min(patienceMsMax, this.patience * 2)
    this.ask()
  }

  arrived(piece: SnapshotPiece): void {
    const { host } = this
    if (!this.active || this.busy || this.stopped) return
    if (!host.wants(piece.base)) return this.end()
    const first = piece.after === undefined
    if (piece.snapshot !== this.number ? !first || piece.note === undefined : !equal(piece.after, this.after)) return
    if (crc32c(piece.rows) !== piece.crc) return this.ask()
    const rows = unpackRows(piece.rows)
    const problem = rows === undefined ? 'its rows are malformed' : this.problemWith(piece, rows)
    if (rows === undefined || problem !== undefined) return this.refuse(problem ?? '')
    this.busy = true
    const { session } = this
    this.open(file => {
      if (session !== this.session) return
      if (first) {
        file.truncate(0)
        this.number = piece.snapshot
        this.base = piece.base
        this.note = new ByteWriter(1024)
        this.bytes = 0
      }
      if (piece.note !== undefined) this.note?.raw(piece.note)
      file.append(new ByteWriter(headBytes).u32(piece.rows.length).u32(piece.crc).finish())
      file.append(piece.rows)
      file.sync(error => {
        if (session !== this.session) return
        if (error !== undefined) return host.onFatal(error)
        this.bytes += piece.rows.length
        this.after = rows.at(-1)?.key.slice() ?? afterNote(this.note?.length ?? 0)
        if (piece.last) return this.finish(file)
        this.busy = false
        this.ask()
      })
    })
  }

  /** What a leader that is broken, or an enemy, may send: undefined where the piece may follow what is there. */
  private problemWith({ base, after, last, note }: SnapshotPiece, rows: readonly Change[]): string | undefined {
    const { note: before } = this
    const noteBytes = (after === undefined ? 0 : (before?.length ?? 0)) + (note?.length ?? 0)
    if (noteBytes > noteBytesMax) return `its note has more than ${noteBytesMax} bytes`
    if (base.configuration.voters.length === 0) return 'nobody has a vote in it'
    if (after !== undefined && !sameBase(base, this.base)) return 'it changed on the way'
    if (!areInOrder(rows, after)) return 'its rows are out of order, or nothing that is stored'
    return last || rows.length > 0 || (note?.length ?? 0) > 0 ? undefined : 'it goes on without end'
  }

  private refuse(problem: string): void {
    const { host } = this
    this.refusal = { from: host.leader(), atMs: host.clock.now() }
    this.end()
    host.refused(problem)
  }

  private keep(): void {
    const { host } = this
    const leader = host.leader()
    if (leader === undefined || this.number === 0 || host.clock.now() - this.askedMs <= keepMs) return
    this.askedMs = host.clock.now()
    host.send(leader, stillNeeded(this.number))
  }

  /** Gives up what was received. */
  end(): void {
    this.session++
    this.active = false
    this.busy = false
    this.number = 0
    this.base = undefined
    this.note = undefined
    this.file?.truncate(0)
    this.file?.sync(() => {})
  }

  stop(): void {
    this.end()
    this.stopped = true
    this.file?.close(() => this.host.directory.remove(incomingFile, () => {}))
    this.file = undefined
  }

  private ask(): void {
    this.askedMs = this.host.clock.now()
    const leader = this.host.leader()
    this.asked = leader
    if (leader !== undefined)
      this.host.send(leader, { snapshot: this.number, after: this.number === 0 ? undefined : this.after })
  }

  private open(then: (file: LogFile) => void): void {
    const { file, host } = this
    if (file !== undefined) return then(file)
    // The piece will be asked for again.
    const later = (): void => {
      this.busy = false
    }
    if (this.opening) return later()
    this.opening = true
    host.directory.openLog(incomingFile, opened => {
      this.opening = false
      if (this.stopped) {
        if (opened.ok) opened.value.close(() => {})
        return
      }
      if (opened.ok) {
        this.file = opened.value
        return then(opened.value)
      }
      // A history that this peer gave up has not closed it yet.
      if (opened.error.code === 'LOCKED') later()
      else host.onFatal(opened.error)
    })
  }

  private finish(file: LogFile): void {
    const { base, note: noteBytes, session } = this
    if (base === undefined || noteBytes === undefined) return this.end()
    const note = decodeNote(noteBytes.finish())
    if (!note.ok) return this.refuse(note.error.message)
    if (note.value.cluster !== this.host.cluster || note.value.applied !== base.index) {
      return this.refuse('it does not belong to its own description')
    }
    let at = 0
    const { end } = file
    this.host.received({
      base,
      note: note.value,
      next: done => {
        if (at >= end) return done({ ok: true, value: undefined })
        file.read(at, headBytes, head => {
          if (session !== this.session) return
          if (!head.ok) return done(head)
          const reader = new ByteReader(head.value)
          const length = reader.u32()
          const crc = reader.u32()
          if (at + headBytes + length > end) return done(unreadable)
          file.read(at + headBytes, length, read => {
            if (session !== this.session) return
            if (!read.ok) return done(read)
            at += headBytes + length
            const rows = crc32c(read.value) === crc ? unpackRows(read.value) : undefined
            done(rows === undefined ? unreadable : { ok: true, value: rows })
          })
        })
      },
    })
  }
}

const unreadable = {
  ok: false,
  error: new HarmonyError('CORRUPT', 'a state that was received from another peer cannot be read back from storage'),
} as const

const sameBase = (a: LogBase, b: LogBase | undefined): boolean => a.index === b?.index && a.term === b.term

const equal = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : compareBytes(a, b) === 0
