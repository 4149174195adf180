/** What the tests of both engines share: a model to compare with. Everything completes at once here. */
import { expect } from 'vitest'
import { hexEncode } from '../../../src/base/bytes.ts'
import type { Index } from '../../../src/base/ids.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import type { Result } from '../../../src/platform.ts'
import type { Change, Engine, EngineSnapshot, Row, View } from '../../../src/storage/engine.ts'

/** Hex of keys to hex of values; hex sorts as the bytes do. */
export type Model = Map<string, string>

export type Readable = Pick<Engine, 'read'>

export function run<T>(from: Readable, operation: (view: View) => T): T {
  const results: T[] = []
  from.read(operation, result => {
    if (!result.ok) throw result.error
    results.push(result.value)
  })
  expect(results).toHaveLength(1)
  return results[0]!
}

export function change(engine: Engine, changes: readonly Change[], applied: Index): void {
  const results: Result<unknown>[] = []
  engine.update(
    () => ({ changes, result: undefined }),
    applied,
    result => results.push(result),
  )
  expect(results).toEqual([{ ok: true, value: undefined }])
}

export type Bound = Uint8Array | undefined

export function scan(
  from: Readable,
  low: Bound,
  high: Bound,
  reverse: boolean,
  limit = Number.POSITIVE_INFINITY,
): string[] {
  return run(from, view => {
    const seen: string[] = []
    view.scan(low, high, reverse, row => {
      const [key, value] = entryOf(row)
      seen.push(`${hexEncode(key)}=${hexEncode(value)}`)
      return seen.length < limit
    })
    return seen
  })
}

export function expected(
  model: Model,
  low: Bound,
  high: Bound,
  reverse: boolean,
  limit = Number.POSITIVE_INFINITY,
): string[] {
  const [from, to] = [low && hexEncode(low), high && hexEncode(high)]
  const keys = [...model.keys()].filter(key => (from === undefined || key >= from) && (to === undefined || key < to))
  keys.sort()
  if (reverse) keys.reverse()
  return keys.slice(0, limit).map(key => `${key}=${model.get(key)}`)
}

export function randomBytes(random: SeededRandom, lengthMax: number): Uint8Array {
  const bytes = new Uint8Array(random.below(lengthMax + 1))
  random.fill(bytes)
  return bytes
}

export function applyTo(model: Model, changes: readonly Change[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) model.delete(hexEncode(key))
    else model.set(hexEncode(key), hexEncode(value))
  }
}

export function compare(engine: Readable, model: Model, random: SeededRandom, key: () => Uint8Array): void {
  for (let i = 0; i < 3; i++) {
    const probe = key()
    const value = run(engine, view => view.get(probe))
    expect(value && hexEncode(value)).toBe(model.get(hexEncode(probe)))
    const found = run(engine, view => {
      const row = view.find(probe)
      return row && entryOf(row)[1]
    })
    expect(found && hexEncode(found)).toBe(model.get(hexEncode(probe)))
    const [low, high] = [random.chance(0.3) ? undefined : key(), random.chance(0.3) ? undefined : key()]
    const [reverse, limit] = [random.chance(0.5), random.chance(0.5) ? 1 + random.below(10) : undefined]
    expect(scan(engine, low, high, reverse, limit)).toEqual(expected(model, low, high, reverse, limit))
  }
}

export function checkStatus(engine: Engine, model: Model): void {
  let bytes = 0
  for (const [key, value] of model) bytes += (key.length + value.length) / 2
  expect(engine.status()).toMatchObject({ keys: model.size, bytes })
}

export function snapshotOf(engine: Engine): EngineSnapshot {
  const taken: EngineSnapshot[] = []
  engine.snapshot(result => {
    if (!result.ok) throw result.error
    taken.push(result.value)
  })
  expect(taken).toHaveLength(1)
  return taken[0]!
}

/** Copies of what a row shows. */
export function entryOf({ key, keyBytes, value, valueFrom, valueTo }: Row): readonly [Uint8Array, Uint8Array] {
  return [key.slice(0, keyBytes), value.slice(valueFrom, valueTo)]
}
