/**
 * Clock and randomness of a browser's realm. Meant for a dedicated worker, whose timers are not throttled in hidden tabs; works on a
 * page too.
 */
import type { Cancel, Clock, Random } from '../../../src/platform.ts'

/** What `setTimeout` counts in 32 bits. */
const delayMsMax = 2 ** 31 - 1
/** `getRandomValues` refuses more at once. */
const randomBytesMax = 65_536

export const browserClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, run) {
    const dueMs = performance.now() + delayMs
    let timer: ReturnType<typeof setTimeout>
    // Timers round down: one that fires early by the clock is set again for the rest (C3).
    const arm = () => {
      timer = setTimeout(() => (performance.now() < dueMs ? arm() : run()), leftMs(dueMs))
    }
    arm()
    const cancel: Cancel = () => clearTimeout(timer)
    return cancel
  },
  soon: run => queueMicrotask(run),
}

function leftMs(dueMs: number): number {
  return Math.min(delayMsMax, Math.max(0, Math.ceil(dueMs - performance.now())))
}

export const browserRandom: Random = {
  fill(bytes) {
    for (let at = 0; at < bytes.length; at += randomBytesMax) {
      crypto.getRandomValues(bytes.subarray(at, at + randomBytesMax) as Uint8Array<ArrayBuffer>)
    }
  },
}
