/**
 * How much may be damaged at a time. What a majority of the voters has on disk is promised to last; so what a peer has stored is only damaged (rot, a misdirected write, a lost disk) while a
 * majority of every configuration that anybody knows of, of each half of a joint one, is left undamaged, even if all who are damaged and run should become voters of it. This is the one place
 * that says so.
 *
 * A damaged store counts by the id of its peer, for good, and whether anybody has noticed or not. Its peer begins anew under another id; the budget is whole again once the old id has given its
 * seat to somebody. Crashes, failed syncs and failed reads are none of this: what was synced is there afterwards.
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
    if (this.damaged.has(id)) return true
    const present = seats.map(seat => seat.id)
    for (const seat of seats) {
      for (const half of seat.halves) {
        // Nobody's, or of one that is alone with itself.
        if (half.length === 0 || (half.length === 1 && half[0] === seat.id && id !== seat.id)) continue
        const damaged = new Set([...half, ...present].filter(one => this.damaged.has(one)))
        if ((damaged.size + 1) * 2 >= half.length) return false
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
