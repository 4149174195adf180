/**
 * How much may be damaged at a time. What a majority of the voters has on disk is promised to last; so damage to what a voter has stored (rot, a misdirected write, a lost disk) is only
 * struck while it leaves a majority undamaged in each half of every configuration that anybody knows of. This is the one place that says so.
 *
 * A damaged store counts for good, by the id of its peer, and whether anybody has noticed or not: its peer begins anew under another id, and the budget is whole again once the old id has given
 * its seat to somebody. (What is not a voter counts as well: it may be promoted.) Crashes, failed syncs and failed reads are none of this: what was synced is there afterwards.
 */

import { type HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import type { PeerStatus } from '../../../src/cluster/peer-types.ts'
import type { SimulatedDisk } from '../disk.ts'

/** Where a member stands, as far as it knows; of one that is down, as it last was. */
export interface Seat {
  readonly id: string
  /** The voters of its newest configuration, and in a joint one those of the outgoing half. */
  readonly halves: readonly (readonly string[])[]
}

export function seatOf(status: PeerStatus | undefined): Seat | undefined {
  if (status === undefined) return undefined
  const { voters, outgoing } = status.raft.configuration
  return { id: status.id, halves: [voters, outgoing] }
}

export class DamageBudget {
  private readonly damaged = new Set<string>()

  /** May what this peer has stored be damaged now? If so, it is taken for damaged from here on. */
  take(id: string, seats: readonly Seat[]): boolean {
    for (const { halves } of seats) {
      for (const half of halves) {
        if (!half.includes(id)) continue
        const damaged = half.filter(voter => voter === id || this.damaged.has(voter))
        if (damaged.length * 2 >= half.length) return false
      }
    }
    this.damaged.add(id)
    return true
  }

  /** It was damaged by something that was begun before it had this id. */
  add(id: string): void {
    this.damaged.add(id)
  }
}

/** An error that a peer on this disk may come to without a fault of its own. A state that differs from the leader's never is. */
export function isDisksFault({ full, harm }: SimulatedDisk, { code, message, cause }: HarmonyError): boolean {
  if (code === 'QUOTA') return full
  // A bug that stopped it.
  if (cause instanceof Error && !isHarmonyError(cause)) return false
  if (code === 'CORRUPT')
    return harm.rotten + harm.misdirectedWrites > 0 && !message.includes('one of the two is wrong')
  return code === 'STORAGE_LOST' && harm.failedSyncs + harm.failedReads > 0
}
