/**
 * A PageFile over one file, `<name>.pages`, of the origin private file system: reads and writes are synchronous, a flush comes with the next turn.
 *
 * Caveat: sectors have 512 bytes, though devices write 4096 at once: like SQLite, this relies on writes that harm nothing beside them (G2). In
 * return a database can be moved from IndexedDB and back as it is.
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import { SyncQueue } from '../../../../src/base/sync-queue.ts'
import type { Completion, Done, PageFile } from '../../../../src/platform.ts'
import { nextTurn, opfsError } from './opfs-handles.ts'

const sectorBytes = 512
const extentBytesMax = 1024 * 1024
const pageBytesPreferred = 8192

export class OpfsPageFile implements PageFile {
  readonly sectorBytes = sectorBytes
  readonly extentBytesMax = extentBytesMax
  readonly pageBytesPreferred = pageBytesPreferred
  private readonly handle: FileSystemSyncAccessHandle
  private readonly name: string
  private readonly onClosed: () => void
  private readonly syncs: SyncQueue
  private length: number

  constructor(handle: FileSystemSyncAccessHandle, name: string, onClosed: () => void) {
    this.handle = handle
    this.name = name
    this.onClosed = onClosed
    this.length = Math.ceil(handle.getSize() / sectorBytes) * sectorBytes
    this.syncs = new SyncQueue(done => nextTurn(() => done(this.attempt('flushing', () => handle.flush()))))
  }

  get bytes(): number {
    return this.length
  }

  write(offset: number, bytes: Uint8Array): void {
    assertExtent(offset, bytes.length)
    if (this.syncs.refusal() !== undefined) return
    this.guard('writing to', () => {
      const written = this.handle.write(bytes as Uint8Array<ArrayBuffer>, { at: offset })
      if (written < bytes.length) throw new HarmonyError('QUOTA', 'the storage of this origin is full')
    })
    this.length = Math.max(this.length, offset + bytes.length)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    assertExtent(offset, length)
    const refusal = this.syncs.refusal()
    if (refusal !== undefined) return done({ ok: false, error: refusal })
    const bytes = new Uint8Array(length)
    try {
      // What lies behind the end stays zeros (G1).
      this.handle.read(bytes, { at: offset })
    } catch (cause) {
      return done({ ok: false, error: opfsError(cause, `reading the page file ${this.name}`) })
    }
    done({ ok: true, value: bytes })
  }

  sync(done: Done): void {
    this.syncs.sync(done)
  }

  truncate(bytes: number): void {
    assert(bytes >= 0 && bytes % sectorBytes === 0, 'a page file is cut at a sector')
    if (bytes >= this.length || this.syncs.refusal() !== undefined) return
    this.guard('cutting', () => this.handle.truncate(bytes))
    this.length = bytes
  }

  close(done: Done): void {
    this.syncs.close(() => {
      this.handle.close()
      this.onClosed()
    }, done)
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
      return opfsError(cause, `${doing} the page file ${this.name}`)
    }
  }
}

function assertExtent(offset: number, length: number): void {
  assert(offset >= 0 && offset % sectorBytes === 0 && length % sectorBytes === 0, 'an extent has whole sectors')
  assert(length > 0 && length <= extentBytesMax, 'an extent has 1 to extentBytesMax bytes')
}
