/**
 * What peers of one cluster say to each other over an authenticated link, to the byte. (Frames, chunks and checksums are the
 * mesh's; this is the content of one whole message.)
 *
 *   message = u8 type | id128 cluster | fields
 *     1 raft      varint group | a consensus message (`raft/message-codec.ts`)
 *     2 forward   varint group | id128 session | varint serial of its first write (0: none) | command body   to the leader
 *     3 returned  id128 session | that serial | u8 reason   the leader did not take it; it is safe to send it again
 *     4 admit     u8 role wished (0 auto, 1 voter, 2 learner)  "have me in your configuration": to any member, repeated until it is true
 *     5 depart    u8 (0 stay as learner, 1 be removed)     to the leader, repeated until it is true
 *     6 departed  no fields                 the leader's word that the change is committed
 *     7 snapshotAsk    varint group | an ask    to the leader     (`shard/snapshot-wire.ts`)
 *     8 snapshotPiece  varint group | a piece
 *     9 order     u8 (0 promote, 1 remove) | id128 member     to the leader, repeated until it is true
 *    10 dismissed no fields                 the leader's word that somebody had the receiver removed: it leaves
 *    11 state     varint group | u64 index | u32 fingerprint | u64 keys | u64 bytes    of the leader's state after that entry
 *    12 lock      varint transaction | varint request | u8 mode | u8 policy | varint age (0: not known yet) | varint count | count × (bytes from | bool hasTo | bytes to)
 *                                           to the leader, repeated until it is answered
 *    13 locked    varint transaction | varint request | varint age | u8 (0 granted, 1 gave way, 2 full) | text why     the leader's answer
 *    14 unlock    varint transaction        to the leader: it is over
 *    15 locking   varint count | count × varint transaction     to the leader, about once a second: the sender's others are over
 *
 * A message of another cluster than the receiver's is dropped. Decoding is total.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type GroupId, groupId, index, type PeerId, peerId } from '../base/ids.ts'
import type { Result } from '../platform.ts'
import { decodeMessage, encodeMessage } from '../raft/message-codec.ts'
import type { Message } from '../raft/types.ts'
import type { SessionId } from '../shard/command.ts'
import type { StateMark } from '../shard/replica-host.ts'
import {
  decodeAsk,
  decodePiece,
  encodeAsk,
  encodePiece,
  type SnapshotAsk,
  type SnapshotPiece,
} from '../shard/snapshot-wire.ts'
import {
  decodeLock,
  decodeLocked,
  decodeLocking,
  encodeLock,
  encodeLocked,
  encodeLocking,
  type LockMessage,
} from './lock-wire.ts'

export const wishes = ['auto', 'voter', 'learner'] as const
export type Wish = (typeof wishes)[number]

const orders = ['promote', 'remove'] as const
export type Order = (typeof orders)[number]

export const returnReasons = ['not-leader', 'full', 'transferring', 'pending', 'invalid'] as const
export type ReturnReason = (typeof returnReasons)[number]

export type PeerMessage =
  | { readonly type: 'raft'; readonly group: GroupId; readonly message: Message }
  | {
      readonly type: 'forward'
      readonly group: GroupId
      readonly session: SessionId
      readonly serial: number
      readonly body: Uint8Array
    }
  | { readonly type: 'returned'; readonly session: SessionId; readonly serial: number; readonly reason: ReturnReason }
  | { readonly type: 'admit'; readonly wish: Wish }
  | { readonly type: 'depart'; readonly remove: boolean }
  | { readonly type: 'departed' }
  | { readonly type: 'snapshotAsk'; readonly group: GroupId; readonly ask: SnapshotAsk }
  | { readonly type: 'snapshotPiece'; readonly group: GroupId; readonly piece: SnapshotPiece }
  | { readonly type: 'order'; readonly order: Order; readonly id: PeerId }
  | { readonly type: 'dismissed' }
  | { readonly type: 'state'; readonly group: GroupId; readonly mark: StateMark }
  | LockMessage

const typeNumbers = {
  raft: 1,
  forward: 2,
  returned: 3,
  admit: 4,
  depart: 5,
  departed: 6,
  snapshotAsk: 7,
  snapshotPiece: 8,
  order: 9,
  dismissed: 10,
  state: 11,
  lock: 12,
  locked: 13,
  unlock: 14,
  locking: 15,
} as const

export function encodePeerMessage(cluster: ClusterId, message: PeerMessage): Uint8Array {
  const writer = new ByteWriter(64)
  writer.u8(typeNumbers[message.type])
  writer.id128(cluster)
  switch (message.type) {
    case 'raft':
      writer.varint(message.group)
      writer.raw(encodeMessage(message.message))
      break
    case 'forward':
      writer.varint(message.group)
      writer.id128(message.session)
      writer.varint(message.serial)
      writer.raw(message.body)
      break
    case 'returned':
      writer.id128(message.session)
      writer.varint(message.serial)
      writer.u8(returnReasons.indexOf(message.reason))
      break
    case 'admit':
      writer.u8(wishes.indexOf(message.wish))
      break
    case 'depart':
      writer.bool(message.remove)
      break
    case 'departed':
    case 'dismissed':
      break
    case 'order':
      writer.u8(orders.indexOf(message.order)).id128(message.id)
      break
    case 'state': {
      const { index: at, fingerprint, keys, bytes } = message.mark
      writer.varint(message.group).u64(at).u32(fingerprint).u64(keys).u64(bytes)
      break
    }
    case 'snapshotAsk':
      encodeAsk(writer.varint(message.group), message.ask)
      break
    case 'snapshotPiece':
      encodePiece(writer.varint(message.group), message.piece)
      break
    case 'lock':
      encodeLock(writer, message)
      break
    case 'locked':
      encodeLocked(writer, message)
      break
    case 'unlock':
      writer.varint(message.transaction)
      break
    case 'locking':
      encodeLocking(writer, message)
      break
  }
  return writer.finish()
}

export function decodePeerMessage(
  bytes: Uint8Array,
): Result<{ readonly cluster: ClusterId; readonly message: PeerMessage }> {
  const reader = new ByteReader(bytes)
  const type = reader.u8()
  const cluster = clusterId(reader.id128())
  const message = reader.failed ? undefined : readFields(type, reader)
  if (message === undefined || reader.failed) {
    return {
      ok: false,
      error: new HarmonyError('CORRUPT', `a peer sent a malformed message of type ${type}, ${bytes.length} bytes`),
    }
  }
  return { ok: true, value: { cluster, message } }
}

function readFields(type: number, reader: ByteReader): PeerMessage | undefined {
  switch (type) {
    case typeNumbers.raft: {
      const group = groupId(reader.varint())
      const message = decodeMessage(reader.rest())
      return message.ok ? { type: 'raft', group, message: message.value } : undefined
    }
    case typeNumbers.forward:
      return {
        type: 'forward',
        group: groupId(reader.varint()),
        session: reader.id128(),
        serial: reader.varint(),
        body: reader.rest(),
      }
    case typeNumbers.returned: {
      const session = reader.id128()
      const serial = reader.varint()
      const reason = returnReasons[reader.u8()]
      return reason === undefined ? undefined : { type: 'returned', session, serial, reason }
    }
    case typeNumbers.admit: {
      const wish = wishes[reader.u8()]
      return wish === undefined ? undefined : { type: 'admit', wish }
    }
    case typeNumbers.depart:
      return { type: 'depart', remove: reader.bool() }
    case typeNumbers.departed:
      return { type: 'departed' }
    case typeNumbers.dismissed:
      return { type: 'dismissed' }
    case typeNumbers.order: {
      const order = orders[reader.u8()]
      const id = peerId(reader.id128())
      return order === undefined ? undefined : { type: 'order', order, id }
    }
    case typeNumbers.state: {
      const group = groupId(reader.varint())
      const at = index(reader.u64())
      const mark = { index: at, fingerprint: reader.u32(), keys: reader.u64(), bytes: reader.u64() }
      return { type: 'state', group, mark }
    }
    case typeNumbers.snapshotAsk:
      return { type: 'snapshotAsk', group: groupId(reader.varint()), ask: decodeAsk(reader) }
    case typeNumbers.snapshotPiece: {
      const group = groupId(reader.varint())
      const piece = decodePiece(reader)
      return piece && { type: 'snapshotPiece', group, piece }
    }
    case typeNumbers.lock:
      return decodeLock(reader)
    case typeNumbers.locked:
      return decodeLocked(reader)
    case typeNumbers.unlock:
      return { type: 'unlock', transaction: reader.varint() }
    case typeNumbers.locking:
      return decodeLocking(reader)
    default:
      return undefined
  }
}
