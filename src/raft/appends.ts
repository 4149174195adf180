/**
 * Appends that were handed out in a Ready and are not yet known to be durable.
 *
 * A completion may speak of entries that have been cut off and replaced since, even by entries of the same index (ABA: an entry
 * is written, replaced, and written again while the first write is still under way). So each outstanding append remembers how far
 * it still describes this log: a cut shortens them all. What a completion then vouches for is exactly what is on disk, because
 * the log file is written in order.
 */
import type { Index, PeerId, Term } from '../base/ids.ts'
import { index } from '../base/ids.ts'
import type { AppendToken } from './types.ts'

export interface Completed {
  /** Entries through here are durable, as they stand in the log now. */
  readonly through: Index
  /** The hard state that this append made durable. */
  readonly term: Term
  readonly vote: PeerId | undefined
}

interface Outstanding extends Completed {
  readonly sequence: number
  through: Index
}

export class Appends {
  private outstanding: Outstanding[] = []
  private sequence = 0

  /** Everything that was handed out is durable. */
  get settled(): boolean {
    return this.outstanding.length === 0
  }

  begin(through: Index, term: Term, vote: PeerId | undefined): AppendToken {
    this.sequence++
    this.outstanding.push({ sequence: this.sequence, through, term, vote })
    return { term, lastIndex: through, sequence: this.sequence }
  }

  /** Entries at or after `from` are gone. */
  truncated(from: Index): void {
    for (const append of this.outstanding) if (append.through >= from) append.through = index(from - 1)
  }

  /** Undefined for a completion that was reported before. Completions keep their order, so one vouches for those before it. */
  complete(token: AppendToken): Completed | undefined {
    let last: Completed | undefined
    let done = 0
    while (done < this.outstanding.length && this.outstanding[done]!.sequence <= token.sequence) {
      last = this.outstanding[done]
      done++
    }
    if (done > 0) this.outstanding.splice(0, done)
    return last
  }
}
