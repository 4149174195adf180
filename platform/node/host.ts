/** Clock and randomness of a Node process: the ports that need no library. Timers do not keep the process up (`keep-alive.ts`). */
import { randomFillSync } from 'node:crypto'
import type { Clock, Random } from '../../src/platform.ts'

/** What `setTimeout` counts in 32 bits. */
const delayMsMax = 2 ** 31 - 1

export const nodeClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, run) {
    const dueMs = performance.now() + delayMs
    let timer: NodeJS.Timeout
    // Node's timers may fire a fraction of a millisecond early by this clock: then the rest is waited for (C3).
    const arm = () => {
      const leftMs = Math.min(delayMsMax, Math.max(1, Math.ceil(dueMs - performance.now())))
      timer = setTimeout(() => (performance.now() < dueMs ? arm() : run()), leftMs)
      // What must keep the process up says so itself (`keep-alive.ts`); a peer's ticks must not.
      timer.unref()
    }
    arm()
    return () => clearTimeout(timer)
  },
  soon: run => queueMicrotask(run),
}

export const nodeRandom: Random = {
  fill: bytes => void randomFillSync(bytes),
}
