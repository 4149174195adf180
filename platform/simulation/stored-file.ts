/**
 * What a simulated disk holds of one file: the bytes as the process sees them, the bytes that would be left after a crash
 * now, and the changes between the two.
 *
 * Fault model of a crash (L2, L3, L4, G2)
 *  - Of each write that no sync covered, any subset of its sectors survives: none, all, a prefix of what was written, or each by
 *    chance; which kind is drawn once for each crash.
 *  - A cut tail survives whole, torn or not at all; where it does not survive whole, nothing done after it does.
 *  - A log may come back longer than what survived in it, with zeros between.
 *  - A file that was created and never synced may be gone.
 *  - Bytes that a completed sync covered are never harmed. (`rot` does that, on purpose.)
 */
import type { SeededRandom } from '../../src/base/random.ts'
import { ByteImage, forEachSector } from './byte-image.ts'

export type FileKind = 'log' | 'pages'

type Change =
  | { readonly type: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly type: 'cut'; readonly end: number }
  | { readonly type: 'dropFront'; readonly start: number }

/** Logs come back at a multiple of this, as files that are allocated ahead do. */
const allocationBytes = 16_384

export class StoredFile {
  readonly kind: FileKind
  /** As the process sees it. */
  current = new ByteImage()
  private durable = new ByteImage()
  private created = false
  private readonly changes: Change[] = []
  /** Changes that were already made durable: positions are counted over the whole life. */
  private settled = 0
  /** Where the newest write begins that a sync covered. */
  private newestSynced = 0

  constructor(kind: FileKind) {
    this.kind = kind
  }

  /** How many changes were ever made: what a sync that begins now will cover. */
  get position(): number {
    return this.settled + this.changes.length
  }

  write(at: number, bytes: Uint8Array): void {
    this.current.write(at, bytes)
    this.changes.push({ type: 'write', at, bytes })
  }

  cut(end: number): void {
    this.current.cut(end)
    this.changes.push({ type: 'cut', end })
  }

  dropFront(start: number): void {
    this.current.dropFront(start)
    this.changes.push({ type: 'dropFront', start })
  }

  /** A sync that began at this position is over. */
  settle(position: number): void {
    this.created = true
    const covered = this.changes.splice(0, position - this.settled)
    this.settled += covered.length
    for (const change of covered) {
      if (change.type === 'write') this.newestSynced = change.at
      apply(this.durable, change)
    }
  }

  /**
   * Rot before this place can be told from what a crash leaves. Of a log, what was written last stands unproven until something is written behind it (W2 of `src/README.md`,
   * `storage/wal-replay.ts`): damage there looks like a torn end, and is taken for one.
   */
  get tellingEnd(): number {
    return this.kind === 'log' ? Math.min(this.newestSynced, this.current.end) : this.current.end
  }

  /** The power goes. False: not even the file's name survives. */
  crash(random: SeededRandom): boolean {
    const survives = survival(random)
    if (!this.created && random.chance(0.5)) return false
    let torn = false
    for (const change of this.changes) {
      if (torn) break
      torn = !this.crashChange(change, survives, random)
    }
    if (this.kind === 'log' && random.chance(0.5)) {
      const end = Math.max(this.durable.end, random.chance(0.5) ? this.current.end : 0)
      this.durable.extend(Math.ceil(end / allocationBytes) * allocationBytes)
    }
    this.forget()
    this.current = this.durable.clone()
    return true
  }

  /** The process goes, the system stays: what it wrote will reach the disk. */
  keepAll(): void {
    this.settle(this.position)
  }

  rot(at: number, bit: number): void {
    this.current.flipBit(at, bit)
    if (at < this.durable.end) this.durable.flipBit(at, bit)
  }

  /** As a reader of the file finds it now, on another disk. */
  copy(): StoredFile {
    const made = new StoredFile(this.kind)
    made.current = this.current.clone()
    made.durable = this.current.clone()
    made.created = true
    made.newestSynced = this.newestSynced
    return made
  }

  private forget(): void {
    this.settled += this.changes.length
    this.changes.length = 0
    this.created = true
  }

  /** False: nothing after this change may survive. */
  private crashChange(change: Change, survives: () => boolean, random: SeededRandom): boolean {
    if (change.type === 'write') {
      const { at, bytes } = change
      forEachSector(at, at + bytes.length, (from, to) => {
        if (survives()) this.durable.write(from, bytes.subarray(from - at, to - at))
      })
      return true
    }
    const whole = random.chance(0.5)
    if (whole) apply(this.durable, change)
    if (whole || change.type === 'dropFront') return true
    forEachSector(change.end, this.durable.end, (from, to) => {
      if (survives()) this.durable.zero(from, to)
    })
    return false
  }
}

function apply(image: ByteImage, change: Change): void {
  switch (change.type) {
    case 'write':
      return image.write(change.at, change.bytes)
    case 'cut':
      return image.cut(change.end)
    case 'dropFront':
      // After a crash the bytes up to there may be missing.
      return image.dropFront(Math.min(change.start, image.end))
  }
}

/** Says of each sector in turn whether it reached the disk. */
function survival(random: SeededRandom): () => boolean {
  switch (random.below(4)) {
    case 0:
      return () => false
    case 1:
      return () => true
    case 2: {
      let left = random.below(64)
      return () => left-- > 0
    }
    default: {
      const probability = random.unit()
      return () => random.chance(probability)
    }
  }
}
