/**
 * Reads a write-ahead log, from its start or from where a checkpoint says, and decides where it ends.
 *
 * A crash may leave behind any part of what was not synced: the log then ends at the first invalid record, and what follows is a
 * torn tail that nobody was promised. Damage to bytes that had been durable looks the same at that place; it is told
 * apart by proof that stands elsewhere:
 *   - a valid record further on whose durable LSN lies beyond the bad place: when it was written, the bad place was synced;
 *   - the caller's mark (from the superblock) lies beyond it.
 * With proof the answer is CORRUPT and nothing is changed. Without it the rest may be cut.
 *
 * The search goes byte by byte, so no length field has to be believed. Only candidates that name their own place and
 * would be proof have their checksum computed. Caveat: durable records after which nothing was ever written, and beyond
 * the mark, cannot be told from a torn tail; the owner learns of every cut (hard case 6 of the architecture).
 */
import { firstNonZero } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Lsn, lsn } from '../base/ids.ts'
import type { Completion, LogFile } from '../platform.ts'
import {
  checkHead,
  checksumHolds,
  claimedDurable,
  claimedLength,
  claimsPlace,
  decodeRecord,
  headBytes,
  recordHeaderBytes,
} from './wal-record.ts'
import type { Position, WalRecord } from './wal-types.ts'

/** At once in memory, or one record where that is longer. */
const windowBytes = 256 * 1024

const remedy = 'Restore this store from a backup, or delete it and let the peer join again as a new one.'

export interface ReplayOptions {
  /** Where the first record stands that counts; 0: the log is read from its head. */
  readonly from: Lsn
  readonly durableMark: Lsn
  /** An entry's data are a view, which holds during the visit only. */
  readonly visit: (record: WalRecord, position: Position) => void
}

export interface Replayed {
  /** Behind the last valid record; 0 for a log that was never begun. */
  readonly end: Lsn
  /** From `end` through the last byte that is not zero. */
  readonly cutBytes: number
}

/** Changes nothing. What was visited is void if the answer is an error. */
export function replayLog(log: LogFile, options: ReplayOptions, done: Completion<Replayed>): void {
  const { from } = options
  const { start, end } = log
  if (from >= start && from <= end) return new Replay(log, options, done).run()
  const message = `the write-ahead log has bytes ${start} to ${end}, and is needed from byte ${from} on: a part of it was lost. ${remedy}`
  done({ ok: false, error: new HarmonyError('CORRUPT', message) })
}

interface Window {
  readonly from: number
  readonly bytes: Uint8Array
}

class Replay {
  private readonly log: LogFile
  private readonly options: ReplayOptions
  private readonly done: Completion<Replayed>
  private step: 'head' | 'records' | 'tail' | 'finished' = 'head'
  private window: Window = { from: 0, bytes: new Uint8Array(0) }
  private waiting = false
  private running = false
  /** Of the next record, or of the bad one in step `tail`. */
  private at: number
  /** Next byte to look at in step `tail`. */
  private searchAt = 0
  private nonZeroEnd = 0

  constructor(log: LogFile, options: ReplayOptions, done: Completion<Replayed>) {
    this.log = log
    this.options = options
    this.done = done
    this.at = options.from
    if (options.from > 0) this.step = 'records'
  }

  /** A loop and not recursion: where reads complete at once a long log would exhaust the stack. */
  run(): void {
    if (this.running) return
    this.running = true
    while (!this.waiting && this.step !== 'finished') this.advance()
    this.running = false
  }

  private advance(): void {
    switch (this.step) {
      case 'head':
        return this.head()
      case 'records':
        return this.records()
      case 'tail':
        return this.tail()
      case 'finished':
        return
    }
  }

  /** True if bytes[at, at + length) are in the window; otherwise asks for them, and for more if there is room. */
  private have(at: number, length: number): boolean {
    const { from, bytes } = this.window
    if (at >= from && at + length <= from + bytes.length) return true
    this.waiting = true
    const wanted = Math.min(this.log.end - at, Math.max(length, windowBytes))
    this.log.read(at, wanted, result => {
      this.waiting = false
      if (result.ok) this.window = { from: at, bytes: result.value }
      else this.fail(result.error)
      this.run()
    })
    return false
  }

  private head(): void {
    const length = Math.min(headBytes, this.log.end)
    if (length === 0) return this.search()
    if (!this.have(0, length)) return
    const head = this.window.bytes.subarray(0, length)
    switch (checkHead(head)) {
      case 'valid':
        this.at = headBytes
        this.step = 'records'
        return
      case 'newer':
        return this.fail(
          new HarmonyError(
            'VERSION_MISMATCH',
            'the write-ahead log was written by a newer version of HarmonyDB: upgrade this one',
          ),
        )
      case 'damaged':
        return this.fail(new HarmonyError('CORRUPT', `the head of the write-ahead log is damaged. ${remedy}`))
      case 'foreign':
        if (head.every(byte => byte === 0)) return this.search()
        return this.fail(
          new HarmonyError(
            'CORRUPT',
            `the file in place of the write-ahead log is not one, or its head was overwritten. ${remedy}`,
          ),
        )
    }
  }

  private records(): void {
    for (;;) {
      const left = this.log.end - this.at
      if (left < recordHeaderBytes) return this.search()
      if (!this.have(this.at, recordHeaderBytes)) return
      const length = claimedLength(this.window.bytes, this.at - this.window.from)
      if (length === 0 || length > left) return this.search()
      if (!claimsPlace(this.window.bytes, this.at - this.window.from, this.at)) return this.search()
      if (!this.have(this.at, length)) return
      const offset = this.at - this.window.from
      if (!checksumHolds(this.window.bytes, offset, length)) return this.search()
      const record = decodeRecord(this.window.bytes, offset, length, true)
      if (record === undefined) {
        const message = `the record at byte ${this.at} of the write-ahead log is whole but unknown: another version or program wrote it`
        return this.fail(new HarmonyError('CORRUPT', message))
      }
      this.options.visit(record, { lsn: lsn(this.at), bytes: length })
      this.at += length
    }
  }

  /** No valid record stands at `at`: was it durable? */
  private search(): void {
    if (this.options.durableMark > this.at) {
      return this.damaged(`everything before byte ${this.options.durableMark} had been durable`)
    }
    this.step = 'tail'
    this.searchAt = this.at
    this.nonZeroEnd = this.at
  }

  private tail(): void {
    const { end } = this.log
    while (this.searchAt < end) {
      const place = this.searchAt
      const left = end - place
      if (!this.have(place, Math.min(left, recordHeaderBytes))) return
      const { from, bytes } = this.window
      const offset = place - from
      if (bytes[offset] !== 0) this.nonZeroEnd = place + 1
      else {
        // A record has its place, which is not zero, within its header: none begins further before the next byte that is not zero.
        const skipped = firstNonZero(bytes, offset, bytes.length) - recordHeaderBytes - offset
        if (skipped > 0) {
          this.searchAt += skipped
          continue
        }
      }
      // The low byte of the place first: it spares most of the other comparisons.
      if (left >= recordHeaderBytes && bytes[offset + 8] === place % 256 && this.couldProve(bytes, offset, place)) {
        const length = claimedLength(bytes, offset)
        if (!this.have(place, length)) return
        if (checksumHolds(this.window.bytes, place - this.window.from, length)) {
          return this.damaged(`the record at byte ${place} proves that it had been durable`)
        }
      }
      this.searchAt++
    }
    if (this.at < headBytes && this.log.start === 0 && this.nonZeroEnd > this.at) {
      // The head is synced before anything else is written: it was there.
      return this.fail(new HarmonyError('CORRUPT', `the head of the write-ahead log is gone. ${remedy}`))
    }
    this.step = 'finished'
    this.done({ ok: true, value: { end: lsn(this.at), cutBytes: this.nonZeroEnd - this.at } })
  }

  private couldProve(bytes: Uint8Array, offset: number, place: number): boolean {
    if (!claimsPlace(bytes, offset, place)) return false
    const length = claimedLength(bytes, offset)
    if (length === 0 || length > this.log.end - place) return false
    const durable = claimedDurable(bytes, offset)
    return durable > this.at && durable <= place
  }

  private damaged(proof: string): void {
    const message = `the write-ahead log is damaged at byte ${this.at}: no valid record stands there, and ${proof}. ${remedy}`
    this.fail(new HarmonyError('CORRUPT', message))
  }

  private fail(error: HarmonyError): void {
    this.step = 'finished'
    this.done({ ok: false, error })
  }
}
