/**
 * Gets the state from the leader, piece by piece, into a file of its own; only when all of it is there does it take the place of what this peer has
 * (`Replica.install`). So whatever happens to the link, the leader or this peer in between costs nothing but time.
 *
 * One ask is out at a time, and the next follows when the piece is written: neither side holds more than one. An ask that is not answered within
 * `patienceMs` is put again, to whoever leads then, and later each time: over a slow link the same piece would be sent again and again. Another leader has another state, and the file begins anew.
 *
 * Format of the file: records, each u32 length of the rows | u32 CRC-32C of the rows | rows (`snapshot-wire.ts`).
 */
import { ByteReader, ByteWriter, compareBytes } from '../base/bytes.ts'
import { crc32c } from '../base/checksum.ts'
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Clock, Completion, Directory, LogFile } from '../platform.ts'
import type { LogBase } from '../raft/types.ts'
import type { Change } from '../storage/engine.ts'
import { afterNote, type SnapshotAsk, type SnapshotPiece, unpackRows } from './snapshot-wire.ts'

/** Name of the file in the store's directory; it means nothing after a restart. */
export const incomingFile = 'incoming'

const patienceMs = 2_000
const patienceMsMax = 16_000
const headBytes = 8

/** A whole state in the file, to be read once, from its beginning. */
export interface ReceivedSnapshot {
  readonly base: LogBase
  readonly note: Uint8Array
  /** Undefined: there is no more. It does not come at all once the sink has given up: another history may have begun. */
  next(done: Completion<readonly Change[] | undefined>): void
}

export interface SnapshotSinkHost {
  readonly clock: Clock
  readonly directory: Directory
  leader(): PeerId | undefined
  /** Is a state of this index news? */
  wants(base: LogBase): boolean
  send(to: PeerId, ask: SnapshotAsk): void
  /** All is there; `end` follows. */
  received(snapshot: ReceivedSnapshot): void
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

  constructor(host: SnapshotSinkHost) {
    this.host = host
  }

  /** Received so far; undefined: nothing is under way. */
  get receivedBytes(): number | undefined {
    return this.active ? this.bytes : undefined
  }

  /** The leader says that a snapshot is needed. */
  needed(): void {
    if (this.active || this.stopped) return
    this.active = true
    this.number = 0
    this.bytes = 0
    this.after = undefined
    this.patience = patienceMs
    this.ask()
  }

  tick(): void {
    if (!this.active || this.busy) return
    const { host, asked } = this
    if (asked !== host.leader()) this.patience = patienceMs
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
    const rows = crc32c(piece.rows) === piece.crc ? unpackRows(piece.rows) : undefined
    if (rows === undefined) return this.ask()
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
    const { base, note, session } = this
    if (base === undefined || note === undefined) return this.end()
    let at = 0
    const { end } = file
    this.host.received({
      base,
      note: note.finish(),
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

const equal = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : compareBytes(a, b) === 0
