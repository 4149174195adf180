/**
 * What the threads of `threads.test.ts` know of the data, so that a reader can tell from one answer whether it saw one state:
 *
 *   p/i/x, p/i/y   always written in one batch with the same version
 *   s/i            amounts; a batch moves something from one to another, so their sum stays
 *   c/…            come and go; `count` says in the same batch how many there are
 *
 * Every value is: u32 version | i32 amount | u32 FNV-1a of key, version, amount and filler | filler, whose length changes from write to write.
 */
import { compareBytes } from '../../src/base/bytes.ts'
import type { SeededRandom } from '../../src/base/random.ts'
import type { Change, View } from '../../src/storage/engine.ts'

export const pairs = 200
export const accounts = 120
export const amountAtFirst = 1000
const headBytes = 12

const text = new TextEncoder()
export const keyOf = (name: string): Uint8Array => text.encode(name)
/** Some keys are longer than what stands in a page. */
export const pairKey = (i: number, which: 'x' | 'y'): Uint8Array =>
  keyOf(`p/${`${i % 5}`.repeat(i % 10 === 0 ? 300 : 3)}/${i}/${which}`)
export const accountKey = (i: number): Uint8Array => keyOf(`s/${i}`)
export const comingKey = (i: number): Uint8Array => keyOf(`c/${String((i * 2654435761) >>> 0).padStart(10, '0')}`)
export const countKey = keyOf('count')

function hashOf(key: Uint8Array, value: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193)
  for (let i = 0; i < value.length; i++) if (i < 8 || i >= headBytes) hash = Math.imul(hash ^ value[i]!, 0x01000193)
  return hash >>> 0
}

export function makeValue(key: Uint8Array, version: number, amount: number, fillerBytes: number): Uint8Array {
  const value = new Uint8Array(headBytes + fillerBytes).fill(version & 0xff, headBytes)
  const view = new DataView(value.buffer)
  view.setUint32(0, version)
  view.setInt32(4, amount)
  view.setUint32(8, hashOf(key, value))
  return value
}

/** A wrong value, told as what is thrown. */
export function readValue(key: Uint8Array, value: Uint8Array | undefined): { version: number; amount: number } {
  const name = new TextDecoder().decode(key).slice(0, 30)
  if (value === undefined) throw new Error(`${name} is missing`)
  if (value.length < headBytes) throw new Error(`${name} has ${value.length} bytes`)
  const view = new DataView(value.buffer, value.byteOffset, value.length)
  if (view.getUint32(8) !== hashOf(key, value)) throw new Error(`${name} is torn: ${value.length} bytes`)
  return { version: view.getUint32(0), amount: view.getInt32(4) }
}

/** Mostly short, now and then a chain of pages. */
export const fillerOf = (random: SeededRandom, longMax: number): number =>
  random.chance(0.04) ? random.below(longMax) : random.below(80)

export class Oracle {
  private readonly random: SeededRandom
  private readonly longMax: number
  private version = 0
  private readonly amounts: number[] = Array(accounts).fill(amountAtFirst)
  private readonly here = new Set<number>()

  constructor(random: SeededRandom, longMax: number) {
    this.random = random
    this.longMax = longMax
  }

  first(): Change[] {
    const changes: Change[] = []
    for (let i = 0; i < pairs; i++) changes.push(...this.pair(i))
    for (let i = 0; i < accounts; i++) changes.push(this.put(accountKey(i), amountAtFirst))
    changes.push(this.put(countKey, 0))
    return changes
  }

  next(): Change[] {
    const { random, amounts, here } = this
    this.version++
    switch (random.below(3)) {
      case 0: {
        const changes: Change[] = []
        for (let i = random.between(1, 4); i > 0; i--) changes.push(...this.pair(random.below(pairs)))
        return changes
      }
      case 1: {
        const [from, to, moved] = [random.below(accounts), random.below(accounts), random.below(50)]
        amounts[from]! -= moved
        amounts[to]! += moved
        return [from, to].map(i => this.put(accountKey(i), amounts[i]!))
      }
      default: {
        const changes: Change[] = []
        const growing = here.size < 50 || (here.size < 900 && random.chance(0.5))
        for (let i = random.between(1, 60); i > 0; i--) {
          const which = random.below(1500)
          const key = comingKey(which)
          if (growing) {
            here.add(which)
            changes.push(this.put(key, which))
          } else {
            here.delete(which)
            changes.push({ key, value: undefined })
          }
        }
        changes.push(this.put(countKey, here.size))
        return changes
      }
    }
  }

  private pair(i: number): Change[] {
    return [this.put(pairKey(i, 'x'), i), this.put(pairKey(i, 'y'), i)]
  }

  private put(key: Uint8Array, amount: number): Change {
    return { key, value: makeValue(key, this.version, amount, fillerOf(this.random, this.longMax)) }
  }
}

const prefixEnd = (prefix: string): Uint8Array => keyOf(`${prefix}0`)

function* scanned(view: View, prefix: string, reverse: boolean): Generator<{ version: number; amount: number }> {
  const found: [Uint8Array, Uint8Array][] = []
  view.scan(
    keyOf(`${prefix}/`),
    prefixEnd(prefix),
    reverse,
    ({ key, keyBytes, value, valueFrom, valueTo }) =>
      found.push([key.slice(0, keyBytes), value.slice(valueFrom, valueTo)]) < 5000,
  )
  for (const [i, [key, value]] of found.entries()) {
    const order = i === 0 ? 1 : compareBytes(key, found[i - 1]![0])
    if (reverse && i > 0 ? order >= 0 : order <= 0) throw new Error(`${prefix}: entry ${i} is out of order`)
    yield readValue(key, value)
  }
}

/** The newest version that the operation saw. */
export type Check = (view: View) => number

/** One operation that tells whether what it sees is one state; throws where it is not. */
export function checkOf(random: SeededRandom): Check {
  const reverse = random.chance(0.5)
  switch (random.below(10)) {
    case 0:
      return view => {
        let [sum, count, newest] = [0, 0, 0]
        for (const { amount, version } of scanned(view, 's', reverse)) {
          sum += amount
          count++
          newest = Math.max(newest, version)
        }
        if (count !== accounts) throw new Error(`${count} accounts`)
        if (sum !== accounts * amountAtFirst) throw new Error(`the sum is ${sum}`)
        return newest
      }
    case 1:
      return view => {
        let count = 0
        let newest = 0
        for (const { version } of scanned(view, 'c', reverse)) {
          count++
          newest = Math.max(newest, version)
        }
        const told = readValue(countKey, view.get(countKey))
        if (told.amount !== count) throw new Error(`${count} keys where there should be ${told.amount}`)
        return Math.max(newest, told.version)
      }
    case 2: {
      const some = Array.from({ length: 20 }, () => random.below(pairs))
      return view => Math.max(...some.map(i => pairVersion(view, i)))
    }
    default: {
      const i = random.below(pairs)
      return view => pairVersion(view, i)
    }
  }
}

function pairVersion(view: View, i: number): number {
  const [x, y] = (['x', 'y'] as const).map(which => {
    const key = pairKey(i, which)
    return readValue(key, view.get(key)).version
  })
  if (x !== y) throw new Error(`pair ${i} has versions ${x} and ${y}`)
  return x!
}
