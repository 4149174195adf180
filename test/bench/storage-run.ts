/** What is done with a store, in Node and in browsers: loading it, and measuring the cases on a loaded one. */
import { type Measured, measure, summary } from './measure.ts'
import type { Records } from './records.ts'
import { callersOf, Inserted, type MeasuredCase, measureOrder, workOf } from './storage-cases.ts'
import type { Store } from './stores/store.ts'

const batchRows = 1000
const batchesAtOnce = 8
/** Writers of a store that is about to be killed. */
export const writersOfCrash = 64

/** Batches, several under way at once where the engine does not block; all durable in the end. */
export async function load<B extends Uint8Array>(
  store: Store<B>,
  records: Records<B>,
  count: number,
): Promise<Measured> {
  const durations: number[] = []
  let next = 0
  const begunMs = performance.now()
  const loader = async (): Promise<void> => {
    while (next < count) {
      const from = next
      next = Math.min(count, next + batchRows)
      const rows = Array.from({ length: next - from }, (_, i) => ({
        key: records.key(from + i),
        value: records.value(from + i, 0),
      }))
      const startMs = performance.now()
      await store.batch(rows)
      durations.push(performance.now() - startMs)
    }
  }
  await Promise.all(Array.from({ length: batchesAtOnce }, loader))
  const seconds = (performance.now() - begunMs) / 1000
  return summary(Float32Array.from(durations), seconds, count)
}

export interface Trial<B extends Uint8Array> {
  readonly store: Store<B>
  readonly records: Records<B>
  /** Seeds what is picked: the same for all engines. */
  readonly round: number
  /** For each case. */
  readonly seconds: number
  wanted(name: MeasuredCase): boolean
  /** Nothing can be read from it, and `putTogether` is all that many callers can do. */
  readonly isRaw: boolean
  /** @param isTogether By `putTogether`. */
  onMeasured(name: MeasuredCase, measured: Measured, isTogether: boolean): Promise<void>
}

export async function measureCases<B extends Uint8Array>(trial: Trial<B>): Promise<void> {
  const { store, records, round, seconds, isRaw, wanted, onMeasured } = trial
  const inserted = new Inserted(records)
  if (!isRaw && measureOrder.some(wanted)) {
    // Caches fill, and what an engine puts off until after loading gets a moment.
    await measure(workOf('get', { store, records, inserted, seed: round }, store.put), 1, seconds)
  }
  for (const [i, name] of measureOrder.entries()) {
    if (!wanted(name)) continue
    const stage = { store, records, inserted, seed: round * 1000 + i }
    const together = name === 'put-64' ? store.putTogether : undefined
    if (!isRaw || together === undefined) {
      const work = workOf(name, stage, store.put)
      await onMeasured(name, await measure(work, callersOf(name), seconds), false)
    }
    if (together !== undefined) {
      const work = workOf(name, stage, together)
      await onMeasured(name, await measure(work, callersOf(name), seconds), true)
    }
  }
}
