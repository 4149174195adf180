/** What a core in this realm is made of: the host, the directory, and the sizes that tests and applications choose. */
import type { PeerOptions } from '../cluster/peer-types.ts'
import type { Directory, Platform, Rendezvous, Slots } from '../platform.ts'
import type { WriteHelpers } from '../storage/parallel-batch.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import type { CoreJoin } from './core.ts'
import type { StartReadThreads } from './read-threads.ts'
import type { DatabaseEvent } from './types.ts'

export interface LocalCoreOptions {
  readonly platform: Platform
  readonly directory: Directory
  /** For display: `memory`, `opfs`, `indexeddb`, or the directory's path. */
  readonly storageKind: string
  readonly durability: 'strict' | 'relaxed'
  /** What opening the storage has to tell. */
  readonly events?: readonly DatabaseEvent[]
  /** Makes the ways to meet others that a join asks for. @throws HarmonyError VALIDATION */
  readonly rendezvous: (join: CoreJoin) => readonly Rendezvous[]
  /** Memory for pages, in bytes. Default: 64 MiB. */
  readonly cacheBytes?: number
  /** Pages in memory that other threads can map; only where the host has such memory. */
  readonly shared?: boolean
  /** Starts threads that read beside this one; needs `shared`. */
  readonly readThreads?: StartReadThreads
  /** Threads that help with large batches; needs `shared`. */
  readonly writeHelpers?: (pool: SharedPool) => WriteHelpers
  /** A damaged store of a cluster's member is CORRUPT, too, instead of being begun anew: for tools. */
  readonly refuseDamaged?: boolean
  /** Where other peers of this database lie, to go on for those that are gone. Default: nowhere. */
  readonly slots?: Slots
  readonly checkpointBytes?: number
  /** Older states that are held may keep so many bytes at least. */
  readonly heldBytesMin?: number
  /** Undefined: reads wait for a round. */
  readonly leaseDriftMax?: number | undefined
  readonly limits?: PeerOptions['limits']
  readonly timing?: PeerOptions['timing']
  readonly policy?: PeerOptions['policy']
}
