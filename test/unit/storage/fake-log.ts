/**
 * A `LogFile` in memory that keeps rules L1 to L8 and no more than them: completions wait until `settle()` (unless it is
 * `eager`), and a crash keeps an arbitrary part of what was not synced, sector by sector.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import type { Completion, Done, LogFile } from '../../../src/platform.ts'

const sectorBytes = 512

export class FakeLog implements LogFile {
  readonly start = 0
  /** What has to survive a crash. */
  durable: Uint8Array
  content: Uint8Array
  eager = false
  /** Set before it is opened: its syncs hold the thread. */
  gather?: (begin: () => void) => void
  /** The sync with this number (from 1) fails. */
  failSync = 0
  syncs = 0
  appends = 0
  readBytesMost = 0
  private used: number
  private readonly waiting: (() => void)[] = []
  private dead: HarmonyError | undefined

  constructor(content: Uint8Array = new Uint8Array(0)) {
    this.durable = content.slice()
    this.content = content.slice()
    this.used = content.length
  }

  get end(): number {
    return this.used
  }
  get image(): Uint8Array {
    return this.content.slice(0, this.used)
  }
  get idle(): boolean {
    return this.waiting.length === 0
  }

  append(bytes: Uint8Array): void {
    this.appends++
    if (this.used + bytes.length > this.content.length) {
      const grown = new Uint8Array((this.used + bytes.length) * 2)
      grown.set(this.image)
      this.content = grown
    }
    this.content.set(bytes, this.used)
    this.used += bytes.length
  }

  sync(done: Done): void {
    this.syncs++
    if (this.syncs === this.failSync) this.dead = new HarmonyError('STORAGE_LOST', 'the disk is gone')
    const image = this.dead === undefined ? this.image : undefined
    this.later(() => {
      if (image !== undefined) this.durable = image
      done(image === undefined ? this.dead : undefined)
    })
  }

  read(offset: number, length: number, done: Completion<Uint8Array>): void {
    this.readBytesMost = Math.max(this.readBytesMost, length)
    const { dead } = this
    const within = offset >= 0 && length >= 0 && offset + length <= this.used
    const bytes = within ? this.content.slice(offset, offset + length) : undefined
    this.later(() => {
      if (dead !== undefined) done({ ok: false, error: dead })
      else if (bytes === undefined) done({ ok: false, error: new HarmonyError('CORRUPT', 'out of range') })
      else done({ ok: true, value: bytes })
    })
  }

  truncate(end: number): void {
    this.content.fill(0, end, this.used)
    this.used = end
  }

  dropFront(): void {
    throw new Error('not used here')
  }

  close(done: Done): void {
    this.later(() => {
      this.dead = new HarmonyError('CLOSED', 'closed')
      done(undefined)
    })
  }

  gathers(): void {
    this.gather = begin => this.later(begin)
  }

  /** Completes what waits, and what that brings about, or only the next so many. */
  settle(most = Number.MAX_SAFE_INTEGER): void {
    for (let i = 0; i < most; i++) {
      const next = this.waiting.shift()
      if (next === undefined) return
      next()
    }
  }

  /** What a reopened log holds after a power cut. Sectors that sync covered and nobody touched since are whole. */
  crash(random: SeededRandom): FakeLog {
    const most = Math.max(this.used, this.durable.length)
    const now = new Uint8Array(most)
    now.set(this.image)
    const before = new Uint8Array(most)
    before.set(this.durable)
    const after = before.slice()
    const likely = random.unit()
    let end = this.durable.length
    for (let from = 0; from < most; from += sectorBytes) {
      const to = Math.min(most, from + sectorBytes)
      if (!random.chance(likely)) continue
      after.set(now.subarray(from, to), from)
      if (to > end) end = to
    }
    // Zeros may follow, as in a file that was preallocated.
    const tail = random.chance(0.3) ? random.below(2000) : 0
    const image = new Uint8Array(Math.max(end, this.durable.length) + tail)
    image.set(after.subarray(0, end))
    return new FakeLog(image)
  }

  private later(run: () => void): void {
    if (this.eager) run()
    else this.waiting.push(run)
  }
}
