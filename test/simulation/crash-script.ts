/**
 * A scripted workload and its model: a list of writes, each atomic, for one writer that sends them in order, a few at a time. So whatever
 * survives a crash must be the state after some first part of the script that holds everything acknowledged.
 */
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'

/** How many writes may be on their way at once. */
export const inFlightMax = 4
const keyCount = 40

export type ScriptOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string }

export interface Script {
  readonly writes: readonly (readonly ScriptOp[])[]
  /** The process closes its database in order, and opens it again, before these writes. */
  readonly closings: ReadonlySet<number>
  /** After the first n writes, as `stateText` says it. */
  readonly states: readonly string[]
  /** Of keys and values, when they were most. */
  readonly bytesMax: number
}

/** Values of 0 bytes to 100 KB, batches, deletes; it begins small, so that crashes of a store's first moments are among those of a sample. */
export function makeScript(seed: number, writeCount = 70): Script {
  const random = seededRandom(`script ${seed}`)
  const writes: ScriptOp[][] = []
  const states: string[] = ['']
  const model = new Map<string, string>()
  let bytesMax = 0
  for (let n = 0; n < writeCount; n++) {
    const ops: ScriptOp[] = []
    const size = random.chance(0.3) ? random.between(2, 8) : 1
    const used = new Set<string>()
    while (ops.length < size) {
      const name = `key ${String(random.below(keyCount)).padStart(2, '0')}`
      if (used.has(name)) continue
      used.add(name)
      if (random.chance(0.25)) {
        ops.push({ type: 'delete', key: name })
        model.delete(name)
        continue
      }
      // The last before each closing is large enough for a checkpoint at the end.
      const last = n === writeCount - 1 || n === Math.floor(writeCount / 2) - 1
      const bytes = last && ops.length === 0 ? 100_000 : sizeOf(random, size)
      const value = valueFor(n * 16 + ops.length, bytes)
      ops.push({ type: 'put', key: name, value })
      model.set(name, fingerprint(value))
    }
    writes.push(ops)
    states.push(stateText(model))
    let bytes = 0
    for (const [key, value] of model) bytes += key.length + Number.parseInt(value, 10)
    bytesMax = Math.max(bytesMax, bytes)
  }
  return { bytesMax, writes, closings: new Set([Math.floor(writeCount / 2)]), states }
}

function sizeOf(random: SeededRandom, batch: number): number {
  const dice = random.below(20)
  if (dice < 2) return 0
  if (dice < 10) return random.between(1, 100)
  if (dice < 16) return random.between(100, 1500)
  if (dice < 19) return random.between(1500, 8000)
  return batch === 1 ? random.between(20_000, 100_000) : 5000
}

/** Names itself at its beginning where it is long enough; half of it can be compressed. */
function valueFor(id: number, bytes: number): Uint8Array {
  const value = new Uint8Array(bytes)
  const random = seededRandom(id)
  random.fill(value.subarray(0, bytes >>> 1))
  value.fill(id % 251, bytes >>> 1)
  return value
}

/** Two values that differ anywhere do not read the same. */
export function fingerprint(value: Uint8Array): string {
  let [a, b] = [0x811c9dc5, 1]
  for (const byte of value) {
    a = Math.imul(a ^ byte, 0x01000193)
    b = (Math.imul(b, 31) + byte + 1) | 0
  }
  return `${value.length}:${a >>> 0}:${b >>> 0}`
}

export function stateText(state: ReadonlyMap<string, string>): string {
  return [...state]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')
}

/**
 * How many writes the state has, at least `acknowledged` and at most `submitted`.
 * @throws Error where it is no such state.
 */
export function writesIn(script: Script, state: string, acknowledged: number, submitted: number): number {
  for (let n = submitted; n >= acknowledged; n--) if (script.states[n] === state) return n
  const earlier = script.states.lastIndexOf(state)
  const what = earlier < 0 ? 'no state that ever was' : `the state after write ${earlier}`
  throw new Error(`${what}: ${acknowledged} writes were acknowledged and ${submitted} sent`)
}
