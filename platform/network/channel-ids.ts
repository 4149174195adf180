/**
 * SCTP stream ids of the two negotiated channels. On a connection of our own: 0 and 1. On an adopted one the application may
 * have channels already, numbered upwards from 0 or 1 by the host; ours sit where few reach, and still below the 256
 * streams that Firefox starts with.
 */
import type { Lane } from '../../src/platform.ts'

const own: Readonly<Record<Lane, number>> = { consensus: 0, bulk: 1 }
const adopted: Readonly<Record<Lane, number>> = { consensus: 200, bulk: 201 }

export const channelIds = (onAdopted: boolean): Readonly<Record<Lane, number>> => (onAdopted ? adopted : own)
