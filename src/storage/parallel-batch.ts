/**
 * A large batch that several threads make together: its owner packs the changes into shared memory, in portions, and opens a section; it and the
 * helpers that come take one portion after the other, until none is left. What remains undone (pages that are not in memory, no room in the reserve) is the
 * owner's, in the order of the batch. The owner waits for nobody but helpers that are at work on a portion: one that is busy with something else, or comes late, finds
 * nothing left to do.
 *
 * Two changes of one key are in one portion, one after the other: where the keys ascend, portions are pieces of the batch, so threads work in different parts of the
 * tree; else a hash of the key says which portion it is in. Once a change of such a portion is declined, so are those behind it.
 *
 *   control    4 i32: portions taken | changes that helpers made | 1: keys ascend | 0
 *   begins     i32 each: a portion's first change, and behind the last
 *   places     four i32 for each change, portion by portion: key from, key bytes, value from, value bytes (-1: removed)
 *   done       u8 for each change: 1 once it is in the tree
 *   bytes      keys and values
 */
import { compareBytes } from '../base/bytes.ts'
import { fnv1a } from '../base/fnv1a.ts'
import type { Change } from './engine.ts'
import type { SharedPool } from './pool-memory.ts'
import type { SharedSection } from './shared-section.ts'
import { SharedTreeWriter } from './shared-writer.ts'
import type { SectionOptions, TreeSection } from './tree-section.ts'

/** What a helper is given; structured-clonable. */
export interface WriteOrder {
  readonly section: SharedSection
  readonly memory: SharedArrayBuffer
  readonly count: number
  readonly portions: number
}

/** Threads that help. */
export interface WriteHelpers {
  readonly threads: number
  /** Each of them calls `helpToWrite` when it comes to it. */
  offer(order: WriteOrder): void
  close(): void
}

export interface Together {
  /** Not done: the owner's. */
  readonly rest: readonly Change[]
  /** Changes that helpers made. */
  readonly helped: number
  readonly keys: number
  readonly bytes: number
}

const takenWord = 0
const helpedWord = 1
const ascendingWord = 2

/** Measured on two cores: below some thousands, opening a section and waking threads costs what they gain. */
const changesMinDefault = 4000
const perPortion = 128
const portionsMax = 4096
/** Frames that a batch may take for new pages: so much of the cache at most. */
const reserveShare = 8
/** After a batch of which helpers could not do half: the data are not in memory. */
const restBatches = 20

/** Large batches of one tree, made with helpers where that is worth while. */
export class TogetherWriter {
  private readonly pool: SharedPool
  private readonly helpers: WriteHelpers
  private readonly changesMin: number
  private resting = 0
  private helped = 0

  constructor(pool: SharedPool, helpers: WriteHelpers, changesMin = changesMinDefault) {
    this.pool = pool
    this.helpers = helpers
    this.changesMin = changesMin
  }

  /** As `writeTogether`. */
  write(open: OpenSection, changes: readonly Change[]): Together | undefined {
    if (changes.length < this.changesMin) return undefined
    if (this.resting > 0) {
      this.resting--
      return undefined
    }
    const together = writeTogether(open, this.pool, changes, this.helpers)
    if (together === undefined) return undefined
    this.helped += together.helped
    if (together.rest.length > changes.length / 2) this.resting = restBatches
    return together
  }

  get status(): { readonly threads: number; readonly changes: number } {
    return { threads: this.helpers.threads, changes: this.helped }
  }

  close(): void {
    this.helpers.close()
  }
}

type OpenSection = (options: SectionOptions) => TreeSection | undefined

/**
 * Undefined: not now. Else the tree's next batch, with what is left, tells readers.
 *
 * @throws HarmonyError STORAGE_LOST: a helper died in the middle.
 */
export function writeTogether(
  open: OpenSection,
  pool: SharedPool,
  changes: readonly Change[],
  helpers: WriteHelpers,
): Together | undefined {
  const { frames, pageBytes } = pool
  let bytes = 0
  for (const { key, value } of changes) bytes += key.length + (value?.length ?? 0)
  const writers = helpers.threads + 1
  const pages = Math.min(Math.ceil((2.5 * bytes) / pageBytes) + 4 * writers, Math.floor(frames / reserveShare))
  const section = open({ pages, changes: changes.length, writers, shown: false })
  if (section === undefined) return undefined
  const { order, places } = pack(changes, bytes, section.shared)
  helpers.offer(order)
  takePart(pool, order, false)
  const { keys, bytes: added } = section.close()
  const { control, done } = parts(order)
  const rest: Change[] = []
  for (let i = 0; i < changes.length; i++) if (done[places[i]!] === 0) rest.push(changes[i]!)
  return { rest, helped: control[helpedWord]!, keys, bytes: added }
}

/** In a helper, which may sleep. */
export function helpToWrite(pool: SharedPool, order: WriteOrder): void {
  takePart(pool, order, true)
}

/** Takes portions until none is left. */
function takePart(pool: SharedPool, order: WriteOrder, isHelper: boolean): void {
  const { control } = parts(order)
  if (Atomics.load(control, takenWord) >= order.portions) return
  const writer = new SharedTreeWriter(pool, order.section)
  if (!writer.enter()) return
  try {
    const made = takePortions(writer, order)
    if (isHelper) Atomics.add(control, helpedWord, made)
  } finally {
    writer.leave()
  }
}

/** How many changes it made. */
function takePortions(writer: SharedTreeWriter, order: WriteOrder): number {
  const { control, begins, places, done, bytes } = parts(order)
  const ascending = control[ascendingWord] === 1
  let made = 0
  while (true) {
    const portion = Atomics.add(control, takenWord, 1)
    if (portion >= order.portions) return made
    for (let i = begins[portion]!; i < begins[portion + 1]!; i++) {
      const at = 4 * i
      const key = bytes.subarray(places[at]!, places[at]! + places[at + 1]!)
      const length = places[at + 3]!
      const value = length < 0 ? undefined : bytes.subarray(places[at + 2]!, places[at + 2]! + length)
      const answer = writer.write(key, value)
      if (answer === 'done') {
        done[i] = 1
        made++
      } else if (answer !== 'miss') return made
      else if (!ascending) break
    }
  }
}

function parts({ memory, count, portions }: WriteOrder) {
  const begins = 16
  const places = begins + 4 * (portions + 1)
  const done = places + 16 * count
  const bytes = done + count
  return {
    control: new Int32Array(memory, 0, 4),
    begins: new Int32Array(memory, begins, portions + 1),
    places: new Int32Array(memory, places, 4 * count),
    done: new Uint8Array(memory, done, count),
    bytes: new Uint8Array(memory, bytes),
  }
}

/** Also tells where each change went. */
function pack(changes: readonly Change[], total: number, section: SharedSection) {
  const count = changes.length
  const portions = Math.min(portionsMax, Math.ceil(count / perPortion))
  const memory = new SharedArrayBuffer(16 + 4 * (portions + 1) + 17 * count + total)
  const order: WriteOrder = { section, memory, count, portions }
  const { control, begins, places: packed, bytes } = parts(order)
  const ascending = isAscending(changes)
  const places = new Int32Array(count)
  if (ascending) {
    for (let portion = 0; portion <= portions; portion++) begins[portion] = Math.floor((portion * count) / portions)
    for (let i = 0; i < count; i++) places[i] = i
  } else {
    const portionOf = new Int32Array(count)
    for (let i = 0; i < count; i++) {
      portionOf[i] = fnv1a(changes[i]!.key) % portions
      begins[portionOf[i]! + 1]!++
    }
    for (let portion = 0; portion < portions; portion++) begins[portion + 1]! += begins[portion]!
    const next = begins.slice()
    for (let i = 0; i < count; i++) places[i] = next[portionOf[i]!]!++
  }
  control[ascendingWord] = ascending ? 1 : 0
  let to = 0
  for (let i = 0; i < count; i++) {
    const { key, value } = changes[i]!
    const at = 4 * places[i]!
    bytes.set(key, to)
    packed[at] = to
    packed[at + 1] = key.length
    to += key.length
    packed[at + 2] = to
    packed[at + 3] = value === undefined ? -1 : value.length
    if (value === undefined) continue
    bytes.set(value, to)
    to += value.length
  }
  return { order, places }
}

function isAscending(changes: readonly Change[]): boolean {
  for (let i = 1; i < changes.length; i++) {
    if (compareBytes(changes[i - 1]!.key, changes[i]!.key) >= 0) return false
  }
  return true
}
