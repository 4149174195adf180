/**
 * SCTP stream ids of the two negotiated channels. On a connection of our own: 0 and 1. On an adopted one the application may
 * have channels already, numbered upwards from 0 or 1 by the host; ours sit where few reach, a pair for each slot (`adoption.ts`), and
 * still below the 256 streams that Firefox starts with.
 */
import type { Lane } from '../../src/platform.ts'

const firstAdopted = 200

export function channelIds(onAdopted: boolean, slot: number): Readonly<Record<Lane, number>> {
  const first = onAdopted ? firstAdopted + 2 * slot : 0
  return { consensus: first, bulk: first + 1 }
}
