/** Runs operations from a number of callers for some time, and tells how many there were and how long each took. In Node and in browsers. */

export interface Work {
  /** Operation `n`; a promise is awaited, anything else is taken as it is: synchronous engines pay for no promises. */
  operate(n: number): unknown
  /** @throws Error if what operation `n` gave is wrong. */
  check(n: number, result: unknown): void
}

export interface Measured {
  readonly ops: number
  readonly opsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Once: in Node the global is a getter. */
const { performance } = globalThis

const samplesMax = 4_000_000
const samples = new Float32Array(samplesMax)

/** Each caller waits for its operation before it begins its next; a quarter of the time, before the clock runs, is for warming up. */
export async function measure(work: Work, callers: number, seconds: number): Promise<Measured> {
  await run(work, callers, seconds / 4, 0)
  return run(work, callers, seconds, 1 << 16)
}

async function run(work: Work, callers: number, seconds: number, from: number): Promise<Measured> {
  let next = from
  let ops = 0
  const begunMs = performance.now()
  const endMs = begunMs + seconds * 1000
  const call = async (): Promise<void> => {
    let lastMs = performance.now()
    while (lastMs < endMs && ops < samplesMax) {
      const n = next++
      let result = work.operate(n)
      if (result instanceof Promise) result = await result
      work.check(n, result)
      const nowMs = performance.now()
      samples[ops++] = nowMs - lastMs
      lastMs = nowMs
    }
  }
  await Promise.all(Array.from({ length: callers }, call))
  return summary(samples.subarray(0, ops), (performance.now() - begunMs) / 1000, ops)
}

/** @param ops What is counted, where that is not the samples: records of batches. */
export function summary(durationsMs: Float32Array, seconds: number, ops: number): Measured {
  const sorted = durationsMs.slice().sort()
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return { ops, opsPerSecond: ops / seconds, p50Ms: at(0.5), p99Ms: at(0.99) }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
