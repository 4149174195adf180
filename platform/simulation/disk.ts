/**
 * A disk that outlives the lives of its process: files whose syncs take time, and which a crash, a failed sync or read, a full disk, rot or a
 * misdirected write can hit. What a crash leaves of unsynced bytes is drawn from the seed; see `stored-file.ts`.
 *
 * One life of a process at a time holds it (rule D4); a crash sets it free.
 */
import { assert } from '../../src/base/assert.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { OrderedCompletions } from '../../src/base/ordered-completions.ts'
import type { SeededRandom } from '../../src/base/random.ts'
import type { Completion, Directory, Done, LogFile, PageFile, SlotEvents } from '../../src/platform.ts'
import { type FileHost, SimulatedLogFile, SimulatedPageFile } from './disk-files.ts'
import type { Incarnation } from './incarnation.ts'
import type { Scheduler } from './scheduler.ts'
import { type FileKind, StoredFile } from './stored-file.ts'

export interface DiskOptions {
  readonly syncMsMin: number
  readonly syncMsMax: number
  /** One sync in so many takes ten times as long; 0: none. */
  readonly slowSyncEvery: number
  /** Whether reads complete before they return, as on Node's file system, or later, as in IndexedDB. Default: by the seed. */
  readonly reads: 'synchronous' | 'asynchronous' | undefined
}

export const defaultDiskOptions: DiskOptions = { syncMsMin: 0.1, syncMsMax: 2, slowSyncEvery: 50, reads: undefined }

export type DiskFault = 'powerLoss' | 'full'

/** What was done to a disk on purpose, so far. */
export interface DiskHarm {
  /** Bits that were flipped. */
  rotten: number
  misdirectedWrites: number
  failedSyncs: number
  failedReads: number
  wipes: number
}

const nameForm = /^[a-z0-9-]{1,32}$/

export class SimulatedDisk implements FileHost {
  readonly name: string
  readonly options: DiskOptions
  readonly synchronousReads: boolean
  /** While true, nothing can be written any more. */
  full = false
  /** A sync takes up to so long more; 0: no longer than usual. */
  slowSyncMs = 0
  readonly harm: DiskHarm = { rotten: 0, misdirectedWrites: 0, failedSyncs: 0, failedReads: 0, wipes: 0 }
  /** Writes and cuts so far, and twice each sync that came to its end: before it counts, and before the process hears of it. */
  operations = 0
  private readonly scheduler: Scheduler
  private readonly random: SeededRandom
  private readonly files = new Map<string, StoredFile>()
  private holder: SimulatedDirectory | undefined
  private events: SlotEvents | undefined
  private readonly waiting: (() => void)[] = []
  private syncFailures = 0
  private readFailures = 0
  private misdirections = 0
  private fault: { readonly at: number; readonly kind: DiskFault } | undefined
  private withoutPower = false

  constructor(scheduler: Scheduler, name: string, options: Partial<DiskOptions> = {}) {
    this.scheduler = scheduler
    this.name = name
    this.options = { ...defaultDiskOptions, ...options }
    this.random = scheduler.random(`disk ${name}`)
    const reads = this.options.reads ?? this.random.pick(['synchronous', 'asynchronous'] as const)
    this.synchronousReads = reads === 'synchronous'
  }

  /** Errors: LOCKED while another life holds it. */
  open(incarnation: Incarnation, events?: SlotEvents): Directory | HarmonyError {
    if (this.holder !== undefined) {
      return new HarmonyError('LOCKED', `the disk ${this.name} is in use by ${this.holder.incarnation.name}`)
    }
    const holder = new SimulatedDirectory(this, incarnation, this.files, () => {
      if (this.holder !== holder) return
      this.holder = undefined
      for (const next of this.waiting.splice(0)) next()
    })
    this.holder = holder
    this.events = events
    return holder
  }

  /** There is something on it, and nobody has it or waits for it. */
  get orphaned(): boolean {
    return this.files.size > 0 && this.holder === undefined && this.waiting.length === 0
  }

  isHeldBy(incarnation: Incarnation): boolean {
    return this.holder?.incarnation === incarnation
  }

  /** Asks whoever holds it to give it back; `free` comes once, in the moment in which nobody does. */
  want(free: () => void): void {
    if (this.holder === undefined) return free()
    this.waiting.push(free)
    this.holder.incarnation.soon('slot wanted', () => this.events?.onWanted())
  }

  /** As a lock that is stolen: its holder can do nothing with it any more, and hears so before anything else. */
  takeAway(): void {
    const { holder, events } = this
    assert(holder !== undefined, `nobody holds the disk ${this.name}`)
    this.holder = undefined
    holder.revoke()
    holder.incarnation.interrupt('slot lost', () => events?.onLost())
  }

  /** The next so many syncs fail: each is the end of its file object (L6). */
  failNextSync(count = 1): void {
    this.syncFailures += count
  }

  /** The next so many reads fail. The file stays what it is. */
  failNextRead(count = 1): void {
    this.readFailures += count
  }

  /** The next so many writes of pages land at other sectors of their files, and not where they should. */
  misdirectNextWrite(count = 1): void {
    this.misdirections += count
  }

  /** What was asked for by the verbs above and has not come about will not. */
  disarm(): void {
    this.syncFailures = 0
    this.readFailures = 0
    this.misdirections = 0
  }

  /** Nothing goes wrong from now on. What was damaged stays damaged. */
  mend(): void {
    this.disarm()
    this.slowSyncMs = 0
    this.full = false
  }

  /**
   * Just before the so many-th operation from now (1: the next), in this life or a later one, the disk is full or loses its power. Without power nothing reaches it
   * and no sync ends any more: the test that sees `powerLost` crashes the process once the event that is running is over.
   */
  strike(operations: number, kind: DiskFault): void {
    assert(operations >= 1, 'what has happened cannot be struck')
    this.fault = { at: this.operations + operations, kind }
  }

  get powerLost(): boolean {
    return this.withoutPower
  }

  /** The process is gone. `lost`: the power as well, and with it what was not synced. */
  crash(cache: 'lost' | 'kept'): void {
    this.holder = undefined
    this.withoutPower = false
    // By the place of the crash: crashes that are one write apart leave different things.
    const random = this.scheduler.random(`crash of disk ${this.name} after ${this.operations}`)
    for (const [name, file] of this.files) {
      if (cache === 'kept') file.keepAll()
      else if (!file.crash(random)) this.files.delete(name)
    }
    for (const next of this.waiting.splice(0)) next()
  }

  /** A new disk, or an evicted origin (pitfalls 14 and 24). Only while nobody holds it. */
  wipe(): void {
    assert(this.holder === undefined, 'a disk in use cannot be wiped')
    this.files.clear()
    this.harm.wipes++
  }

  /** Everything that the other one holds at this moment, as of a directory that was copied or a machine that was cloned while it ran. Only while nobody holds this one. */
  copyFrom(other: SimulatedDisk): void {
    assert(this.holder === undefined, 'a disk in use cannot become a copy')
    this.files.clear()
    for (const [name, file] of other.files) this.files.set(name, file.copy())
  }

  /** Flips one bit of what is stored, durably. */
  rot(file: string, at: number, bit: number): void {
    const stored = this.files.get(file)
    assert(stored !== undefined, `no file ${file} on disk ${this.name}`)
    stored.rot(at, bit)
    this.harm.rotten++
  }

  /**
   * Flips so many bits anywhere in what is stored, where rot can be told from the torn end of a log (`StoredFile.tellingEnd`).
   * @returns How many: fewer, or none, where there is nothing to flip.
   */
  decay(bits: number, random: SeededRandom): number {
    const files = [...this.files].filter(([, file]) => file.tellingEnd > file.current.start)
    const bytes = files.reduce((sum, [, file]) => sum + file.tellingEnd - file.current.start, 0)
    if (bytes === 0) return 0
    for (let n = 0; n < bits; n++) {
      let place = random.below(bytes)
      for (const [name, { current, tellingEnd }] of files) {
        const length = tellingEnd - current.start
        if (place < length) {
          this.rot(name, current.start + place, random.below(8))
          break
        }
        place -= length
      }
    }
    return bits
  }

  /** Names and lengths, for tests that want to damage something. */
  contents(): readonly {
    readonly name: string
    readonly kind: FileKind
    readonly start: number
    readonly end: number
  }[] {
    return [...this.files].map(([name, { kind, current }]) => ({ name, kind, start: current.start, end: current.end }))
  }

  step(): boolean {
    this.operations++
    if (this.operations === this.fault?.at) {
      if (this.fault.kind === 'full') this.full = true
      else this.withoutPower = true
    }
    return !this.withoutPower
  }

  takeSyncFailure(): boolean {
    if (this.syncFailures === 0) return false
    this.syncFailures--
    this.harm.failedSyncs++
    return true
  }

  takeReadFailure(): boolean {
    if (this.readFailures === 0) return false
    this.readFailures--
    this.harm.failedReads++
    return true
  }

  /** Where a write of `length` bytes that belongs to `offset` lands, in a file of `fileBytes`. */
  placeOfWrite(offset: number, length: number, fileBytes: number, sectorBytes: number): number {
    const places = Math.floor((fileBytes - length) / sectorBytes) + 1
    if (this.misdirections === 0 || places < 2) return offset
    const drawn = this.random.below(places - 1) * sectorBytes
    this.misdirections--
    this.harm.misdirectedWrites++
    return drawn < offset ? drawn : drawn + sectorBytes
  }

  syncLatencyMs(): number {
    const { syncMsMin, syncMsMax, slowSyncEvery } = this.options
    const usual = syncMsMin + this.random.unit() * (syncMsMax - syncMsMin)
    const held = this.slowSyncMs > 0 ? this.random.unit() * this.slowSyncMs : 0
    return held + (slowSyncEvery > 0 && this.random.below(slowSyncEvery) === 0 ? usual * 10 : usual)
  }

  readLatencyMs(): number {
    return 0.05 + this.random.unit() * 0.2
  }

  droppedFrontGrainBytes(): number {
    return this.random.pick([1, 512, 4096])
  }

  note(value: number): void {
    this.scheduler.note(value)
  }
}

type OpenFile = SimulatedLogFile | SimulatedPageFile

class SimulatedDirectory implements Directory {
  readonly incarnation: Incarnation
  private readonly disk: SimulatedDisk
  private readonly files: Map<string, StoredFile>
  private readonly released: () => void
  private readonly openFiles = new Map<string, OpenFile>()
  private readonly calls = new OrderedCompletions()
  private closed = false

  constructor(disk: SimulatedDisk, incarnation: Incarnation, files: Map<string, StoredFile>, released: () => void) {
    this.disk = disk
    this.incarnation = incarnation
    this.files = files
    this.released = released
  }

  openLog(name: string, done: Completion<LogFile>): void {
    this.open<SimulatedLogFile>(
      name,
      'log',
      stored => new SimulatedLogFile(this.disk, this.incarnation, name, stored),
      done,
    )
  }

  openPages(name: string, done: Completion<PageFile>): void {
    this.open<SimulatedPageFile>(
      name,
      'pages',
      stored => new SimulatedPageFile(this.disk, this.incarnation, name, stored),
      done,
    )
  }

  list(done: Completion<readonly string[]>): void {
    this.later('list', () => {
      if (this.closed) return done({ ok: false, error: closedError(this.disk) })
      done({ ok: true, value: [...this.files.keys()].sort() })
    })
  }

  remove(name: string, done: Done): void {
    this.later('remove', () => {
      if (this.closed) return done(closedError(this.disk))
      if (this.openFiles.has(name)) return done(new HarmonyError('LOCKED', `the file ${name} is open: close it first`))
      this.files.delete(name)
      done(undefined)
    })
  }

  close(done: Done): void {
    if (this.closed) return this.later('close directory', () => done(closedError(this.disk)))
    this.closed = true
    let open = this.openFiles.size
    const oneClosed = (): void => {
      if (open-- > 0) return
      if (this.incarnation.alive) this.released()
      this.incarnation.soon('directory closed', () => done(undefined))
    }
    for (const file of this.openFiles.values()) file.close(oneClosed)
    oneClosed()
  }

  revoke(): void {
    for (const file of this.openFiles.values()) file.revoke()
  }

  private open<F extends OpenFile>(
    name: string,
    kind: FileKind,
    make: (stored: StoredFile) => F,
    done: Completion<F>,
  ): void {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    this.later(`open ${name}`, () => {
      if (this.closed) return done({ ok: false, error: closedError(this.disk) })
      if (this.openFiles.has(name)) {
        return done({ ok: false, error: new HarmonyError('LOCKED', `the file ${name} is open already`) })
      }
      const stored = this.files.get(name) ?? new StoredFile(kind)
      if (stored.kind !== kind) {
        return done({
          ok: false,
          error: new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${stored.kind}`),
        })
      }
      this.files.set(name, stored)
      const file = make(stored)
      this.openFiles.set(name, file)
      file.onClosed = () => this.openFiles.delete(name)
      done({ ok: true, value: file })
    })
  }

  private later(what: string, run: () => void): void {
    this.incarnation.after(this.disk.readLatencyMs(), what, this.calls.add(run))
  }
}

function closedError(disk: SimulatedDisk): HarmonyError {
  return new HarmonyError('CLOSED', `the directory on disk ${disk.name} was closed`)
}
