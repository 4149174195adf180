/** The commit timestamps that a leader gives out: above all that were ever given out (S3). */
import { type Index, type Timestamp, timestamp } from '../base/ids.ts'
import type { RaftStatus } from '../raft/types.ts'

export class Stamps {
  /** The newest given out here. */
  private newest = timestamp(0)
  /** Once `index` is applied, this leader knows every timestamp that earlier ones gave out. */
  private leadingSince: { readonly term: number; readonly index: Index } | undefined

  ready({ term, lastIndex }: RaftStatus, applied: Index): boolean {
    // The log's end at the first question in this term is its own no-op or later: earlier leaders' entries lie before it.
    if (this.leadingSince?.term !== term) this.leadingSince = { term, index: lastIndex }
    return applied >= this.leadingSince.index
  }

  /** @param known Of the newest command that is applied here. */
  next(known: Timestamp): Timestamp {
    return timestamp(Math.max(known, this.newest) + 1)
  }

  given(at: Timestamp): void {
    this.newest = at
  }
}
