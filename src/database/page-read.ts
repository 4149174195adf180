/** From what the engine stores to what a core hands out: entries, and pages of a scan. Run by the peer's thread and by reader threads alike. */
import { payloadOf, timestampOf, versionOf } from '../mvcc/versioned.ts'
import type { View } from '../storage/engine.ts'
import type { CoreEntry, CorePage, CoreScan } from './core.ts'

const pageBytesMax = 1024 * 1024
const noBytes = new Uint8Array(0)

/** What of a scan one page is read by. */
export type PageRequest = Pick<CoreScan, 'from' | 'to' | 'reverse' | 'keysOnly' | 'limit' | 'continuation'>

/** @throws HarmonyError CORRUPT */
export const toEntry = (key: Uint8Array, stored: Uint8Array, keysOnly: boolean): CoreEntry => ({
  // Copies: what the engine hands out is its own, and these bytes travel on (to a worker's port, to a caller).
  key: key.slice(),
  value: keysOnly ? noBytes : payloadOf(stored).slice(),
  version: versionOf(timestampOf(stored)),
})

/** Where the page begins and ends. */
export function pageBounds({ from, to, reverse, continuation }: PageRequest): {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
} {
  if (continuation === undefined) return { from, to }
  // Going on ascending: just behind the last key is that key with a zero byte after it. Descending: the end is exclusive anyway.
  return reverse ? { from, to: continuation.after } : { from: withZero(continuation.after), to }
}

/**
 * Visits what belongs to one page. Returns whether the scan is over with it.
 * @param each Returns how many bytes it took.
 */
export function visitPage(
  view: View,
  request: PageRequest,
  each: (key: Uint8Array, stored: Uint8Array) => number,
): boolean {
  const { from, to } = pageBounds(request)
  let count = 0
  let bytes = 0
  let more = false
  view.scan(from, to, request.reverse, (key, stored) => {
    if (count >= request.limit || bytes >= pageBytesMax) {
      more = true
      return false
    }
    count++
    bytes += each(key, stored)
    return true
  })
  return !more
}

/** Reads one page. @throws HarmonyError CORRUPT */
export function pageOf(view: View, request: PageRequest): Omit<CorePage, 'snapshot'> {
  const entries: CoreEntry[] = []
  const done = visitPage(view, request, (key, stored) => {
    const entry = toEntry(key, stored, request.keysOnly)
    entries.push(entry)
    return key.length + entry.value.length
  })
  return { entries, done }
}

function withZero(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}
