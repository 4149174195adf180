/** `Core.peek` for a page whose core is in a worker: reads the shared pages here, and never waits. The page loads it only where memory is shared. */
import { EntryPacker, type PackedEntries } from '../database/entries.ts'
import { entriesOf } from '../database/page-read.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import { SharedTreeReader } from '../storage/shared-reader.ts'

/** A few microseconds at most, while a writer works. */
const attemptsMax = 16

export function createPeek(pool: SharedPool): (key: Uint8Array) => PackedEntries | undefined {
  const reader = new SharedTreeReader(pool, { attemptsMax, maySleep: false, readyOnly: true })
  const packer = new EntryPacker()
  return key => {
    const answer = reader.read(entriesOf(packer, [key]))
    return answer.state === 'read' ? answer.value : undefined
  }
}
