/** `Database.watch`: the commits that change something in a range or in some keys, one batch for each, in order. */

import { keyBehind } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { unlessAborted } from './abort.ts'
import type { Core, CoreWatching } from './core.ts'
import { decodeKey, encodeKey } from './key.ts'
import { aborted, invalid, record, shown, signalOf, timeoutMsDefault } from './options.ts'
import { type ByteRange, encodeRange } from './range.ts'
import { tooMany } from './reader.ts'
import type { AbortSignalLike, Key, Range, WatchBatch, WatchOptions } from './types.ts'
import { decodeValue } from './value-decode.ts'
import { type CoreBatch, unpackBatches } from './watch-batches.ts'

/** Keys of one watch. */
export const watchKeysMax = 1000

/**
 * Begins when it is made, not with the first `next`. One iteration: whoever iterates again goes on where the last one stopped. It ends with `return` (a `break` in a
 * loop), with its signal, and with the database.
 */
export class Watch<V> implements AsyncIterableIterator<WatchBatch<V>, undefined, undefined> {
  private readonly core: Core
  private readonly signal: AbortSignalLike | undefined
  private readonly begun: Promise<CoreWatching>
  private batches: CoreBatch[] = []
  private over = false

  constructor(core: Core, target: Range | readonly Key[], options: WatchOptions | undefined) {
    this.core = core
    let begun: Promise<CoreWatching>
    try {
      const given = record(options, 'options')
      const { since } = given
      this.signal = signalOf(given)
      if (since !== undefined && typeof since !== 'string')
        throw invalid(`since must be a version, not ${shown(since)}`)
      begun = core.watch({ ranges: rangesOf(target), since, timeoutMs: timeoutMsDefault })
    } catch (error) {
      begun = Promise.reject(error)
    }
    this.begun = begun
    // It is told in the iteration.
    begun.catch(() => {})
    this.signal?.addEventListener('abort', () => this.end())
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /**
   * @throws INVALID_KEY, VALIDATION, TOO_LARGE (of the call), NO_QUORUM, TIMEOUT, ABORTED, CLOSED, and CORRUPT for a value that cannot be read.
   */
  async next(): Promise<IteratorResult<WatchBatch<V>, undefined>> {
    const { signal } = this
    for (;;) {
      if (signal !== undefined && isAborted(signal)) throw aborted(signal, false)
      if (this.over) return { done: true, value: undefined }
      const batch = this.batches.shift()
      if (batch !== undefined) return { done: false, value: decoded<V>(batch) }
      try {
        const { watch } = await unlessAborted(this.begun, signal, false)
        this.batches = unpackBatches(await unlessAborted(this.core.watched(watch), signal, false))
      } catch (error) {
        const wasOver = this.over
        this.end()
        // What ended it is told, and not what came of that.
        if (signal !== undefined && isAborted(signal)) throw aborted(signal, false)
        if (wasOver) return { done: true, value: undefined }
        throw error
      }
    }
  }

  async return(): Promise<IteratorResult<WatchBatch<V>, undefined>> {
    this.end()
    return { done: true, value: undefined }
  }

  private end(): void {
    if (this.over) return
    this.over = true
    this.batches = []
    this.begun.then(
      ({ watch }) => this.core.unwatch(watch),
      () => {},
    )
  }
}

/** It changes while one waits. */
const isAborted = (signal: AbortSignalLike | undefined): boolean => signal?.aborted === true

/** @throws INVALID_KEY, VALIDATION, TOO_LARGE */
function rangesOf(target: Range | readonly Key[]): readonly ByteRange[] {
  if (!Array.isArray(target)) return [encodeRange(target as Range)]
  if (target.length === 0) throw invalid('watch takes a range, or a list of keys, at least one')
  if (target.length > watchKeysMax) throw tooMany('a watch takes', watchKeysMax, 'keys')
  return Array.from(target as readonly Key[], (key, i) => {
    const from = encodeKey(key, `keys[${i}]`)
    return { from, to: keyBehind(from) }
  })
}

function decoded<V>({ version, resync, ops }: CoreBatch): WatchBatch<V> {
  const text = version.toString(16).padStart(14, '0')
  return {
    version: text,
    resync,
    events: ops.map(op => {
      const key = decodeKey(op.key)
      if (!key.ok) throw key.error
      if (op.type === 'delete') return { type: 'delete', key: key.value, version: text }
      const value = decodeValue(op.value)
      if (!value.ok) throw new HarmonyError(value.error.code, `a value that was put: ${value.error.message}`)
      return { type: 'put', key: key.value, value: value.value as V, version: text }
    }),
  }
}
