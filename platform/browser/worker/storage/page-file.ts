/**
 * PageFile on IndexedDB: one record a sector. Writes stay here until their transaction has completed, and are read from here until then.
 * A transaction is all or nothing, which is more than G2 asks for.
 */
import { assert } from '../../../../src/base/assert.ts'
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Done, PageFile } from '../../../../src/platform.ts'
import type { StorageDatabase } from './schema.ts'
import { Serial } from './serial.ts'

const sectorBytes = 4096
const extentBytesMax = 56 * 1024
const pageBytesPreferred = 16 * 1024

export async function openPageFile(database: StorageDatabase, name: string, onClosed: () => void): Promise<PageFile> {
  const cursor = await database.transaction('pages').store.openKeyCursor(IDBKeyRange.bound([name], [name, []]), 'prev')
  return new IndexedDbPageFile(database, name, cursor === null ? 0 : cursor.key[1] + 1, onClosed)
}

class IndexedDbPageFile implements PageFile {
  readonly sectorBytes = sectorBytes
  readonly extentBytesMax = extentBytesMax
  readonly pageBytesPreferred = pageBytesPreferred
  private readonly database: StorageDatabase
  private readonly name: string
  private readonly serial: Serial
  private readonly onClosed: () => void
  private sectors: number
  /** Not yet known to be stored; `undefined` stands for zeros after a cut. */
  private readonly held = new Map<number, { readonly bytes: Uint8Array }>()
  /** Stored sectors from here on are void until the next sync has removed them. */
  private cutAt: number | undefined

  constructor(database: StorageDatabase, name: string, sectors: number, onClosed: () => void) {
    this.database = database
    this.name = name
    this.serial = new Serial(name)
    this.sectors = sectors
    this.onClosed = onClosed
  }

  get bytes(): number {
    return this.sectors * sectorBytes
  }

  write(offset: number, bytes: Uint8Array): void {
    checkExtent(offset, bytes.length)
    if (this.serial.unusable !== undefined) return
    const first = offset / sectorBytes
    for (let at = 0; at * sectorBytes < bytes.length; at++) {
      this.held.set(first + at, { bytes: bytes.slice(at * sectorBytes, (at + 1) * sectorBytes) })
    }
    this.sectors = Math.max(this.sectors, first + bytes.length / sectorBytes)
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    checkExtent(offset, length)
    const first = offset / sectorBytes
    const count = length / sectorBytes
    const result = new Uint8Array(length)
    const missing = new Set<number>()
    for (let at = 0; at < count; at++) {
      const held = this.held.get(first + at)
      if (held !== undefined) result.set(held.bytes, at * sectorBytes)
      else if (first + at < this.sectors && (this.cutAt === undefined || first + at < this.cutAt))
        missing.add(first + at)
    }
    const work = async (): Promise<Uint8Array> => {
      if (missing.size === 0) return result
      const range = IDBKeyRange.bound([this.name, first], [this.name, first + count - 1])
      const transaction = this.database.transaction('pages')
      const [keys, values] = await Promise.all([transaction.store.getAllKeys(range), transaction.store.getAll(range)])
      for (const [at, [, sector]] of keys.entries()) {
        const bytes = values[at]!
        if (!missing.has(sector)) continue
        if (bytes.length !== sectorBytes) {
          throw new HarmonyError('CORRUPT', `sector ${sector} of ${this.name} has ${bytes.length} bytes`)
        }
        result.set(bytes, (sector - first) * sectorBytes)
      }
      return result
    }
    this.serial.run('reading', false, work, done)
  }

  sync(done: Done): void {
    const writes = [...this.held]
    const { cutAt } = this
    this.cutAt = undefined
    const work = async (): Promise<void> => {
      if (writes.length > 0 || cutAt !== undefined) await this.store(writes, cutAt)
      for (const [sector, held] of writes) if (this.held.get(sector) === held) this.held.delete(sector)
    }
    this.serial.run('syncing', true, work, result => done(result.ok ? undefined : result.error))
  }

  truncate(bytes: number): void {
    assert(bytes % sectorBytes === 0, 'a page file is cut at a sector')
    if (this.serial.unusable !== undefined) return
    const sectors = bytes / sectorBytes
    if (sectors >= this.sectors) return
    this.sectors = sectors
    this.cutAt = Math.min(this.cutAt ?? sectors, sectors)
    for (const sector of [...this.held.keys()]) if (sector >= sectors) this.held.delete(sector)
  }

  close(done: Done): void {
    this.serial.close(error => {
      if (error === undefined) this.onClosed()
      done(error)
    })
  }

  private async store(
    writes: readonly [number, { readonly bytes: Uint8Array }][],
    cutAt: number | undefined,
  ): Promise<void> {
    const transaction = this.database.transaction('pages', 'readwrite', { durability: 'strict' })
    const { store } = transaction
    const { name } = this
    const hear = (request: Promise<unknown>): void => void request.catch(() => {})
    if (cutAt !== undefined) hear(store.delete(IDBKeyRange.bound([name, cutAt], [name, []])))
    for (const [sector, { bytes }] of writes) hear(store.put(bytes, [name, sector]))
    try {
      transaction.commit()
      await transaction.done
    } catch (error) {
      throw transaction.error ?? error
    }
  }
}

function checkExtent(offset: number, length: number): void {
  assert(offset >= 0 && offset % sectorBytes === 0 && length % sectorBytes === 0, 'an extent has whole sectors')
  assert(length > 0 && length <= extentBytesMax, `an extent has at most ${extentBytesMax} bytes`)
}
