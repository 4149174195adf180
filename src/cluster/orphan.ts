/**
 * A replica whose own process is gone, run by another one beside its own peer (`adoption.ts` says when): a whole peer for the others of its cluster, of the same id, with the
 * store that it left. It has no clients and no events but its end.
 *
 * A torn tail is cut, as its owner would. Beyond that nothing is founded, mended or begun anew for an owner that is away: a store that is empty, damaged, or of another format is
 * left as it is.
 */
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Completion, Directory } from '../platform.ts'
import { openSuperblock } from '../storage/superblock.ts'
import type { Adopted, Claim, Revival } from './adoption.ts'
import type { DepartureKind } from './departures.ts'
import { Peer } from './peer.ts'
import { type PeerJoin, type PeerOptions, votersOf } from './peer-types.ts'
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

export function reviveOrphan(options: OrphanOptions, directory: Directory, revival: Revival): void {
  const { storeOptions, cluster, room } = options
  const giveUp = (claim: Claim | undefined): void => directory.close(() => revival.done(claim))
  readClaim(directory, first => {
    if (!first.ok || first.value === undefined) return giveUp(undefined)
    const { id, company } = first.value
    const isForeign = company !== undefined && company !== cluster
    // Whose vote others know of may have changed its cluster a moment before it died.
    if (isForeign && !revival.isNeeded({ id, cluster, voters: [] })) return giveUp({ id, cluster: company, voters: [] })
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

interface FirstWord {
  readonly id: PeerId
  /** The cluster that it shares with others, as far as its superblock knows; the log may know of one that is newer. */
  readonly company: ClusterId | undefined
}

/** From the superblock alone; undefined: there is no store. */
function readClaim(directory: Directory, done: Completion<FirstWord | undefined>): void {
  directory.list(names => {
    if (!names.ok) return done(names)
    const [{ pages: name }, older] = pairsIn(names.value)
    if (!names.value.includes(name)) return done({ ok: true, value: undefined })
    directory.openPages(name, pages => {
      if (!pages.ok) return done(pages)
      openSuperblock(pages.value, opened => {
        pages.value.close(() => {
          if (!opened.ok) return done(opened)
          const { current } = opened.value
          // Its log may not have begun: to open it would be to found it.
          const isEmpty = current === undefined || (current.durableLsn === 0 && current.root === undefined)
          if (isEmpty && older === undefined) return done({ ok: true, value: undefined })
          done({ ok: true, value: current && { id: current.peerId, company: current.company } })
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
  store.engine.close()
  store.directory.close(() => {})
}
