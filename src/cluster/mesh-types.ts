/**
 * The seam between a peer and its links. The mesh finds the others of a room, connects to each, proves both sides' knowledge
 * of the room's secret and of their own keys, and then carries messages of any size. What it hands up is authenticated, ordered per lane and
 * whole, but its content is still hostile until decoded.
 */
import type { HarmonyError } from '../base/errors.ts'
import type { ClusterId, PeerId } from '../base/ids.ts'
import type { Lane, Platform, Rendezvous } from '../platform.ts'

/** What a peer tells everyone it is linked to about itself; travels in the authenticated hello and again on every change. */
export interface Advert {
  readonly kind: 'tab' | 'node'
  /** The cluster whose log this peer holds. */
  readonly cluster: ClusterId
  /** `newcomer`: may still give its own (empty) cluster up for another's. `member`: founded or joined. */
  readonly standing: 'newcomer' | 'member'
  /** The store holds at least one user key or ever did. */
  readonly hasData: boolean
}

export interface Identity {
  readonly id: PeerId
  /** 32 bytes, from which the Ed25519 key pair is made; kept in the superblock, never sent. */
  readonly seed: Uint8Array
  readonly publicKey: Uint8Array
}

export interface MeshOptions {
  readonly platform: Platform
  readonly identity: Identity
  readonly room: string
  readonly secret: string
  readonly rendezvous: readonly Rendezvous[]
  readonly advert: Advert
  readonly timing?: Partial<MeshTiming>
}

export interface MeshTiming {
  readonly pingEveryMs: number
  /** A link that says nothing for so long, though pinged, is dead. */
  readonly silenceMsMax: number
  readonly handshakeMsMax: number
  /** From the first introduction to an open connection. */
  readonly connectMsMax: number
  /** How long the other side may take to answer the first introduction: messages of a rendezvous get lost. */
  readonly answerMsMax: number
  /** Delay before a failed connection is tried again: doubles from the first to the second, half of it random. */
  readonly retryMs: number
  readonly retryMsMax: number
  /** How often a peer says on each rendezvous that it is here, once the first seconds are over. */
  readonly presenceEveryMs: number
  /** Who was not heard of for so long is not tried any more. */
  readonly presenceMsMax: number
}

/** Events never come from within a call of the mesh, and none comes after `close`. */
export interface MeshEvents {
  /** An authenticated link is up; comes once per link. */
  onLinked(peer: PeerId, advert: Advert): void
  onAdvert(peer: PeerId, advert: Advert): void
  /** Comes once for each `onLinked`, also when the peer's next link takes over at once. */
  onUnlinked(peer: PeerId, reason: string): void
  onMessage(from: PeerId, lane: Lane, bytes: Uint8Array): void
  /** All of `peer`'s bulk lane went below its low-water mark after `send` had returned 'full'. */
  onDrain(peer: PeerId): void
  /** The other side did not prove what it must (UNAUTHORIZED: secret or key; VERSION_MISMATCH: protocol). */
  onRefused(peer: string, error: HarmonyError): void
  /** A connection that the application gave to `adopt` led to no link. It is not tried again. */
  onAdoptionFailed(peer: PeerId, reason: string): void
  onRendezvous(state: 'open' | 'down', reason: string): void
}

export interface LinkInfo {
  readonly id: PeerId
  readonly state: 'connecting' | 'linked'
  readonly kind: 'tab' | 'node' | 'unknown'
  readonly rttMs: number | undefined
  readonly bufferedBytes: number
}

/** Channel messages (frames that left together count once) and their bytes, since the start. */
export interface MeshCounters {
  readonly sent: number
  readonly received: number
  readonly bytesSent: number
  readonly bytesReceived: number
  /** Held now: waiting to be sent, here and in the host, and received parts of unfinished messages. */
  readonly bytesInFlight: number
}

/** `unlinked`: dropped. `full`: accepted on `consensus`, dropped on `bulk`; wait for `onDrain`. */
export type SendResult = 'sent' | 'unlinked' | 'full'

export interface Mesh {
  /** Messages sent in one turn of the event loop leave as one channel message per lane (up to the size limit). */
  /** At most 4 MiB on `consensus`, 32 MiB on `bulk` (assertion). The bytes are the mesh's from then on. */
  send(to: PeerId, lane: Lane, bytes: Uint8Array): SendResult
  links(): readonly LinkInfo[]
  /** Peers that are announced or being connected and have neither linked nor failed yet: the birth of a cluster waits for them. */
  unresolved(): number
  /** A rendezvous has answered at least once (or there is none to wait for). */
  reachable(): boolean
  advertise(advert: Advert): void
  /** Demonstrations and tests: drop every frame both ways, silently, without closing anything. Healed links go on. */
  partition(cut: boolean): void
  /** Links a connection that the application made; the other side does the same. */
  adopt(remote: PeerId, connection: unknown): void
  counters(): MeshCounters
  close(): void
}
