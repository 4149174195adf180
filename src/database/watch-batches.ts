/**
 * Commits on their way to who watches them, many in one buffer.
 *
 *   varint batches, each: varint version (a timestamp) | bool resync | varint events, each: bool put | bytes key | [bytes value]
 *
 * Both ends are of one build: bytes that do not decode are a bug.
 */
import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { CoreOp } from './core.ts'

export interface CoreBatch {
  readonly version: number
  readonly resync: boolean
  readonly ops: readonly CoreOp[]
}

export function packBatches(batches: readonly CoreBatch[]): Uint8Array {
  const writer = new ByteWriter(1024).varint(batches.length)
  for (const { version, resync, ops } of batches) {
    writer.varint(version).bool(resync).varint(ops.length)
    for (const op of ops) {
      writer.bool(op.type === 'put').bytes(op.key)
      if (op.type === 'put') writer.bytes(op.value)
    }
  }
  return writer.finish()
}

/** Keys and values are views. */
export function unpackBatches(packed: Uint8Array): CoreBatch[] {
  const reader = new ByteReader(packed)
  const batches: CoreBatch[] = []
  for (let left = reader.varint(); left > 0 && !reader.failed; left--) {
    const version = reader.varint()
    const resync = reader.bool()
    const ops: CoreOp[] = []
    for (let events = reader.varint(); events > 0 && !reader.failed; events--) {
      const put = reader.bool()
      const key = reader.bytes()
      ops.push(put ? { type: 'put', key, value: reader.bytes() } : { type: 'delete', key })
    }
    batches.push({ version, resync, ops })
  }
  assert(reader.done(), 'packed batches have the form that this build gives them')
  return batches
}
