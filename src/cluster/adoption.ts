/**
 * Adoption: who goes on for peers of this profile whose tabs are gone. A tab that is killed leaves a replica on a disk that is as good as ever, and nobody to run it. If most
 * voters were such tabs, the cluster would have lost its majority although it has lost nothing. So any other tab that is in the room takes the slot's lock and
 * runs the replica beside its own. Here it is decided who takes what and when; `orphan.ts` is the replica that is run, `Slots` is where it lies.
 *
 *  A1  The slot's lock is held before a byte of its store is read, and let go of when its files are closed. A tab that is frozen keeps its lock: it is not adopted.
 *  A2  A slot is taken when it has been free at every look for the grace period, so that a tab that reloads finds it free: two seconds and up to one more by chance while no leader is
 *      known; eight while there is one, for then nothing is lost yet, and the autopilot may first give the seat to a tab that lives.
 *  A3  Whoever gets the lock runs it, alone; at most `adoptedMax` in one process.
 *  A4  Only what the majority may need is run: a store of the same cluster whose peer has a vote. Of that a leader's configuration is the judge; while there is none, every configuration that is
 *      at hand, for a promotion may stand in the log of one peer alone. What else is found is let go of at once, and is not opened again as long as nobody else had it.
 *  A5  Handed back when its owner asks for it, with its vote (it is back in a moment), and when for five seconds it has had no vote any more.
 *  A6  It serves no clients, asks nobody to be admitted, and leaves leading to the peer of a living tab where that is possible.
 *  A7  Who closes, or leaves the room, closes what it has adopted, in good order: as its own peer (votes are given up), unless nobody else is there to take them. Who is killed leaves
 *      two orphans, and the next tab takes both.
 *  A8  A lock that is lost otherwise (somebody stole it): the replica stops at once, and nothing is written any more, nor answered.
 */
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Cancel, Clock, Directory, Random, Slots } from '../platform.ts'
import type { DepartureKind } from './departures.ts'

/** How long a slot must have been seen free. */
const graceMs = { led: 8000, leaderless: 2000 } as const
const jitterMsMax = 1000
/** While there is something to decide, and otherwise. */
const lookMs = { busy: 1000, idle: 2000 } as const
const adoptedMax = 8
/** A configuration that has just changed may change again. */
const uselessMsMax = 5000
/** A store that could not be opened, or whose peer could not go on. */
const retryMs = 60_000

/** What a store, or the peer that runs on it, says of itself. */
export interface Claim {
  readonly id: PeerId
  readonly cluster: ClusterId
  /** Of the newest configuration that it knows; of both while it changes. */
  readonly voters: readonly PeerId[]
}

/** A replica that runs here for somebody else. */
export interface Adopted {
  readonly claim: Claim
  /** Called at every look. `own`: the peer of this process. */
  tend(own: PeerId): void
  /** In good order; the slot is free afterwards. `undefined`: as a tab's own peer does. */
  close(departure: DepartureKind | undefined, done: () => void): void
  /** At once, without a write. */
  abandon(): void
}

export interface Revival {
  /** Says whether it is worth running, before it runs. */
  isNeeded(claim: Claim): boolean
  /** It could not go on, and the slot is free. */
  onEnded(why: string): void
  /** A claim: not needed. Undefined: there is nothing of use. The slot is free then. */
  done(found: Adopted | Claim | undefined): void
}

export interface AdoptionHost {
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly random: Random
  readonly slots: Slots
  /** Of this process's own peer; undefined: it is in no room. */
  own(): (Claim & { readonly hasLeader: boolean }) | undefined
  revive(directory: Directory, revival: Revival): void
  onAdopted(id: PeerId): void
  onReturned(id: PeerId, why: string): void
}

interface Free {
  readonly state: 'free'
  readonly sinceMs: number
  readonly jitterMs: number
  readonly notBeforeMs: number
  /** As it was found when it was opened last. */
  readonly claim: Claim | undefined
}

type Place =
  | Free
  | { readonly state: 'opening'; wanted: boolean; lost: boolean }
  | { readonly state: 'running'; readonly adopted: Adopted; uselessSinceMs: number | undefined }
  | { readonly state: 'closing'; readonly adopted: Adopted }

export class Adoption {
  private readonly host: AdoptionHost
  /** By slot. What is not here is held by others, or not there. */
  private readonly places = new Map<number, Place>()
  private looking = false
  private cancelLook: Cancel = () => {}
  private ending: { readonly departure: DepartureKind | undefined; readonly done: () => void } | undefined

  constructor(host: AdoptionHost) {
    this.host = host
  }

  /** Peers that run here. */
  get adopted(): readonly PeerId[] {
    return this.running().map(({ adopted }) => adopted.claim.id)
  }

  /** From now on, until `close`. */
  start(): void {
    if (this.looking || this.ending !== undefined) return
    this.looking = true
    this.look()
  }

  /** Completes when every slot is free. */
  close(departure: DepartureKind | undefined, done: () => void): void {
    this.cancelLook()
    this.ending = { departure, done }
    for (const [slot, place] of this.places) {
      if (place.state === 'running') this.giveBack(slot, place.adopted, 'this database was closed', departure)
    }
    this.checkEnd()
  }

  private running(): Extract<Place, { state: 'running' }>[] {
    return [...this.places.values()].filter(place => place.state === 'running')
  }

  private look(): void {
    const { clock, slots } = this.host
    slots.free(result => {
      if (this.ending !== undefined) return
      if (result.ok) this.seen(result.value)
      this.review()
      this.cancelLook = clock.after(this.isBusy() ? lookMs.busy : lookMs.idle, () => this.look())
    })
  }

  private isBusy(): boolean {
    const now = this.host.clock.now()
    if (this.host.own()?.hasLeader === false) return true
    return [...this.places.values()].some(
      place => place.state !== 'free' || (place.claim === undefined && place.notBeforeMs <= now),
    )
  }

  private seen(free: readonly number[]): void {
    const now = this.host.clock.now()
    for (const [slot, place] of this.places) {
      if (place.state === 'free' && !free.includes(slot)) this.places.delete(slot)
    }
    for (const slot of free) if (!this.places.has(slot)) this.setFree(slot, undefined, now)
  }

  private setFree(slot: number, claim: Claim | undefined, notBeforeMs: number): void {
    const byte = new Uint8Array(1)
    this.host.random.fill(byte)
    const jitterMs = (byte[0]! / 256) * jitterMsMax
    this.places.set(slot, { state: 'free', sinceMs: this.host.clock.now(), jitterMs, notBeforeMs, claim })
  }

  private review(): void {
    const { clock } = this.host
    const now = clock.now()
    const own = this.host.own()
    for (const [slot, place] of this.places) {
      if (place.state !== 'running') continue
      const { adopted } = place
      if (own === undefined) {
        this.giveBack(slot, adopted, 'this peer is not in the room any more', undefined)
        continue
      }
      adopted.tend(own.id)
      place.uselessSinceMs = this.isNeeded(adopted.claim) ? undefined : (place.uselessSinceMs ?? now)
      if (place.uselessSinceMs !== undefined && now - place.uselessSinceMs >= uselessMsMax)
        this.giveBack(slot, adopted, 'it has no vote any more', 'hand-over')
    }
    if (own === undefined) return
    const graceNowMs = own.hasLeader ? graceMs.led : graceMs.leaderless
    for (const [slot, place] of [...this.places].sort(([a], [b]) => a - b)) {
      if (place.state !== 'free') continue
      if (now < Math.max(place.notBeforeMs, place.sinceMs + graceNowMs + place.jitterMs)) continue
      if (place.claim !== undefined && !this.isNeeded(place.claim)) continue
      if ([...this.places.values()].filter(({ state }) => state !== 'free').length >= adoptedMax) return
      this.take(slot)
    }
  }

  /** A4 */
  private isNeeded(claim: Claim): boolean {
    const own = this.host.own()
    if (own === undefined || claim.cluster !== own.cluster) return false
    if (own.voters.includes(claim.id)) return true
    if (own.hasLeader) return false
    const others = this.running().map(({ adopted }) => adopted.claim)
    return [claim, ...others].some(({ cluster, voters }) => cluster === own.cluster && voters.includes(claim.id))
  }

  private take(slot: number): void {
    const { clock, slots } = this.host
    const place: Place = { state: 'opening', wanted: false, lost: false }
    this.places.set(slot, place)
    const events = { onWanted: () => this.wanted(slot), onLost: () => this.lost(slot) }
    slots.take(slot, events, taken => {
      if (!taken.ok) this.setFree(slot, undefined, clock.now() + retryMs)
      else if (taken.value === undefined) this.places.delete(slot)
      else return this.revive(slot, place, taken.value)
      this.checkEnd()
    })
  }

  private revive(slot: number, place: Extract<Place, { state: 'opening' }>, directory: Directory): void {
    const { clock } = this.host
    let id: PeerId | undefined
    this.host.revive(directory, {
      isNeeded: claim => this.ending === undefined && !place.wanted && !place.lost && this.isNeeded(claim),
      onEnded: why => {
        this.setFree(slot, undefined, clock.now() + retryMs)
        if (id !== undefined) this.host.onReturned(id, why)
        this.checkEnd()
      },
      done: found => {
        if (found !== undefined && 'tend' in found) {
          id = found.claim.id
          this.places.set(slot, { state: 'running', adopted: found, uselessSinceMs: undefined })
          this.host.onAdopted(id)
          return
        }
        this.setFree(slot, found, clock.now() + (found === undefined ? retryMs : 0))
        this.checkEnd()
      },
    })
  }

  private wanted(slot: number): void {
    const place = this.places.get(slot)
    if (place?.state === 'opening') place.wanted = true
    if (place?.state === 'running') this.giveBack(slot, place.adopted, 'its owner is back', 'hand-over')
  }

  private giveBack(slot: number, adopted: Adopted, why: string, departure: DepartureKind | undefined): void {
    const { claim } = adopted
    this.places.set(slot, { state: 'closing', adopted })
    adopted.close(departure, () => {
      // Unless it was lost meanwhile.
      if (this.places.get(slot)?.state !== 'closing') return
      this.setFree(slot, claim, this.host.clock.now())
      this.host.onReturned(claim.id, why)
      this.checkEnd()
    })
  }

  private lost(slot: number): void {
    const place = this.places.get(slot)
    if (place?.state === 'opening') place.lost = true
    if (place?.state !== 'running' && place?.state !== 'closing') return
    const { id } = place.adopted.claim
    place.adopted.abandon()
    this.places.delete(slot)
    this.host.onReturned(id, 'the lock of its storage was taken away')
    this.checkEnd()
  }

  private checkEnd(): void {
    const { ending } = this
    if (ending === undefined || [...this.places.values()].some(({ state }) => state !== 'free')) return
    this.places.clear()
    this.ending = { ...ending, done: () => {} }
    ending.done()
  }
}
