/** From what the engine stores to what a core hands out, as operations over a `View`: they may be run again, and begin anew then. By the peer's thread and by reader threads alike. */
import { keyBehind } from '../base/bytes.ts'
import { headBytes, timestampOf } from '../mvcc/versioned.ts'
import type { View } from '../storage/engine.ts'
import type { CorePage, CoreScan } from './core.ts'
import type { EntryPacker, PackedEntries } from './entries.ts'

const pageBytesMax = 1024 * 1024

/** What of a scan one page is read by. */
export type PageRequest = Pick<CoreScan, 'from' | 'to' | 'reverse' | 'keysOnly' | 'limit' | 'continuation'>
export type Page = Omit<CorePage, 'snapshot'>

/** The entries of these keys, in their order. */
export function entriesOf(packer: EntryPacker, keys: readonly Uint8Array[]): (view: View) => PackedEntries {
  return view => {
    packer.reset()
    for (const key of keys) {
      const row = view.find(key)
      if (row === undefined) packer.absent()
      else {
        const { value, valueFrom, valueTo } = row
        const at = timestampOf(value, valueFrom, valueTo)
        packer.add(key, key.length, at, value, valueFrom + headBytes, valueTo)
      }
    }
    return packer.finish()
  }
}

/** One page of a scan. */
export function pageOf(packer: EntryPacker, request: PageRequest): (view: View) => Page {
  const { reverse, keysOnly, continuation, limit } = request
  const after = continuation?.after
  // Descending, the end is exclusive anyway.
  const from = after !== undefined && !reverse ? keyBehind(after) : request.from
  const to = after !== undefined && reverse ? after : request.to
  return view => {
    packer.reset()
    let more = false
    view.scan(from, to, reverse, ({ key, keyBytes, value, valueFrom, valueTo }) => {
      if (packer.count >= limit || packer.bytes >= pageBytesMax) {
        more = true
        return false
      }
      const at = timestampOf(value, valueFrom, valueTo)
      packer.add(key, keyBytes, at, value, keysOnly ? valueTo : valueFrom + headBytes, valueTo)
      return true
    })
    return { entries: packer.finish(), done: !more }
  }
}
