/**
 * Messages between the peers of one group, to the byte.
 *
 *   message = u8 type | id128 from | id128 to | varint term | fields
 *     1 preVote         varint lastIndex | varint lastTerm | bool transfer
 *     2 vote            as preVote
 *     3 preVoteReply    bool granted
 *     4 voteReply       bool granted
 *     5 append          varint prevIndex | varint prevTerm | varint commit | varint count | entries
 *     6 appendReply     bool ok | varint match | varint rejected | varint hintIndex | varint hintTerm
 *     7 heartbeat       varint commit | varint context
 *     8 heartbeatReply  varint context
 *     9 readIndex       varint context
 *    10 readIndexReply  varint context | varint index
 *    11 timeoutNow      no fields
 *    12 snapshot        varint index
 *    13 rest            varint commit
 *    14 wake            no fields
 *   entry   = u8 kind (0 noop, 1 command, 2 configuration) | varint term | bytes data
 *
 * Entry i of an append has index prevIndex + 1 + i. The decoder is total. It copies the entries of a message once, in one
 * piece: they outlive the frame that brought them, but not each other by much.
 */
import { ByteReader, ByteWriter, copyBytes } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type Index, index, type PeerId, peerId, type Term, term } from '../base/ids.ts'
import type { Decoded, Entry, EntryKind, Message } from './types.ts'

const messageTypes = [
  'preVote',
  'vote',
  'preVoteReply',
  'voteReply',
  'append',
  'appendReply',
  'heartbeat',
  'heartbeatReply',
  'readIndex',
  'readIndexReply',
  'timeoutNow',
  'snapshot',
  'rest',
  'wake',
] as const satisfies readonly Message['type'][]
const entryKinds = ['noop', 'command', 'configuration'] as const satisfies readonly EntryKind[]

const entryBytesMin = 3

/** Emptied by every use; saves the growing. */
const scratch = new ByteWriter(1024)

export function encodeMessage(message: Message): Uint8Array {
  const writer = scratch
  writer.reset()
  writer
    .u8(messageTypes.indexOf(message.type) + 1)
    .id128(message.from)
    .id128(message.to)
    .varint(message.term)
  switch (message.type) {
    case 'preVote':
    case 'vote':
      writer.varint(message.lastIndex).varint(message.lastTerm).bool(message.transfer)
      break
    case 'preVoteReply':
    case 'voteReply':
      writer.bool(message.granted)
      break
    case 'append':
      writer.varint(message.prevIndex).varint(message.prevTerm).varint(message.commit).varint(message.entries.length)
      for (const entry of message.entries) {
        writer.u8(entryKinds.indexOf(entry.kind)).varint(entry.term).bytes(entry.data)
      }
      break
    case 'appendReply':
      writer.bool(message.ok).varint(message.match).varint(message.rejected)
      writer.varint(message.hintIndex).varint(message.hintTerm)
      break
    case 'heartbeat':
      writer.varint(message.commit).varint(message.context)
      break
    case 'heartbeatReply':
    case 'readIndex':
      writer.varint(message.context)
      break
    case 'readIndexReply':
      writer.varint(message.context).varint(message.index)
      break
    case 'timeoutNow':
    case 'wake':
      break
    case 'snapshot':
      writer.varint(message.index)
      break
    case 'rest':
      writer.varint(message.commit)
      break
  }
  return writer.finish()
}

/** Errors: CORRUPT. */
export function decodeMessage(bytes: Uint8Array): Decoded<Message> {
  const reader = new ByteReader(bytes)
  const type = messageTypes[reader.u8() - 1]
  const from = peerId(reader.id128())
  const to = peerId(reader.id128())
  const common = { from, to, term: term(reader.varint()) }
  const message = type === undefined ? undefined : readFields(type, common, reader)
  if (message !== undefined && reader.done()) return { ok: true, value: message }
  return { ok: false, error: new HarmonyError('CORRUPT', `${bytes.length} bytes are no consensus message`) }
}

interface Common {
  readonly from: PeerId
  readonly to: PeerId
  readonly term: Term
}

function readFields(type: Message['type'], { from, to, term: of }: Common, reader: ByteReader): Message | undefined {
  switch (type) {
    case 'preVote':
    case 'vote': {
      const lastIndex = index(reader.varint())
      const lastTerm = term(reader.varint())
      return { type, from, to, term: of, lastIndex, lastTerm, transfer: reader.bool() }
    }
    case 'preVoteReply':
    case 'voteReply':
      return { type, from, to, term: of, granted: reader.bool() }
    case 'append': {
      const prevIndex = index(reader.varint())
      const prevTerm = term(reader.varint())
      const commit = index(reader.varint())
      const entries = readEntries(prevIndex, reader)
      return { type, from, to, term: of, prevIndex, prevTerm, entries, commit }
    }
    case 'appendReply': {
      const ok = reader.bool()
      const match = index(reader.varint())
      const rejected = index(reader.varint())
      const hintIndex = index(reader.varint())
      const hintTerm = term(reader.varint())
      return { type, from, to, term: of, ok, match, rejected, hintIndex, hintTerm }
    }
    case 'heartbeat': {
      const commit = index(reader.varint())
      return { type, from, to, term: of, commit, context: reader.varint() }
    }
    case 'heartbeatReply':
    case 'readIndex':
      return { type, from, to, term: of, context: reader.varint() }
    case 'readIndexReply': {
      const context = reader.varint()
      return { type, from, to, term: of, context, index: index(reader.varint()) }
    }
    case 'timeoutNow':
    case 'wake':
      return { type, from, to, term: of }
    case 'rest':
      return { type, from, to, term: of, commit: index(reader.varint()) }
    case 'snapshot':
      return { type, from, to, term: of, index: index(reader.varint()) }
  }
}

/** Reads to the end of the message; whatever is wrong fails `outer`. */
function readEntries(prevIndex: Index, outer: ByteReader): readonly Entry[] {
  const count = outer.count(entryBytesMin)
  if (count === 0 || outer.failed) return []
  if (prevIndex + count > Number.MAX_SAFE_INTEGER) {
    outer.fail()
    return []
  }
  const reader = new ByteReader(copyBytes(outer.rest()))
  const entries: Entry[] = []
  for (let i = 1; i <= count && !reader.failed; i++) {
    const kind = entryKinds[reader.u8()]
    const of = term(reader.varint())
    const data = reader.bytes()
    if (kind === undefined) reader.fail()
    else entries.push({ index: index(prevIndex + i), term: of, kind, data })
  }
  if (!reader.done()) outer.fail()
  return entries
}
