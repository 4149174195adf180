/**
 * How a buffer pool lies in memory: one piece, so that other threads can map it. Who makes the pool (its owner) is the only one that
 * writes, but for the time of a section (`tree-section.ts`), when others change pages, too; `shared-reader.ts` reads from any thread.
 *
 *   arena     frames × pageBytes
 *   header    frames × four i32: page id (0: none) | pins | flags | version
 *   table     the page table (`page-table.ts`)
 *   used      frames × u8: 1 where a frame was used since the clock's hand came by
 *   control   16 i32, below
 *   slots     `slotsMax` × 64 bytes: an i32 each that the owner changes before it changes what readers may be reading
 *   slack     in shared memory: whatever 16-bit offsets and counts of a torn page say lies inside of the memory
 *
 * The version of a frame is odd while its content is not a page's: somebody writes in it, it is being filled, or it is free. In a section it is the
 * page's latch: who makes it odd has it. Bytes read
 * between two looks at an even version are the page's only if the second look found the same, and looked by reading and writing the word
 * in one step (`shared-reader.ts`).
 *
 * Control words: u32 sequence: odd while a batch of changes is in the tree half done | u32 root page | u32, u32 applied index, low and high half:
 * these three change only while the sequence is odd | u32 sequence of the page table: odd while entries move in it | i32 state |
 * i32 slots in use.
 * State: 0 what is here is no answer yet for who asks for whatever there is (`peek`) | 1 it is | 2 closed.
 */
import { PageTable } from './page-table.ts'

/** A pool as other threads see it; structured-clonable. */
export interface SharedPool {
  readonly memory: SharedArrayBuffer
  readonly frames: number
  readonly pageBytes: number
}

export const headerWords = 4
export const pageWord = 0
export const pinsWord = 1
export const flagsWord = 2
export const versionWord = 3

export const sequenceWord = 0
export const rootWord = 1
export const appliedLowWord = 2
export const appliedHighWord = 3
export const tableSequenceWord = 4
export const stateWord = 5
export const slotsInUseWord = 6
const controlWords = 16

export const stateUnready = 0
export const stateReady = 1
export const stateClosed = 2

/** Readers that have a slot of their own do not slow each other down; others may share. */
export const slotsMax = 32
export const slotWords = 16

/** Count of slots × bytes of a slot, the farthest that a torn page points. */
const slackBytes = 0x10000 * 6 + 0x10000

export interface PoolMemory {
  readonly arena: Uint8Array
  readonly header: Int32Array
  readonly used: Uint8Array
  readonly control: Int32Array
  readonly slots: Int32Array
  readonly memory: ArrayBufferLike
  readonly tableOffset: number
}

function layoutOf(frames: number, pageBytes: number) {
  const header = frames * pageBytes
  const table = header + frames * headerWords * 4
  const used = table + PageTable.bytesFor(frames)
  const control = used + Math.ceil(frames / 64) * 64
  const slots = control + controlWords * 4
  return { header, table, used, control, slots, end: slots + slotsMax * slotWords * 4 }
}

/** New memory for a pool, or that of a pool made elsewhere. */
export function poolMemory(frames: number, pageBytes: number, from: 'own' | 'shared' | SharedArrayBuffer): PoolMemory {
  const { header, table, used, control, slots, end } = layoutOf(frames, pageBytes)
  const memory =
    from === 'own' ? new ArrayBuffer(end) : from === 'shared' ? new SharedArrayBuffer(end + slackBytes) : from
  return {
    arena: new Uint8Array(memory, 0, frames * pageBytes),
    header: new Int32Array(memory, header, frames * headerWords),
    used: new Uint8Array(memory, used, frames),
    control: new Int32Array(memory, control, controlWords),
    slots: new Int32Array(memory, slots, slotsMax * slotWords),
    memory,
    tableOffset: table,
  }
}
