/**
 * Who draws commit timestamps. What is drawn is above everything that was ever drawn before, whoever led then, and above all that was read (a state that was read has the
 * timestamps of what is applied, and a leader draws only when it has applied all that earlier ones gave out).
 *
 * One group has its own, in the memory of its leader: the log is what survives it (S3). Several groups will share that of group 0. It has to persist an upper limit through Raft before it
 * gives out anything up to there, and begin above the limit that it finds when it begins to lead (pitfall 37); and to confirm that it still leads once for each batch that it gives out,
 * as a read does: an oracle that was deposed would give out what its successor gives out, too. Then drawing takes a message, and `next` an answer that comes later.
 */
import { type Index, type Term, type Timestamp, timestamp } from '../base/ids.ts'

export interface Oracle {
  /** May it draw? `lastIndex`: the end of the log of whoever leads in `term`, now. */
  ready(leader: { readonly term: Term; readonly lastIndex: Index }, applied: Index): boolean
  /** What it would draw. @param known Of the newest command that is applied here. */
  next(known: Timestamp): Timestamp
  /** Everything up to `at` is drawn. */
  given(at: Timestamp): void
}

export class LocalOracle implements Oracle {
  /** The newest given out here. */
  private newest = timestamp(0)
  /** Once `index` is applied, this leader knows every timestamp that earlier ones gave out. */
  private leadingSince: { readonly term: Term; readonly index: Index } | undefined

  ready({ term, lastIndex }: { readonly term: Term; readonly lastIndex: Index }, applied: Index): boolean {
    // The log's end at the first question in this term is its own no-op or later: earlier leaders' entries lie before it.
    if (this.leadingSince?.term !== term) this.leadingSince = { term, index: lastIndex }
    return applied >= this.leadingSince.index
  }

  next(known: Timestamp): Timestamp {
    return timestamp(Math.max(known, this.newest) + 1)
  }

  given(at: Timestamp): void {
    this.newest = at
  }
}
