/**
 * What threads that write at once share beside the pool, as long as a section is open (`tree-section.ts`): one piece of memory.
 *
 *   sums      two i64: keys and bytes (of keys and values) that came to be; each writer adds its own when it leaves
 *   control   16 i32, below
 *   reserve   i32 each: frames of pages that writers may make; each is whose who took its place
 *   unlinked  pairs of u32 (first page, total bytes) of chains that nothing leads to any more; places that were taken and not used are zero
 *   marks     u8 for each frame of the pool: what became of its page. Whoever has the frame's latch sets them
 *
 * Control words: state | writers inside | writers asleep at a latch | places of the reserve taken | places of `unlinked` taken.
 */
import type { SharedPool } from './pool-memory.ts'
import { levelsMax } from './tree-core.ts'

/** A section as other threads see it; structured-clonable. */
export interface SharedSection {
  readonly memory: SharedArrayBuffer
  readonly reserved: number
  readonly unlinkedMax: number
  /** Readers see each change at once; else nothing until the owner says so. */
  readonly shown: boolean
}

export const sectionStateWord = 0
export const insideWord = 1
export const asleepWord = 2
export const reserveWord = 3
export const unlinkedWord = 4
const controlWords = 16

/** Places in `unlinked` that a writer takes at once; one change needs fewer than there are levels, and one more. */
export const unlinkedAtOnce = 4 * levelsMax

/** For writers that make so many changes in all; of what is taken at once, a quarter may stay unused. */
export const unlinkedMaxFor = (changes: number, writers: number): number =>
  Math.ceil(1.5 * changes) + writers * unlinkedAtOnce * 2

export const sectionOpen = 0
/** Nobody enters any more. */
export const sectionClosing = 1
/** A writer failed in the middle of a change: the pool is lost. */
export const sectionPoisoned = 2

export const markChanged = 1
export const markMade = 2
export const markDropped = 4

export interface SectionMemory {
  readonly sums: BigInt64Array
  readonly control: Int32Array
  readonly reserve: Int32Array
  readonly unlinked: Uint32Array
  readonly marks: Uint8Array
}

function layoutOf(frames: number, reserved: number, unlinkedMax: number) {
  const reserve = 16 + controlWords * 4
  const unlinked = reserve + reserved * 4
  const marks = unlinked + unlinkedMax * 8
  return { reserve, unlinked, marks, end: marks + frames }
}

export function makeSection(
  { frames }: SharedPool,
  reserve: readonly number[],
  unlinkedMax: number,
  shown: boolean,
): SharedSection {
  const reserved = reserve.length
  const { reserve: at, end } = layoutOf(frames, reserved, unlinkedMax)
  const memory = new SharedArrayBuffer(end)
  new Int32Array(memory, at, reserved).set(reserve)
  return { memory, reserved, unlinkedMax, shown }
}

export function sectionMemory({ frames }: SharedPool, { memory, reserved, unlinkedMax }: SharedSection): SectionMemory {
  const { reserve, unlinked, marks } = layoutOf(frames, reserved, unlinkedMax)
  return {
    sums: new BigInt64Array(memory, 0, 2),
    control: new Int32Array(memory, 16, controlWords),
    reserve: new Int32Array(memory, reserve, reserved),
    unlinked: new Uint32Array(memory, unlinked, 2 * unlinkedMax),
    marks: new Uint8Array(memory, marks, frames),
  }
}
