/** When things happen: throttled refreshes and measured operations. */

/**
 * Runs `work` soon after each call, never twice at once and never more often than every `intervalMs`; calls in between
 * are answered by one more run at the end.
 */
export function throttled(intervalMs: number, work: () => Promise<void>): () => void {
  let wanted = false
  let busy = false
  const run = async (): Promise<void> => {
    busy = true
    while (wanted) {
      wanted = false
      const pause = new Promise(resolve => setTimeout(resolve, intervalMs))
      await work()
      await pause
    }
    busy = false
  }
  return () => {
    wanted = true
    if (!busy) void run()
  }
}

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Calls `work` once the calls have paused for `quietMs`. */
export function settled(quietMs: number, work: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  return () => {
    clearTimeout(timer)
    timer = setTimeout(work, quietMs)
  }
}

/** Events a second over the last few seconds. */
export class RateMeter {
  readonly #samples: { atMs: number; total: number }[] = []
  readonly #windowMs: number

  constructor(windowMs = 3_000) {
    this.#windowMs = windowMs
  }

  add(total: number, nowMs: number): number {
    this.#samples.push({ atMs: nowMs, total })
    while (this.#samples.length > 2 && this.#samples[0]!.atMs < nowMs - this.#windowMs) this.#samples.shift()
    const first = this.#samples[0]!
    const elapsedMs = nowMs - first.atMs
    return elapsedMs > 0 ? ((total - first.total) * 1_000) / elapsedMs : 0
  }
}
