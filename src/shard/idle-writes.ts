/**
 * Which writes of the log changed nothing: a condition did not hold, they were repeated, or their session was gone. Who reads the log again to see what happened
 * (`history.ts`) has to leave them out, and cannot tell by itself. A part of the machine's note, as far back as the log goes.
 */
import { type Index, index, type Timestamp } from '../base/ids.ts'

/** By the timestamp that it would have had: an entry may hold several. */
export interface IdleWrite {
  readonly index: Index
  readonly at: Timestamp
}

export interface IdleTable {
  /** Nothing is known of entries through this one. */
  readonly behind: Index
  /** Ascending. */
  readonly writes: readonly IdleWrite[]
}

export class IdleWrites {
  private behind = index(0)
  private writes: IdleWrite[] = []

  /** Each greater than the one before. */
  add(at: IdleWrite): void {
    this.writes.push(at)
  }

  /** Undefined: not known. */
  has({ index, at }: IdleWrite): boolean | undefined {
    if (index <= this.behind) return undefined
    let [low, high] = [0, this.writes.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.writes[middle]!.at < at) low = middle + 1
      else high = middle
    }
    return this.writes[low]?.at === at
  }

  /** The log begins behind this one. */
  forget(through: Index): void {
    if (through <= this.behind) return
    this.behind = through
    const kept = this.writes.findIndex(({ index }) => index > through)
    this.writes = kept < 0 ? [] : this.writes.slice(kept)
  }

  export(): IdleTable {
    return { behind: this.behind, writes: this.writes }
  }

  import({ behind, writes }: IdleTable): void {
    this.behind = behind
    this.writes = [...writes]
  }
}
