/** A page file over the simulated disk's fault model that can lose its power before any write, truncation or sync; and a page store on it. */

import { StoredFile } from '../../../platform/simulation/stored-file.ts'
import type { HarmonyError } from '../../../src/base/errors.ts'
import { lsn, peerId } from '../../../src/base/ids.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import type { Completion, Done, PageFile } from '../../../src/platform.ts'
import { type PageId, pageIdMax } from '../../../src/storage/page-source.ts'
import { type OpenedPageStore, PageStore } from '../../../src/storage/page-store.ts'
import type { PageStoreOptions } from '../../../src/storage/page-store-types.ts'
import { openSuperblock, type SuperblockStore } from '../../../src/storage/superblock.ts'

export interface Shape {
  readonly pageBytes?: number
  readonly extentBytesMax?: number
  /** Default: 512. */
  readonly sectorBytes?: number
  readonly sectorBytesOnce?: number
  /** Completions wait for `settle`, reads and syncs in turns. */
  readonly later?: boolean
}

export class TestPages implements PageFile {
  readonly sectorBytes: number
  readonly sectorBytesOnce: number
  readonly extentBytesMax: number
  readonly pageBytesPreferred: number
  readonly stored: StoredFile
  readonly shape: Shape
  /** Writes, truncations and syncs so far. */
  operations = 0
  /** The power goes before this one. */
  powerUntil = Number.POSITIVE_INFINITY
  failSync: HarmonyError | undefined
  written: { readonly at: number; readonly to: number }[] = []
  private readonly waiting: (() => void)[] = []

  constructor(shape: Shape = {}, stored = new StoredFile('pages')) {
    this.shape = shape
    this.stored = stored
    this.sectorBytes = shape.sectorBytes ?? 512
    this.sectorBytesOnce = shape.sectorBytesOnce ?? this.sectorBytes
    this.extentBytesMax = shape.extentBytesMax ?? 65_536
    this.pageBytesPreferred = shape.pageBytes ?? 512
  }

  get bytes(): number {
    return this.stored.current.end
  }

  get powered(): boolean {
    return this.operations < this.powerUntil
  }

  write(offset: number, bytes: Uint8Array): void {
    this.check(offset, bytes.length)
    if (!this.step()) return
    this.written.push({ at: offset, to: offset + bytes.length })
    this.stored.write(offset, bytes)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    this.check(offset, length)
    const read = (): void => done({ ok: true, value: this.stored.current.read(offset, length) })
    if (this.shape.later === true) this.waiting.push(read)
    else read()
  }

  sync(done: Done): void {
    if (!this.step()) return
    const { position } = this.stored
    this.waiting.push(() => {
      if (!this.powered) return
      if (this.failSync === undefined) this.stored.settle(position)
      done(this.failSync)
    })
    if (this.shape.later !== true) this.settle()
  }

  truncate(bytes: number): void {
    this.check(bytes, this.sectorBytes)
    if (this.step() && bytes < this.bytes) this.stored.cut(bytes)
  }

  close(done: Done): void {
    done(undefined)
  }

  settle(most = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < most; i++) {
      const next = this.waiting.shift()
      if (next === undefined) return
      next()
    }
  }

  /** What another life finds after the power went. */
  crashed(random: SeededRandom): TestPages {
    this.powerUntil = 0
    const survived = this.stored.crash(random)
    return new TestPages(this.shape, survived ? this.stored : new StoredFile('pages'))
  }

  /** What another life finds after the process went. */
  reopened(shape = this.shape): TestPages {
    this.powerUntil = 0
    this.stored.keepAll()
    return new TestPages(shape, this.stored)
  }

  /** A copy of what stands there, to damage. */
  copy(): Uint8Array {
    return this.stored.current.read(0, this.bytes)
  }

  static holding(bytes: Uint8Array, shape: Shape = {}): TestPages {
    const stored = new StoredFile('pages')
    if (bytes.length > 0) stored.write(0, bytes)
    stored.keepAll()
    return new TestPages(shape, stored)
  }

  private step(): boolean {
    if (!this.powered) return false
    this.operations++
    return this.powered
  }

  private check(offset: number, length: number): void {
    if (offset % this.sectorBytes !== 0 || length % this.sectorBytes !== 0 || offset < 0) throw new Error('misaligned')
    if (length <= 0 || length > this.extentBytesMax) throw new Error('oversized')
  }
}

export interface OpenStore extends OpenedPageStore {
  readonly superblock: SuperblockStore
}

/** Undefined: the power went before it was open. */
export function openStore(pages: TestPages, options: PageStoreOptions = {}): OpenStore | HarmonyError | undefined {
  let outcome: OpenStore | HarmonyError | undefined
  openSuperblock(pages, opened => {
    if (!opened.ok) {
      outcome = opened.error
      return
    }
    const { current, store: superblock } = opened.value
    const open = (): void =>
      PageStore.open(pages, superblock, options, result => {
        outcome = result.ok ? { ...result.value, superblock } : result.error
      })
    if (current !== undefined) return open()
    const identity = { identitySeed: new Uint8Array(32), peerId: peerId('0'.repeat(32)), durableLsn: lsn(0) }
    superblock.write({ ...identity, clean: false }, error => {
      if (error === undefined) open()
      else outcome = error
    })
  })
  pages.settle()
  return outcome
}

export function mustOpenStore(pages: TestPages, options: PageStoreOptions = {}): OpenStore {
  const outcome = openStore(pages, options)
  if (outcome === undefined) throw new Error('open did not complete')
  if (outcome instanceof Error) throw outcome
  return outcome
}

interface Readable {
  read(page: PageId, into: Uint8Array, done: Done): void
}

export function readPage(pages: TestPages, from: Readable, page: PageId, pageBytes = 512): Uint8Array | HarmonyError {
  const into = new Uint8Array(pageBytes)
  let outcome: Uint8Array | HarmonyError | undefined
  from.read(page, into, error => {
    outcome = error ?? into
  })
  pages.settle()
  if (outcome === undefined) throw new Error('read did not complete')
  return outcome
}

/** Content that is different for each seed; every third does not compress. */
export function content(seed: number, pageBytes = 512): Uint8Array {
  const bytes = new Uint8Array(pageBytes)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < pageBytes; i++) {
    if (seed % 3 === 0 || i % 16 === 0) state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  bytes[0] = seed & 0xff
  bytes[1] = (seed >>> 8) & 0xff
  return bytes
}

export const someMeta = (n: number): Uint8Array => new Uint8Array([n & 0xff, (n >>> 8) & 0xff, 7])
export const metaNumber = (meta: Uint8Array): number => (meta[0] ?? 0) + (meta[1] ?? 0) * 256

/** Its result; 'lost' where the power went before it completed. */
export function checkpoint(pages: TestPages, store: PageStore, meta: Uint8Array): HarmonyError | 'done' | 'lost' {
  store.beginCheckpoint()
  return finish(pages, store, meta)
}

export function finish(pages: TestPages, store: PageStore, meta: Uint8Array): HarmonyError | 'done' | 'lost' {
  let outcome: HarmonyError | 'done' | 'lost' = 'lost'
  store.finishCheckpoint(meta, error => {
    outcome = error ?? 'done'
  })
  pages.settle()
  return outcome
}

export const idOf = (n: number): PageId => {
  if (n < 1 || n > pageIdMax) throw new Error('not a page id')
  return n as PageId
}
