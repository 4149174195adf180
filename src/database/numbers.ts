/** What a database counts, for those who look at its status: its storage, its threads, its peer's queues and frames. */
import type { PeerStatus } from '../cluster/peer-types.ts'
import type { Store } from '../cluster/store.ts'
import type { Status } from './types.ts'

export interface About extends Pick<Status, 'readers'> {
  readonly storageKind: string
  readonly durability: Status['storage']['durability']
}

export function numbersOf(store: Store, status: PeerStatus, { storageKind, durability, readers }: About): Status {
  const { wal, engine } = store
  const { keys, bytes, cache, pages, writers } = engine.status()
  return {
    storage: {
      kind: storageKind,
      logBytes: wal.endLsn - wal.startLsn,
      keys,
      bytes,
      pageBytes: pages.pageBytes,
      fileBytes: pages.fileBytes,
      usedBytes: pages.usedBytes,
      checkpoints: pages.checkpoints,
      durability,
    },
    cache,
    readers,
    writers,
    log: {
      firstIndex: status.raft.firstIndex,
      lastIndex: status.raft.lastIndex,
      cachedBytes: status.raft.cachedEntryBytes,
      syncs: wal.counters.syncs,
      records: wal.counters.records,
      receivedBytes: status.receivedBytes,
    },
    queues: {
      pendingWrites: status.pendingWrites,
      pendingReads: status.pendingReads,
      bytes: status.queuedBytes,
      bytesMax: status.queuedBytesMax,
    },
    locks: status.locks,
    frames: status.frames,
  }
}
