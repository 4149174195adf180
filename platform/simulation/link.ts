/**
 * An open connection between two simulated processes: two ends, two lanes, each way in order (E1).
 *
 * Fault model
 *  - A message arrives after a delay, and never before an earlier one of its lane. Spikes hold up what is behind them.
 *  - While the way is cut nothing arrives and both ends look open. What was sent waits, as in a sender that retransmits.
 *    Healed, the link delivers it late or is reset and loses it (`healDeliversChance`). Ends of a link that stays cut give up,
 *    each in its own time.
 *  - A reset loses what was on the way; the ends hear of it at different moments.
 *  - When a process crashes, its end falls silent: the other one hears of it like that of a cut link.
 *  - In lossy mode single messages are dropped, doubled, or overtake others, against E1.
 *  - With `corruptChance` bits of a message flip on the way.
 */
import { assert } from '../../src/base/assert.ts'
import { copyBytes } from '../../src/base/bytes.ts'
import { crc32c } from '../../src/base/checksum.ts'
import type { Cancel, Endpoint, EndpointEvents, Lane } from '../../src/platform.ts'
import type { NetworkConditions } from './conditions.ts'
import type { Incarnation } from './incarnation.ts'

const messageBytesMax = 65_536
const lowWaterBytes = 65_536
const bufferedBytesMax = 16 * 1024 * 1024
export const lanes: readonly Lane[] = ['consensus', 'bulk']

/** What is on its way from one end to the other, on one lane. */
interface LaneQueue {
  readonly messages: Uint8Array[]
  /** Arrivals whose time came while the way was cut. */
  missed: number
  bufferedBytes: number
  lastArrivalMs: number
  /** When the last byte sent so far leaves. */
  departureMs: number
  drainOwed: boolean
}

const emptyQueue = (): LaneQueue => ({
  messages: [],
  missed: 0,
  bufferedBytes: 0,
  lastArrivalMs: 0,
  departureMs: 0,
  drainOwed: false,
})

export class SimulatedLink {
  readonly ends: readonly [LinkEnd, LinkEnd]
  private readonly conditions: NetworkConditions
  private readonly ended: () => void
  private wasCut = false
  private loss: Cancel | undefined

  /** `ended` is called when both ends are closed. */
  constructor(conditions: NetworkConditions, processes: readonly [Incarnation, Incarnation], ended: () => void) {
    this.conditions = conditions
    this.ended = ended
    const binding = new Uint8Array(32)
    conditions.random.fill(binding)
    this.ends = [
      new LinkEnd(this, conditions, processes[0], binding),
      new LinkEnd(this, conditions, processes[1], binding),
    ]
  }

  otherEnd(end: LinkEnd): LinkEnd {
    return this.ends[0] === end ? this.ends[1] : this.ends[0]
  }

  connects(a: string, b: string): boolean {
    const [one, other] = this.ends
    const names = [one.process.name, other.process.name]
    return names.includes(a) && names.includes(b)
  }

  isCutFrom(end: LinkEnd): boolean {
    return this.conditions.isCut(end.process.name, this.otherEnd(end).process.name)
  }

  /** To be called after every cut and heal anywhere. */
  reconsider(): void {
    const isCut = this.ends.some(end => this.isCutFrom(end))
    if (isCut && !this.wasCut) this.loseLater('connection lost')
    if (!isCut && this.wasCut) {
      this.loss?.()
      this.loss = undefined
      if (!this.conditions.random.chance(this.conditions.options.healDeliversChance)) this.reset('connection reset')
    }
    this.wasCut = isCut
    for (const end of this.ends) if (!this.isCutFrom(end)) end.resume()
  }

  /** Loses what is on the way; one end hears of it soon, the other up to `resetNoticeMsMax` later. */
  reset(reason: string): void {
    const { random, options } = this.conditions
    const first = random.below(2)
    this.ends.forEach((end, i) => {
      end.abandon()
      end.closeLater(i === first ? this.conditions.delayMs() : random.unit() * options.resetNoticeMsMax, reason)
    })
  }

  /** One process is gone without a word. */
  processDied(process: Incarnation): void {
    for (const end of this.ends) {
      if (end.process !== process) continue
      end.vanish()
      const other = this.otherEnd(end)
      other.abandon()
      other.closeLater(this.lossNoticeMs(), 'connection lost')
    }
  }

  /** An end was closed by its own process. */
  closedBy(end: LinkEnd, reason: string): void {
    const other = this.otherEnd(end)
    if (this.isCutFrom(end)) return other.closeLater(this.lossNoticeMs(), 'connection lost')
    // What was sent before may or may not get through.
    if (this.conditions.random.chance(0.5)) end.abandon()
    other.closeLater(end.settledInMs() + this.conditions.delayMs(), `closed by the other side: ${reason}`)
  }

  endClosed(): void {
    if (!this.ends.every(end => end.closed)) return
    this.loss?.()
    this.ended()
  }

  private loseLater(reason: string): void {
    const names = this.ends.map(end => end.process.name).join('-')
    this.loss = this.conditions.scheduler.after(this.lossNoticeMs(), `${names} lost`, () => {
      this.loss = undefined
      for (const end of this.ends) {
        end.abandon()
        end.closeLater(this.conditions.random.unit() * this.conditions.options.resetNoticeMsMax, reason)
      }
    })
  }

  private lossNoticeMs(): number {
    const { lossNoticeMsMin, lossNoticeMsMax } = this.conditions.options
    return this.conditions.between(lossNoticeMsMin, lossNoticeMsMax)
  }
}

export class LinkEnd implements Endpoint {
  readonly binding: Uint8Array
  readonly messageBytesMax = messageBytesMax
  readonly process: Incarnation
  closed = false
  private readonly link: SimulatedLink
  private readonly conditions: NetworkConditions
  private readonly queues: Record<Lane, LaneQueue> = { consensus: emptyQueue(), bulk: emptyQueue() }
  /** Nothing that is sent from now on arrives: the link is dead, this end does not know it yet. */
  private abandoned = false
  private events: EndpointEvents | undefined
  private early: { lane: Lane; bytes: Uint8Array }[] = []
  private earlyBytes = 0
  private closeReason: string | undefined

  constructor(link: SimulatedLink, conditions: NetworkConditions, process: Incarnation, binding: Uint8Array) {
    this.link = link
    this.conditions = conditions
    this.process = process
    this.binding = copyBytes(binding)
  }

  listen(events: EndpointEvents): void {
    assert(this.events === undefined, 'an endpoint has one listener')
    this.events = events
    const waiting = this.early
    this.early = []
    this.earlyBytes = 0
    const reason = this.closeReason
    for (const { lane, bytes } of waiting) {
      if (this.closed && reason === undefined) return
      events.onMessage(lane, bytes)
    }
    if (reason !== undefined) events.onClose(reason)
  }

  send(lane: Lane, bytes: Uint8Array): void {
    assert(bytes.length > 0 && bytes.length <= messageBytesMax, 'a message has 1 to messageBytesMax bytes')
    if (this.closed || !this.process.alive) return
    const queue = this.queues[lane]
    queue.bufferedBytes += bytes.length
    if (queue.bufferedBytes > lowWaterBytes) queue.drainOwed = true
    if (this.queues.consensus.bufferedBytes + this.queues.bulk.bufferedBytes > bufferedBytesMax)
      return this.close('overflow')
    if (this.abandoned) return
    const { scheduler, options, random } = this.conditions
    const message = this.conditions.carried(copyBytes(bytes))
    queue.departureMs = Math.max(scheduler.nowMs, queue.departureMs) + bytes.length / options.bytesPerMs
    const arrivalMs = queue.departureMs + this.conditions.delayMs()
    if (options.lossy !== undefined) return this.sendLossy(lane, message, arrivalMs)
    queue.lastArrivalMs = Math.max(queue.lastArrivalMs, arrivalMs)
    queue.messages.push(message)
    this.arriveAt(queue.lastArrivalMs, lane)
    if (options.resetChance > 0 && random.chance(options.resetChance)) this.link.reset('connection reset')
  }

  bufferedBytes(lane: Lane): number {
    return this.closed ? 0 : this.queues[lane].bufferedBytes
  }

  close(reason: string): void {
    if (this.closed || !this.process.alive) return
    this.link.closedBy(this, reason)
    this.end(reason)
  }

  /** What was sent and has not arrived is lost, and so is what will be sent. */
  abandon(): void {
    this.abandoned = true
    for (const lane of lanes) this.queues[lane].messages.length = 0
  }

  /** The process of this end is gone; nobody is told. */
  vanish(): void {
    this.abandon()
    this.closed = true
    this.link.endClosed()
  }

  closeLater(delayMs: number, reason: string): void {
    if (!this.closed) this.process.after(delayMs, 'link closes', () => this.end(reason))
  }

  /** The way is free again: what missed its time arrives now, in order. */
  resume(): void {
    const { scheduler } = this.conditions
    for (const lane of lanes) {
      const queue = this.queues[lane]
      const missed = queue.missed
      queue.missed = 0
      for (let i = 0; i < missed; i++) this.arriveAt(scheduler.nowMs + this.conditions.delayMs(), lane)
    }
  }

  /** Until everything sent so far has arrived, if nothing gets in its way. */
  settledInMs(): number {
    let lastMs = this.conditions.scheduler.nowMs
    for (const lane of lanes) {
      const { messages, lastArrivalMs } = this.queues[lane]
      if (messages.length > 0) lastMs = Math.max(lastMs, lastArrivalMs)
    }
    return lastMs - this.conditions.scheduler.nowMs
  }

  private arriveAt(timeMs: number, lane: Lane): void {
    const other = this.link.otherEnd(this)
    const { scheduler } = this.conditions
    scheduler.after(Math.max(0, timeMs - scheduler.nowMs), `${this.process.name} to ${other.process.name}`, () => {
      const queue = this.queues[lane]
      if (queue.messages.length === 0) return
      if (this.link.isCutFrom(this)) {
        queue.missed++
        return
      }
      const bytes = queue.messages.shift()!
      other.arrived(lane, bytes, () => this.taken(lane, bytes.length))
    })
  }

  private sendLossy(lane: Lane, message: Uint8Array, arrivalMs: number): void {
    const { scheduler, random, options } = this.conditions
    const { dropChance, duplicateChance, reorderChance } = options.lossy!
    const queue = this.queues[lane]
    const other = this.link.otherEnd(this)
    const copies = random.chance(dropChance) ? 0 : random.chance(duplicateChance) ? 2 : 1
    const overtakes = random.chance(reorderChance)
    if (!overtakes) queue.lastArrivalMs = Math.max(queue.lastArrivalMs, arrivalMs)
    const usualMs = (overtakes ? arrivalMs : queue.lastArrivalMs) - scheduler.nowMs
    // A lost one leaves the sender's buffer like the others.
    scheduler.after(usualMs, 'left', () => this.taken(lane, message.length))
    for (let copy = 0; copy < copies; copy++) {
      const delayMs = copy === 0 && !overtakes ? usualMs : usualMs + random.unit() * 10 * this.conditions.delayMs()
      scheduler.after(delayMs, `${this.process.name} to ${other.process.name}`, () => {
        if (!this.abandoned && !this.link.isCutFrom(this)) other.arrived(lane, copyBytes(message), () => {})
      })
    }
  }

  /** Called on the receiving end. The sender's buffer holds the message until this process takes it. */
  private arrived(lane: Lane, bytes: Uint8Array, taken: () => void): void {
    this.conditions.scheduler.note(crc32c(bytes))
    this.process.deliver('message', () => {
      taken()
      if (this.closed) return
      if (this.events !== undefined) return this.events.onMessage(lane, bytes)
      this.early.push({ lane, bytes })
      this.earlyBytes += bytes.length
      if (this.earlyBytes > bufferedBytesMax) this.close('overflow')
    })
  }

  private taken(lane: Lane, length: number): void {
    const queue = this.queues[lane]
    queue.bufferedBytes -= length
    if (this.closed || !queue.drainOwed || queue.bufferedBytes > lowWaterBytes) return
    queue.drainOwed = false
    this.process.soon('drain', () => {
      if (!this.closed) this.events?.onDrain(lane)
    })
  }

  private end(reason: string): void {
    if (this.closed) return
    this.closed = true
    this.closeReason = reason
    this.link.endClosed()
    this.events?.onClose(reason)
  }
}
