/**
 * Majorities. A configuration has one half (its voters), or two while it is joint: then what counts must hold in each half by
 * itself, and a peer that is in both halves counts in both. An empty half asks for nothing.
 */

/** Won: a majority said yes. Lost: a majority cannot say yes any more. */
export type VoteResult = 'won' | 'lost' | 'pending'

/**
 * The largest number that a majority of these has reached: the value with at least half of the others at or above it.
 * Sorts `values` in place, descending. Infinity for an empty half.
 */
export function majorityReached(values: number[]): number {
  const { length } = values
  if (length === 0) return Number.POSITIVE_INFINITY
  // Insertion sort: a handful of values, without the comparison function's calls.
  for (let i = 1; i < length; i++) {
    const value = values[i]!
    let at = i
    while (at > 0 && values[at - 1]! < value) {
      values[at] = values[at - 1]!
      at--
    }
    values[at] = value
  }
  return values[Math.floor(length / 2)]!
}

/** One half's election. */
export function tally<Id>(half: readonly Id[], votes: ReadonlyMap<Id, boolean>): VoteResult {
  let granted = 0
  let refused = 0
  for (const id of half) {
    const vote = votes.get(id)
    if (vote === true) granted++
    else if (vote === false) refused++
  }
  const needed = Math.floor(half.length / 2) + 1
  if (half.length === 0 || granted >= needed) return 'won'
  return half.length - refused < needed ? 'lost' : 'pending'
}

/** Both halves' election: won only if both are, lost as soon as one is. */
export function tallyJoint<Id>(
  voters: readonly Id[],
  outgoing: readonly Id[],
  votes: ReadonlyMap<Id, boolean>,
): VoteResult {
  const first = tally(voters, votes)
  const second = tally(outgoing, votes)
  if (first === 'lost' || second === 'lost') return 'lost'
  return first === 'won' && second === 'won' ? 'won' : 'pending'
}
