/**
 * What waits to be sent on one link: a queue per lane, put together into as few channel messages as possible when `flush` is called
 * at the end of a turn.
 *
 *  - Order is kept per lane. The consensus lane never waits: `flush` hands all of it to the endpoint. The bulk lane is fed in
 *    chunks of 16 KiB as long as the endpoint holds less than 256 KiB of it; the rest waits for `flush` after a drain.
 *  - What does not fit into one channel message is cut into fragments; one message per lane is under way at a time.
 *  - Bounds: past `consensusBytesMax` (waiting here and in the endpoint) the other side does not read: `overflow`. The bulk lane
 *    takes no further message once `bulkQueueBytesMax` wait here, so at most that and one message's length are held.
 *  - Bytes given to `message` and `control` are kept, not copied: the caller leaves them alone.
 */
import { assert } from '../base/assert.ts'
import type { Endpoint, Lane } from '../platform.ts'
import {
  type FrameType,
  FrameWriter,
  fragmentOverheadBytes,
  frameBytes,
  framesPerMessageMax,
  headerBytes,
  messageBytesMax,
} from './frame.ts'

/** A channel message of the bulk lane carries this much at most, so that nothing waits long behind one. */
const bulkChunkBytes = 16 * 1024
const bulkHighWaterBytes = 256 * 1024
const bulkQueueBytesMax = 1024 * 1024
/** What a queued item costs besides its payload. */
const itemBytes = 64
/** `onDrain` is due when no more than this waits: the pipe must not run dry meanwhile. */
const bulkQueueBytesLow = 256 * 1024
export const consensusBytesMax = 8 * 1024 * 1024
const consensusBytesHigh = 1024 * 1024
/** Endpoints that take less per message are refused: control frames must fit whole. */
export const endpointBytesMin = 20 * 1024
/** Less room than this at the end of a channel message is not worth a fragment. */
const fragmentBytesMin = 1024

interface Item {
  readonly type: FrameType
  readonly payload: Uint8Array
  /** Bytes of a fragmented message that have left already. */
  sent: number
}

/** Channel messages and their bytes, over all links of a mesh. */
export interface Traffic {
  sent: number
  received: number
  bytesSent: number
  bytesReceived: number
}

class LaneQueue {
  private items: Item[] = []
  private head = 0
  /** Of payloads that have not left. */
  payloadBytes = 0

  /** What is held in memory, about. */
  get bytes(): number {
    return this.payloadBytes + itemBytes * (this.items.length - this.head)
  }

  get first(): Item | undefined {
    return this.items[this.head]
  }

  push(item: Item): void {
    this.items.push(item)
    this.payloadBytes += item.payload.length
  }

  shift(): void {
    this.head++
    if (this.head < 64 || this.head * 2 < this.items.length) return
    this.items = this.items.slice(this.head)
    this.head = 0
  }

  clear(): void {
    this.items = []
    this.head = 0
    this.payloadBytes = 0
  }
}

export class Outbox {
  private readonly endpoint: Endpoint
  private readonly queues: Readonly<Record<Lane, LaneQueue>> = { consensus: new LaneQueue(), bulk: new LaneQueue() }
  private readonly writer = new FrameWriter()
  /** `message` said 'full' for the bulk lane, and its caller has not been told of the drain yet. */
  private drainOwed = false
  private readonly traffic: Traffic

  constructor(endpoint: Endpoint, traffic: Traffic) {
    assert(endpoint.messageBytesMax >= endpointBytesMin, 'the endpoint takes too little per message')
    this.endpoint = endpoint
    this.traffic = traffic
  }

  /** Waiting here or in the endpoint, both lanes. */
  get bufferedBytes(): number {
    return this.held('consensus') + this.held('bulk')
  }

  message(lane: Lane, bytes: Uint8Array): 'sent' | 'full' | 'overflow' {
    assert(bytes.length <= messageBytesMax[lane], `a message of ${bytes.length} bytes is too long for the ${lane} lane`)
    if (lane === 'bulk') {
      if (this.queues.bulk.bytes >= bulkQueueBytesMax) {
        this.drainOwed = true
        return 'full'
      }
      this.queues.bulk.push({ type: 'whole', payload: bytes, sent: 0 })
      return 'sent'
    }
    this.queues.consensus.push({ type: 'whole', payload: bytes, sent: 0 })
    const held = this.held('consensus')
    if (held > consensusBytesMax) return 'overflow'
    return held > consensusBytesHigh ? 'full' : 'sent'
  }

  control(type: Exclude<FrameType, 'whole' | 'first' | 'more'>, payload: Uint8Array): 'sent' | 'overflow' {
    this.queues.consensus.push({ type, payload, sent: 0 })
    return this.held('consensus') > consensusBytesMax ? 'overflow' : 'sent'
  }

  /** Sends what may be sent now. */
  flush(): void {
    this.flushLane('consensus', this.endpoint.messageBytesMax, Number.POSITIVE_INFINITY)
    const chunk = Math.min(this.endpoint.messageBytesMax, bulkChunkBytes + headerBytes + 2 * fragmentOverheadBytes)
    this.flushLane('bulk', chunk, bulkHighWaterBytes)
  }

  /** True once after the bulk lane was full and has room again. */
  takeDrain(): boolean {
    if (!this.drainOwed || this.queues.bulk.bytes > bulkQueueBytesLow) return false
    this.drainOwed = false
    return true
  }

  /** Forgets all that waits, a half-sent message too: the next one begins anew. */
  clear(): void {
    this.queues.consensus.clear()
    this.queues.bulk.clear()
  }

  private held(lane: Lane): number {
    return this.queues[lane].bytes + this.endpoint.bufferedBytes(lane)
  }

  private flushLane(lane: Lane, channelBytesMax: number, highWaterBytes: number): void {
    const queue = this.queues[lane]
    while (queue.first !== undefined && this.endpoint.bufferedBytes(lane) < highWaterBytes) {
      this.fill(queue, channelBytesMax)
      const bytes = this.writer.finish()
      this.traffic.sent++
      this.traffic.bytesSent += bytes.length
      this.endpoint.send(lane, bytes)
    }
  }

  /** Writes one channel message's worth of frames. */
  private fill(queue: LaneQueue, channelBytesMax: number): void {
    const { writer } = this
    while (writer.frames < framesPerMessageMax) {
      const item = queue.first
      if (item === undefined) return
      const room = channelBytesMax - writer.bytes
      const { type, payload, sent } = item
      if (sent === 0 && frameBytes(payload.length) <= room) {
        writer.frame(type, payload)
      } else {
        // What fits into a channel message of its own is not cut.
        const fits = sent === 0 && frameBytes(payload.length) <= channelBytesMax - headerBytes
        if (writer.frames > 0 && (fits || room < fragmentBytesMin)) return
        const chunk = payload.subarray(sent, sent + room - fragmentOverheadBytes)
        writer.fragment(sent === 0 ? 'first' : 'more', sent === 0 ? payload.length : sent, chunk)
        item.sent += chunk.length
        queue.payloadBytes -= chunk.length
        if (item.sent < payload.length) return
        queue.shift()
        continue
      }
      queue.payloadBytes -= payload.length
      queue.shift()
    }
  }
}
