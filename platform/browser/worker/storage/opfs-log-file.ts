/**
 * A LogFile over files of the origin private file system, `<name>.<number, 8 digits>.log`. Appends, reads and
 * flushes are synchronous. Files cannot be made synchronously, so a spare one is always made ahead; until it is there, the last one goes on growing.
 *
 * Format of a file, integers little-endian: 4096 bytes of head, then data to the end of the file.
 *      0     8  magic "HrmyOpf\n"
 *      8     4  format version, 1
 *     12     4  CRC-32C of bytes 0…63 with zeros here
 *     16     8  place in the log of the first data byte
 *     24     8  number, as in the name
 *     32  4064  zeros
 *
 * Invariants
 *  - Files adjoin: each begins where the one before ends. There is at least one.
 *  - A file's head is written after the flush of the one before: so a file without a head holds nothing that was acknowledged, and one with a head whose
 *    predecessor is too short is damage.
 *  - What was cut is cut on the device before `truncate` returns (L4).
 *  - Files go from the front only after a sync that covers what was appended before `dropFront`, lowest first.
 *
 * Caveat: a lost last file cannot be told from one that never was; the log's owner keeps a mark.
 */
import { assert } from '../../../../src/base/assert.ts'
import { ByteReader, ByteWriter, equalBytes } from '../../../../src/base/bytes.ts'
import { crc32c } from '../../../../src/base/checksum.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import { SyncQueue } from '../../../../src/base/sync-queue.ts'
import type { Completion, Done, LogFile } from '../../../../src/platform.ts'
import { nextTurn, openHandle, opfsError } from './opfs-handles.ts'

const headBytes = 4096
const usedHeadBytes = 64
const magic = new Uint8Array([0x48, 0x72, 0x6d, 0x79, 0x4f, 0x70, 0x66, 0x0a])
const version = 1
/** A file is left for the next one when it would become larger: the first at a MiB, each later one at twice as much, up to this. */
const dataBytesMax = 16 * 1024 * 1024
const dataBytesFirst = 1024 * 1024
const dataBytesOf = (number: number): number => Math.min(dataBytesMax, dataBytesFirst * 2 ** Math.min(number, 10))
const nameForm = /^([a-z0-9-]{1,32})\.(\d{8})\.log$/

interface Segment {
  readonly number: number
  readonly name: string
  readonly base: number
  readonly handle: FileSystemSyncAccessHandle
  dataBytes: number
  headWritten: boolean
  dirty: boolean
}

type Spare = Pick<Segment, 'number' | 'name' | 'handle'>

/** Of a file name; undefined where it is no log's. */
export function parseLogName(fileName: string): { readonly log: string; readonly number: number } | undefined {
  const parts = nameForm.exec(fileName)
  return parts === null ? undefined : { log: parts[1]!, number: Number(parts[2]) }
}

const fileName = (log: string, number: number): string => `${log}.${String(number).padStart(8, '0')}.log`

/**
 * @param numbers Of the files that exist, in any order; empty for a new log.
 * @param beginAt Where a new log begins.
 * @throws HarmonyError CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST.
 */
export async function openOpfsLog(
  directory: FileSystemDirectoryHandle,
  log: string,
  numbers: readonly number[],
  beginAt: number,
  onClosed: () => void,
): Promise<LogFile> {
  const opened: Spare[] = []
  try {
    for (const number of [...numbers].sort((a, b) => a - b)) {
      const name = fileName(log, number)
      opened.push({ number, name, handle: await openHandle(directory, name) })
    }
    const segments: Segment[] = []
    const spares = new Map<number, Spare>()
    for (const file of opened) {
      const head = headOf(file)
      if (head === undefined) spares.set(file.number, file)
      else segments.push(joined(segments.at(-1), file, head.base))
    }
    // One with a head behind one without: the latter lost it.
    for (const number of spares.keys()) {
      const name = fileName(log, number)
      if (number < (segments.at(-1)?.number ?? -1)) throw damaged(name, 'its first bytes are gone')
    }
    if (segments.length === 0) {
      const number = 0
      const first = spares.get(number) ?? {
        number,
        name: fileName(log, number),
        handle: await openHandle(directory, fileName(log, number)),
      }
      spares.delete(number)
      if (!opened.includes(first)) opened.push(first)
      segments.push(begin(first, beginAt))
      writeHead(segments[0]!)
    }
    return new OpfsLogFile(directory, log, segments, spares, onClosed)
  } catch (cause) {
    for (const { handle } of opened) handle.close()
    throw opfsError(cause, `opening the log ${log}`)
  }
}

class OpfsLogFile implements LogFile {
  private readonly directory: FileSystemDirectoryHandle
  private readonly name: string
  private readonly segments: Segment[]
  /** Empty files, by number. */
  private readonly spares: Map<number, Spare>
  private readonly onClosed: () => void
  private readonly syncs: SyncQueue
  private making: Promise<void> | undefined
  private closed = false
  /** Out of the log, still there until the next completed sync. */
  private dropped: Segment[] = []
  private from: number
  private to: number

  constructor(
    directory: FileSystemDirectoryHandle,
    name: string,
    segments: Segment[],
    spares: Map<number, Spare>,
    onClosed: () => void,
  ) {
    this.directory = directory
    this.name = name
    this.segments = segments
    this.spares = spares
    this.onClosed = onClosed
    this.from = segments[0]!.base
    this.to = segmentEnd(this.last)
    this.syncs = new SyncQueue(done => queueMicrotask(() => this.flush(done)))
    this.makeSpare()
  }

  get start(): number {
    return this.from
  }

  get end(): number {
    return this.to
  }

  append(bytes: Uint8Array): void {
    const refusal = this.syncs.refusal()
    if (refusal?.code === 'CLOSED') return
    const at = this.to
    this.to += bytes.length
    if (refusal !== undefined || bytes.length === 0) return
    this.guard('appending to', () => {
      const { last } = this
      const spare = this.spares.get(last.number + 1)
      if (last.dataBytes > 0 && last.dataBytes + bytes.length > dataBytesOf(last.number) && spare !== undefined) {
        this.spares.delete(spare.number)
        this.segments.push(begin(spare, at))
        this.makeSpare()
      }
      const segment = this.last
      const written = segment.handle.write(bytes as Uint8Array<ArrayBuffer>, { at: headBytes + segment.dataBytes })
      if (written < bytes.length) throw new HarmonyError('QUOTA', 'the storage of this origin is full')
      segment.dataBytes += bytes.length
      segment.dirty = true
    })
  }

  sync(done: Done): void {
    this.syncs.sync(done)
  }

  gather(begin: () => void): void {
    nextTurn(begin)
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
      for (const { base, dataBytes, handle, name } of this.segments) {
        const from = Math.max(offset, base)
        const to = Math.min(offset + length, base + dataBytes)
        if (from >= to) continue
        const read = handle.read(bytes.subarray(from - offset, to - offset), { at: headBytes + from - base })
        if (read < to - from) throw damaged(name, 'it became shorter while it was open')
      }
    } catch (cause) {
      return done({ ok: false, error: opfsError(cause, `reading the log ${this.name}`) })
    }
    done({ ok: true, value: bytes })
  }

  truncate(end: number): void {
    assert(end >= this.from && end <= this.to, 'a log is cut between its start and its end')
    if (this.syncs.refusal() !== undefined) return
    this.guard('cutting', () => {
      // The last first: a crash in between leaves a log without a gap.
      while (this.segments.length > 1 && this.last.base >= end) {
        const segment = this.segments.pop()!
        segment.handle.truncate(0)
        segment.handle.flush()
        this.spares.set(segment.number, segment)
      }
      const { last } = this
      if (segmentEnd(last) <= end) return
      last.handle.truncate(headBytes + end - last.base)
      last.handle.flush()
      last.dataBytes = end - last.base
    })
    this.to = end
  }

  dropFront(offset: number): void {
    assert(offset >= 0 && offset <= this.to, 'a log loses no more than it has')
    if (this.syncs.refusal() !== undefined) return
    while (this.segments.length > 1 && segmentEnd(this.segments[0]!) <= offset) {
      this.dropped.push(this.segments.shift()!)
    }
    this.from = this.segments[0]!.base
  }

  close(done: Done): void {
    let closing = false
    const finish: Done = error => {
      if (!closing) return done(error)
      const end = (): void => {
        for (const { handle } of [...this.dropped, ...this.segments, ...this.spares.values()]) handle.close()
        this.onClosed()
        done(error)
      }
      if (this.making === undefined) end()
      else this.making.then(end)
    }
    this.syncs.close(() => {
      closing = true
      this.closed = true
    }, finish)
  }

  private get last(): Segment {
    return this.segments[this.segments.length - 1]!
  }

  private flush(done: Done): void {
    const dropped = this.dropped
    const failure = this.attempt('flushing', () => {
      for (const segment of this.segments) {
        if (!segment.headWritten) writeHead(segment)
        if (!segment.dirty) continue
        segment.handle.flush()
        segment.dirty = false
      }
    })
    if (failure !== undefined) return done(failure)
    if (dropped.length === 0) return done(undefined)
    this.dropped = []
    this.remove(dropped).then(done)
  }

  private async remove(segments: readonly Segment[]): Promise<HarmonyError | undefined> {
    try {
      for (const { handle, name } of segments) {
        handle.close()
        await this.directory.removeEntry(name)
      }
      return undefined
    } catch (cause) {
      return opfsError(cause, `removing files of the log ${this.name}`)
    }
  }

  /** One that cannot be made is tried again when the next one is needed; meanwhile the last one grows. */
  private makeSpare(): void {
    const number = this.last.number + 1
    if (this.closed || this.making !== undefined || this.spares.has(number)) return
    const name = fileName(this.name, number)
    this.making = openHandle(this.directory, name).then(
      handle => {
        this.making = undefined
        this.spares.set(number, { number, name, handle })
      },
      () => {
        this.making = undefined
      },
    )
  }

  private guard(doing: string, run: () => void): void {
    const failure = this.attempt(doing, run)
    if (failure !== undefined) this.syncs.fail(failure)
  }

  private attempt(doing: string, run: () => void): HarmonyError | undefined {
    try {
      run()
      return undefined
    } catch (cause) {
      return opfsError(cause, `${doing} the log ${this.name}`)
    }
  }
}

const segmentEnd = ({ base, dataBytes }: Segment): number => base + dataBytes

function begin({ number, name, handle }: Spare, base: number): Segment {
  return { number, name, handle, base, dataBytes: 0, headWritten: false, dirty: true }
}

/** A file that was there before, behind the ones that were. What a process left in the system's cache is flushed with the first sync. */
function joined(before: Segment | undefined, { number, name, handle }: Spare, base: number): Segment {
  if (before !== undefined && before.number + 1 !== number) {
    throw damaged(name, `the file ${before.number + 1} before it is missing`)
  }
  if (before !== undefined && segmentEnd(before) !== base) {
    throw damaged(name, 'it does not go on where the one before it ends')
  }
  const dataBytes = handle.getSize() - headBytes
  return { number, name, handle, base, dataBytes, headWritten: true, dirty: true }
}

function writeHead(segment: Segment): void {
  const { base, number, handle } = segment
  const writer = new ByteWriter(headBytes).raw(magic).u32(version).u32(0).u64(base).u64(number)
  writer.raw(new Uint8Array(headBytes - writer.length))
  const bytes = writer.finish()
  new DataView(bytes.buffer).setUint32(12, crc32c(bytes, 0, 0, usedHeadBytes), true)
  if (handle.write(bytes as Uint8Array<ArrayBuffer>, { at: 0 }) < headBytes) {
    throw new HarmonyError('QUOTA', 'the storage of this origin is full')
  }
  segment.headWritten = true
}

/** Undefined: there is none yet. @throws HarmonyError CORRUPT, VERSION_MISMATCH. */
function headOf({ handle, name, number }: Spare): { readonly base: number } | undefined {
  const bytes = new Uint8Array(usedHeadBytes)
  const read = handle.read(bytes, { at: 0 })
  if (bytes.every(byte => byte === 0)) {
    handle.truncate(0)
    return undefined
  }
  const reader = new ByteReader(bytes)
  const blank = bytes.slice()
  blank.fill(0, 12, 16)
  const ours = equalBytes(reader.raw(magic.length), magic)
  const found = reader.u32()
  const checksum = reader.u32()
  const head = { base: reader.u64(), number: reader.u64() }
  const whole = read === usedHeadBytes && handle.getSize() >= headBytes && ours && checksum === crc32c(blank)
  if (whole && found > version) {
    const message = `${name} was written by a newer version of HarmonyDB: upgrade this one`
    throw new HarmonyError('VERSION_MISMATCH', message)
  }
  if (!whole || reader.failed || head.number !== number) {
    throw damaged(name, 'its first bytes are not those of a log')
  }
  return head
}

function damaged(name: string, how: string): HarmonyError {
  const remedy = 'Restore the database from a backup, or delete it and let the peer join again as a new one.'
  return new HarmonyError('CORRUPT', `${name} is damaged: ${how}. ${remedy}`)
}
