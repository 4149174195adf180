/** What a replica asks of the peer that it is part of, and what it tells of its state. */
import type { Index, PeerId } from '../base/ids.ts'
import type { Clock, Directory } from '../platform.ts'
import type { Message } from '../raft/types.ts'
import type { Engine } from '../storage/engine.ts'
import type { Wal } from '../storage/wal.ts'
import type { Applied } from './apply.ts'
import type { SnapshotAsk, SnapshotPiece } from './snapshot-wire.ts'

export interface ReplicaHost {
  readonly clock: Clock
  readonly directory: Directory
  readonly wal: Wal
  readonly engine: Engine
  /** A checkpoint is made when so much of the log would have to be applied again; so much is kept of it for followers, about. */
  readonly checkpointBytes: number
  /** How long a leader may answer reads after it sent a round that a majority confirmed (`lease.ts`); 0: not at all. */
  readonly leaseMs: number
  send(message: Message): void
  sendAsk(to: PeerId, ask: SnapshotAsk): void
  sendPiece(to: PeerId, piece: SnapshotPiece): void
  /** The state is another peer's now: no entry in between was applied here. */
  onInstalled(): void
  /** A state that the leader sent is none, for this reason; it is asked for again later. */
  onRefused(problem: string): void
  /** In log order, each once, also for other peers' commands. */
  onApplied(applied: Applied, index: Index): void
  /** Answers `readIndex`: undefined means ask again with another context. */
  onReadIndex(context: number, index: Index | undefined): void
  /** Something in `status()` may have changed. */
  onProgress(): void
  /** Storage takes writes: a checkpoint may be made. */
  mayWrite(): boolean
  /** Storage or state are not to be trusted any more: the peer must stop. */
  onFatal(error: unknown): void
}

/** What a state is, in short: equal for equal states. */
export interface StateMark {
  readonly index: Index
  readonly fingerprint: number
  readonly keys: number
  readonly bytes: number
}
