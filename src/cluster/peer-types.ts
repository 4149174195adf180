/** What a peer is made with and what it tells of itself; see `peer.ts`. */
import type { HarmonyError } from '../base/errors.ts'
import { type ClusterId, type Index, index, type PeerId, term } from '../base/ids.ts'
import type { Platform, Rendezvous } from '../platform.ts'
import { membersOf } from '../raft/configuration.ts'
import type { Message, RaftLimits, RaftStatus } from '../raft/types.ts'
import { checkpointBytesDefault } from '../shard/checkpoints.ts'
import type { SessionId } from '../shard/command.ts'
import type { RestoredGroup } from '../shard/group-log.ts'
import type { PreparedStatus } from '../shard/prepared.ts'
import type { ReplicaHost } from '../shard/replica-host.ts'
import type { AutopilotPolicy } from './autopilot.ts'
import { nobody } from './group-replay.ts'
import type { LockStatus } from './lock-service.ts'
import type { Bootstrap, Own } from './membership.ts'
import type { LinkInfo, MeshCounters } from './mesh-types.ts'
import type { Store } from './store.ts'
import type { Wish } from './wire.ts'

export { votersOf } from '../raft/configuration.ts'

export interface PeerTiming {
  readonly tickMs: number
  readonly noQuorumAfterMs: number
}

export interface PeerOptions {
  readonly platform: Platform
  readonly store: Store
  /** How much of the log may have to be applied again after a crash, in bytes, before a checkpoint is made. Default: 32 MiB. */
  readonly checkpointBytes?: number
  readonly limits?: Partial<RaftLimits>
  readonly timing?: Partial<PeerTiming>
  /** Reads under the leader's lease, where voters' clocks may run so many times as fast as its own (`shard/lease.ts`). Undefined: none. */
  readonly leaseDriftMax?: number | undefined
  readonly policy?: Partial<AutopilotPolicy>
  /** Sees every consensus message that leaves this peer: for invariant checks and traces. */
  readonly trace?: (message: Message) => void
  /** Sees every consensus message that this peer is about to take. */
  readonly traceReceived?: (message: Message) => void
  /** Something in `status()` or `links()` changed; coalesced per turn. */
  readonly onChange: () => void
  readonly onEvent: (event: PeerEvent) => void
  /** Why the storage takes no writes for now: the peer shows what it has until `resume`, and does nothing else. */
  readonly paused?: HarmonyError
  /**
   * It has stopped for good. `company`: the cluster in which others have what it had. True: somebody goes on in its place, and it is no `error` event.
   */
  readonly onStopped?: (why: HarmonyError, company: ClusterId | undefined) => boolean
}

export interface PeerJoin {
  readonly room: string
  readonly secret: string
  readonly rendezvous: readonly Rendezvous[]
  readonly wish: Wish
  readonly bootstrap: Bootstrap
  readonly onConflict: 'fail' | 'discard-local'
  /** Default: who is not in the configuration asks to be admitted. */
  readonly asks?: boolean
}

export type PeerEvent =
  /** `up` is undefined where a connection came to nothing: other links to that peer stand as they did. */
  | { readonly type: 'link'; readonly peer: string; readonly up: boolean | undefined; readonly message: string }
  | { readonly type: 'rendezvous'; readonly state: 'open' | 'down'; readonly message: string }
  | { readonly type: 'error'; readonly error: HarmonyError }
  /** The state was received whole, as it is after this entry. */
  | { readonly type: 'snapshot'; readonly index: Index }
  | { readonly type: 'snapshotRefused'; readonly message: string }

export type PeerHealth = 'solo' | 'ok' | 'electing' | 'no-quorum' | 'left'

export interface PeerStatus {
  readonly id: PeerId
  readonly cluster: ClusterId
  readonly room: string | undefined
  readonly health: PeerHealth
  readonly raft: RaftStatus
  readonly hasData: boolean
  /** Why storage takes no writes for now. */
  readonly paused: HarmonyError | undefined
  /** Over all that was applied, up to `raft.applied`; undefined where the state is between two of those that have an index. */
  readonly fingerprint: number | undefined
  /** Of a snapshot that is being received; undefined: none is. */
  readonly receivedBytes: number | undefined
  readonly links: readonly LinkInfo[]
  readonly frames: MeshCounters
  readonly pendingWrites: number
  readonly pendingReads: number
  readonly queuedBytes: number
  readonly queuedBytesMax: number
  /** Of all transactions of the group, where this peer leads. */
  readonly locks: LockStatus
  /** Transactions that are prepared and not decided, as far as is applied here. */
  readonly prepared: PreparedStatus
}

export type ReadLevel =
  | { readonly consistency: 'linearizable' | 'session' | 'local' }
  | { readonly consistency: 'bounded'; readonly maxStalenessMs: number }

export const defaultLimits: RaftLimits = {
  electionTicks: 12,
  heartbeatTicks: 2,
  idleTicks: 600,
  restTicks: 100,
  messageBytesMax: 512 * 1024,
  inflightBytesMax: 4 * 1024 * 1024,
  inflightMessagesMax: 256,
  uncommittedBytesMax: 48 * 1024 * 1024,
  cacheBytesMax: 8 * 1024 * 1024,
  applyBytesMax: 4 * 1024 * 1024,
}
export const defaultTiming: PeerTiming = { tickMs: 50, noQuorumAfterMs: 1200 }
/** Of the replica. A lease is as long as the promise of who hears a leader, divided by the drift that is allowed for. */
export const replicaSizes = (
  { checkpointBytes = checkpointBytesDefault, leaseDriftMax }: PeerOptions,
  { electionTicks }: RaftLimits,
  { tickMs }: PeerTiming,
): Pick<ReplicaHost, 'checkpointBytes' | 'leaseMs'> => ({
  checkpointBytes,
  leaseMs: leaseDriftMax === undefined ? 0 : ((electionTicks - 1) * tickMs) / leaseDriftMax,
})

/** For commands that no client waits for. */
export const noSession: SessionId = '0'.repeat(32)

/** A candidate knows no leader, whatever it remembers. */
export const leaderOf = (status: RaftStatus): PeerId | undefined =>
  status.role === 'leader' || status.role === 'follower' ? status.leader : undefined

function membersIn({ log: { configurations, base } }: RestoredGroup): readonly PeerId[] {
  return membersOf((configurations[configurations.length - 1] ?? base).configuration)
}

export function isSole(restored: RestoredGroup, id: PeerId): boolean {
  const members = membersIn(restored)
  return members.length === 1 && members.includes(id)
}

/** Nobody is in its configuration: it waits to be admitted to a cluster that it has heard nothing of. */
export const isNobodys = (restored: RestoredGroup): boolean => membersIn(restored).length === 0

/** Where a peer stands in the configuration that it knows. */
export function placeOf(
  id: PeerId,
  status: RaftStatus | undefined,
): Pick<Own, 'voters' | 'inConfiguration' | 'hasCompany' | 'hasLeader'> {
  const configuration = status?.configuration ?? nobody
  const members = membersOf(configuration)
  const inConfiguration = members.includes(id)
  const hasLeader = status !== undefined && leaderOf(status) !== undefined
  return {
    voters: configuration.voters,
    inConfiguration,
    hasCompany: members.length > (inConfiguration ? 1 : 0),
    hasLeader,
  }
}

/** What a peer says while it begins a new history and has no replica yet. */
export const unborn = (id: PeerId): RaftStatus => ({
  id,
  role: 'follower',
  term: term(0),
  vote: undefined,
  leader: undefined,
  commit: index(0),
  applied: index(0),
  firstIndex: index(1),
  lastIndex: index(0),
  lastTerm: term(0),
  configuration: { voters: [], outgoing: [], learners: [], learnersNext: [] },
  changePending: false,
  resting: false,
  transferee: undefined,
  progress: [],
  cachedEntryBytes: 0,
})
