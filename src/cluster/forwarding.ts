/** How a client's commands come to the leader: proposed here where this peer leads, else sent to who does. */
import type { PeerId } from '../base/ids.ts'
import { type Command, decodeBody, encodeBody, type SessionId, stampsOf } from '../shard/command.ts'
import type { Replica } from '../shard/replica.ts'
import { group0 } from './group-replay.ts'
import type { Links } from './links.ts'
import type { PeerMessage } from './wire.ts'
import type { PostResult } from './writes.ts'

/** The body, with what only the leader can add to it. */
function whole({ prepared }: Replica, command: Command, body: Uint8Array): Uint8Array {
  const filled = prepared.filled(command)
  return filled === command ? body : encodeBody(filled)
}

export interface ForwardingHost {
  readonly self: PeerId
  readonly links: Pick<Links, 'send'>
  replica(): Replica | undefined
}

export class Forwarding {
  private readonly host: ForwardingHost

  constructor(host: ForwardingHost) {
    this.host = host
  }

  post(session: SessionId, serial: number, command: Command): PostResult {
    const { self, links } = this.host
    const replica = this.host.replica()
    const leader = replica?.leader
    if (replica === undefined || leader === undefined) return 'later'
    const leads = leader === self
    const body = encodeBody(leads ? replica.prepared.filled(command) : command)
    if (leads) return replica.propose(body, stampsOf(command)).ok ? 'sent' : 'later'
    replica.stir()
    return links.send(leader, { type: 'forward', group: group0, session, serial, body }) ? 'sent' : 'later'
  }

  /** From a peer that takes this one for the leader. */
  received(from: PeerId, { session, serial, body }: PeerMessage & { readonly type: 'forward' }): void {
    const command = decodeBody(body)
    const replica = this.host.replica()
    const result = command.ok
      ? replica?.propose(whole(replica, command.value, body), stampsOf(command.value), from)
      : ({ ok: false, reason: 'invalid' } as const)
    if (result?.ok === false) this.host.links.send(from, { type: 'returned', session, serial, reason: result.reason })
  }
}
