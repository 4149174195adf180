/**
 * A replica whose own process is gone, run by another one beside its own peer (`adoption.ts` says when): a whole peer for the others of its cluster, of the same id, with the
 * store that it left. It has no clients and no events but its end.
 *
 * Nothing is founded, mended or begun anew for an owner that is away: a store that is empty, damaged, or of another format is left as it is.
 */
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Completion, Directory } from '../platform.ts'
import type { Configuration } from '../raft/types.ts'
import { openSuperblock } from '../storage/superblock.ts'
import type { Adopted, Claim, Revival } from './adoption.ts'
import type { DepartureKind } from './departures.ts'
import { Peer } from './peer.ts'
import type { PeerJoin, PeerOptions } from './peer-types.ts'
import { closeFiles, openStore, type Store, type StoreOptions } from './store.ts'
import { pairsIn } from './store-files.ts'

/** It answers nobody's reads. */
const cacheBytesMax = 8 * 1024 * 1024
const lagEntriesMax = 64

/** As the one who runs it. */
export interface OrphanOptions extends Omit<PeerOptions, 'store' | 'paused' | 'onStopped'> {
  readonly storeOptions: StoreOptions
  readonly cluster: ClusterId
  readonly room: PeerJoin
}

export const votersOf = ({ voters, outgoing }: Configuration): readonly PeerId[] => [
  ...new Set([...voters, ...outgoing]),
]

export function reviveOrphan(options: OrphanOptions, directory: Directory, revival: Revival): void {
  const { storeOptions, cluster, room } = options
  const giveUp = (claim: Claim | undefined): void => directory.close(() => revival.done(claim))
  mayBelong(directory, cluster, may => {
    if (!may.ok || !may.value) return giveUp(undefined)
    const { platform, cacheBytes } = storeOptions
    const orphanOptions = { directory, platform, cacheBytes: Math.min(cacheBytes, cacheBytesMax), refuseDamaged: true }
    openStore(orphanOptions, opened => {
      if (!opened.ok) return giveUp(undefined)
      const claim = claimOf(opened.value)
      if (!revival.isNeeded(claim)) return closeFiles(opened.value, () => giveUp(claim))
      revival.done(new Orphan(options, opened.value, room, revival))
    })
  })
}

/** Reads the superblock alone. A store that shares its data with nobody yet says no cluster's name: then its log has to be asked. */
function mayBelong(directory: Directory, cluster: ClusterId, done: Completion<boolean>): void {
  directory.list(names => {
    if (!names.ok) return done(names)
    const [newest] = pairsIn(names.value)
    if (!names.value.includes(newest.pages) || !names.value.includes(newest.log))
      return done({ ok: true, value: false })
    directory.openPages(newest.pages, pages => {
      if (!pages.ok) return done(pages)
      openSuperblock(pages.value, opened => {
        pages.value.close(() => {
          if (!opened.ok) return done(opened)
          const { current } = opened.value
          const belongs = current !== undefined && (current.company ?? cluster) === cluster
          done({ ok: true, value: belongs })
        })
      })
    })
  })
}

function claimOf({ identity, restored }: Store): Claim {
  const { configurations, base } = restored.log
  const { configuration } = configurations[configurations.length - 1] ?? base
  return { id: identity.id, cluster: restored.cluster, voters: votersOf(configuration) }
}

class Orphan implements Adopted {
  private readonly store: Store
  private readonly peer: Peer
  private state: 'running' | 'closing' | 'over' = 'running'

  constructor(options: OrphanOptions, store: Store, room: PeerJoin, { onEnded }: Pick<Revival, 'onEnded'>) {
    const { storeOptions: _storeOptions, cluster: _cluster, room: _room, ...peerOptions } = options
    this.store = store
    this.peer = new Peer({
      ...peerOptions,
      store,
      onChange: () => {},
      onEvent: () => {},
      onStopped: why => {
        if (this.state !== 'running') return false
        this.state = 'over'
        options.platform.clock.soon(() => {
          closeFiles(store, () => store.directory.close(() => onEnded(`${why.code}: ${why.message}`)))
        })
        return true
      },
    })
    // The room is its own already: it has nothing to look for and nobody to ask.
    this.peer.join({ ...room, wish: 'auto', bootstrap: 'settled', onConflict: 'fail', asks: false }, () => {})
  }

  get claim(): Claim {
    const { id, cluster, raft } = this.peer.status()
    return { id, cluster, voters: votersOf(raft.configuration) }
  }

  tend(own: PeerId): void {
    const { raft } = this.peer.status()
    if (this.state !== 'running' || raft.role !== 'leader' || raft.transferee !== undefined) return
    if (!raft.configuration.voters.includes(own) || !this.peer.links.adverts.has(own)) return
    // Nothing is written while leadership is handed over: not to one that has yet to catch up.
    const match = raft.progress.find(({ id }) => id === own)?.match ?? 0
    if (match + lagEntriesMax >= raft.lastIndex) this.peer.transferLeadership(own, () => {})
  }

  close(departure: DepartureKind | undefined, done: () => void): void {
    this.state = 'closing'
    this.peer.close(() => {
      this.state = 'over'
      done()
    }, departure)
  }

  abandon(): void {
    this.state = 'over'
    abandonStore(this.peer, this.store, new HarmonyError('STORAGE_LOST', 'the lock of this storage was taken away'))
  }
}

/** The store is somebody else's now: the peer stops, and the files are closed as they are. */
export function abandonStore(peer: Peer, store: Store, why: HarmonyError): void {
  peer.stop(why)
  store.directory.close(() => store.engine.close())
}
