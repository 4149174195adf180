/** Callers that put, and remember what was acknowledged: in a member of the suite `endurance`. */
import type { PutLoad, PutsMade, PutsSample, PutsTold } from './endurance-asks.ts'
import { summary } from './measure.ts'
import { buffers, Records } from './records.ts'

const sampleMs = 100
/** The newest: as many as this are touched early on, so that they are no growth. */
const durationsMax = 1 << 16
/** Whoever is refused tries again after this, and gives up after that. */
const pauseMs = 5
const patienceMs = 60_000

export class Puts {
  private readonly load: PutLoad
  private readonly put: (key: Buffer, value: Buffer) => unknown
  private readonly records: Records
  private readonly versions: Uint32Array
  private readonly samples: PutsSample[] = []
  private readonly durations = new Float32Array(durationsMax)
  private readonly finished: Promise<unknown>
  private readonly sampling: ReturnType<typeof setInterval>
  private begun = 0
  private acknowledged = 0
  private refused = 0
  private ended = false

  constructor(load: PutLoad, put: (key: Buffer, value: Buffer) => unknown) {
    this.load = load
    this.put = put
    this.records = new Records(load.records, buffers, load)
    this.versions = new Uint32Array(load.keys)
    this.sampling = setInterval(() => this.sample(), sampleMs)
    this.sample()
    const callers = Math.min(load.callers, load.keys)
    this.finished = Promise.all(Array.from({ length: callers }, (_, caller) => this.call(caller, callers)))
    // Told by `end`.
    this.finished.catch(() => {})
  }

  get told(): PutsTold {
    const { acknowledged, refused } = this
    return { acknowledged, refused, done: acknowledged === this.load.total }
  }

  async end(): Promise<PutsMade> {
    this.ended = true
    await this.finished
    clearInterval(this.sampling)
    this.sample()
    const { load, versions, samples, durations, acknowledged } = this
    const { p50Ms, p99Ms } = summary(durations.subarray(0, Math.min(durationsMax, acknowledged)), 1, acknowledged)
    return { ...this.told, load, versions, samples, p50Ms, p99Ms }
  }

  private sample(): void {
    const { user, system } = process.cpuUsage()
    this.samples.push({
      atMs: performance.timeOrigin + performance.now(),
      acknowledged: this.acknowledged,
      cpuMs: (user + system) / 1000,
    })
  }

  /** Each caller has keys of its own: what it put last into one is what is there. */
  private async call(caller: number, callers: number): Promise<void> {
    const { from, keys, total = Number.POSITIVE_INFINITY } = this.load
    for (let version = 1; ; version++) {
      for (let key = caller; key < keys; key += callers) {
        if (this.ended || this.begun >= total) return
        this.begun++
        const record = from + key
        const begunMs = performance.now()
        await this.putSurely(this.records.key(record), this.records.value(record, version))
        this.durations[this.acknowledged++ % durationsMax] = performance.now() - begunMs
        this.versions[key] = version
      }
    }
  }

  private async putSurely(key: Buffer, value: Buffer): Promise<void> {
    const endMs = performance.now() + patienceMs
    for (;;) {
      try {
        await this.put(key, value)
        return
      } catch (error) {
        this.refused++
        if (performance.now() > endMs) throw error
        await new Promise(resolve => setTimeout(resolve, pauseMs))
      }
    }
  }
}
