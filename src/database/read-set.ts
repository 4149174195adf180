/** What a transaction has read, as it will be checked when it commits: keys with the versions that were seen, and ranges with the number of keys that were in them. */
import type { CoreRange, CoreWrite } from './core.ts'
import { batchOpsMax, keyText } from './own-writes.ts'
import { tooMany } from './reader.ts'

type Check = CoreWrite['checks'][number]

interface SeenRange {
  readonly from: Uint8Array | undefined
  readonly to: Uint8Array | undefined
  readonly count: number
}

export class ReadSet {
  private readonly keys = new Map<string, Check>()
  private readonly seen: SeenRange[] = []

  /** `version` null: absent. @throws TOO_LARGE */
  key(key: Uint8Array, version: string | null): void {
    const text = keyText(key)
    if (this.keys.has(text)) return
    this.assertRoom()
    this.keys.set(text, { key, version })
  }

  /** `count` keys were in from ≤ key < to. @throws TOO_LARGE */
  range(from: Uint8Array | undefined, to: Uint8Array | undefined, count: number): void {
    this.assertRoom()
    this.seen.push({ from, to, count })
  }

  has(key: Uint8Array): boolean {
    return this.keys.has(keyText(key))
  }

  get checks(): readonly Check[] {
    return [...this.keys.values()]
  }

  /** Those of `keys` that were read. */
  checksOf(keys: Iterable<Uint8Array>): Check[] {
    const found: Check[] = []
    for (const key of keys) {
      const check = this.keys.get(keyText(key))
      if (check !== undefined) found.push(check)
    }
    return found
  }

  /** As of the state with this version. */
  ranges(version: string): readonly CoreRange[] {
    return this.seen.map(range => ({ ...range, version }))
  }

  private assertRoom(): void {
    if (this.keys.size + this.seen.length >= batchOpsMax)
      throw tooMany('a transaction reads', batchOpsMax, 'keys and pages of ranges')
  }
}
