/**
 * Puts the messages of one link together again. One message per lane can be unfinished; a new one abandons it (its sender was
 * cut off in the middle). Memory grows with the bytes that came, not with the length that was announced.
 */
import { copyBytes } from '../base/bytes.ts'
import type { Lane } from '../platform.ts'
import { type Frame, messageBytesMax } from './frame.ts'

export type MessageFrame = Extract<Frame, { type: 'whole' | 'first' | 'more' }>

/** A message; undefined: not yet; `malformed`: the link is not to be trusted any more. */
export type Received = Uint8Array | undefined | 'malformed'

interface Unfinished {
  buffer: Uint8Array
  readonly total: number
  received: number
}

export class Inbox {
  private readonly unfinished = new Map<Lane, Unfinished>()
  /** Frames were dropped on purpose: the rest of a message that began before may still come, and is none. */
  private readonly skipping = new Set<Lane>()

  /** Held for unfinished messages. */
  get bytes(): number {
    let bytes = 0
    for (const { buffer } of this.unfinished.values()) bytes += buffer.length
    return bytes
  }

  /** @param channelBytes Length of the channel message that the frame is a view into. */
  accept(lane: Lane, frame: MessageFrame, channelBytes: number): Received {
    switch (frame.type) {
      case 'whole':
        this.start(lane)
        if (frame.bytes.length > messageBytesMax[lane]) return 'malformed'
        // A small message that is kept must not keep a large one's memory.
        return frame.bytes.length * 2 < channelBytes ? copyBytes(frame.bytes) : frame.bytes
      case 'first':
        this.start(lane)
        if (frame.total > messageBytesMax[lane]) return 'malformed'
        this.unfinished.set(lane, { buffer: new Uint8Array(0), total: frame.total, received: 0 })
        return this.append(lane, 0, frame.bytes)
      case 'more':
        return this.append(lane, frame.offset, frame.bytes)
    }
  }

  /** Something on the way was dropped; unfinished messages will not be finished. */
  skip(): void {
    this.unfinished.clear()
    this.skipping.add('consensus').add('bulk')
  }

  private start(lane: Lane): void {
    this.unfinished.delete(lane)
    this.skipping.delete(lane)
  }

  private append(lane: Lane, offset: number, bytes: Uint8Array): Received {
    const message = this.unfinished.get(lane)
    if (message === undefined) return this.skipping.has(lane) ? undefined : 'malformed'
    const received = offset + bytes.length
    if (offset !== message.received || received > message.total) return 'malformed'
    if (received > message.buffer.length) {
      const grown = new Uint8Array(Math.min(message.total, Math.max(received, 2 * message.buffer.length)))
      grown.set(message.buffer.subarray(0, offset))
      message.buffer = grown
    }
    message.buffer.set(bytes, offset)
    message.received = received
    if (received < message.total) return undefined
    this.unfinished.delete(lane)
    return message.buffer
  }
}
