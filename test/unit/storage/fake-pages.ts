/** A `PageFile` in memory that keeps rules G1 to G5 and no more: completions wait until `settle()`, crashes keep some sectors. */
import { assert } from '../../../src/base/assert.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import type { Completion, Done, PageFile } from '../../../src/platform.ts'

interface Shape {
  readonly sectorBytes?: number
  readonly pageBytesPreferred?: number
}

export class FakePages implements PageFile {
  readonly sectorBytes: number
  readonly extentBytesMax = 65536
  readonly pageBytesPreferred: number
  durable: Uint8Array
  failSync = 0
  syncs = 0
  private content: Uint8Array
  private readonly shape: Shape
  private readonly waiting: (() => void)[] = []
  private dead: HarmonyError | undefined

  constructor(content: Uint8Array = new Uint8Array(0), shape: Shape = {}) {
    this.durable = content.slice()
    this.content = content.slice()
    this.shape = shape
    this.sectorBytes = shape.sectorBytes ?? 512
    this.pageBytesPreferred = shape.pageBytesPreferred ?? 8192
  }

  get bytes(): number {
    return this.content.length
  }

  write(offset: number, bytes: Uint8Array): void {
    this.check(offset, bytes.length)
    const end = Math.max(this.content.length, offset + bytes.length)
    const grown = new Uint8Array(end)
    grown.set(this.content)
    grown.set(bytes, offset)
    this.content = grown
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    this.check(offset, length)
    const bytes = new Uint8Array(length)
    bytes.set(this.content.subarray(offset, offset + length))
    this.waiting.push(() =>
      done(this.dead === undefined ? { ok: true, value: bytes } : { ok: false, error: this.dead }),
    )
  }

  sync(done: Done): void {
    this.syncs++
    if (this.syncs === this.failSync) this.dead = new HarmonyError('STORAGE_LOST', 'the disk is gone')
    const { dead, content } = this
    this.waiting.push(() => {
      if (dead === undefined) this.durable = content
      done(dead)
    })
  }

  truncate(): void {
    throw new Error('not used here')
  }

  close(done: Done): void {
    this.waiting.push(() => done(undefined))
  }

  settle(most = Number.MAX_SAFE_INTEGER): void {
    for (let i = 0; i < most; i++) {
      const next = this.waiting.shift()
      if (next === undefined) return
      next()
    }
  }

  /** The machine lost power. */
  crash(random: SeededRandom): FakePages {
    const { durable, content, sectorBytes } = this
    const after = new Uint8Array(Math.max(durable.length, content.length))
    after.set(durable)
    for (let from = 0; from < after.length; from += sectorBytes) {
      if (random.chance(0.5)) after.set(content.subarray(from, from + sectorBytes), from)
    }
    return new FakePages(after, this.shape)
  }

  /** The process died: everything written is read again, and not yet durable. */
  forked(): FakePages {
    const next = new FakePages(this.content, this.shape)
    next.durable = this.durable
    return next
  }

  private check(offset: number, length: number): void {
    assert(offset % this.sectorBytes === 0 && length % this.sectorBytes === 0, 'misaligned')
    assert(length > 0 && length <= this.extentBytesMax, 'oversized')
  }
}
