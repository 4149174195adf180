/** What a transaction has written and not committed yet: the last write of each key, in bytes. */
import { keyText } from '../txn/spans.ts'
import type { CoreOp } from './core.ts'
import { tooMany } from './reader.ts'

/** Operations, and keys and ranges that were read, of one transaction or batch. */
export const batchOpsMax = 10_000
/** Encoded keys and values of one transaction or batch: more than the largest single write takes. */
export const batchBytesMax = 20 * 1024 * 1024

export class OwnWrites {
  private readonly byKey = new Map<string, CoreOp>()
  private bytes = 0
  /** Of all keys, ascending; undefined: to be made. */
  private sorted: string[] | undefined

  get size(): number {
    return this.byKey.size
  }

  get ops(): readonly CoreOp[] {
    return [...this.byKey.values()]
  }

  /** @throws TOO_LARGE; nothing is changed then. */
  set(op: CoreOp): void {
    const text = keyText(op.key)
    const known = this.byKey.get(text)
    const bytes = this.bytes + bytesOf(op) - (known === undefined ? 0 : bytesOf(known))
    if (bytes > batchBytesMax) throw tooMany('a transaction writes', batchBytesMax, 'bytes of keys and values')
    if (known === undefined && this.byKey.size >= batchOpsMax)
      throw tooMany('a transaction writes', batchOpsMax, 'keys')
    if (known === undefined) this.sorted = undefined
    this.bytes = bytes
    this.byKey.set(text, op)
  }

  get(key: Uint8Array): CoreOp | undefined {
    return this.byKey.size === 0 ? undefined : this.byKey.get(keyText(key))
  }

  /** In from ≤ key < to, ascending. */
  within(from: Uint8Array | undefined, to: Uint8Array | undefined): CoreOp[] {
    if (this.byKey.size === 0) return []
    this.sorted ??= [...this.byKey.keys()].sort((a, b) => (a < b ? -1 : 1))
    const low = from === undefined ? '' : keyText(from)
    const high = to === undefined ? undefined : keyText(to)
    const found: CoreOp[] = []
    for (const text of this.sorted) {
      if (text < low) continue
      if (high !== undefined && text >= high) break
      found.push(this.byKey.get(text) as CoreOp)
    }
    return found
  }
}

const bytesOf = (op: CoreOp): number => op.key.length + (op.type === 'put' ? op.value.length : 0)
