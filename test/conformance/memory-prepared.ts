/** Prepared transactions of `memory-core.ts`: what is held, by whom, until when; nothing but the contract. */
import { compareBytes } from '../../src/base/bytes.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import type { CorePrepare, CorePrepared, CoreWrite } from '../../src/database/core.ts'

interface Held extends CorePrepared {
  readonly write: CoreWrite
  readonly cancel: () => void
}

const idsMax = 1024

export class MemoryPrepared {
  private readonly held = new Map<string, Held>()
  private readonly decided = new Map<string, { readonly version: string | undefined }>()
  private drawn = 0

  list(): CorePrepared[] {
    return [...this.held.values()].map(({ id, keys, preparedAtMs, holdMs }) => ({ id, keys, preparedAtMs, holdMs }))
  }

  /** @throws CONFLICT, retryable, where a prepared transaction stands in its way. */
  assertFree(write: CoreWrite, isPrepare = false): void {
    for (const [id, { write: one }] of this.held) {
      const isHit = write.ops.some(({ key }) => writes(one, key) || looksAt(one, key))
      if (!isHit && !(isPrepare && one.ops.some(({ key }) => looksAt(write, key)))) continue
      throw new HarmonyError('CONFLICT', `the prepared transaction "${id}" holds it`, { retryable: true })
    }
  }

  /** It was validated. `expire` is called when its time is over. */
  add(write: CoreWrite, { id = `drawn ${++this.drawn}`, holdMs }: CorePrepare, expire: (id: string) => void): string {
    if (this.held.has(id) || this.decided.has(id)) throw new HarmonyError('EXISTS', `"${id}" exists`)
    if (this.held.size === idsMax) throw new HarmonyError('TOO_LARGE', 'too many', { retryable: true })
    this.assertFree(write, true)
    const timer = setTimeout(() => expire(id), holdMs)
    const cancel = (): void => clearTimeout(timer)
    this.held.set(id, { id, write, keys: write.ops.length, preparedAtMs: Date.now(), holdMs, cancel })
    return id
  }

  /** The version that it has already, or undefined: it is decided now, by what `done` makes of what it wrote. */
  decide(id: string, commit: boolean, done: (ops: CoreWrite['ops']) => string): string {
    const known = this.decided.get(id)
    if (known !== undefined) {
      if ((known.version !== undefined) !== commit)
        throw new HarmonyError('CONFLICT', `"${id}" was decided otherwise`, { retryable: false })
      return known.version ?? ''
    }
    const held = this.held.get(id)
    if (held === undefined) throw new HarmonyError('VALIDATION', `"${id}" is not known`)
    held.cancel()
    this.held.delete(id)
    const version = commit ? done(held.write.ops) : undefined
    this.decided.set(id, { version })
    return version ?? ''
  }

  close(): void {
    for (const { cancel } of this.held.values()) cancel()
  }
}

const writes = ({ ops }: CoreWrite, key: Uint8Array): boolean => ops.some(op => compareBytes(op.key, key) === 0)

const looksAt = ({ checks, ranges = [] }: CoreWrite, key: Uint8Array): boolean =>
  checks.some(check => compareBytes(check.key, key) === 0) ||
  ranges.some(
    ({ from, to }) =>
      (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0),
  )
