/**
 * How to live with node-datachannel (libdatachannel in the process):
 *  - A JavaScript throw inside one of its callbacks aborts the process. `shielded` catches it and throws it again on a
 *    turn of its own, where it is an ordinary uncaught exception.
 *  - What JavaScript collects, it closes. `keep` holds a connection and its channels until they have closed.
 *  - Never in `worker_threads` (it aborts the process when the thread ends): `assertMainThread`.
 *  - Its threads and a connection that is still closing keep the process alive for a moment; a process that is done should close
 *    its transport and then call `process.exit()`. `cleanup()` of the library is not called: it crashes once channels were collected.
 *  - All channels of a connection share SCTP's send buffer, one megabyte as delivered: what is urgent waits behind as much bulk.
 *    `tune` makes it 256 KiB for the whole process (measured: a message beside a full bulk lane comes after 20 ms instead of 120, and bulk is no
 *    slower; the price is 256 KiB per round trip on long paths).
 */
import os from 'node:os'
import { isMainThread } from 'node:worker_threads'
import nodeDataChannel from 'node-datachannel'
import { HarmonyError } from '../../../src/base/errors.ts'

/** @throws HarmonyError VALIDATION in a worker thread. */
export function assertMainThread(): void {
  if (isMainThread) return
  throw new HarmonyError(
    'VALIDATION',
    'WebRTC in Node works on the main thread only: open the database there, not in worker_threads',
  )
}

let tuned = false

/** Before the first connection of the process. */
export function tune(): void {
  if (tuned) return
  tuned = true
  nodeDataChannel.setSctpSettings({ sendBufferSize: 262_144 })
}

export function shielded<A extends readonly unknown[]>(callback: (...args: A) => void): (...args: A) => void {
  return (...args) => {
    try {
      callback(...args)
    } catch (error) {
      setImmediate(() => {
        throw error
      })
    }
  }
}

const kept = new Set<object>()

export function keep(object: object): void {
  kept.add(object)
}

export function release(object: object): void {
  kept.delete(object)
}

/** For tests: connections and channels that have not closed yet. */
export function keptCount(): number {
  return kept.size
}

/** '127.0.0.1' on a machine where nothing but loopback is up: the library leaves loopback out by itself. */
export function bindAddressNeeded(interfaces = os.networkInterfaces()): string | undefined {
  for (const addresses of Object.values(interfaces)) {
    for (const address of addresses ?? []) {
      const linkLocal = address.family === 'IPv6' && address.address.toLowerCase().startsWith('fe80:')
      if (!address.internal && !linkLocal) return undefined
    }
  }
  return '127.0.0.1'
}
