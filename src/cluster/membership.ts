/**
 * How a peer comes to be a member: finding a room, founding it, joining what is there, and what happens when two clusters that
 * were born apart meet. Decisions are made in `step`, from what linked peers say of themselves, over and over until done;
 * so a lost message or a late peer only delays them.
 *
 *  M1  A room is founded by one: the holder of the founding lock (where there is one), and among newcomers that see each other
 *      the one with data, or else the lowest id. Whoever comes later finds a member and joins.
 *  M2  A peer gives its own history up only if it holds no user data, or was told to (`discard-local`).
 *  M3  Two clusters that meet: the one without data dissolves, by an entry in its own log, so that all its members agree and no
 *      acknowledged write can slip in between. Neither has data: the greater cluster id dissolves. Both have: nothing merges.
 *      Who does not hear of it in time (its last voters went at once) sees that most of its voters belong elsewhere: they never come back.
 *  M4  Who is not in the configuration asks for admission until it is, also after it was removed while it was away. Not so a peer that runs in another one's
 *      process (`adoption.ts`): that is a member, or of no use.
 */
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Cancel, Clock, FoundingLock } from '../platform.ts'
import type { Advert } from './mesh-types.ts'
import type { Wish } from './wire.ts'

/** May this peer found the room? `settled`: the room is this peer's already, whoever else is there. */
export type Bootstrap = 'auto' | 'settled' | boolean

export interface MembershipOptions {
  readonly wish: Wish
  readonly bootstrap: Bootstrap
  readonly onConflict: 'fail' | 'discard-local'
  readonly room: string
  readonly foundingLock: FoundingLock | undefined
  readonly clock: Clock
  /** Default: true. */
  readonly asks?: boolean | undefined
}

export interface Own {
  readonly id: PeerId
  readonly cluster: ClusterId
  readonly hasData: boolean
  /** Others belong to this peer's configuration: it is no newcomer. */
  readonly hasCompany: boolean
  /** Of the configuration that it knows. */
  readonly voters: readonly PeerId[]
  /** This peer is a voter or a learner of the configuration that it knows. */
  readonly inConfiguration: boolean
  /** A leader is known: admission need not be asked for. */
  readonly hasLeader: boolean
}

export interface MembershipHost {
  own(): Own
  /** Linked peers and what they say of themselves. */
  linked(): ReadonlyMap<PeerId, Advert>
  unresolved(): number
  reachable(): boolean
  advertise(standing: Advert['standing']): void
  askAdmission(peer: PeerId, wish: Wish): void
  proposeDissolution(into: ClusterId): void
  /** Forgets the own history and waits, empty, to be admitted to `cluster`. */
  adopt(cluster: ClusterId): void
  onConflict(error: HarmonyError): void
}

/** With a founding lock, all who could be missed wait for the lock; strangers behind a busy signalling server need longer to answer. */
const discoveryMs = { withLock: 800, withoutLock: 1200 } as const
/** Peers that were announced and can be neither linked nor given up do not hold the founding up for ever. */
const discoveryMsMax = 6000
const founderPatienceMs = 5000
const admissionEveryMs = 200
const dissolutionEveryMs = 500
/** `bootstrap: false`, or no way into the room: how long to look before join fails. */
const lookingMsMax = 30_000

export class Membership {
  private readonly options: MembershipOptions
  private readonly host: MembershipHost
  private readonly startedMs: number
  private standingNow: Advert['standing']
  private reachableSinceMs: number | undefined
  private discoveredMs: number | undefined
  private askedMs = Number.NEGATIVE_INFINITY
  private dissolvedMs = Number.NEGATIVE_INFINITY
  private lock: { cancel: Cancel; release: (() => void) | undefined } | undefined
  private readonly conflicts = new Set<ClusterId>()
  private stopped = false

  constructor(options: MembershipOptions, host: MembershipHost) {
    this.options = options
    this.host = host
    this.startedMs = options.clock.now()
    this.standingNow = standingAtFirst(host.own(), options)
    if (this.standingNow === 'newcomer') this.lockFounding()
  }

  get standing(): Advert['standing'] {
    return this.standingNow
  }

  /** Called on every tick and whenever a link or an advert changed. */
  step(): void {
    if (this.stopped) return
    const own = this.host.own()
    if (this.reachableSinceMs === undefined && this.host.reachable()) this.reachableSinceMs = this.options.clock.now()
    const foreign = foreignMembers(own, this.host.linked())
    if (this.standingNow === 'member' && foreign !== undefined && isDeserted(own, this.host.linked())) {
      this.onDissolved(foreign.cluster)
    } else if (this.standingNow === 'member') {
      if (foreign !== undefined) this.meet(own, foreign)
      if (!own.inConfiguration || !own.hasLeader) this.ask(own)
    } else if (own.inConfiguration && own.hasCompany) {
      this.settle()
    } else if (own.inConfiguration) {
      this.look(own, foreign)
    } else {
      this.wait(own, foreign)
    }
  }

  /** Its group gave way to another cluster: from now on it waits to be admitted there. */
  onDissolved(into: ClusterId): void {
    this.standingNow = 'newcomer'
    this.host.adopt(into)
    this.host.advertise(this.standingNow)
    this.step()
  }

  stop(): void {
    this.stopped = true
    this.unlock()
  }

  /** A newcomer with a cluster of its own, alone in it. */
  private look(own: Own, foreign: Foreign | undefined): void {
    const now = this.options.clock.now()
    if (foreign !== undefined) {
      this.unlock()
      if (!own.hasData) return this.adopt(foreign.cluster)
      if (!foreign.hasData) return this.settle()
      if (this.options.onConflict === 'discard-local') return this.adopt(foreign.cluster)
      return this.conflict(foreign.cluster)
    }
    if (this.options.bootstrap === true) return this.settle()
    if (
      now - this.startedMs > lookingMsMax &&
      (this.options.bootstrap === false || this.reachableSinceMs === undefined)
    ) {
      this.stop()
      const why =
        this.reachableSinceMs === undefined
          ? 'no signalling could be reached'
          : 'nobody founded it and bootstrap is false'
      this.host.onConflict(new HarmonyError('TIMEOUT', `the room "${this.options.room}" could not be joined: ${why}`))
      return
    }
    if (this.options.bootstrap === false || this.reachableSinceMs === undefined) return
    if (this.lock !== undefined && this.lock.release === undefined) return
    const lookedMs = now - Math.max(this.reachableSinceMs, this.startedMs)
    const neededMs = this.options.foundingLock === undefined ? discoveryMs.withoutLock : discoveryMs.withLock
    if (lookedMs < neededMs || (this.host.unresolved() > 0 && lookedMs < discoveryMsMax)) return
    this.discoveredMs ??= now
    if (founder(own, this.host.linked()) === own.id || now - this.discoveredMs > founderPatienceMs) this.settle()
  }

  /** Empty, and not admitted yet. */
  private wait(own: Own, foreign: Foreign | undefined): void {
    const there = [...this.host.linked().values()].some(
      advert => advert.cluster === own.cluster && advert.standing === 'member',
    )
    if (!there && foreign !== undefined) return this.adopt(foreign.cluster)
    this.ask(own)
  }

  private meet(own: Own, foreign: Foreign): void {
    if (own.hasData && foreign.hasData) return this.conflict(foreign.cluster)
    const yields = own.hasData === foreign.hasData ? own.cluster > foreign.cluster : !own.hasData
    const now = this.options.clock.now()
    if (!yields || now - this.dissolvedMs < dissolutionEveryMs) return
    this.dissolvedMs = now
    this.host.proposeDissolution(foreign.cluster)
  }

  private conflict(cluster: ClusterId): void {
    if (this.conflicts.has(cluster)) return
    this.conflicts.add(cluster)
    const message =
      `the room "${this.options.room}" holds another database with data (cluster ${cluster}), and so does this peer. They are never merged ` +
      "silently: join with onConflict: 'discard-local' to give this peer's data up, or use another room"
    this.host.onConflict(new HarmonyError('ROOM_CONFLICT', message))
  }

  private ask(own: Own): void {
    if (this.options.asks === false) return
    const now = this.options.clock.now()
    if (now - this.askedMs < admissionEveryMs) return
    this.askedMs = now
    for (const [peer, advert] of this.host.linked()) {
      if (advert.cluster === own.cluster && advert.standing === 'member')
        this.host.askAdmission(peer, this.options.wish)
    }
  }

  private adopt(cluster: ClusterId): void {
    this.host.adopt(cluster)
    this.host.advertise(this.standingNow)
    this.askedMs = Number.NEGATIVE_INFINITY
  }

  private settle(): void {
    this.standingNow = 'member'
    this.host.advertise(this.standingNow)
    this.unlock()
  }

  private lockFounding(): void {
    if (this.options.foundingLock === undefined || this.options.bootstrap === false) return
    const lock: { cancel: Cancel; release: (() => void) | undefined } = { cancel: () => {}, release: undefined }
    this.lock = lock
    lock.cancel = this.options.foundingLock.acquire(this.options.room, release => {
      if (this.lock === lock) lock.release = release
      else release()
    })
  }

  private unlock(): void {
    const lock = this.lock
    this.lock = undefined
    lock?.release?.()
    lock?.cancel()
  }
}

/** As which a peer enters a room. */
export const standingAtFirst = (
  { hasCompany }: Pick<Own, 'hasCompany'>,
  { bootstrap }: Pick<MembershipOptions, 'bootstrap'>,
): Advert['standing'] => (hasCompany || bootstrap === 'settled' ? 'member' : 'newcomer')

interface Foreign {
  readonly cluster: ClusterId
  readonly hasData: boolean
}

/** Another cluster whose members are linked; of several the one with data, then the lowest id, as everybody chooses. */
function foreignMembers(own: Own, linked: ReadonlyMap<PeerId, Advert>): Foreign | undefined {
  let best: Foreign | undefined
  for (const advert of linked.values()) {
    if (advert.standing !== 'member' || advert.cluster === own.cluster) continue
    const { cluster, hasData } = advert
    if (best === undefined || (hasData && !best.hasData) || (hasData === best.hasData && cluster < best.cluster)) {
      best = { cluster, hasData }
    }
  }
  return best
}

/** Nobody can be elected any more: who belongs to another cluster has given up this one's history. Data are given up by nobody but their users. */
function isDeserted({ cluster, hasData, hasLeader, voters }: Own, linked: ReadonlyMap<PeerId, Advert>): boolean {
  if (hasData || hasLeader) return false
  const gone = voters.filter(id => (linked.get(id)?.cluster ?? cluster) !== cluster).length
  return voters.length > 0 && voters.length - gone <= voters.length / 2
}

/** Of this peer and the newcomers that it sees: one with data before one without, then the lowest id (M1). */
function founder(own: Own, linked: ReadonlyMap<PeerId, Advert>): PeerId {
  let best: { id: PeerId; hasData: boolean } = own
  for (const [id, { hasData }] of linked) {
    if ((hasData && !best.hasData) || (hasData === best.hasData && id < best.id)) best = { id, hasData }
  }
  return best.id
}
