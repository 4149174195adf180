/** What a transaction has written and not committed yet: the last write of each key, in bytes. */
import { compareBytes } from '../base/bytes.ts'
import { KeyMap } from '../base/key-map.ts'
import type { CoreOp } from './core.ts'
import { tooMany } from './reader.ts'

/** Operations, and keys and ranges that were read, of one transaction or batch. */
export const batchOpsMax = 10_000
/** Encoded keys and values of one transaction or batch: more than the largest single write takes. */
export const batchBytesMax = 20 * 1024 * 1024

export class OwnWrites {
  private readonly byKey = new KeyMap<CoreOp>()
  private bytes = 0
  /** By keys, ascending; undefined: to be made. */
  private sorted: CoreOp[] | undefined

  get size(): number {
    return this.byKey.size
  }

  get ops(): readonly CoreOp[] {
    return this.byKey.values.slice()
  }

  /** @throws TOO_LARGE; nothing is changed then. */
  set(op: CoreOp): void {
    const known = this.byKey.get(op.key)
    const bytes = this.bytes + bytesOf(op) - (known === undefined ? 0 : bytesOf(known))
    if (bytes > batchBytesMax) throw tooMany('a transaction writes', batchBytesMax, 'bytes of keys and values')
    if (known === undefined && this.byKey.size >= batchOpsMax)
      throw tooMany('a transaction writes', batchOpsMax, 'keys')
    this.sorted = undefined
    this.bytes = bytes
    this.byKey.set(op.key, op)
  }

  get(key: Uint8Array): CoreOp | undefined {
    return this.byKey.get(key)
  }

  /** In from ≤ key < to, ascending. */
  within(from: Uint8Array | undefined, to: Uint8Array | undefined): CoreOp[] {
    if (this.byKey.size === 0) return []
    this.sorted ??= [...this.byKey.values].sort((a, b) => compareBytes(a.key, b.key))
    const found: CoreOp[] = []
    for (const op of this.sorted) {
      if (from !== undefined && compareBytes(op.key, from) < 0) continue
      if (to !== undefined && compareBytes(op.key, to) >= 0) break
      found.push(op)
    }
    return found
  }
}

const bytesOf = (op: CoreOp): number => op.key.length + (op.type === 'put' ? op.value.length : 0)
