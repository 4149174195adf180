/**
 * The two devices of a simulated disk, as one life of its process has them open. A sync covers what was written before the call;
 * it becomes durable when the process hears that it is over, not before: the worst that the rules allow. Completions of one
 * verb keep the order of the calls (P1).
 */
import { assert } from '../../src/base/assert.ts'
import { crc32c } from '../../src/base/checksum.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { OrderedCompletions } from '../../src/base/ordered-completions.ts'
import type { Completion, Done, LogFile, PageFile } from '../../src/platform.ts'
import type { Incarnation } from './incarnation.ts'
import type { StoredFile } from './stored-file.ts'

/** What the files ask of the disk that they are on. */
export interface FileHost {
  readonly full: boolean
  readonly synchronousReads: boolean
  /** One more operation (`SimulatedDisk.operations`). False: the power is gone. */
  step(): boolean
  takeSyncFailure(): boolean
  takeReadFailure(): boolean
  /** Elsewhere than `offset` if the write is misdirected. */
  placeOfWrite(offset: number, length: number, fileBytes: number, sectorBytes: number): number
  syncLatencyMs(): number
  readLatencyMs(): number
  droppedFrontGrainBytes(): number
  note(value: number): void
}

/** What both devices do alike. */
class OpenFile {
  readonly stored: StoredFile
  onClosed: () => void = () => {}
  private readonly host: FileHost
  private readonly incarnation: Incarnation
  private readonly name: string
  private readonly syncs = new OrderedCompletions()
  private readonly reads = new OrderedCompletions()
  private readonly idle: (() => void)[] = []
  private inFlight = 0
  private closed = false
  private revoked = false
  private death: HarmonyError | undefined

  constructor(host: FileHost, incarnation: Incarnation, name: string, stored: StoredFile) {
    this.host = host
    this.incarnation = incarnation
    this.name = name
    this.stored = stored
  }

  /** Whether its owner may still look at it as its own. */
  get owned(): boolean {
    return !this.closed && this.incarnation.alive
  }

  /** May the process still change the file? A write that finds no space is the end of it. */
  writable(growing: boolean): boolean {
    if (!this.owned || this.death !== undefined || !this.host.step()) return false
    if (growing && this.host.full) {
      this.death = new HarmonyError(
        'QUOTA',
        `no space is left for ${this.name}: free some, then open the database again`,
      )
    }
    return this.death === undefined
  }

  placeOfWrite(offset: number, length: number, sectorBytes: number): number {
    return this.host.placeOfWrite(offset, length, this.stored.current.end, sectorBytes)
  }

  grain(): number {
    return this.host.droppedFrontGrainBytes()
  }

  noteBytes(bytes: Uint8Array): void {
    this.host.note(crc32c(bytes))
  }

  sync(done: Done): void {
    const refusal = this.refusal()
    if (refusal !== undefined) return this.later(this.syncs, 'refused sync', 0, () => done(refusal))
    const { position } = this.stored
    this.later(this.syncs, 'sync', this.host.syncLatencyMs(), () => {
      if (this.revoked) return done(this.closedError())
      if (!this.host.step()) return
      this.death ??= this.host.takeSyncFailure()
        ? new HarmonyError('STORAGE_LOST', `a sync of ${this.name} failed: open the database again`)
        : undefined
      if (this.death !== undefined) return done(this.death)
      this.stored.settle(position)
      if (this.host.step()) done(undefined)
    })
  }

  read(offset: number, length: number, within: () => boolean, done: Completion<Uint8Array>): void {
    const answer = (): void => {
      const error = this.refusal() ?? (within() ? this.failure() : this.outside(offset, length))
      if (error !== undefined) done({ ok: false, error })
      else done({ ok: true, value: this.stored.current.read(offset, length) })
    }
    if (this.host.synchronousReads) return answer()
    const refusal = this.refusal() ?? (within() ? this.failure() : this.outside(offset, length))
    if (refusal !== undefined) {
      return this.later(this.reads, 'refused read', 0, () => done({ ok: false, error: refusal }))
    }
    // What was there at the call: later writes are later.
    const value = this.stored.current.read(offset, length)
    this.later(this.reads, 'read', this.host.readLatencyMs(), () => done({ ok: true, value }))
  }

  /** Somebody else has the file now. */
  revoke(): void {
    this.closed = this.revoked = true
  }

  close(done: Done): void {
    if (this.closed) return this.later(this.syncs, 'refused close', 0, () => done(this.closedError()))
    this.closed = true
    const finish = (): void => {
      this.onClosed()
      this.incarnation.soon(`${this.name} closed`, () => done(undefined))
    }
    if (this.inFlight === 0) finish()
    else this.idle.push(finish)
  }

  private refusal(): HarmonyError | undefined {
    return this.closed ? this.closedError() : this.death
  }

  /** The device cannot read this time. */
  private failure(): HarmonyError | undefined {
    if (!this.host.takeReadFailure()) return undefined
    return new HarmonyError('STORAGE_LOST', `a read of ${this.name} failed: open the database again`)
  }

  private closedError(): HarmonyError {
    return new HarmonyError('CLOSED', `the file ${this.name} was closed`)
  }

  private outside(offset: number, length: number): HarmonyError {
    const { start, end } = this.stored.current
    return new HarmonyError(
      'CORRUPT',
      `bytes ${offset} to ${offset + length} were asked of ${this.name}, which holds ${start} to ${end}`,
    )
  }

  private later(queue: OrderedCompletions, what: string, delayMs: number, finish: () => void): void {
    if (!this.incarnation.alive) return
    this.inFlight++
    const ready = queue.add(() => {
      finish()
      this.inFlight--
      if (this.inFlight === 0) for (const next of this.idle.splice(0)) next()
    })
    this.incarnation.after(delayMs, `${this.name} ${what}`, ready)
  }
}

export class SimulatedLogFile implements LogFile {
  private readonly file: OpenFile

  constructor(host: FileHost, incarnation: Incarnation, name: string, stored: StoredFile) {
    this.file = new OpenFile(host, incarnation, name, stored)
  }

  set onClosed(run: () => void) {
    this.file.onClosed = run
  }

  revoke(): void {
    this.file.revoke()
  }

  get start(): number {
    return this.file.stored.current.start
  }

  get end(): number {
    return this.file.stored.current.end
  }

  append(bytes: Uint8Array): void {
    const at = this.end
    if (this.file.writable(true)) this.file.stored.write(at, bytes)
    else if (this.file.owned) this.file.stored.current.extend(at + bytes.length)
    this.file.noteBytes(bytes)
  }

  sync(done: Done): void {
    this.file.sync(done)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    this.file.read(offset, length, () => length >= 0 && offset >= this.start && offset + length <= this.end, done)
  }

  truncate(end: number): void {
    assert(end >= this.start && end <= this.end, 'a log is cut between its start and its end')
    if (this.file.writable(false)) this.file.stored.cut(end)
  }

  dropFront(offset: number): void {
    assert(offset >= 0 && offset <= this.end, 'a log loses no more than it has')
    const grain = this.file.grain()
    const start = Math.max(this.start, Math.floor(offset / grain) * grain)
    if (start > this.start && this.file.writable(false)) this.file.stored.dropFront(start)
  }

  close(done: Done): void {
    this.file.close(done)
  }
}

export class SimulatedPageFile implements PageFile {
  readonly sectorBytes = 512
  readonly extentBytesMax = 1024 * 1024
  /** Small, so that few keys make a tree of several levels. */
  readonly pageBytesPreferred = 1024
  private readonly file: OpenFile

  constructor(host: FileHost, incarnation: Incarnation, name: string, stored: StoredFile) {
    this.file = new OpenFile(host, incarnation, name, stored)
  }

  set onClosed(run: () => void) {
    this.file.onClosed = run
  }

  revoke(): void {
    this.file.revoke()
  }

  get bytes(): number {
    return this.file.stored.current.end
  }

  write(offset: number, bytes: Uint8Array): void {
    this.assertExtent(offset, bytes.length)
    if (this.file.writable(offset + bytes.length > this.bytes)) {
      this.file.stored.write(this.file.placeOfWrite(offset, bytes.length, this.sectorBytes), bytes)
    }
    this.file.noteBytes(bytes)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    this.assertExtent(offset, length)
    this.file.read(offset, length, () => true, done)
  }

  sync(done: Done): void {
    this.file.sync(done)
  }

  truncate(bytes: number): void {
    assert(bytes >= 0 && bytes % this.sectorBytes === 0, 'a page file is cut at a sector')
    if (bytes < this.bytes && this.file.writable(false)) this.file.stored.cut(bytes)
  }

  close(done: Done): void {
    this.file.close(done)
  }

  private assertExtent(offset: number, length: number): void {
    const { sectorBytes, extentBytesMax } = this
    assert(offset >= 0 && offset % sectorBytes === 0 && length % sectorBytes === 0, 'an extent has whole sectors')
    assert(length > 0 && length <= extentBytesMax, 'an extent has 1 to extentBytesMax bytes')
  }
}
