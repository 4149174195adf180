/**
 * Node's file system with a cache of its own that a crash loses: killing a process never loses the system's cache, so durability is
 * tested over this. Everything is passed on to the real files; for what was not synced the former content is remembered,
 * and `crash` puts any part of it back.
 *
 * Model: each 512 bytes of a file are, after a crash, as they were at the last sync that covered them or after any later write. Lengths
 * likewise. Names are lost with their file where the directory was not synced after they were made; renames are undone.
 * Removals count as durable at once: the adapter may not rely on a removed file coming back.
 */
import fs from 'node:fs'
import { dirname } from 'node:path'
import { type Files, systemFiles } from '../../platform/node/storage/files.ts'
import type { SeededRandom } from '../../src/base/random.ts'

const grainBytes = 512
const gone = (): Error => new Error('the process is gone')

interface Undo {
  readonly at: number
  readonly before: Uint8Array
}

interface OpenFile {
  path: string
  /** In the order of the writes. */
  readonly undo: Undo[]
  /** Before the first change since the last sync. */
  sizes: number[]
}

export class CrashFiles implements Files {
  /** Thrown by the next call that would need more space, and by all after it. */
  full = false
  syncFailures = 0
  private readonly known = new Map<number, OpenFile>()
  /** New names that no directory sync has covered: to undo, in reverse. */
  private names: { readonly path: string; readonly undo: () => void }[] = []
  private readonly random: SeededRandom
  /** The process is gone: its late calls reach nothing. */
  private dead = false
  /** That change something, and ends of syncs. */
  operations = 0
  /** Just before that operation. */
  strike: { readonly at: number; readonly kind: 'powerLoss' | 'full' } | undefined

  constructor(random: SeededRandom) {
    this.random = random
  }

  open(path: string, mode: 'existing' | 'new'): number {
    if (mode === 'new') this.step()
    this.needLife()
    if (mode === 'new') this.needSpace()
    const file = systemFiles.open(path, mode)
    this.known.set(file, { path, undo: [], sizes: [] })
    if (mode === 'new') this.names.push({ path, undo: () => fs.rmSync(path, { force: true }) })
    return file
  }

  size(file: number): number {
    this.needLife()
    return systemFiles.size(file)
  }

  read(file: number, bytes: Uint8Array, position: number): number {
    this.needLife()
    return systemFiles.read(file, bytes, position)
  }

  write(file: number, bytes: Uint8Array, position: number): void {
    if (this.dead || !this.step()) return
    const known = this.known.get(file)!
    const size = systemFiles.size(file)
    if (position + bytes.length > size) {
      this.needSpace()
      known.sizes.push(size)
    }
    const from = Math.floor(position / grainBytes) * grainBytes
    for (let at = from; at < position + bytes.length; at += grainBytes) {
      const before = new Uint8Array(grainBytes)
      systemFiles.read(file, before, at)
      known.undo.push({ at, before })
    }
    systemFiles.write(file, bytes, position)
  }

  zero(file: number, from: number, to: number, done: (error: unknown) => void): void {
    setImmediate(() => {
      try {
        this.write(file, new Uint8Array(to - from), from)
      } catch (error) {
        return done(error)
      }
      done(this.dead ? gone() : undefined)
    })
  }

  truncate(file: number, bytes: number): void {
    if (this.dead || !this.step()) return
    const known = this.known.get(file)!
    const size = systemFiles.size(file)
    known.sizes.push(size)
    for (let at = Math.floor(bytes / grainBytes) * grainBytes; at < size; at += grainBytes) {
      const before = new Uint8Array(grainBytes)
      systemFiles.read(file, before, at)
      known.undo.push({ at, before })
    }
    systemFiles.truncate(file, bytes)
  }

  datasync(file: number, done: (error: unknown) => void): void {
    if (this.dead || !this.step()) return void setImmediate(() => done(gone()))
    const { undo, sizes } = this.known.get(file)!
    const [covered, coveredSizes] = [undo.length, sizes.length]
    if (this.syncFailures > 0) {
      this.syncFailures--
      setImmediate(() => done(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })))
      return
    }
    systemFiles.datasync(file, error => {
      // The process went while it waited.
      if (this.dead || !this.step()) return done(gone())
      if (error === undefined) {
        undo.splice(0, covered)
        sizes.splice(0, coveredSizes)
      }
      done(error)
    })
  }

  gather(begin: () => void): void {
    systemFiles.gather(begin)
  }

  datasyncNow(file: number): void {
    if (this.dead || !this.step()) throw gone()
    const known = this.known.get(file)!
    known.undo.length = 0
    known.sizes = []
  }

  close(file: number): void {
    // What was not synced goes to the disk some time; here at once.
    if (this.known.delete(file)) systemFiles.close(file)
  }

  rename(from: string, to: string): void {
    if (this.dead || !this.step()) return
    const replaced = fs.existsSync(to) ? fs.readFileSync(to) : undefined
    systemFiles.rename(from, to)
    this.names = this.names.filter(name => name.path !== from)
    for (const known of this.known.values()) if (known.path === from) known.path = to
    this.names.push({
      path: to,
      undo: () => (replaced === undefined ? fs.rmSync(to, { force: true }) : fs.writeFileSync(to, replaced)),
    })
  }

  remove(path: string): void {
    if (this.dead || !this.step()) return
    systemFiles.remove(path)
    this.names = this.names.filter(name => name.path !== path)
  }

  list(directory: string): string[] {
    return systemFiles.list(directory)
  }

  syncDirectory(directory: string): void {
    if (this.dead || !this.step()) throw gone()
    this.names = this.names.filter(name => dirname(name.path) !== directory)
  }

  get crashed(): boolean {
    return this.dead
  }

  /** The power goes: what is on the disk now is what the next process will find. */
  crash(): void {
    this.dead = true
    const survives = this.random.pick([0, 1, 0.5, this.random.unit()])
    for (const [file, { undo, sizes }] of this.known) {
      // By place, the oldest content first: the state after a crash is before one of the writes, or after the last.
      const byPlace = new Map<number, Uint8Array[]>()
      for (const { at, before } of undo) byPlace.set(at, [...(byPlace.get(at) ?? []), before])
      const size = systemFiles.size(file)
      for (const [at, versions] of byPlace) {
        if (!this.random.chance(survives)) systemFiles.write(file, this.random.pick(versions), at)
      }
      systemFiles.truncate(file, sizes.length > 0 && !this.random.chance(survives) ? this.random.pick(sizes) : size)
      systemFiles.close(file)
    }
    this.known.clear()
    for (const { undo } of this.names.splice(0).reverse()) if (!this.random.chance(survives)) undo()
  }

  /** The process goes, the system stays. */
  kill(): void {
    this.dead = true
    for (const file of this.known.keys()) systemFiles.close(file)
    this.known.clear()
    this.names = []
  }

  /** One more operation. False: the power went before it. */
  private step(): boolean {
    this.operations++
    if (this.operations === this.strike?.at) {
      if (this.strike.kind === 'full') this.full = true
      else this.crash()
    }
    return !this.dead
  }

  private needLife(): void {
    if (this.dead) throw gone()
  }

  private needSpace(): void {
    if (this.full) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
  }
}
