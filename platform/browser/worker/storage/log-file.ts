/**
 * LogFile on IndexedDB. What one sync brings is stored in one strict transaction, as pieces under 64 KiB (a get of more is four times
 * as dear). Appended bytes stay here until their transaction has completed, and are read from here until then.
 *
 * Invariants
 *  - `pieces` lie end to end from `start` to `end`. A piece is either stored (under the key that `storedBytes` completes) or held.
 *  - A cut takes effect here at once and on the medium with the next sync, in the same transaction as what was appended after it.
 */
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Done, LogFile } from '../../../../src/platform.ts'
import type { StorageDatabase, StoredFile } from './schema.ts'
import { Serial } from './serial.ts'

const pieceBytesMax = 60 * 1024

interface Piece {
  readonly offset: number
  /** May be less than what is stored: the rest was cut. */
  length: number
  /** Undefined while it is only here. */
  storedBytes: number | undefined
  bytes: Uint8Array | undefined
}

export async function openLogFile(
  database: StorageDatabase,
  name: string,
  file: StoredFile,
  onClosed: () => void,
): Promise<LogFile> {
  const keys = await database.getAllKeys('log', wholeFile(name))
  const pieces = keys.map(([, offset, length]): Piece => ({ offset, length, storedBytes: length, bytes: undefined }))
  for (const [at, piece] of pieces.entries()) {
    const next = pieces[at + 1]
    if (next !== undefined && piece.offset + piece.length !== next.offset) {
      const message = `the log ${name} has a hole at ${piece.offset + piece.length}: a record of it is missing`
      throw new HarmonyError(
        'CORRUPT',
        `${message}. Clear this site's data, and join the room again to get everything from the others`,
      )
    }
  }
  return new IndexedDbLogFile(database, name, file, pieces, onClosed)
}

const wholeFile = (name: string): IDBKeyRange => IDBKeyRange.bound([name], [name, []])

class IndexedDbLogFile implements LogFile {
  private readonly database: StorageDatabase
  private readonly name: string
  private readonly serial: Serial
  private readonly onClosed: () => void
  private pieces: Piece[]
  private from: number
  private to: number
  /** The lowest offset that was cut since the last sync began; what is stored from there on must go. */
  private cutAt: number | undefined
  private dropped = false

  constructor(database: StorageDatabase, name: string, file: StoredFile, pieces: Piece[], onClosed: () => void) {
    this.database = database
    this.name = name
    this.serial = new Serial(name)
    this.pieces = pieces
    this.onClosed = onClosed
    const last = pieces[pieces.length - 1]
    this.to = last === undefined ? file.end : last.offset + last.length
    this.from = pieces[0]?.offset ?? this.to
  }

  get start(): number {
    return this.from
  }
  get end(): number {
    return this.to
  }

  append(bytes: Uint8Array): void {
    if (this.serial.unusable !== undefined) return
    for (let at = 0; at < bytes.length; at += pieceBytesMax) {
      const part = bytes.subarray(at, at + pieceBytesMax)
      this.pieces.push({ offset: this.to, length: part.length, storedBytes: undefined, bytes: part })
      this.to += part.length
    }
  }

  truncate(end: number): void {
    if (this.serial.unusable !== undefined || end >= this.to) return
    this.to = Math.max(end, this.from)
    this.cutAt = Math.min(this.cutAt ?? this.to, this.to)
    while (this.pieces.length > 0 && this.pieces[this.pieces.length - 1]!.offset >= this.to) this.pieces.pop()
    const last = this.pieces[this.pieces.length - 1]
    if (last !== undefined) last.length = Math.min(last.length, this.to - last.offset)
  }

  dropFront(offset: number): void {
    if (this.serial.unusable !== undefined) return
    let count = 0
    while (count < this.pieces.length && this.pieces[count]!.offset + this.pieces[count]!.length <= offset) count++
    if (count === 0) return
    this.pieces.splice(0, count)
    this.from = this.pieces[0]?.offset ?? this.to
    this.dropped = true
  }

  sync(done: Done): void {
    // What the call covers is fixed now, not when its turn comes.
    const fresh = this.pieces.filter(piece => piece.bytes !== undefined)
    const { cutAt, dropped, from, to } = this
    this.cutAt = undefined
    this.dropped = false
    const kept =
      cutAt === undefined
        ? undefined
        : this.pieces.find(piece => piece.offset < cutAt && piece.offset + piece.length >= cutAt)
    const writes = fresh.map(({ offset, bytes, length }) => ({ offset, bytes: packed(bytes!.subarray(0, length)) }))
    const work = async (): Promise<void> => {
      if (writes.length > 0 || cutAt !== undefined || dropped)
        await this.store(writes, cutAt, kept, dropped ? from : undefined, to)
      for (const { offset, bytes } of writes) {
        const piece = this.pieces.find(one => one.offset === offset && one.bytes !== undefined)
        if (piece === undefined || !fresh.includes(piece)) continue
        piece.storedBytes = bytes.length
        piece.bytes = undefined
      }
    }
    this.serial.run('syncing the log', true, work, result => done(result.ok ? undefined : result.error))
  }

  private async store(
    writes: readonly { readonly offset: number; readonly bytes: Uint8Array }[],
    cutAt: number | undefined,
    kept: Piece | undefined,
    droppedTo: number | undefined,
    end: number,
  ): Promise<void> {
    const transaction = this.database.transaction(['files', 'log'], 'readwrite', { durability: 'strict' })
    const log = transaction.objectStore('log')
    const { name } = this
    try {
      if (cutAt !== undefined) {
        // The piece across the cut is stored anew, shorter; whatever begins behind the cut goes.
        const across = kept?.storedBytes !== undefined && kept.storedBytes > kept.length ? kept : undefined
        if (across !== undefined) {
          const key: [string, number, number] = [name, across.offset, across.storedBytes!]
          const whole = await log.get(key)
          await log.delete(key)
          if (whole !== undefined)
            await log.put(packed(whole.subarray(0, across.length)), [name, across.offset, across.length])
        }
        await log.delete(IDBKeyRange.bound([name, cutAt], [name, []]))
        if (across !== undefined) across.storedBytes = across.length
      }
      if (droppedTo !== undefined) await log.delete(IDBKeyRange.bound([name], [name, droppedTo], false, true))
      if (cutAt !== undefined || droppedTo !== undefined) {
        await transaction.objectStore('files').put({ kind: 'log', start: droppedTo ?? this.from, end }, name)
      }
      for (const { offset, bytes } of writes) void log.put(bytes, [name, offset, bytes.length]).catch(() => {})
      transaction.commit()
      await transaction.done
    } catch (error) {
      // Whatever failed first, the transaction's own reason tells more; both promises are heard.
      await transaction.done.catch(() => {})
      throw transaction.error ?? error
    }
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    if (offset < this.from || offset + length > this.to) {
      const message = `a read of ${length} bytes at ${offset} of the log ${this.name}, which holds ${this.from} to ${this.to}`
      const error = this.serial.unusable ?? new HarmonyError('CORRUPT', message)
      this.serial.run('reading', false, () => Promise.reject(error), done)
      return
    }
    // Taken now: held bytes may be stored, and the list may change, before the turn comes.
    const wanted = this.piecesWithin(offset, offset + length).map(piece => ({ ...piece }))
    this.serial.run('reading', false, () => this.gather(wanted, offset, length), done)
  }

  private async gather(wanted: readonly Piece[], offset: number, length: number): Promise<Uint8Array> {
    const result = new Uint8Array(length)
    const stored = wanted.filter(piece => piece.bytes === undefined)
    const found = await this.load(stored)
    for (const piece of wanted) {
      const bytes = piece.bytes ?? found.get(piece.offset)
      if (bytes === undefined) {
        throw new HarmonyError('CORRUPT', `the log ${this.name} lacks its record at ${piece.offset}`)
      }
      const begin = Math.max(offset, piece.offset)
      const finish = Math.min(offset + length, piece.offset + piece.length)
      result.set(bytes.subarray(begin - piece.offset, finish - piece.offset), begin - offset)
    }
    return result
  }

  private async load(pieces: readonly Piece[]): Promise<ReadonlyMap<number, Uint8Array>> {
    const found = new Map<number, Uint8Array>()
    const first = pieces[0]
    if (first === undefined) return found
    const last = pieces[pieces.length - 1]!
    const range = IDBKeyRange.bound([this.name, first.offset], [this.name, last.offset, []])
    const transaction = this.database.transaction('log')
    const [keys, values] = await Promise.all([transaction.store.getAllKeys(range), transaction.store.getAll(range)])
    for (const [at, key] of keys.entries()) found.set(key[1], values[at]!)
    return found
  }

  close(done: Done): void {
    this.serial.close(error => {
      if (error === undefined) this.onClosed()
      done(error)
    })
  }

  private piecesWithin(from: number, to: number): readonly Piece[] {
    let low = 0
    let high = this.pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const piece = this.pieces[middle]!
      if (piece.offset + piece.length <= from) low = middle + 1
      else high = middle
    }
    let end = low
    while (end < this.pieces.length && this.pieces[end]!.offset < to) end++
    return this.pieces.slice(low, end)
  }
}

/** Structured clone stores the whole buffer behind a view. */
const packed = (bytes: Uint8Array): Uint8Array =>
  bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
