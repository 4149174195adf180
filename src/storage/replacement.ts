/**
 * Which frame gives way. Two policies behind one interface:
 *
 *   clock   a hand goes round; a frame that was used since it last came by is passed over once (Corbató 1969)
 *   2q      new pages wait in a queue; only one that is asked for again after it has left that queue enters the long-lived part, so that a
 *           scan does not push out what is used (Johnson & Shasha, VLDB 1994; the full version with A1in and A1out)
 */
import type { PageId } from './page-source.ts'

export interface Replacement {
  /** The page was read from the file, or made, into this frame. */
  admitted(frame: number, page: PageId): void
  /** It was found in the pool. Called for every access: must be cheap. */
  touched(frame: number): void
  /** It left the pool. */
  removed(frame: number, page: PageId): void
  /** A frame for which `mayGo` holds, or -1. */
  victim(mayGo: (frame: number) => boolean): number
}

export type PolicyName = 'clock' | '2q'

/** @param used A byte for each frame, which Clock reads and others may set: readers in other threads. */
export const createReplacement = (policy: PolicyName, used: Uint8Array): Replacement =>
  policy === 'clock' ? new Clock(used) : new TwoQueues(used.length)

class Clock implements Replacement {
  private readonly used: Uint8Array
  private hand = 0

  constructor(used: Uint8Array) {
    this.used = used
  }

  admitted(frame: number): void {
    this.used[frame] = 1
  }
  touched(frame: number): void {
    this.used[frame] = 1
  }
  removed(frame: number): void {
    this.used[frame] = 0
  }

  victim(mayGo: (frame: number) => boolean): number {
    const { used } = this
    for (let step = 0; step < 2 * used.length; step++) {
      const frame = this.hand
      this.hand = this.hand + 1 === used.length ? 0 : this.hand + 1
      if (used[frame] === 1) used[frame] = 0
      else if (mayGo(frame)) return frame
    }
    return -1
  }
}

/** Doubly linked lists of frames in typed arrays: place `frames` is the end of both directions. */
class FrameList {
  length = 0
  private readonly next: Int32Array
  private readonly before: Int32Array
  private readonly end: number

  constructor(frames: number) {
    this.end = frames
    this.next = new Int32Array(frames + 1).fill(frames)
    this.before = new Int32Array(frames + 1).fill(frames)
  }

  pushNewest(frame: number): void {
    const newest = this.before[this.end] as number
    this.next[newest] = frame
    this.before[frame] = newest
    this.next[frame] = this.end
    this.before[this.end] = frame
    this.length++
  }

  remove(frame: number): void {
    const [before, next] = [this.before[frame] as number, this.next[frame] as number]
    this.next[before] = next
    this.before[next] = before
    this.length--
  }

  oldest(mayGo: (frame: number) => boolean): number {
    for (let at = this.next[this.end] as number; at !== this.end; at = this.next[at] as number) {
      if (mayGo(at)) return at
    }
    return -1
  }
}

class TwoQueues implements Replacement {
  /** 0: not here, 1: in A1in, 2: in Am. */
  private readonly where: Uint8Array
  private readonly recent: FrameList
  private readonly longLived: FrameList
  /** A1out: pages that left A1in lately, oldest first. */
  private readonly ghosts = new Set<PageId>()
  private readonly recentMost: number
  private readonly ghostsMost: number

  constructor(frames: number) {
    this.where = new Uint8Array(frames)
    this.recent = new FrameList(frames)
    this.longLived = new FrameList(frames)
    this.recentMost = Math.max(1, Math.floor(frames / 4))
    this.ghostsMost = Math.max(1, Math.floor(frames / 2))
  }

  admitted(frame: number, page: PageId): void {
    const known = this.ghosts.delete(page)
    this.where[frame] = known ? 2 : 1
    ;(known ? this.longLived : this.recent).pushNewest(frame)
  }

  touched(frame: number): void {
    if (this.where[frame] !== 2) return
    this.longLived.remove(frame)
    this.longLived.pushNewest(frame)
  }

  removed(frame: number, page: PageId): void {
    if (this.where[frame] === 1) {
      this.recent.remove(frame)
      this.ghosts.add(page)
      if (this.ghosts.size > this.ghostsMost) {
        for (const oldest of this.ghosts) {
          this.ghosts.delete(oldest)
          break
        }
      }
    } else if (this.where[frame] === 2) this.longLived.remove(frame)
    this.where[frame] = 0
  }

  victim(mayGo: (frame: number) => boolean): number {
    const [first, second] =
      this.recent.length > this.recentMost || this.longLived.length === 0
        ? [this.recent, this.longLived]
        : [this.longLived, this.recent]
    const frame = first.oldest(mayGo)
    return frame === -1 ? second.oldest(mayGo) : frame
  }
}
