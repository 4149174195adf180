/** What a database counts, for those who look at its status: its storage, its threads, its peer's queues and frames. */
import type { PeerStatus } from '../cluster/peer-types.ts'
import type { Store } from '../cluster/store.ts'
import type { CoreStatus } from './core.ts'
import type { HeldSnapshots } from './held-snapshots.ts'

export interface About extends Pick<CoreStatus, 'readers' | 'adopted'> {
  readonly storageKind: string
  readonly durability: CoreStatus['storage']['durability']
  readonly snapshots: HeldSnapshots
}

export function numbersOf(
  store: Store,
  status: PeerStatus,
  { storageKind, durability, readers, snapshots, adopted }: About,
): CoreStatus {
  const { wal, engine } = store
  const { keys, bytes, cache, pages, writers, held } = engine.status()
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
    snapshots: { held: snapshots.count, bytes: held.bytes, givenUp: snapshots.givenUp },
    log: {
      firstIndex: status.raft.firstIndex,
      lastIndex: status.raft.lastIndex,
      cachedBytes: status.raft.cachedEntryBytes,
      syncs: wal.counters.syncs,
      records: wal.counters.records,
      receivedBytes: status.receivedBytes,
    },
    adopted,
    queues: {
      pendingWrites: status.pendingWrites,
      pendingReads: status.pendingReads,
      bytes: status.queuedBytes,
      bytesMax: status.queuedBytesMax,
    },
    locks: status.locks,
    prepared: status.prepared,
    frames: status.frames,
  }
}
