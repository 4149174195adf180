/**
 * A LogFile over segments of the file system (`segment.ts`): writes and reads are synchronous, `sync` is an fdatasync, here or in another
 * thread (`sync-pace.ts`).
 * Reads complete before they return, also while a sync is under way.
 *
 * Invariants
 *  - Segments adjoin: each begins where the one before ends. There is at least one.
 *  - After opening, `end` is the end of the last segment: which of its zeros were appended nobody can tell (L3).
 *  - Everything behind the cut is zero, on the device, before `truncate` returns: no later append can precede it (L4).
 *  - Segments go from the front only after a sync that covers what was appended before `dropFront`, lowest first, each unlink synced
 *    before the next: a crash leaves no gap.
 *
 *  - Closing gives back what nobody needs of the last segment, if that is half of it or more: what was dropped, what was allocated ahead.
 *  - Once the last segment is half full the next one is prepared in another thread; `prepared` fits behind it, or is thrown away.
 *
 * Caveat: a lost last segment cannot be told from one that never was; the log's owner keeps a mark.
 */
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import { SyncQueue } from '../../../src/base/sync-queue.ts'
import type { Completion, Done, LogFile } from '../../../src/platform.ts'
import { storageError } from './files.ts'
import {
  createSegment,
  damaged,
  discardPrepared,
  erase,
  headBytes,
  type LogPlace,
  openSegment,
  type PreparedSegment,
  prepareSegment,
  replaceSegment,
  roomyBytes,
  type Segment,
  segmentEnd,
  usePrepared,
} from './segment.ts'

const firstFileBytes = 1024 * 1024
const fileBytesMax = 4 * 1024 * 1024

/**
 * @param numbers Of the segments that exist, ascending; empty for a new log.
 * @throws HarmonyError CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST.
 */
export function openLogFile(place: LogPlace, numbers: readonly number[], onClosed: () => void): LogFile {
  const { files, directory, name } = place
  const segments: Segment[] = []
  try {
    for (const number of numbers) {
      const segment = openSegment(files, directory, name, number)
      segments.push(segment)
      const before = segments.at(-2)
      if (before === undefined) continue
      if (before.number + 1 !== number) throw damaged(segment.path, `segment ${before.number + 1} before it is missing`)
      if (segmentEnd(before) !== segment.base)
        throw damaged(segment.path, 'it does not go on where the one before it ends')
    }
    if (segments.length === 0) {
      const dataBytes = firstFileBytes - headBytes
      segments.push(createSegment(files, directory, name, { number: 0, base: 0, dataBytes }))
      return new NodeLogFile(place, segments, 0, onClosed)
    }
  } catch (error) {
    for (const { file } of segments) files.close(file)
    throw isHarmonyError(error) ? error : storageError(error, `opening the log ${name} in ${directory}`)
  }
  return new NodeLogFile(place, segments, segmentEnd(segments.at(-1)!), onClosed)
}

class NodeLogFile implements LogFile {
  private readonly place: LogPlace
  private segments: Segment[]
  private from: number
  private to: number
  /** Nothing before it is needed. */
  private needed: number
  private readonly onClosed: () => void
  private readonly syncs: SyncQueue
  /** At first all: a process that died may have left writes in the system's cache. */
  private readonly dirty: Set<Segment>
  private unsyncedBytes = 0
  private prepared: PreparedSegment | undefined
  private preparing = false
  /** Waits for the preparation that is under way. */
  private whenPrepared: (() => void) | undefined
  /** Out of the log, still there until the next completed sync. */
  private dropped: Segment[] = []

  constructor(place: LogPlace, segments: Segment[], end: number, onClosed: () => void) {
    this.place = place
    this.segments = segments
    this.dirty = new Set(segments)
    this.from = segments[0]!.base
    this.needed = this.from
    this.to = end
    this.onClosed = onClosed
    this.syncs = new SyncQueue(done => this.startSync(done))
  }

  get start(): number {
    return this.from
  }

  get end(): number {
    return this.to
  }

  append(bytes: Uint8Array): void {
    const at = this.to
    const refusal = this.syncs.refusal()
    if (refusal?.code === 'CLOSED') return
    this.to += bytes.length
    this.unsyncedBytes += bytes.length
    if (refusal !== undefined || bytes.length === 0) return
    this.guard('appending to', () => {
      while (segmentEnd(this.segments.at(-1)!) < this.to) this.grow()
      this.eachPart(at, bytes.length, (segment, position, part, length) => {
        this.place.files.write(segment.file, bytes.subarray(part, part + length), position)
        this.dirty.add(segment)
      })
      this.prepareIfHalfFull()
    })
  }

  sync(done: Done): void {
    this.syncs.sync(done)
  }

  gather(begin: () => void): void {
    this.place.files.gather(begin)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    const refusal = this.syncs.refusal()
    if (refusal !== undefined) return done({ ok: false, error: refusal })
    if (length < 0 || offset < this.from || offset + length > this.to) {
      const message = `bytes ${offset} to ${offset + length} were asked of a log that holds ${this.from} to ${this.to}`
      return done({ ok: false, error: new HarmonyError('CORRUPT', message) })
    }
    const bytes = new Uint8Array(length)
    try {
      this.eachPart(offset, length, (segment, position, part, partLength) => {
        const read = this.place.files.read(segment.file, bytes.subarray(part, part + partLength), position)
        if (read < partLength) throw damaged(segment.path, 'it became shorter while it was open')
      })
    } catch (cause) {
      const error = isHarmonyError(cause) ? cause : storageError(cause, `reading the log ${this.place.name}`)
      return done({ ok: false, error })
    }
    done({ ok: true, value: bytes })
  }

  truncate(end: number): void {
    assert(end >= this.from && end <= this.to, 'a log is cut between its start and its end')
    if (this.syncs.refusal() !== undefined) return
    const { files, directory } = this.place
    this.guard('cutting', () => {
      // The last first: a crash in between leaves a log without a gap.
      while (this.segments.length > 1 && this.segments.at(-1)!.base >= end) {
        const segment = this.segments.pop()!
        this.dirty.delete(segment)
        files.close(segment.file)
        files.remove(segment.path)
        files.syncDirectory(directory)
      }
      this.to = end
      const last = this.segments.at(-1)!
      const { file, base, dataBytes } = last
      if (erase(files, file, headBytes + end - base, headBytes + dataBytes)) files.datasyncNow(file)
    })
    this.to = end
  }

  dropFront(offset: number): void {
    assert(offset >= 0 && offset <= this.to, 'a log loses no more than it has')
    if (this.syncs.refusal() !== undefined) return
    while (this.segments.length > 1 && segmentEnd(this.segments[0]!) <= offset)
      this.dropped.push(this.segments.shift()!)
    this.from = this.segments[0]!.base
    this.needed = Math.max(this.needed, offset)
  }

  close(done: Done): void {
    let closing = false
    const finish: Done = error => {
      if (!closing) return done(error)
      if (this.preparing) {
        this.whenPrepared = () => finish(error)
        return
      }
      this.discard()
      if (!this.syncs.failed) this.shrink()
      for (const { file } of [...this.dropped, ...this.segments]) this.place.files.close(file)
      this.onClosed()
      done(error)
    }
    this.syncs.close(() => {
      closing = true
    }, finish)
  }

  /** What fails here costs space and no more. */
  private shrink(): void {
    const last = this.segments.at(-1)!
    // Files adjoin, also those that were dropped and are still there.
    const isAlone = this.segments.length === 1 && this.dropped.length === 0
    const from = isAlone ? Math.min(Math.max(last.base, this.needed), this.to) : last.base
    if (roomyBytes(this.to - from) > last.dataBytes / 2) return
    this.segments.pop()
    try {
      this.segments.push(replaceSegment(this.place, last, { from, to: this.to }))
    } catch {
      // The old one is there, and closed.
    }
  }

  private grow(): void {
    const { files, directory, name } = this.place
    const fields = this.nextFields()
    const { prepared } = this
    if (prepared?.number === fields.number && prepared.base === fields.base) {
      this.prepared = undefined
      this.segments.push(usePrepared(files, directory, prepared))
      return
    }
    this.discard()
    this.segments.push(createSegment(files, directory, name, fields))
  }

  private nextFields(): Pick<Segment, 'number' | 'base' | 'dataBytes'> {
    const last = this.segments.at(-1)!
    const fileBytes = Math.min(fileBytesMax, Math.max(firstFileBytes, 2 * (headBytes + last.dataBytes)))
    return { number: last.number + 1, base: segmentEnd(last), dataBytes: fileBytes - headBytes }
  }

  private prepareIfHalfFull(): void {
    const { files, directory, name } = this.place
    const last = this.segments.at(-1)!
    if (this.preparing || this.prepared !== undefined || this.to - last.base < last.dataBytes / 2) return
    this.preparing = true
    prepareSegment(files, directory, name, this.nextFields(), prepared => {
      this.preparing = false
      this.prepared = prepared
      const waiting = this.whenPrepared
      this.whenPrepared = undefined
      waiting?.()
    })
  }

  private discard(): void {
    if (this.prepared !== undefined) discardPrepared(this.place.files, this.prepared)
    this.prepared = undefined
  }

  /** Visits the parts of log[offset, offset + length): position is in the segment's file, part counts from `offset`. */
  private eachPart(
    offset: number,
    length: number,
    visit: (segment: Segment, position: number, part: number, length: number) => void,
  ): void {
    let done = 0
    for (const segment of this.segments) {
      if (done === length) return
      const within = offset + done - segment.base
      if (within >= segment.dataBytes) continue
      const part = Math.min(length - done, segment.dataBytes - within)
      visit(segment, headBytes + within, done, part)
      done += part
    }
  }

  private startSync(done: (error: HarmonyError | undefined) => void): void {
    const dirty = [...this.dirty]
    this.dirty.clear()
    const droppedBefore = this.dropped
    this.dropped = []
    let failure: HarmonyError | undefined
    let left = dirty.length
    const finished = (): void => {
      // Dropped segments stay if the sync failed: what replaces them may be lost.
      if (failure === undefined) failure = this.removeDropped(droppedBefore)
      else this.dropped.push(...droppedBefore)
      done(failure)
    }
    if (left === 0) return finished()
    const bytes = this.unsyncedBytes
    this.unsyncedBytes = 0
    for (const segment of dirty) {
      const done = (error: unknown): void => {
        if (error !== undefined) failure ??= storageError(error, `syncing ${segment.path}`)
        left--
        if (left === 0) finished()
      }
      this.place.files.datasync(segment.file, done, bytes)
    }
  }

  private removeDropped(segments: readonly Segment[]): HarmonyError | undefined {
    const { files, directory } = this.place
    try {
      for (const { file, path } of segments) {
        files.close(file)
        files.remove(path)
        files.syncDirectory(directory)
      }
      return undefined
    } catch (error) {
      return storageError(error, `removing segments of the log ${this.place.name}`)
    }
  }

  private guard(doing: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.syncs.fail(storageError(error, `${doing} the log ${this.place.name}`))
    }
  }
}
