/**
 * The wire between a command and a running `serve`: WebSocket binary frames, one request, then its one response, then the next request.
 * Path `/control`, header `authorization: Bearer <token>`. Forms of `base/bytes.ts`:
 *
 *   request   u8 verb, then
 *     1 read    options | varint count, that many: bytes key
 *     2 scan    options | bound from | bound to | bool reverse | bool keysOnly | varint limit
 *               | bool continued, [text snapshot | bytes after]
 *     3 write   varint checks { bytes key | varint timestamp, 0: absent } | varint ops { bool put | bytes key | [bytes value] }
 *               | bool has idempotency key, [text] | varint timeout in ms
 *     4 mirror  nothing
 *     5 prepared  varint timeout in ms
 *     6 decide  text id | bool commit | varint timeout in ms
 *     options = u8 consistency | varint staleness in ms | varint timeout in ms;  bound = bool present, [bytes]
 *
 *   response  u8 0, then the answer:
 *     1 read    entries = varint count | bytes packed (`src/database/entries.ts`)
 *     2 scan    text snapshot | bool done | entries
 *     3 write   text version
 *     4 mirror  text JSON
 *     5 prepared  varint count, that many: text id | varint keys | varint when in ms | varint hold in ms
 *     6 decide  text version
 *             or u8 1, then: text code | text message | bool retryable | bool maybeCommitted
 *
 * Frames have at most `frameBytesMax`. Decoding is total.
 */
import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { errorCodes, HarmonyError } from '../../../src/base/errors.ts'
import { timestamp } from '../../../src/base/ids.ts'
import { type Consistency, type Core, isPacked, type PackedEntries } from '../../../src/index.ts'

export type CoreReadOptions = Parameters<Core['getMany']>[1]
export type CoreScan = Parameters<Core['scan']>[0]
export type CoreWrite = Parameters<Core['write']>[0]
export type CorePage = Awaited<ReturnType<Core['scan']>>
export type CoreDecide = Parameters<Core['decide']>[0]
export type CorePrepared = Awaited<ReturnType<Core['prepared']>>[number]
export type CoreMirror = ReturnType<Core['mirror']>

/** Above the largest batch, and the largest page: one value of 16 MiB behind a MiB of others. */
export const frameBytesMax = 24 * 1024 * 1024

export type Request =
  | { readonly verb: 'read'; readonly keys: readonly Uint8Array[]; readonly options: CoreReadOptions }
  | { readonly verb: 'scan'; readonly scan: CoreScan }
  | { readonly verb: 'write'; readonly write: CoreWrite }
  | { readonly verb: 'mirror' }
  | { readonly verb: 'prepared'; readonly timeoutMs: number }
  | { readonly verb: 'decide'; readonly decision: CoreDecide }

export type Answer =
  | { readonly verb: 'read'; readonly entries: PackedEntries }
  | { readonly verb: 'scan'; readonly page: CorePage }
  | { readonly verb: 'write'; readonly version: string }
  | { readonly verb: 'mirror'; readonly mirror: CoreMirror }
  | { readonly verb: 'prepared'; readonly transactions: readonly CorePrepared[] }
  | { readonly verb: 'decide'; readonly version: string }

/** A Buffer's `slice` is a view where a Uint8Array's is a copy: what goes into the core must be the latter. */
export const plainBytes = (buffer: Buffer): Uint8Array =>
  new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)

type Verb = Request['verb']

const verbs: readonly Verb[] = ['read', 'scan', 'write', 'mirror', 'prepared', 'decide']
const consistencies: readonly Consistency[] = ['linearizable', 'bounded', 'session', 'local']

export function encodeRequest(request: Request): Uint8Array {
  const writer = new ByteWriter(1024).u8(verbs.indexOf(request.verb) + 1)
  switch (request.verb) {
    case 'read':
      writeOptions(writer, request.options).varint(request.keys.length)
      for (const key of request.keys) writer.bytes(key)
      break
    case 'scan': {
      const { from, to, reverse, keysOnly, limit, continuation } = request.scan
      writeOptions(writer, request.scan)
      writeOptional(writer, from)
      writeOptional(writer, to)
      writer
        .bool(reverse)
        .bool(keysOnly)
        .varint(Math.min(limit, Number.MAX_SAFE_INTEGER))
        .bool(continuation !== undefined)
      if (continuation !== undefined) writer.text(continuation.snapshot).bytes(continuation.after)
      break
    }
    case 'write':
      writeWrite(writer, request.write)
      break
    case 'prepared':
      writer.varint(Math.ceil(request.timeoutMs))
      break
    case 'decide': {
      const { id, commit, timeoutMs } = request.decision
      writer.text(id).bool(commit).varint(Math.ceil(timeoutMs))
      break
    }
    case 'mirror':
  }
  return writer.finish()
}

/** Undefined for anything that is no request. */
export function decodeRequest(frame: Uint8Array): Request | undefined {
  const reader = new ByteReader(frame)
  const request = readRequest(reader)
  return reader.done() ? request : undefined
}

function readRequest(reader: ByteReader): Request | undefined {
  switch (verbs[reader.u8() - 1]) {
    case 'read': {
      const options = readOptions(reader)
      return { verb: 'read', options, keys: list(reader, () => reader.bytes()) }
    }
    case 'scan': {
      const options = readOptions(reader)
      const from = readOptional(reader)
      const to = readOptional(reader)
      const reverse = reader.bool()
      const keysOnly = reader.bool()
      const limit = reader.varint()
      const continuation = reader.bool() ? { snapshot: reader.text(), after: reader.bytes() } : undefined
      if (limit < 1) reader.fail()
      return { verb: 'scan', scan: { ...options, from, to, reverse, keysOnly, limit, continuation } }
    }
    case 'write':
      return { verb: 'write', write: readWrite(reader) }
    case 'mirror':
      return { verb: 'mirror' }
    case 'prepared':
      return { verb: 'prepared', timeoutMs: readTimeout(reader) }
    case 'decide':
      return {
        verb: 'decide',
        decision: { id: reader.text(), commit: reader.bool(), timeoutMs: readTimeout(reader) },
      }
    default:
      return undefined
  }
}

export function encodeAnswer(answer: Answer): Uint8Array {
  const writer = new ByteWriter(1024).u8(0)
  switch (answer.verb) {
    case 'read':
      writeEntries(writer, answer.entries)
      break
    case 'scan': {
      const { snapshot, done, entries } = answer.page
      writeEntries(writer.text(snapshot).bool(done), entries)
      break
    }
    case 'write':
    case 'decide':
      writer.text(answer.version)
      break
    case 'prepared':
      writer.varint(answer.transactions.length)
      for (const { id, keys, preparedAtMs, holdMs } of answer.transactions)
        writer.text(id).varint(keys).varint(preparedAtMs).varint(holdMs)
      break
    case 'mirror':
      writer.text(JSON.stringify(answer.mirror))
  }
  return writer.finish()
}

export function encodeFailure({ code, message, retryable, maybeCommitted }: HarmonyError): Uint8Array {
  return new ByteWriter().u8(1).text(code).text(message).bool(retryable).bool(maybeCommitted).finish()
}

/** The answer to a request of this verb, or the error that it was answered with; undefined for what is neither. */
export function decodeResponse(verb: Verb, frame: Uint8Array): Answer | HarmonyError | undefined {
  const reader = new ByteReader(frame)
  const status = reader.u8()
  const response = status === 0 ? readAnswer(verb, reader) : status === 1 ? readFailure(reader) : undefined
  return reader.done() ? response : undefined
}

function readAnswer(verb: Verb, reader: ByteReader): Answer | undefined {
  switch (verb) {
    case 'read':
      return { verb, entries: readEntries(reader, true) }
    case 'scan': {
      const snapshot = reader.text()
      const done = reader.bool()
      return { verb, page: { snapshot, done, entries: readEntries(reader, false) } }
    }
    case 'write':
    case 'decide':
      return { verb, version: reader.text() }
    case 'prepared':
      return { verb, transactions: list(reader, () => readPrepared(reader)) }
    case 'mirror': {
      const mirror = parseMirror(reader.text())
      return mirror && { verb, mirror }
    }
  }
}

/** Shown to people, not computed with: its parts are checked to be there, not one by one. */
function parseMirror(text: string): CoreMirror | undefined {
  try {
    const { cluster, members, status } = JSON.parse(text) as Partial<CoreMirror>
    const whole = typeof cluster === 'object' && typeof status === 'object' && Array.isArray(members)
    return whole ? ({ cluster, members, status } as CoreMirror) : undefined
  } catch {
    return undefined
  }
}

function readFailure(reader: ByteReader): HarmonyError | undefined {
  const code = reader.text()
  const message = reader.text()
  const retryable = reader.bool()
  const maybeCommitted = reader.bool()
  const known = errorCodes.find(one => one === code)
  return known && new HarmonyError(known, message, { retryable, maybeCommitted })
}

function writeOptions(writer: ByteWriter, options: CoreReadOptions): ByteWriter {
  const { consistency, maxStalenessMs, timeoutMs } = options
  return writer.u8(consistencies.indexOf(consistency)).varint(Math.ceil(maxStalenessMs)).varint(Math.ceil(timeoutMs))
}

function readOptions(reader: ByteReader): CoreReadOptions {
  const consistency = consistencies[reader.u8()]
  if (consistency === undefined) reader.fail()
  return { consistency: consistency ?? 'local', maxStalenessMs: reader.varint(), timeoutMs: readTimeout(reader) }
}

/** What a timer can count. */
function readTimeout(reader: ByteReader): number {
  const timeoutMs = reader.varint()
  if (timeoutMs < 1 || timeoutMs >= 2 ** 31) reader.fail()
  return timeoutMs
}

function writeOptional(writer: ByteWriter, bytes: Uint8Array | undefined): void {
  writer.bool(bytes !== undefined)
  if (bytes !== undefined) writer.bytes(bytes)
}

const readOptional = (reader: ByteReader): Uint8Array | undefined => (reader.bool() ? reader.bytes() : undefined)

function writeWrite(writer: ByteWriter, { ops, checks, idempotencyKey, timeoutMs }: CoreWrite): void {
  writer.varint(checks.length)
  for (const { key, at } of checks) writer.bytes(key).varint(at)
  writer.varint(ops.length)
  for (const op of ops) {
    writer.bool(op.type === 'put').bytes(op.key)
    if (op.type === 'put') writer.bytes(op.value)
  }
  writer.bool(idempotencyKey !== undefined)
  if (idempotencyKey !== undefined) writer.text(idempotencyKey)
  writer.varint(Math.ceil(timeoutMs))
}

function readWrite(reader: ByteReader): CoreWrite {
  const checks = list(reader, () => ({ key: reader.bytes(), at: timestamp(reader.varint()) }))
  const ops = list(reader, (): CoreWrite['ops'][number] => {
    const put = reader.bool()
    const key = reader.bytes()
    return put ? { type: 'put', key, value: reader.bytes() } : { type: 'delete', key }
  })
  const idempotencyKey = reader.bool() ? reader.text() : undefined
  return { checks, ops, idempotencyKey, timeoutMs: readTimeout(reader) }
}

const readPrepared = (reader: ByteReader): CorePrepared => ({
  id: reader.text(),
  keys: reader.varint(),
  preparedAtMs: reader.varint(),
  holdMs: reader.varint(),
})

function writeEntries(writer: ByteWriter, { count, bytes }: PackedEntries): void {
  writer.varint(count).bytes(bytes)
}

function readEntries(reader: ByteReader, absent: boolean): PackedEntries {
  const entries = { count: reader.varint(), bytes: reader.bytes() }
  if (!isPacked(entries, absent)) reader.fail()
  return entries
}

function list<T>(reader: ByteReader, read: () => T): T[] {
  const items: T[] = []
  for (let count = reader.count(1); count > 0 && !reader.failed; count--) items.push(read())
  return items
}
