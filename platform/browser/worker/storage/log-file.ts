/**
 * A LogFile in IndexedDB: each sync is one strict transaction, which writes what was appended since the last one as one record (more,
 * where it is longer than 60 KiB), applies cuts, and notes start and end. So a crash leaves exactly the state of a sync.
 *
 * Where the bytes of the log are, in order of place:
 *
 *   start … records in IndexedDB … | on the way (`writing`) | appended since (`fresh`) … end
 *
 * Invariants
 *  - `fresh` begins at `storedEnd` and ends at `end`; `writing` ends at `storedEnd` unless a cut moved that back into it.
 *  - Records beyond `storedEnd`, or across it, are stale: `cut` says from where, and the next transaction removes and trims them first.
 *  - Memory holds what is not durable yet, nothing else.
 *
 * Caveat: what was not synced goes with the object, also when it is closed in order.
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import { OrderedCompletions } from '../../../../src/base/ordered-completions.ts'
import { SyncQueue } from '../../../../src/base/sync-queue.ts'
import type { Completion, Done, LogFile, Result } from '../../../../src/platform.ts'
import {
  type Connection,
  fireAndForget,
  type LogRecord,
  type ReadTransaction,
  valueBytesMax,
  type WriteTransaction,
} from './connection.ts'

interface Piece {
  readonly at: number
  readonly bytes: Uint8Array
}

/** @throws HarmonyError CORRUPT, QUOTA, STORAGE_LOST. `stored`: for a new log, where it begins. */
export async function openLogFile(
  connection: Connection,
  name: string,
  stored: LogRecord | number,
  onClosed: () => void,
): Promise<IndexedDbLogFile> {
  if (typeof stored !== 'number' && stored.end > stored.start) {
    const last = await connection.read(['log'], transaction => recordBefore(transaction, name, stored.end))
    const found = last === undefined ? stored.start : last.at + last.bytes.length
    if (found < stored.end) throw damaged(name, `it should reach to ${stored.end} and ends at ${found}`)
  }
  return new IndexedDbLogFile(connection, name, stored, onClosed)
}

export class IndexedDbLogFile implements LogFile {
  private readonly connection: Connection
  private readonly name: string
  private readonly onClosed: () => void
  private readonly syncs: SyncQueue
  private readonly reads = new OrderedCompletions()
  private readsInFlight = 0
  private from: number
  private storedEnd: number
  private to: number
  private writing: readonly Piece[] = []
  private fresh: Piece[] = []
  private cut: number | undefined
  /** The file's name is durable. */
  private known: boolean
  private startMoved = false

  constructor(connection: Connection, name: string, stored: LogRecord | number, onClosed: () => void) {
    this.connection = connection
    this.name = name
    this.onClosed = onClosed
    this.known = typeof stored !== 'number'
    this.from = typeof stored === 'number' ? stored : stored.start
    this.storedEnd = typeof stored === 'number' ? stored : stored.end
    this.to = this.storedEnd
    this.syncs = new SyncQueue(done => this.startSync(done))
  }

  get start(): number {
    return this.from
  }

  get end(): number {
    return this.to
  }

  append(bytes: Uint8Array): void {
    const refusal = this.refusal()
    if (refusal?.code === 'CLOSED' || bytes.length === 0) return
    if (refusal === undefined) this.fresh.push({ at: this.to, bytes })
    this.to += bytes.length
  }

  sync(done: Done): void {
    if (this.connection.lost !== undefined) this.syncs.fail(this.connection.lost)
    this.syncs.sync(done)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    const refusal = this.refusal() ?? this.outside(offset, length)
    if (refusal !== undefined) return this.answer({ ok: false, error: refusal }, done)
    const bytes = new Uint8Array(length)
    const inMemoryFrom = this.copyFromMemory(offset, bytes)
    if (inMemoryFrom <= offset) return this.answer({ ok: true, value: bytes }, done)
    let result: Result<Uint8Array>
    const ready = this.begin(() => done(result))
    const end = Math.min(offset + length, inMemoryFrom)
    this.connection
      .read(['log'], transaction => fill(transaction, this.name, offset, bytes.subarray(0, end - offset)))
      .then(
        () => ({ ok: true, value: bytes }) as const,
        (error: HarmonyError) => ({ ok: false, error }) as const,
      )
      .then(outcome => {
        result = outcome
        ready()
      })
  }

  truncate(end: number): void {
    assert(end >= this.from && end <= this.to, 'a log is cut between its start and its end')
    if (this.refusal() !== undefined) return
    this.to = end
    this.fresh = before(this.fresh, end)
    if (end >= this.storedEnd) return
    this.storedEnd = end
    this.cut = Math.min(this.cut ?? end, end)
  }

  dropFront(offset: number): void {
    assert(offset >= 0 && offset <= this.to, 'a log loses no more than it has')
    if (this.refusal() !== undefined) return
    // Not into what no transaction has written yet: its record would begin before the start.
    const start = Math.min(offset, this.storedEnd)
    if (start <= this.from) return
    this.from = start
    this.startMoved = true
  }

  close(done: Done): void {
    // Reads that are under way answer before.
    this.syncs.close(this.onClosed, error => this.reads.add(() => done(error))())
  }

  private refusal(): HarmonyError | undefined {
    return this.syncs.refusal() ?? this.connection.lost
  }

  private outside(offset: number, length: number): HarmonyError | undefined {
    if (length >= 0 && offset >= this.from && offset + length <= this.to) return undefined
    const message = `bytes ${offset} to ${offset + length} were asked of a log that holds ${this.from} to ${this.to}`
    return new HarmonyError('CORRUPT', message)
  }

  /** At once if no earlier read is under way. */
  private answer(result: Result<Uint8Array>, done: Completion<Uint8Array>): void {
    if (this.readsInFlight === 0) done(result)
    else this.begin(() => done(result))()
  }

  private begin(finish: () => void): () => void {
    this.readsInFlight++
    return this.reads.add(() => {
      this.readsInFlight--
      finish()
    })
  }

  /** Copies what is in memory of the bytes from `offset` on; returns the place from which on memory has everything. */
  private copyFromMemory(offset: number, bytes: Uint8Array): number {
    const end = offset + bytes.length
    for (const pieces of [before(this.writing, this.storedEnd), this.fresh]) {
      for (const piece of pieces) {
        const from = Math.max(offset, piece.at)
        const to = Math.min(end, piece.at + piece.bytes.length)
        if (from < to) bytes.set(piece.bytes.subarray(from - piece.at, to - piece.at), from - offset)
      }
    }
    const first = before(this.writing, this.storedEnd)[0]?.at ?? this.storedEnd
    return bytes.length === 0 ? offset : first
  }

  private startSync(done: (error: HarmonyError | undefined) => void): void {
    const { cut, fresh, startMoved } = this
    if (fresh.length === 0 && cut === undefined && !startMoved && this.known) return done(undefined)
    this.cut = undefined
    this.writing = fresh
    this.fresh = []
    this.storedEnd = this.to
    this.startMoved = false
    this.known = true
    const record: LogRecord = { kind: 'log', start: this.from, end: this.to }
    this.connection
      .write(['files', 'log'], async transaction => {
        if (cut !== undefined) await trim(transaction, this.name, cut)
        for (const { at, bytes } of valuesOf(fresh)) {
          fireAndForget(transaction.objectStore('log').put(bytes, [this.name, at]))
        }
        if (startMoved) await forget(transaction, this.name, record.start)
        fireAndForget(transaction.objectStore('files').put(record, this.name))
      })
      .then(error => {
        this.writing = []
        done(error)
      })
  }
}

/** The pieces' bytes below `end`. */
function before(pieces: readonly Piece[], end: number): Piece[] {
  const kept: Piece[] = []
  for (const { at, bytes } of pieces) {
    if (at >= end) break
    kept.push(at + bytes.length <= end ? { at, bytes } : { at, bytes: bytes.subarray(0, end - at) })
  }
  return kept
}

/** Adjacent pieces as values of at most 60 KiB, each in a buffer of its own: a view would be stored with all that is behind it. */
function valuesOf(pieces: readonly Piece[]): Piece[] {
  const first = pieces[0]
  if (first === undefined) return []
  const values: Piece[] = []
  const last = pieces[pieces.length - 1]!
  let left = last.at + last.bytes.length - first.at
  let at = first.at
  let value = new Uint8Array(Math.min(left, valueBytesMax))
  let filled = 0
  for (const { bytes } of pieces) {
    let taken = 0
    while (taken < bytes.length) {
      const part = bytes.subarray(taken, taken + value.length - filled)
      value.set(part, filled)
      taken += part.length
      filled += part.length
      if (filled < value.length) continue
      values.push({ at, bytes: value })
      at += filled
      left -= filled
      value = new Uint8Array(Math.min(left, valueBytesMax))
      filled = 0
    }
  }
  return values
}

const rangeFrom = (name: string, at: number): IDBKeyRange => IDBKeyRange.bound([name, at], [name, Number.MAX_VALUE])

/** The record that begins last before `at`, if any. */
async function recordBefore(
  transaction: ReadTransaction | WriteTransaction,
  name: string,
  at: number,
): Promise<Piece | undefined> {
  if (at === 0) return undefined
  const range = IDBKeyRange.bound([name, 0], [name, at], false, true)
  const cursor = await transaction.objectStore('log').openCursor(range, 'prev')
  return cursor === null ? undefined : pieceOf(name, cursor.key, cursor.value)
}

/** Removes what lies at or behind `cut`. */
async function trim(transaction: WriteTransaction, name: string, cut: number): Promise<void> {
  const store = transaction.objectStore('log')
  fireAndForget(store.delete(rangeFrom(name, cut)))
  const last = await recordBefore(transaction, name, cut)
  if (last === undefined || last.at + last.bytes.length <= cut) return
  fireAndForget(store.put(last.bytes.slice(0, cut - last.at), [name, last.at]))
}

/** Removes the records that end before `start`. */
async function forget(transaction: WriteTransaction, name: string, start: number): Promise<void> {
  const first = await recordBefore(transaction, name, start)
  if (first === undefined) return
  const goneTo = first.at + first.bytes.length <= start ? start : first.at
  if (goneTo === 0) return
  fireAndForget(transaction.objectStore('log').delete(IDBKeyRange.bound([name, 0], [name, goneTo], false, true)))
}

/** @throws HarmonyError CORRUPT where a record is missing. */
async function fill(transaction: ReadTransaction, name: string, offset: number, target: Uint8Array): Promise<void> {
  const end = offset + target.length
  const store = transaction.objectStore('log')
  const range = IDBKeyRange.bound([name, 0], [name, offset])
  const first = await store.openKeyCursor(range, 'prev')
  if (first === null) throw damaged(name, `the record with byte ${offset} is missing`)
  const records = IDBKeyRange.bound(first.key, [name, end], false, true)
  const [keys, values] = await Promise.all([store.getAllKeys(records), store.getAll(records)])
  let at = offset
  keys.forEach((key, i) => {
    const piece = pieceOf(name, key, values[i])
    if (at >= end) return
    if (piece.at > at || piece.at + piece.bytes.length <= at)
      throw damaged(name, `the record with byte ${at} is missing`)
    const part = piece.bytes.subarray(at - piece.at, end - piece.at)
    target.set(part, at - offset)
    at += part.length
  })
  if (at < end) throw damaged(name, `the record with byte ${at} is missing`)
}

function pieceOf(name: string, key: unknown, value: unknown): Piece {
  const at = Array.isArray(key) ? (key[1] as unknown) : undefined
  if (typeof at !== 'number' || !(value instanceof Uint8Array)) throw damaged(name, 'a record is of another kind')
  return { at, bytes: value }
}

function damaged(name: string, how: string): HarmonyError {
  const remedy = 'Delete this storage and let the peer join again as a new one, or restore it from a backup.'
  return new HarmonyError('CORRUPT', `the log ${name} in IndexedDB is damaged: ${how}. ${remedy}`)
}
