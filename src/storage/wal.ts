/**
 * The write-ahead log of one peer, for all of its groups, over a `LogFile`. The byte format is in `wal-record.ts`; how its
 * end is found after a crash in `wal-replay.ts`.
 *
 * Rules
 *  W1  `flush` completes without an error once everything appended before the call is durable. Completions keep the order
 *      of the calls. They may come before `flush` returns.
 *  W2  Group commit: one sync is under way at a time, and where syncs hold the thread it begins when what is ready has come. What is appended
 *      meanwhile stays here and is handed to the log file as one piece, with the next sync. So each record on disk whose durable LSN is x proves that all bytes before x were synced.
 *  W3  After a failed sync the log is dead: every flush and read completes with that error, appends go nowhere. The owner
 *      treats it as its own crash. Nothing is retried.
 *  W4  Replay yields a prefix of what was appended that holds everything whose flush completed, or CORRUPT.
 *  W5  `read` gives back what was appended at a position, synced or not, or an error: never another record.
 *
 * The owner bounds what waits here: it looks at `bufferedBytes` before it takes on more work.
 */
import { assert } from '../base/assert.ts'
import { ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Lsn, lsn } from '../base/ids.ts'
import type { Completion, Done, LogFile } from '../platform.ts'
import {
  claimedLength,
  claimsPlace,
  decodeRecord,
  encodeHead,
  encodeRecord,
  readRecord,
  recordHeaderBytes,
  sealRecords,
} from './wal-record.ts'
import { replayLog } from './wal-replay.ts'
import type { Position, WalRecord } from './wal-types.ts'

export interface WalOptions {
  /** The owner needs nothing before this place: replay begins there. Default 0: at the beginning. */
  readonly from?: Lsn
  /** The log is known to have been durable up to here (from the superblock); a valid end before it is damage. Default 0. */
  readonly durableMark?: Lsn
  /** Called for each record in order while the log is opened. Void if opening fails in the end. */
  readonly visit: (record: WalRecord, position: Position) => void
}

export interface OpenedWal {
  readonly wal: Wal
  /** Bytes of a torn tail that were cut; they may have been acknowledged and damaged (hard case 6 of the architecture). */
  readonly cutBytes: number
  readonly cutFrom: Lsn
}

export interface WalCounters {
  readonly records: number
  readonly syncs: number
  readonly bytes: number
}

interface Waiter {
  readonly through: number
  /** Set for calls that are refused and only wait for their turn. */
  readonly refusal: HarmonyError | undefined
  readonly done: Done
}

export class Wal {
  private readonly log: LogFile
  /** Records not yet handed to the log file, unsealed; they begin at `handed`. */
  private readonly pending = new ByteWriter(4096)
  private handed: number
  private durable: number
  private readonly waiters: Waiter[] = []
  private syncing = false
  /** The next sync waits for what else is ready. */
  private gathering = false
  /** The front was dropped, and no sync has made that true yet. */
  private dropping = false
  private pumping = false
  private closing = false
  private death: HarmonyError | undefined
  private readonly counts = { records: 0, syncs: 0, bytes: 0 }

  private constructor(log: LogFile) {
    this.log = log
    this.handed = log.end
    this.durable = log.end
  }

  /**
   * Replays the log, cuts a torn tail, and syncs, so that all that was replayed is durable (a process may have died with
   * records in the system's cache). Errors: CORRUPT, VERSION_MISMATCH, and those of the log file; it stays open then.
   */
  static open(log: LogFile, options: WalOptions, done: Completion<OpenedWal>): void {
    const { visit, from = lsn(0), durableMark = lsn(0) } = options
    replayLog(log, { from, durableMark, visit }, replayed => {
      if (!replayed.ok) return done(replayed)
      const { end, cutBytes } = replayed.value
      if (end < log.end) log.truncate(end)
      if (end === 0) log.append(encodeHead())
      log.sync(error => {
        if (error !== undefined) return done({ ok: false, error })
        done({ ok: true, value: { wal: new Wal(log), cutBytes, cutFrom: end } })
      })
    })
  }

  /** The log file has nothing before it. */
  get startLsn(): Lsn {
    return lsn(this.log.start)
  }

  /** Where the next record will stand. */
  get endLsn(): Lsn {
    return lsn(this.handed + this.pending.length)
  }

  /** Everything before it survives any crash. */
  get durableLsn(): Lsn {
    return lsn(this.durable)
  }

  /** Appended and not yet durable. */
  get bufferedBytes(): number {
    return this.endLsn - this.durable
  }

  /** Since opening. `bytes` without the file's head. */
  get counters(): WalCounters {
    return this.counts
  }

  /** Copies the record. It becomes durable with the next `flush`, not before. */
  append(record: WalRecord): Position {
    const at = this.endLsn
    if (this.death !== undefined || this.closing) return { lsn: at, bytes: recordHeaderBytes }
    const bytes = encodeRecord(this.pending, record, at)
    this.counts.records++
    this.counts.bytes += bytes
    return { lsn: at, bytes }
  }

  /** Nothing before `at`, which is durable, will be read any more. The space is free once a sync, which this begins, is over. */
  dropFront(at: Lsn): void {
    if (this.death !== undefined || this.closing) return
    assert(at <= this.durable, `dropped to ${at}, durable to ${this.durable}`)
    this.log.dropFront(at)
    this.dropping = true
    this.pump()
  }

  flush(done: Done): void {
    const refusal = this.closing ? closed() : undefined
    this.waiters.push({ through: this.endLsn, refusal, done })
    this.pump()
  }

  /** Completes before it returns for records that are still buffered; the order among reads is not kept. */
  read(position: Position, done: Completion<WalRecord>): void {
    if (this.death !== undefined) return done({ ok: false, error: this.death })
    if (this.closing) return done({ ok: false, error: closed() })
    const { lsn: at, bytes } = position
    if (at < this.log.start || bytes < recordHeaderBytes || at + bytes > this.endLsn) return done(unreadable(at))
    if (at >= this.handed) {
      const record = this.readPending(at - this.handed, position)
      return done(record === undefined ? unreadable(at) : { ok: true, value: record })
    }
    this.log.read(at, bytes, result => {
      if (!result.ok) return done(result)
      const record = readRecord(result.value, at)
      done(record === undefined ? unreadable(at) : { ok: true, value: record })
    })
  }

  /**
   * Records that stand one after the other, perhaps with others between them, with one read where all are in the log file. Entries' data are
   * views of what was read. Completes with those that it could read at once: the first at least, or an error (of the first).
   */
  readMany(positions: readonly Position[], done: Completion<readonly WalRecord[]>): void {
    const first = positions[0]
    const last = positions.at(-1)
    assert(first !== undefined && last !== undefined, 'one record at least')
    const end = last.lsn + last.bytes
    const length = end - first.lsn
    const dead = this.death !== undefined || this.closing
    if (positions.length === 1 || dead || end > this.handed || length <= 0 || first.lsn < this.log.start) {
      return this.read(first, read => done(read.ok ? { ok: true, value: [read.value] } : read))
    }
    this.log.read(first.lsn, length, result => {
      if (!result.ok) return done(result)
      const records: WalRecord[] = []
      for (const { lsn: at, bytes } of positions) {
        const from = at - first.lsn
        const record = readRecord(result.value.subarray(from, from + bytes), at, true)
        if (record === undefined) break
        records.push(record)
      }
      done(records.length === 0 ? unreadable(first.lsn) : { ok: true, value: records })
    })
  }

  /** Makes durable what is left, closes the log file, completes with the first error. Every later call completes with CLOSED. */
  close(done: Done): void {
    if (this.closing) return this.flush(done)
    const closeLog: Done = failed => this.log.close(error => done(failed ?? error))
    this.waiters.push({ through: this.endLsn, refusal: undefined, done: closeLog })
    this.closing = true
    this.pump()
  }

  private readPending(offset: number, position: Position): WalRecord | undefined {
    const bytes = this.pending.peek()
    if (!claimsPlace(bytes, offset, position.lsn) || claimedLength(bytes, offset) !== position.bytes) return undefined
    return decodeRecord(bytes, offset, position.bytes)
  }

  /** Completes who can be completed, then begins the next sync if someone waits for it. Never re-entered: see W1. */
  private pump(): void {
    if (this.pumping) return
    this.pumping = true
    try {
      do this.completeWaiters()
      while (this.beginSync() && !this.syncing && !this.gathering)
    } finally {
      this.pumping = false
    }
  }

  private completeWaiters(): void {
    for (;;) {
      const first = this.waiters[0]
      if (first === undefined) return
      const { through, refusal, done } = first
      const waits = through > this.durable || (this.closing && this.dropping)
      if (refusal === undefined && this.death === undefined && waits) return
      this.waiters.shift()
      done(refusal ?? this.death)
    }
  }

  /** Returns whether one was begun; it may be over already. */
  private beginSync(): boolean {
    if (this.syncing || this.gathering || (this.waiters.length === 0 && !this.dropping)) return false
    if (this.log.gather === undefined) {
      this.startSync()
      return true
    }
    this.gathering = true
    this.log.gather(() => {
      this.gathering = false
      this.startSync()
      if (!this.syncing) this.pump()
    })
    return true
  }

  private startSync(): void {
    if (this.pending.length > 0) {
      const batch = this.pending.finish()
      assert(this.log.end === this.handed, 'someone else writes to the log file')
      sealRecords(batch, this.durableLsn)
      this.handed += batch.length
      this.log.append(batch)
    }
    const through = this.handed
    this.dropping = false
    this.syncing = true
    this.counts.syncs++
    this.log.sync(error => {
      this.syncing = false
      if (error === undefined) this.durable = through
      else {
        this.death ??= error
        this.pending.reset()
      }
      this.pump()
    })
  }
}

function closed(): HarmonyError {
  return new HarmonyError('CLOSED', 'the write-ahead log was closed')
}

function unreadable(at: Lsn): { readonly ok: false; readonly error: HarmonyError } {
  const message = `the write-ahead log cannot be read at byte ${at}: the record that stood there is damaged`
  return { ok: false, error: new HarmonyError('CORRUPT', message) }
}
