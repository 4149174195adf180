/** How the simulated network is doing right now: who reaches whom, how slowly, how badly. Names are those of processes. */
import type { SeededRandom } from '../../src/base/random.ts'
import type { Scheduler } from './scheduler.ts'

/** Violates E1 on purpose: single messages get lost, come twice or overtake each other. Consensus must survive it. */
export interface LossyOptions {
  readonly dropChance: number
  readonly duplicateChance: number
  readonly reorderChance: number
}

export interface NetworkOptions {
  /** One way. */
  readonly delayMsMin: number
  readonly delayMsMax: number
  /** Chance per message to be held up, and with it all that follow it on its lane. */
  readonly spikeChance: number
  readonly spikeMsMax: number
  /** Of one lane of one link in one direction. */
  readonly bytesPerMs: number
  /** Chance per message that its link is reset. */
  readonly resetChance: number
  readonly lossy: LossyOptions | undefined
  /** Chance per message that one to three of its bits flip on the way. */
  readonly corruptChance: number
  /** The second end hears of a reset up to this much later than the first. */
  readonly resetNoticeMsMax: number
  /** Ends of a cut link, or of one whose other end crashed, give up after a time between these. */
  readonly lossNoticeMsMin: number
  readonly lossNoticeMsMax: number
  /** Chance that a healed link delivers what was sent during the cut; otherwise it is reset and all of that is lost. */
  readonly healDeliversChance: number
  /** An attempt to connect is given up after this. */
  readonly connectTimeoutMs: number
  /** Chance per message that a rendezvous loses it. */
  readonly rendezvousLossChance: number
}

export const defaultNetworkOptions: NetworkOptions = {
  delayMsMin: 0.2,
  delayMsMax: 5,
  spikeChance: 0,
  spikeMsMax: 500,
  bytesPerMs: 40_000,
  resetChance: 0,
  lossy: undefined,
  corruptChance: 0,
  resetNoticeMsMax: 3_000,
  lossNoticeMsMin: 5_000,
  lossNoticeMsMax: 30_000,
  healDeliversChance: 0.5,
  connectTimeoutMs: 15_000,
  rendezvousLossChance: 0,
}

export class NetworkConditions {
  options: NetworkOptions
  /** So many messages were. */
  corrupted = 0
  readonly scheduler: Scheduler
  readonly random: SeededRandom
  private readonly cuts = new Set<string>()
  private readonly isolated = new Set<string>()

  constructor(scheduler: Scheduler, options: Partial<NetworkOptions>) {
    this.scheduler = scheduler
    this.random = scheduler.random('network')
    this.options = { ...defaultNetworkOptions, ...options }
  }

  isCut(from: string, to: string): boolean {
    return this.isolated.has(from) || this.isolated.has(to) || this.cuts.has(`${from}>${to}`)
  }

  cut(from: string, to: string): void {
    this.cuts.add(`${from}>${to}`)
  }

  heal(from: string, to: string): void {
    this.cuts.delete(`${from}>${to}`)
  }

  isolate(name: string): void {
    this.isolated.add(name)
  }

  rejoin(name: string): void {
    this.isolated.delete(name)
  }

  healAll(): void {
    this.cuts.clear()
    this.isolated.clear()
  }

  /** One way, without the time that the bytes themselves take. */
  delayMs(): number {
    const { delayMsMin, delayMsMax, spikeChance, spikeMsMax } = this.options
    const usual = this.between(delayMsMin, delayMsMax)
    return spikeChance > 0 && this.random.chance(spikeChance) ? usual + this.random.unit() * spikeMsMax : usual
  }

  /** What becomes of a message on its way: the same bytes, as a rule. Changes them in place. */
  carried(message: Uint8Array): Uint8Array {
    const { random, options } = this
    if (options.corruptChance === 0 || !random.chance(options.corruptChance)) return message
    this.corrupted++
    // Different ones: two flips of one bit would be none.
    const bits = new Set(Array.from({ length: random.between(1, 3) }, () => random.below(message.length * 8)))
    for (const bit of bits) message[bit >> 3]! ^= 1 << (bit & 7)
    return message
  }

  between(low: number, high: number): number {
    return low + this.random.unit() * (high - low)
  }
}
