/** From time to places on paper. Nothing happens for long, and then much within a millisecond: moments at which something happens get room between them, and quiet stretches are shortened. */
import type { Span } from './window.ts'

const pxPerMs = 0.45
const gapPxMin = 5
const gapPxMax = 44

export class TimeScale {
  readonly heightPx: number
  private readonly times: readonly number[]
  private readonly places: readonly number[]

  /** @param moments At which something happens; those outside of the span do not count. */
  constructor({ fromMs, toMs }: Span, moments: Iterable<number>) {
    const inside = [...new Set(moments)].filter(ms => ms > fromMs && ms < toMs)
    this.times = [fromMs, ...inside.sort((a, b) => a - b), toMs]
    let place = 0
    this.places = this.times.map((ms, n) => {
      const passed = ms - (this.times[n - 1] ?? ms)
      if (n > 0) place += Math.min(gapPxMax, gapPxMin + passed * pxPerMs)
      return place
    })
    this.heightPx = place
  }

  /** Times outside of the span are at its edges. */
  at(ms: number): number {
    const { times, places } = this
    let low = 0
    let high = times.length - 1
    if (ms <= times[low]!) return 0
    if (ms >= times[high]!) return this.heightPx
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (times[middle]! <= ms) low = middle
      else high = middle
    }
    const part = (ms - times[low]!) / (times[high]! - times[low]!)
    return places[low]! + part * (places[high]! - places[low]!)
  }

  /** Round times, at least so far apart on paper. */
  ticks(gapPx: number): readonly { readonly ms: number; readonly y: number }[] {
    const first = this.times[0]!
    const last = this.times.at(-1)!
    const stepMs = [1, 10, 100, 1000, 10_000].find(one => (last - first) / one <= 400)
    if (stepMs === undefined) return []
    const ticks: { ms: number; y: number }[] = []
    for (let ms = Math.ceil(first / stepMs) * stepMs; ms <= last; ms += stepMs) {
      const y = this.at(ms)
      if (y - (ticks.at(-1)?.y ?? Number.NEGATIVE_INFINITY) >= gapPx) ticks.push({ ms, y })
    }
    return ticks
  }
}
