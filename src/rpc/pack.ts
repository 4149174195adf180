/**
 * Many byte strings as one: cloning a message costs per buffer in it. Both ends are of
 * one build (`protocolVersion`), so a form that does not decode is a bug, not input.
 *
 *   keys     varint count, then bytes each
 *   write    varint checks { bytes key | varint timestamp, 0: absent }
 *            | varint ranges { bool has from, [bytes from] | bool has to, [bytes to] | varint timestamp | varint count }
 *            | varint ops { bool put | bytes key | [bytes value] }
 *            | bool has idempotency key, [text] | varint timeout in ms, rounded up
 *
 * What is unpacked are views into the buffer, not copies.
 */
import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { timestamp } from '../base/ids.ts'
import type { CoreOp, CoreWrite } from '../database/core.ts'

/** Below this copying is cheaper than transferring. */
const transferBytesMin = 16 * 1024

/** What to transfer with a packed message. */
export function buffersOf(packed: Uint8Array): object[] {
  return packed.length < transferBytesMin ? [] : [packed.buffer]
}

export function packKeys(keys: readonly Uint8Array[]): Uint8Array {
  const writer = new ByteWriter().varint(keys.length)
  for (const key of keys) writer.bytes(key)
  return writer.finish()
}

export function unpackKeys(packed: Uint8Array): Uint8Array[] {
  return unpack(packed, reader => list(reader, () => reader.bytes()))
}

export function packWrite({ ops, checks, ranges = [], idempotencyKey, timeoutMs }: CoreWrite): Uint8Array {
  const writer = new ByteWriter(1024).varint(checks.length)
  for (const { key, at } of checks) writer.bytes(key).varint(at)
  writer.varint(ranges.length)
  for (const { from, to, at, count } of ranges) {
    for (const bound of [from, to]) {
      writer.bool(bound !== undefined)
      if (bound !== undefined) writer.bytes(bound)
    }
    writer.varint(at).varint(count)
  }
  writer.varint(ops.length)
  for (const op of ops) {
    writer.bool(op.type === 'put').bytes(op.key)
    if (op.type === 'put') writer.bytes(op.value)
  }
  writer.bool(idempotencyKey !== undefined)
  if (idempotencyKey !== undefined) writer.text(idempotencyKey)
  return writer.varint(Math.ceil(timeoutMs)).finish()
}

export function unpackWrite(packed: Uint8Array): CoreWrite {
  return unpack(packed, reader => {
    const checks = list(reader, () => ({ key: reader.bytes(), at: timestamp(reader.varint()) }))
    const ranges = list(reader, () => ({
      from: reader.bool() ? reader.bytes() : undefined,
      to: reader.bool() ? reader.bytes() : undefined,
      at: timestamp(reader.varint()),
      count: reader.varint(),
    }))
    const ops = list(reader, (): CoreOp => {
      const put = reader.bool()
      const key = reader.bytes()
      return put ? { type: 'put', key, value: reader.bytes() } : { type: 'delete', key }
    })
    const idempotencyKey = reader.bool() ? reader.text() : undefined
    return { ops, checks, ranges, idempotencyKey, timeoutMs: reader.varint() }
  })
}

function list<T>(reader: ByteReader, read: () => T): T[] {
  const items: T[] = []
  for (let count = reader.count(1); count > 0 && !reader.failed; count--) items.push(read())
  return items
}

function unpack<T>(packed: Uint8Array, read: (reader: ByteReader) => T): T {
  const reader = new ByteReader(packed)
  const result = read(reader)
  assert(reader.done(), 'a packed message has the form that this build gives it')
  return result
}
