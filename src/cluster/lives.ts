/**
 * One database through several lives of its peer. A peer that cannot go on stops (`Peer.stop`); where something better is possible than to be dead, another one
 * goes on with the same directory, and in the same room:
 *
 *   QUOTA      the disk is full. The files are closed and opened again, as after a crash, and the new peer is paused: it shows what this replica has and refuses the
 *              rest with QUOTA. Now and then a file is written and removed; once that succeeds the peer goes on. Leadership was handed over when the old one stopped.
 *   CORRUPT    of a peer whose cluster has other members: a new peer begins beside the damaged files (`store.ts`), empty, and is admitted as any newcomer.
 *   recovery   asked for by a person: see `recover.ts`.
 *
 * Anything else stays as it is: the dead peer answers every call with what stopped it.
 *
 * Where the host has slots, what other processes of this machine left behind is adopted while this peer is in their room (`adoption.ts`).
 */
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, index, type PeerId } from '../base/ids.ts'
import type { Cancel, Done, Slots } from '../platform.ts'
import { Adoption } from './adoption.ts'
import { abandonStore, reviveOrphan } from './orphan.ts'
import { Peer } from './peer.ts'
import { isSole, type PeerJoin, type PeerOptions, votersOf } from './peer-types.ts'
import { type Recovery, recoverStore } from './recover.ts'
import { probeSpace } from './space.ts'
import { beginAnew, closeFiles, openStore, type Store, type StoreOptions } from './store.ts'

/** How long to wait before looking for space again; twice as long each time. */
const lookMs = { min: 1000, max: 30_000 } as const

export interface LivesOptions extends Omit<PeerOptions, 'store' | 'paused' | 'onStopped'> {
  readonly storeOptions: StoreOptions
  /** `peer` and `store` are others now. */
  readonly onReplaced: () => void
  /** A peer stopped, and another one is on its way. */
  readonly onPaused: (why: HarmonyError) => void
  /** What was mended, in words. */
  readonly onRepaired: (message: string) => void
  /** Where other peers of this database lie. Default: nothing is adopted. */
  readonly slots?: Slots | undefined
  readonly onAdoption?: (event: AdoptionEvent) => void
}

/** A peer of somebody else runs here, or does so no more. */
export type AdoptionEvent =
  | { readonly type: 'adopted'; readonly id: PeerId }
  | { readonly type: 'returned'; readonly id: PeerId; readonly message: string }

export class Lives {
  private readonly options: LivesOptions
  private living: { readonly peer: Peer; readonly store: Store }
  /** The files of `living` are open. */
  private isOpen = true
  private room: PeerJoin | undefined
  /** From one peer to the next. */
  private changing = false
  /** A file is being written to see whether there is space. */
  private probing = false
  private onClosing: (() => void) | undefined
  private waitMs: number = lookMs.min
  private cancelLook: Cancel = () => {}
  /** The room that was entered last. */
  private entered: PeerJoin | undefined
  private readonly adoption: Adoption | undefined
  /** The storage is somebody else's. */
  private taken = false

  constructor(options: LivesOptions, store: Store) {
    this.options = options
    this.living = { peer: this.born(store, undefined), store }
    this.adoption = options.slots === undefined ? undefined : this.makeAdoption(options.slots)
  }

  get peer(): Peer {
    return this.living.peer
  }
  get store(): Store {
    return this.living.store
  }

  /** Peers of others that run here. */
  get adopted(): readonly PeerId[] {
    return this.adoption?.adopted ?? []
  }

  join(options: PeerJoin, done: Done): void {
    // Without those who may have to be adopted there may be nobody to join.
    if (this.peer.status().room === undefined) this.entered = options
    this.adoption?.start()
    this.peer.join(options, error => {
      if (error === undefined) this.room = options
      done(error)
    })
  }

  leave(done: Done): void {
    this.room = undefined
    this.peer.leave(done)
  }

  close(done: Done): void {
    if (this.taken)
      return this.adoption === undefined ? done(undefined) : this.adoption.close('hand-over', () => done(undefined))
    const close = (): void => {
      this.cancelLook()
      this.closeAll(done)
    }
    if (this.changing || this.probing) this.onClosing = close
    else {
      this.onClosing = () => {}
      close()
    }
  }

  /**
   * A new cluster of this peer alone, after the majority was lost for good (`recover.ts`). Calls that are under way fail.
   * Errors: VALIDATION (there is a leader; this peer is alone, or has no data), CLOSED, CORRUPT, and those of the storage.
   */
  recover(done: (result: Recovery | HarmonyError) => void): void {
    const { peer } = this
    const { raft, health, paused, room } = peer.status()
    if (this.onClosing !== undefined || this.changing)
      return done(new HarmonyError('CLOSED', 'the peer is being closed or begun anew'))
    if (paused !== undefined) return done(paused)
    if (health === 'ok' || raft.role === 'leader' || (room !== undefined && health !== 'no-quorum')) {
      const message =
        'there is a leader, or soon may be: recover is for when the majority is lost for good (health "no-quorum")'
      return done(new HarmonyError('VALIDATION', message))
    }
    peer.stop(new HarmonyError('CLOSED', 'the cluster is begun anew from this peer; try again'))
    this.reopen(undefined, store => {
      if (store instanceof HarmonyError) return this.lost(store, () => done(store))
      const { platform, storeOptions } = this.options
      recoverStore(store, platform.random, recovered => {
        closeFiles(store, () => {
          openStore(storeOptions, opened => {
            if (!opened.ok) return this.lost(opened.error, () => done(opened.error))
            // Where the others meet it, it is a member and no newcomer: it has the room already.
            if (recovered.ok && this.room !== undefined) this.room = { ...this.room, bootstrap: 'settled' }
            this.goOn(opened.value, undefined)
            done(recovered.ok ? recovered.value : recovered.error)
          })
        })
      })
    })
  }

  /** The lock of the storage is gone: somebody else may hold it. Nothing is answered any more, nor written, not even to close. */
  lose(why: HarmonyError): void {
    if (this.taken) return
    this.taken = true
    this.cancelLook()
    this.adoption?.close('hand-over', () => {})
    abandonStore(this.peer, this.store, why)
    // Were it being begun anew, that fails now, or ends here.
    this.onClosing = () => this.peer.stop(why)
    this.options.onEvent({ type: 'error', error: why })
  }

  private closeAll(done: Done): void {
    const closeOwn = (then: Done): void => {
      if (this.isOpen) this.peer.close(then)
      else this.options.storeOptions.directory.close(then)
    }
    const { adoption } = this
    if (adoption === undefined) return closeOwn(done)
    const others = new Set<PeerId>(this.isOpen ? this.peer.links.adverts.keys() : [])
    for (const id of adoption.adopted) others.delete(id)
    // With nobody there who could take a vote, all keep theirs; the own peer goes last, so that it leads to the end.
    if (others.size === 0) return adoption.close('hand-over', () => closeOwn(done))
    let open = 2
    let failure: HarmonyError | undefined
    const closed = (error: HarmonyError | undefined): void => {
      failure ??= error
      if (--open === 0) done(failure)
    }
    adoption.close(undefined, () => closed(undefined))
    closeOwn(closed)
  }

  private makeAdoption(slots: Slots): Adoption {
    const { platform, onAdoption = () => {} } = this.options
    return new Adoption({
      clock: platform.clock,
      random: platform.random,
      slots,
      onAdopted: id => onAdoption({ type: 'adopted', id }),
      onReturned: (id, message) => onAdoption({ type: 'returned', id, message }),
      own: () => {
        const { id, cluster, room, raft, health } = this.peer.status()
        if (room === undefined || health === 'left') return undefined
        return { id, cluster, voters: votersOf(raft.configuration), hasLeader: health === 'ok' }
      },
      revive: (directory, revival) => {
        const { entered: room, peer } = this
        if (room === undefined) return directory.close(() => revival.done(undefined))
        reviveOrphan({ ...this.options, cluster: peer.cluster, room }, directory, revival)
      },
    })
  }

  private born(store: Store, paused: HarmonyError | undefined): Peer {
    const { storeOptions: _storeOptions, onReplaced: _onReplaced, ...options } = this.options
    return new Peer({
      ...options,
      store,
      ...(paused === undefined ? {} : { paused }),
      onStopped: (why, company) => this.onStopped(why, company),
    })
  }

  private onStopped(why: HarmonyError, company: ClusterId | undefined): boolean {
    if (this.onClosing !== undefined || this.changing) return false
    if (why.code === 'QUOTA') {
      this.options.onPaused(why)
      this.options.platform.clock.soon(() => this.reopenFull(why))
      return true
    }
    if (why.code !== 'CORRUPT' || company === undefined) return false
    this.options.onPaused(why)
    this.options.platform.clock.soon(() => this.replace(why, company))
    return true
  }

  /** The files as they are on the disk; `changing` until `goOn` or `lost`. */
  private reopen(why: HarmonyError | undefined, then: (store: Store | HarmonyError) => void): void {
    this.changing = true
    const { storeOptions } = this.options
    const open = (): void => openStore(storeOptions, opened => then(opened.ok ? opened.value : (why ?? opened.error)))
    if (!this.isOpen) return open()
    this.isOpen = false
    closeFiles(this.store, open)
  }

  private reopenFull(why: HarmonyError): void {
    if (this.changing || this.onClosing !== undefined) return
    this.reopen(why, store => {
      if (store instanceof HarmonyError) {
        return this.lost(undefined, () => this.later(() => this.reopenFull(why)))
      }
      this.goOn(store, why)
    })
  }

  private replace(why: HarmonyError, company: ClusterId): void {
    if (this.changing || this.onClosing !== undefined) return
    this.changing = true
    const { storeOptions } = this.options
    const { generation } = this.store
    this.isOpen = false
    closeFiles(this.store, () => {
      beginAnew(storeOptions, generation, company, why, store => {
        if (store.ok) this.goOn(store.value, undefined)
        else this.lost(store.error, () => {})
      })
    })
  }

  private goOn(found: Store, paused: HarmonyError | undefined): void {
    this.changing = false
    this.isOpen = true
    const store = paused === undefined ? found : whole(found)
    this.living = { peer: this.born(store, paused), store }
    for (const message of store.repairs) this.options.onRepaired(message)
    this.options.onReplaced()
    if (this.ended()) return
    if (paused !== undefined) this.later(() => this.lookForSpace())
    else this.enterAgain()
  }

  private enterAgain(): void {
    const { room } = this
    if (room === undefined) return
    this.peer.join(room, error => {
      if (error !== undefined) this.options.onEvent({ type: 'error', error })
    })
  }

  /** No peer takes the place of the one that stopped; not yet, where `error` is undefined. */
  private lost(error: HarmonyError | undefined, then: () => void): void {
    this.changing = false
    if (error !== undefined) this.options.onEvent({ type: 'error', error })
    if (!this.ended()) then()
  }

  private ended(): boolean {
    if (!this.probing) this.onClosing?.()
    return this.onClosing !== undefined
  }

  private later(run: () => void): void {
    this.cancelLook()
    this.cancelLook = this.options.platform.clock.after(this.waitMs, run)
    this.waitMs = Math.min(lookMs.max, this.waitMs * 2)
  }

  private lookForSpace(): void {
    if (this.changing || this.probing || this.onClosing !== undefined) return
    this.probing = true
    const { peer } = this
    probeSpace(this.options.storeOptions.directory, hasSpace => {
      this.probing = false
      // It may have met the full disk once more meanwhile; then another one is on its way, or looks for space itself.
      if (this.changing || this.ended() || peer !== this.peer) return
      if (!hasSpace) return this.later(() => this.lookForSpace())
      this.waitMs = lookMs.min
      peer.resume()
      this.options.onRepaired('there is space again: this peer goes on')
      this.enterAgain()
    })
  }
}

/** The only voter's log is committed as far as it is durable, and opening has made it so. */
function whole(store: Store): Store {
  const { restored, identity } = store
  if (!isSole(restored, identity.id)) return store
  const { log } = restored
  const hardState = { ...log.hardState, commit: index(log.lastIndex) }
  return { ...store, restored: { ...restored, log: { ...log, hardState } } }
}
