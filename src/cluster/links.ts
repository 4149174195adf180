/**
 * The peer's side of the mesh: holds it while the peer is in a room, remembers what each linked peer says of itself, and turns
 * messages into bytes and back. Messages of other clusters end here.
 */
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Lane, Platform } from '../platform.ts'
import { startMesh } from './mesh.ts'
import type { Advert, Identity, LinkInfo, Mesh, MeshCounters } from './mesh-types.ts'
import type { PeerEvent, PeerJoin } from './peer-types.ts'
import { decodePeerMessage, encodePeerMessage, type PeerMessage } from './wire.ts'

/** Larger messages take the bulk lane: Raft bears the reordering, and heartbeats do not wait behind them. */
const consensusBytesMax = 1024 * 1024
const earlyMax = 64
const noFrames: MeshCounters = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0, bytesInFlight: 0 }

export interface LinksHost {
  readonly platform: Platform
  readonly identity: Identity
  /** The cluster that this peer belongs to now. */
  cluster(): ClusterId
  onMessage(from: PeerId, message: PeerMessage): void
  /** A link came or went, or a linked peer has something new to say of itself. */
  onChange(linked: PeerId | undefined): void
  onRefused(error: HarmonyError): void
  onEvent(event: PeerEvent): void
}

export class Links {
  private readonly host: LinksHost
  private readonly known = new Map<PeerId, Advert>()
  private mesh: Mesh | undefined
  /** Connections of the application's that came before the room was entered. */
  private early: { readonly remote: PeerId; readonly connection: unknown }[] = []

  constructor(host: LinksHost) {
    this.host = host
  }

  get open(): boolean {
    return this.mesh !== undefined
  }
  /** Linked peers and their latest adverts. */
  get adverts(): ReadonlyMap<PeerId, Advert> {
    return this.known
  }

  start(join: PeerJoin, advert: Advert): void {
    const { platform, identity, onEvent } = this.host
    const { room, secret, rendezvous } = join
    this.mesh = startMesh(
      { platform, identity, room, secret, rendezvous, advert },
      {
        onLinked: (peer, said) => {
          this.known.set(peer, said)
          onEvent({ type: 'link', peer, up: true, message: `linked (${said.kind})` })
          this.host.onChange(peer)
        },
        onAdvert: (peer, said) => {
          this.known.set(peer, said)
          this.host.onChange(undefined)
        },
        onUnlinked: (peer, reason) => {
          this.known.delete(peer)
          onEvent({ type: 'link', peer, up: false, message: reason })
          this.host.onChange(undefined)
        },
        onMessage: (from, _lane, bytes) => this.receive(from, bytes),
        onDrain: () => {},
        onRefused: (peer, error) => {
          onEvent({ type: 'link', peer, up: false, message: error.message })
          this.host.onRefused(error)
        },
        onAdoptionFailed: (peer, reason) => {
          const message = `the connection that was adopted gave no link (${reason}): to try again, make a new one`
          onEvent({ type: 'link', peer, up: undefined, message })
        },
        onRendezvous: (state, message) => onEvent({ type: 'rendezvous', state, message }),
      },
    )
    const { early } = this
    this.early = []
    for (const { remote, connection } of early) {
      try {
        this.mesh.adopt(remote, connection)
      } catch (error) {
        if (!(error instanceof HarmonyError)) throw error
        onEvent({ type: 'error', error })
      }
    }
  }

  /** True if the message is on its way; Raft and the clients' retries bear the loss of any. */
  send(to: PeerId, message: PeerMessage): boolean {
    if (this.mesh === undefined) return false
    const bytes = encodePeerMessage(this.host.cluster(), message)
    const lane: Lane = bytes.length > consensusBytesMax || message.type === 'snapshotPiece' ? 'bulk' : 'consensus'
    const result = this.mesh.send(to, lane, bytes)
    return result === 'sent' || (result === 'full' && lane === 'consensus')
  }

  advertise(advert: Advert): void {
    this.mesh?.advertise(advert)
  }
  unresolved(): number {
    return this.mesh?.unresolved() ?? 0
  }
  reachable(): boolean {
    return this.mesh?.reachable() ?? false
  }
  list(): readonly LinkInfo[] {
    return this.mesh?.links() ?? []
  }
  counters(): MeshCounters {
    return this.mesh?.counters() ?? noFrames
  }
  partition(cut: boolean): void {
    this.mesh?.partition(cut)
  }

  /**
   * Uses a connection to `remote` that the application made, in this room or the next that is joined. The room's secret is
   * proven over it as over any other. @throws HarmonyError VALIDATION
   */
  adopt(remote: PeerId, connection: unknown): void {
    if (remote === this.host.identity.id) throw new HarmonyError('VALIDATION', 'a peer needs no connection to itself')
    if (this.mesh !== undefined) return this.mesh.adopt(remote, connection)
    this.host.platform.transport.assertAdoptable(connection)
    if (this.early.some(one => one.connection === connection)) {
      throw new HarmonyError('VALIDATION', 'this connection was adopted before')
    }
    if (this.early.length >= earlyMax) {
      throw new HarmonyError('VALIDATION', 'too many connections before a room is joined')
    }
    this.early.push({ remote, connection })
  }

  close(): void {
    this.mesh?.close()
    this.mesh = undefined
    this.known.clear()
  }

  private receive(from: PeerId, bytes: Uint8Array): void {
    const decoded = decodePeerMessage(bytes)
    if (!decoded.ok) return this.host.onEvent({ type: 'error', error: decoded.error })
    if (decoded.value.cluster === this.host.cluster()) this.host.onMessage(from, decoded.value.message)
  }
}
