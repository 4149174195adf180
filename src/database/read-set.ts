/** What a transaction has read, as it will be checked when it commits: keys with the versions that were seen, and ranges with the number of keys that were in them. */
import type { Timestamp } from '../base/ids.ts'
import { KeyMap } from '../base/key-map.ts'
import type { RangeCheck, WriteCheck } from '../shard/command.ts'
import type { Core, CoreReadOptions, CoreScan, CoreSnapshot } from './core.ts'
import { EntryReader } from './entries.ts'
import { lastKey } from './merged-page.ts'
import { batchOpsMax } from './own-writes.ts'
import { tooMany } from './reader.ts'

const keysAtOnce = 1000

export class ReadSet {
  private readonly keys = new KeyMap<WriteCheck>()
  private readonly seen: RangeCheck[] = []
  private lockedKeys: KeyMap<WriteCheck> | undefined

  /** `at`: its timestamp, 0 where it is absent. `locked`: by this transaction, before it was read. @throws TOO_LARGE */
  key(key: Uint8Array, at: Timestamp, locked: boolean): void {
    let check = this.keys.get(key)
    if (check === undefined) {
      this.assertRoom()
      check = { key, at }
      this.keys.set(key, check)
    }
    if (!locked) return
    this.lockedKeys ??= new KeyMap()
    this.lockedKeys.set(key, check)
  }

  /** `count` keys were in from ≤ key < to, in the state after the commit `at`. @throws TOO_LARGE */
  range(from: Uint8Array | undefined, to: Uint8Array | undefined, count: number, at: Timestamp): void {
    this.assertRoom()
    this.seen.push({ from, to, count, at })
  }

  has(key: Uint8Array): boolean {
    return this.keys.get(key) !== undefined
  }

  /** As here, `ranges`: what is read later is not in it any more. */
  get checks(): readonly WriteCheck[] {
    return this.keys.values.slice()
  }

  /** Those of `keys` that were read, and what was locked to be read. */
  checksOf(keys: Iterable<Uint8Array>): readonly WriteCheck[] {
    const found = new KeyMap<WriteCheck>()
    for (const check of this.lockedKeys?.values ?? []) found.set(check.key, check)
    for (const key of keys) {
      const check = this.keys.get(key)
      if (check !== undefined) found.set(key, check)
    }
    return found.values
  }

  get ranges(): readonly RangeCheck[] {
    return this.seen.slice()
  }

  /** Is everything that was read the same in this state? */
  async holdsIn(core: Core, { name }: CoreSnapshot, options: CoreReadOptions): Promise<boolean> {
    const { checks } = this
    for (let at = 0; at < checks.length; at += keysAtOnce) {
      const some = checks.slice(at, at + keysAtOnce)
      const keys = some.map(({ key }) => key)
      const entries = new EntryReader(await core.getMany(keys, { ...options, snapshot: name }))
      for (const { at } of some) {
        entries.next()
        if (entries.timestamp() !== at) return false
      }
    }
    for (const range of [...this.seen]) if (!(await isSame(core, range, { ...options, snapshot: name }))) return false
    return true
  }

  private assertRoom(): void {
    if (this.keys.size + this.seen.length >= batchOpsMax)
      throw tooMany('a transaction reads', batchOpsMax, 'keys and pages of ranges')
  }
}

/** In the state that the options name. */
async function isSame(core: Core, { from, to, count, at }: RangeCheck, options: CoreReadOptions): Promise<boolean> {
  let left = count
  let continuation: CoreScan['continuation']
  for (;;) {
    const page = await core.scan({
      ...options,
      from,
      to,
      reverse: false,
      keysOnly: true,
      limit: keysAtOnce,
      continuation,
    })
    left -= page.entries.count
    if (left < 0) return false
    const reader = new EntryReader(page.entries)
    while (reader.next()) if (reader.timestamp() > at) return false
    if (page.done) return left === 0
    continuation = { snapshot: page.snapshot, after: lastKey(page.entries) }
  }
}
