/**
 * A Directory that lives in memory and goes with the process: what `storage: 'memory'` stands for, on every host. Every call completes
 * before it returns. `sync` has nothing to wait for: durability ends where the process does, so rules L2, L3, G2 and
 * D2 say nothing here, and a peer on it may be solo or a learner, never a voter that comes back (hard case 5).
 *
 * Appended pieces are kept as they were handed over (P4), so an append costs no copy and a long log no moving.
 */
import { assert } from '../base/assert.ts'
import { HarmonyError } from '../base/errors.ts'
import type { Completion, Directory, Done, LogFile, PageFile } from '../platform.ts'

const nameForm = /^[a-z0-9-]{1,32}$/
const sectorBytes = 512
const extentBytesMax = 1024 * 1024
/** Page files are kept in pieces of this size, so that they grow without being copied. */
const blockBytes = 64 * 1024

interface StoredLog {
  readonly kind: 'log'
  /** Adjacent, in order; the first holds `start`. */
  pieces: { readonly at: number; readonly bytes: Uint8Array }[]
  start: number
  end: number
}

interface StoredPages {
  readonly kind: 'pages'
  /** By block number; what is missing is zeros. */
  readonly blocks: Map<number, Uint8Array>
  bytes: number
}

type Stored = StoredLog | StoredPages

/** Files outlive `close` of the file, not of the directory. */
export function createMemoryDirectory(): Directory {
  const files = new Map<string, Stored>()
  const openFiles = new Map<string, { close(done: Done): void }>()
  let closed = false

  function open<F extends LogFile | PageFile, S extends Stored>(
    name: string,
    kind: S['kind'],
    make: () => S,
    wrap: (stored: S, onClosed: () => void) => F,
    done: Completion<F>,
  ): void {
    assert(nameForm.test(name), `a file name has 1 to 32 of a-z, 0-9 and '-': ${name}`)
    if (closed) return done({ ok: false, error: closedError('directory') })
    if (openFiles.has(name))
      return done({ ok: false, error: new HarmonyError('LOCKED', `the file ${name} is open already`) })
    const stored = files.get(name) ?? make()
    if (stored.kind !== kind) {
      return done({
        ok: false,
        error: new HarmonyError('CORRUPT', `the file ${name} is of the other kind: ${stored.kind}`),
      })
    }
    files.set(name, stored)
    const file = wrap(stored as S, () => openFiles.delete(name))
    openFiles.set(name, file)
    done({ ok: true, value: file })
  }

  return {
    openLog(name, done) {
      open<LogFile, StoredLog>(name, 'log', () => ({ kind: 'log', pieces: [], start: 0, end: 0 }), memoryLog, done)
    },
    openPages(name, done) {
      open<PageFile, StoredPages>(
        name,
        'pages',
        () => ({ kind: 'pages', blocks: new Map(), bytes: 0 }),
        memoryPages,
        done,
      )
    },
    list(done) {
      done(closed ? { ok: false, error: closedError('directory') } : { ok: true, value: [...files.keys()].sort() })
    },
    remove(name, done) {
      if (closed) return done(closedError('directory'))
      if (openFiles.has(name)) return done(new HarmonyError('LOCKED', `the file ${name} is open: close it first`))
      files.delete(name)
      done(undefined)
    },
    close(done) {
      if (closed) return done(closedError('directory'))
      closed = true
      for (const file of [...openFiles.values()]) file.close(() => {})
      files.clear()
      done(undefined)
    },
  }
}

function memoryLog(stored: StoredLog, onClosed: () => void): LogFile {
  let closed = false
  return {
    get start() {
      return stored.start
    },
    get end() {
      return stored.end
    },
    append(bytes) {
      if (closed || bytes.length === 0) return
      stored.pieces.push({ at: stored.end, bytes })
      stored.end += bytes.length
    },
    sync(done) {
      done(closed ? closedError('log') : undefined)
    },
    read(offset, length, done) {
      if (closed) return done({ ok: false, error: closedError('log') })
      if (length < 0 || offset < stored.start || offset + length > stored.end) {
        const message = `bytes ${offset} to ${offset + length} were asked of a log that holds ${stored.start} to ${stored.end}`
        return done({ ok: false, error: new HarmonyError('CORRUPT', message) })
      }
      done({ ok: true, value: readPieces(stored, offset, length) })
    },
    truncate(end) {
      assert(end >= stored.start && end <= stored.end, 'a log is cut between its start and its end')
      if (closed) return
      const { pieces } = stored
      while (pieces.length > 0 && pieces[pieces.length - 1]!.at >= end) pieces.pop()
      const last = pieces.pop()
      if (last !== undefined) pieces.push({ at: last.at, bytes: last.bytes.subarray(0, end - last.at) })
      stored.end = end
    },
    dropFront(offset) {
      assert(offset >= 0 && offset <= stored.end, 'a log loses no more than it has')
      if (closed || offset <= stored.start) return
      stored.pieces = stored.pieces.slice(offset === stored.end ? stored.pieces.length : pieceAt(stored, offset))
      stored.start = offset
    },
    close(done) {
      if (closed) return done(closedError('log'))
      closed = true
      onClosed()
      done(undefined)
    },
  }
}

/** Index of the piece that holds this byte of the log. */
function pieceAt({ pieces }: StoredLog, offset: number): number {
  let low = 0
  let high = pieces.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (pieces[middle]!.at <= offset) low = middle
    else high = middle - 1
  }
  return low
}

function readPieces(stored: StoredLog, offset: number, length: number): Uint8Array {
  const result = new Uint8Array(length)
  let filled = 0
  for (let i = pieceAt(stored, offset); filled < length; i++) {
    const { at, bytes } = stored.pieces[i]!
    const from = offset + filled - at
    const part = bytes.subarray(from, from + length - filled)
    result.set(part, filled)
    filled += part.length
  }
  return result
}

function memoryPages(stored: StoredPages, onClosed: () => void): PageFile {
  let closed = false

  /** Visits the parts of an extent that lie in one block each. */
  function forEachPart(
    offset: number,
    length: number,
    visit: (block: number, at: number, from: number, to: number) => void,
  ) {
    let done = 0
    while (done < length) {
      const at = (offset + done) % blockBytes
      const part = Math.min(length - done, blockBytes - at)
      visit(Math.floor((offset + done) / blockBytes), at, done, done + part)
      done += part
    }
  }

  return {
    sectorBytes,
    extentBytesMax,
    pageBytesPreferred: 8192,
    get bytes() {
      return stored.bytes
    },
    write(offset, bytes) {
      assertExtent(offset, bytes.length)
      if (closed) return
      forEachPart(offset, bytes.length, (number, at, from, to) => {
        const block = stored.blocks.get(number) ?? new Uint8Array(blockBytes)
        stored.blocks.set(number, block)
        block.set(bytes.subarray(from, to), at)
      })
      stored.bytes = Math.max(stored.bytes, offset + bytes.length)
    },
    read(offset, length, done) {
      assertExtent(offset, length)
      if (closed) return done({ ok: false, error: closedError('page file') })
      const result = new Uint8Array(length)
      forEachPart(offset, length, (number, at, from, to) => {
        const block = stored.blocks.get(number)
        if (block !== undefined) result.set(block.subarray(at, at + to - from), from)
      })
      done({ ok: true, value: result })
    },
    sync(done) {
      done(closed ? closedError('page file') : undefined)
    },
    truncate(bytes) {
      assert(bytes >= 0 && bytes % sectorBytes === 0, 'a page file is cut at a sector')
      if (closed || bytes >= stored.bytes) return
      for (const [number, block] of stored.blocks) {
        if (number * blockBytes >= bytes) stored.blocks.delete(number)
        else if ((number + 1) * blockBytes > bytes) block.fill(0, bytes - number * blockBytes)
      }
      stored.bytes = bytes
    },
    close(done) {
      if (closed) return done(closedError('page file'))
      closed = true
      onClosed()
      done(undefined)
    },
  }
}

function assertExtent(offset: number, length: number): void {
  assert(offset >= 0 && offset % sectorBytes === 0 && length % sectorBytes === 0, 'an extent has whole sectors')
  assert(length > 0 && length <= extentBytesMax, 'an extent has 1 to extentBytesMax bytes')
}

function closedError(what: string): HarmonyError {
  return new HarmonyError('CLOSED', `the ${what} was closed`)
}
