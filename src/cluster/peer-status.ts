/** What a peer counts, for those who look at its status. */
import type { Replica } from '../shard/replica.ts'
import type { Clients } from './clients.ts'
import type { Links } from './links.ts'
import type { PeerStatus } from './peer-types.ts'

export const counts = (
  replica: Replica | undefined,
  { writes, reads, locks }: Clients,
  links: Links,
): Omit<PeerStatus, 'id' | 'cluster' | 'room' | 'health' | 'raft' | 'hasData' | 'paused'> => ({
  fingerprint: replica?.fingerprint,
  receivedBytes: replica?.receivedBytes,
  links: links.list(),
  frames: links.counters(),
  pendingWrites: writes.count,
  pendingReads: reads.count,
  queuedBytes: writes.bytes,
  queuedBytesMax: writes.bytesMax,
  locks: locks.status,
  prepared: replica?.prepared.status ?? { transactions: 0, keys: 0, bytes: 0 },
})
