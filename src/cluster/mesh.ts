/**
 * The mesh: finds the others of a room, links to each, and keeps the links. (`mesh-types.ts` says what it promises.)
 *
 * Who does what
 *  - Of two peers the one with the lower id dials; the other waits for its introductions. So attempts never cross.
 *  - A peer is announced by its own words at a rendezvous, or by a linked peer that is linked to it. As long as it is announced,
 *    the dialler tries again, at growing and random intervals.
 *  - Introductions go through a rendezvous where the peer was heard, or through a common neighbour; each new try takes the next
 *    way. So signalling may die once the first link is up.
 *  - A reloaded tab has the same id and another instance: the dialler tries at once. Its old link is replaced when the new one has
 *    proved itself, never on hearsay.
 *  - A copied store has the same id, too. So an old link that looks alive is asked first: if it answers, two processes run at once, and the
 *    one that came later is refused as a copy, before anything that it says is taken; it stops (LOCKED). If nothing comes within
 *    half a second, the old one is dead, and replaced. Whom the original cannot reach does not find out: see `src/README.md`.
 *
 * Bounds: 128 peers known, 32 attempts at a time, budgets for signals by rendezvous, by peer and by neighbour; see also `mesh-link.ts`.
 */
import { hexDecode, hexEncode } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Cancel, Endpoint, Lane } from '../platform.ts'
import { instanceBytes, nonceBytes } from './frame.ts'
import { Handshake } from './handshake.ts'
import { signalFromBytes } from './introduction.ts'
import { Dialer } from './mesh-dialer.ts'
import { Link, type LinkHost } from './mesh-link.ts'
import type { Traffic } from './mesh-outbox.ts'
import { Presence } from './mesh-presence.ts'
import { type Remote, Remotes } from './mesh-remotes.ts'
import type {
  Advert,
  LinkInfo,
  Mesh,
  MeshCounters,
  MeshEvents,
  MeshOptions,
  MeshTiming,
  SendResult,
} from './mesh-types.ts'
import { hashRoom, lazyRoomKey } from './room-key.ts'

export const defaultTiming: MeshTiming = {
  pingEveryMs: 500,
  silenceMsMax: 4000,
  handshakeMsMax: 10_000,
  connectMsMax: 10_000,
  answerMsMax: 4000,
  retryMs: 250,
  retryMsMax: 15_000,
  presenceEveryMs: 15_000,
  presenceMsMax: 60_000,
}

const tickEveryMs = 200
/** What is there answers sooner. */
const challengeMs = 500

export function startMesh(options: MeshOptions, events: MeshEvents): Mesh {
  return new RunningMesh(options, events)
}

class RunningMesh implements Mesh, LinkHost {
  readonly clock
  readonly timing: MeshTiming
  readonly traffic: Traffic = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0 }
  private readonly options: MeshOptions
  private readonly events: MeshEvents
  private readonly self: PeerId
  private readonly instance: string
  private readonly roomHash: Uint8Array
  private readonly roomKey: () => Uint8Array
  private readonly presence: Presence
  private readonly remotes = new Remotes()
  private readonly dialer: Dialer
  private readonly dirty = new Set<Link>()
  private advert: Advert
  private cut = false
  private closed = false
  private flushDue = false
  private neighboursChanged = false
  private stopTicking: Cancel

  constructor(options: MeshOptions, events: MeshEvents) {
    const { platform, identity, room, secret, rendezvous, timing } = options
    this.options = options
    this.events = events
    this.clock = platform.clock
    this.timing = { ...defaultTiming, ...timing }
    this.self = identity.id
    this.advert = options.advert
    this.instance = hexEncode(this.randomBytes(instanceBytes))
    this.roomHash = hashRoom(room)
    this.roomKey = lazyRoomKey(room, secret)
    this.presence = new Presence({
      clock: this.clock,
      unit: () => this.unit(),
      room,
      self: this.self,
      instance: this.instance,
      everyMs: this.timing.presenceEveryMs,
      isCut: () => this.cut,
      onSignal: (way, from, signal) => this.dialer.onSignal(way, from, signal),
      onState: (state, reason) => events.onRendezvous(state, reason),
    })
    this.dialer = new Dialer({
      self: this.self,
      instance: this.instance,
      clock: this.clock,
      timing: this.timing,
      transport: platform.transport,
      presence: this.presence,
      remotes: this.remotes,
      unit: () => this.unit(),
      isQuiet: () => this.cut || this.closed,
      makeLink: (remote, endpoint) => this.makeLink(remote, endpoint),
      onAdoptionFailed: (peer, reason) => {
        if (!this.closed) events.onAdoptionFailed(peer, reason)
      },
    })
    // Not now: no event comes before the owner has its mesh.
    this.clock.soon(() => {
      if (!this.closed) this.presence.start(rendezvous)
    })
    this.stopTicking = this.clock.after(tickEveryMs, () => this.tick())
  }

  // What the owner calls

  send(to: PeerId, lane: Lane, bytes: Uint8Array): SendResult {
    return this.remotes.get(to)?.link?.send(lane, bytes) ?? 'unlinked'
  }

  links(): readonly LinkInfo[] {
    const infos: LinkInfo[] = []
    for (const { id, link, attempt, adopted } of this.remotes.all()) {
      if (link !== undefined) {
        const { kind, rttMs, bufferedBytes } = link
        infos.push({ id, state: 'linked', kind, rttMs, bufferedBytes })
      } else if (attempt !== undefined || adopted !== undefined) {
        infos.push({ id, state: 'connecting', kind: 'unknown', rttMs: undefined, bufferedBytes: 0 })
      }
    }
    return infos
  }

  unresolved(): number {
    return this.remotes.all().filter(remote => remote.link === undefined && !remote.resolved).length
  }

  reachable(): boolean {
    return this.options.rendezvous.length === 0 || this.presence.hasOpened
  }

  advertise(advert: Advert): void {
    this.advert = advert
    for (const { link } of this.remotes.linked()) link!.advertise()
  }

  partition(cut: boolean): void {
    if (this.cut === cut || this.closed) return
    this.cut = cut
    for (const { link } of this.remotes.linked()) link!.onCut()
    if (cut) return
    this.clock.soon(() => {
      if (this.closed || this.cut) return
      this.dialer.startAfresh()
      this.presence.announce()
    })
  }

  adopt(remote: PeerId, connection: unknown): void {
    if (this.closed) return
    const entry = remote === this.self ? undefined : this.remotes.obtain(remote, this.clock.now())
    if (entry === undefined) throw new HarmonyError('VALIDATION', 'no room for another peer')
    this.dialer.adopt(entry, connection)
  }

  counters(): MeshCounters {
    let bytesInFlight = 0
    for (const { link } of this.remotes.linked()) bytesInFlight += link!.heldBytes
    return { ...this.traffic, bytesInFlight }
  }

  close(): void {
    if (this.closed) return
    this.presence.close()
    this.closed = true
    this.stopTicking()
    for (const { link, attempt, adopted } of this.remotes.all()) {
      link?.close('left the room', true)
      attempt?.close('left the room')
      adopted?.close('left the room')
    }
    this.remotes.clear()
    this.dirty.clear()
  }

  // What links report

  isCut(): boolean {
    return this.cut
  }

  onDirty(link: Link): void {
    this.dirty.add(link)
    if (this.flushDue) return
    this.flushDue = true
    this.clock.soon(() => {
      this.flushDue = false
      const links = [...this.dirty]
      this.dirty.clear()
      for (const one of links) one.flush()
    })
  }

  onLinked(link: Link, advert: Advert): void {
    const remote = this.remotes.obtain(link.peer, this.clock.now())
    if (remote === undefined || this.closed) return link.close('no room for it')
    const former = remote.link
    if (former?.isLinked === true && former.instance !== link.instance && remote.challenger?.link !== link) {
      remote.challenger?.link.close('another came')
      remote.challenger = { link, advert, untilMs: this.clock.now() + challengeMs }
      return former.challenge()
    }
    remote.challenger = undefined
    remote.link = undefined
    if (former !== undefined) {
      // It did its work.
      if (remote.adopted?.link === former) remote.adopted = undefined
      former.close('replaced by a new connection')
      this.events.onUnlinked(link.peer, 'replaced by a new connection')
      if (this.closed) return
    }
    remote.link = link
    remote.failures = 0
    remote.resolved = true
    remote.refused = false
    this.neighboursChanged = true
    this.events.onLinked(link.peer, advert)
  }

  onAdvert(link: Link, advert: Advert): void {
    if (this.isCurrent(link)) this.events.onAdvert(link.peer, advert)
  }

  onMessage(link: Link, lane: Lane, bytes: Uint8Array): void {
    if (this.isCurrent(link)) this.events.onMessage(link.peer, lane, bytes)
  }

  onDrain(link: Link): void {
    if (this.isCurrent(link)) this.events.onDrain(link.peer)
  }

  onRefused(link: Link, error: HarmonyError): void {
    const remote = this.remotes.get(link.peer)
    if (remote !== undefined) remote.refused = true
    if (!this.closed && link.peer !== this.self) this.events.onRefused(link.peer, error)
  }

  onClosed(link: Link, reason: string, left: boolean): void {
    const remote = this.remotes.get(link.peer)
    if (remote === undefined || this.closed) return
    const now = this.clock.now()
    if (remote.link !== link) {
      if (remote.attempt?.link === link) this.dialer.onFailed(remote, remote.attempt, reason)
      if (remote.adopted?.link === link) this.dialer.onFailed(remote, remote.adopted, reason)
      return
    }
    remote.link = undefined
    if (remote.attempt?.link === link) remote.attempt = undefined
    if (remote.adopted?.link === link) remote.adopted = undefined
    remote.retryAtMs = now + this.timing.retryMs * this.unit()
    if (left) remote.forgetWays()
    if (remote.challenger !== undefined) return this.succeed(remote)
    for (const other of this.remotes.all()) other.via.delete(link.peer)
    this.neighboursChanged = true
    this.events.onUnlinked(link.peer, reason)
  }

  onAnswered(link: Link): void {
    const remote = this.remotes.get(link.peer)
    const challenger = remote?.challenger
    if (remote === undefined || remote.link !== link || challenger === undefined) return
    remote.challenger = undefined
    challenger.link.refuseCopy()
  }

  /** The link before it is dead: it said nothing, or is closed. */
  private succeed(remote: Remote): void {
    const { challenger } = remote
    if (challenger === undefined || challenger.link.isClosed) remote.challenger = undefined
    else this.onLinked(challenger.link, challenger.advert)
  }

  onNeighbours(link: Link, peers: readonly PeerId[]): void {
    if (!this.isCurrent(link)) return
    const now = this.clock.now()
    for (const remote of this.remotes.all()) remote.via.delete(link.peer)
    for (const peer of peers) {
      const remote = peer === this.self ? undefined : this.remotes.obtain(peer, now)
      if (remote === undefined) continue
      remote.via.add(link.peer)
      this.dialer.consider(remote)
    }
  }

  onIntroduction(link: Link, from: PeerId, to: PeerId, json: Uint8Array): void {
    if (!this.isCurrent(link)) return
    if (to === this.self) {
      const signal = signalFromBytes(json)
      if (signal?.type === 'intro' && from !== this.self) this.dialer.onSignal(link.peer, from, signal)
      return
    }
    // Passed on once, and only in the sender's own name.
    if (from === link.peer && link.relays.take(this.clock.now())) {
      this.remotes.get(to)?.link?.introduce(from, to, json)
    }
  }

  // Time

  private tick(): void {
    this.stopTicking = this.clock.after(tickEveryMs, () => this.tick())
    this.presence.tick()
    for (const remote of this.remotes.all()) {
      if (this.closed) return
      this.tickRemote(remote)
    }
    if (this.neighboursChanged) this.tellNeighbours()
  }

  private tickRemote(remote: Remote): void {
    const { link, attempt, adopted } = remote
    link?.tick()
    for (const one of [attempt, adopted]) if (one?.link !== link) one?.link?.tick()
    const { challenger } = remote
    if (challenger !== undefined && this.clock.now() >= challenger.untilMs) this.succeed(remote)
    if (!this.closed) this.dialer.tick(remote)
  }

  private tellNeighbours(): void {
    this.neighboursChanged = false
    const linked = this.remotes.linked()
    for (const { id, link } of linked) {
      link!.tellNeighbours(linked.map(other => other.id).filter(other => other !== id))
    }
  }

  // Small things

  private makeLink(remote: Remote, endpoint: Endpoint): Link {
    const handshake = new Handshake({
      identity: this.options.identity,
      expected: remote.id,
      kind: this.advert.kind,
      roomHash: this.roomHash,
      roomKey: this.roomKey,
      nonce: this.randomBytes(nonceBytes),
      instance: hexDecode(this.instance)!,
      binding: endpoint.binding,
    })
    return new Link({ peer: remote.id, endpoint, handshake, advert: () => this.advert, host: this })
  }

  private isCurrent(link: Link): boolean {
    return !this.closed && this.remotes.get(link.peer)?.link === link
  }

  private randomBytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.options.platform.random.fill(bytes)
    return bytes
  }

  private unit(): number {
    const bytes = this.randomBytes(4)
    return new DataView(bytes.buffer).getUint32(0) / 2 ** 32
  }
}
