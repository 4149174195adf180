/**
 * A PageFile over one file, `<name>.pages`, whose bytes stand where their offsets say. Reads and writes are synchronous, `sync` is an
 * fdatasync in another thread.
 *
 * Sectors have 512 bytes, though devices and file systems write 4096 at once: that a write which is interrupted harms no bytes but its own is what the log relies on
 * too, whose records adjoin (G2; SQLite calls it powersafe overwrite). With sectors of 4096, a page of 8 KiB that compresses to a little more than a half took all of 8 KiB.
 */
import { dirname } from 'node:path'
import { assert } from '../../../src/base/assert.ts'
import { type HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import { SyncQueue } from '../../../src/base/sync-queue.ts'
import type { Completion, Done, PageFile } from '../../../src/platform.ts'
import { type Files, storageError } from './files.ts'

const sectorBytes = 512
const sectorBytesOnce = 4096
const extentBytesMax = 1024 * 1024
/** Measured best for files (`FACTS.md`: gets from memory .90 / 1.02 / .94 M/s with 4 / 8 / 16 KiB). */
const pageBytesPreferred = 8192

/** @throws HarmonyError QUOTA or STORAGE_LOST. */
export function openPageFile(files: Files, path: string, exists: boolean, onClosed: () => void): PageFile {
  try {
    const file = files.open(path, exists ? 'existing' : 'new')
    return new NodePageFile(files, path, file, exists, onClosed)
  } catch (error) {
    throw isHarmonyError(error) ? error : storageError(error, `opening ${path}`)
  }
}

class NodePageFile implements PageFile {
  readonly sectorBytes = sectorBytes
  readonly sectorBytesOnce = sectorBytesOnce
  readonly extentBytesMax = extentBytesMax
  readonly pageBytesPreferred = pageBytesPreferred
  private readonly files: Files
  private readonly path: string
  private readonly file: number
  private readonly onClosed: () => void
  private readonly syncs: SyncQueue
  private length: number
  /** The name is on the device. */
  private nameDurable: boolean

  constructor(files: Files, path: string, file: number, exists: boolean, onClosed: () => void) {
    this.files = files
    this.path = path
    this.file = file
    this.onClosed = onClosed
    this.nameDurable = exists
    this.length = Math.ceil(files.size(file) / sectorBytes) * sectorBytes
    this.syncs = new SyncQueue(done => this.startSync(done))
  }

  get bytes(): number {
    return this.length
  }

  write(offset: number, bytes: Uint8Array): void {
    assertExtent(offset, bytes.length)
    if (this.syncs.refusal() !== undefined) return
    this.guard('writing to', () => this.files.write(this.file, bytes, offset))
    this.length = Math.max(this.length, offset + bytes.length)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    assertExtent(offset, length)
    const refusal = this.syncs.refusal()
    if (refusal !== undefined) return done({ ok: false, error: refusal })
    const bytes = new Uint8Array(length)
    try {
      // What lies behind the end stays zeros (G1).
      this.files.read(this.file, bytes, offset)
    } catch (cause) {
      return done({ ok: false, error: storageError(cause, `reading ${this.path}`) })
    }
    done({ ok: true, value: bytes })
  }

  sync(done: Done): void {
    this.syncs.sync(done)
  }

  truncate(bytes: number): void {
    assert(bytes >= 0 && bytes % sectorBytes === 0, 'a page file is cut at a sector')
    if (bytes >= this.length || this.syncs.refusal() !== undefined) return
    this.guard('cutting', () => this.files.truncate(this.file, bytes))
    this.length = bytes
  }

  close(done: Done): void {
    this.syncs.close(() => {
      this.files.close(this.file)
      this.onClosed()
    }, done)
  }

  private startSync(done: (error: HarmonyError | undefined) => void): void {
    this.files.datasync(this.file, error => {
      if (error !== undefined) return done(storageError(error, `syncing ${this.path}`))
      if (this.nameDurable) return done(undefined)
      try {
        this.files.syncDirectory(dirname(this.path))
        this.nameDurable = true
      } catch (cause) {
        return done(storageError(cause, `syncing the directory of ${this.path}`))
      }
      done(undefined)
    })
  }

  private guard(doing: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.syncs.fail(storageError(error, `${doing} ${this.path}`))
    }
  }
}

function assertExtent(offset: number, length: number): void {
  assert(offset >= 0 && offset % sectorBytes === 0 && length % sectorBytes === 0, 'an extent has whole sectors')
  assert(length > 0 && length <= extentBytesMax, 'an extent has 1 to extentBytesMax bytes')
}
