/** Where a message of another member goes: to the replica, the clients of this process, or whoever looks after the members. What is not meant for this peer ends here. */
import type { PeerId } from '../base/ids.ts'
import type { Message } from '../raft/types.ts'
import type { Replica } from '../shard/replica.ts'
import type { Administration } from './administration.ts'
import type { Clients } from './clients.ts'
import type { Forwarding } from './forwarding.ts'
import type { PeerMessage } from './wire.ts'

export interface Receivers {
  readonly self: PeerId
  readonly replica: Replica
  readonly administration: Administration
  readonly forwarding: Forwarding
  readonly clients: Clients
  /** Sees every consensus message that is taken. */
  readonly traceReceived: ((message: Message) => void) | undefined
}

export function deliver(to: Receivers, from: PeerId, message: PeerMessage): void {
  const { self, replica, administration, forwarding, clients } = to
  administration.steward.heard(from)
  switch (message.type) {
    case 'raft':
      // The link proves who speaks; the message must not claim otherwise.
      if (message.message.from !== from || message.message.to !== self) return
      to.traceReceived?.(message.message)
      return replica.step(message.message)
    case 'snapshotAsk':
      return replica.snapshotAsked(from, message.ask)
    case 'snapshotPiece':
      return replica.snapshotArrived(message.piece)
    case 'forward':
      return forwarding.received(from, message)
    case 'returned':
      return clients.writes.returned(message.session, message.serial, message.reason)
    case 'lock':
    case 'locked':
    case 'unlock':
    case 'locking':
      return clients.locks.received(from, message)
    default:
      return administration.received(replica, from, message)
  }
}
