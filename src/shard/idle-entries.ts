/**
 * Which entries of the log changed nothing although they are commands that write: a condition did not hold, they were repeated, or their session was gone. Who reads the
 * log again to see what happened (`history.ts`) has to leave them out, and cannot tell by itself. A part of the machine's note, as far back as the log goes.
 */
import { type Index, index } from '../base/ids.ts'

export interface IdleTable {
  /** Nothing is known of entries through this one. */
  readonly behind: Index
  /** Ascending. */
  readonly entries: readonly Index[]
}

export class IdleEntries {
  private behind = index(0)
  private entries: Index[] = []

  /** Each greater than the one before. */
  add(at: Index): void {
    this.entries.push(at)
  }

  /** Undefined: not known. */
  has(at: Index): boolean | undefined {
    if (at <= this.behind) return undefined
    let [low, high] = [0, this.entries.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.entries[middle]! < at) low = middle + 1
      else high = middle
    }
    return this.entries[low] === at
  }

  /** The log begins behind this one. */
  forget(through: Index): void {
    if (through <= this.behind) return
    this.behind = through
    const kept = this.entries.findIndex(at => at > through)
    this.entries = kept < 0 ? [] : this.entries.slice(kept)
  }

  export(): IdleTable {
    return { behind: this.behind, entries: this.entries }
  }

  import({ behind, entries }: IdleTable): void {
    this.behind = behind
    this.entries = [...entries]
  }
}
