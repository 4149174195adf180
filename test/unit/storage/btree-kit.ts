/** Drivers for operations that may meet page misses. */
import type { HarmonyError } from '../../../src/base/errors.ts'
import type { BTree, BTreeSnapshot } from '../../../src/storage/btree.ts'
import { BufferPool } from '../../../src/storage/buffer-pool.ts'
import type { Change } from '../../../src/storage/engine.ts'
import type { PolicyName } from '../../../src/storage/replacement.ts'
import { entryOf } from './engine-kit.ts'
import type { MemorySource } from './memory-source.ts'

export const poolOf = (source: MemorySource, frames: number, policy: PolicyName = 'clock'): BufferPool =>
  new BufferPool({ source, frames, policy })

/** Runs until no page is missing. */
export function drive<T>(
  tree: BTree,
  pool: BufferPool,
  source: MemorySource,
  operation: () => T,
  between?: () => void,
): T {
  const memo = tree.openMemo()
  try {
    for (let tries = 0; tries < 100_000; tries++) {
      try {
        return tree.within(memo, operation)
      } catch (error) {
        if (error !== pool.miss) throw error
        let failure: HarmonyError | undefined
        pool.load(pool.miss.page, problem => {
          failure = problem
        })
        between?.()
        source.settle()
        if (failure !== undefined) throw failure
      }
    }
    throw new Error('the operation does not come to an end')
  } finally {
    tree.closeMemo(memo)
  }
}

export function apply(
  tree: BTree,
  pool: BufferPool,
  source: MemorySource,
  changes: readonly Change[],
): { keys: number; bytes: number } {
  const batch = tree.batch(changes)
  return drive(tree, pool, source, () => batch.run())
}

export function entriesOf(
  reader: BTree | BTreeSnapshot,
  from?: Uint8Array,
  to?: Uint8Array,
  reverse = false,
): [string, string][] {
  const entries: [string, string][] = []
  reader.scan(from, to, reverse, row => {
    const [key, value] = entryOf(row)
    entries.push([hex(key), hex(value)])
    return true
  })
  return entries
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
