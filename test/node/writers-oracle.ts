/**
 * What the threads of `writers.test.ts` do, and what the owner and readers know of it. Every writer has keys of its own, spread over all leaves; its
 * changes follow from its seed, so the owner knows afterwards what must be there.
 *
 *   p/i/x, p/i/y   never gone; x is written first, then y with the same version, which goes up by one
 *   c/…            come and go, in waves: splits, then merges
 *   m/w            the last change of writer w in each section: its number
 *
 * Values as in `thread-oracle.ts`: they say what they are, and whether they are whole.
 */
import { compareBytes } from '../../src/base/bytes.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import type { Change, View } from '../../src/storage/engine.ts'
import { comingKey, fillerOf, keyOf, makeValue, pairKey, pairs, readValue } from './thread-oracle.ts'

const coming = 3000
/** Sections of a wave. */
const waveLength = 12

export const markerKey = (writer: number): Uint8Array => keyOf(`m/${writer}`)

export const nameOf = (key: Uint8Array): string => String.fromCharCode(...key)

/** Changes of one key, or of one pair, in order: once one of a unit is declined, the owner does the rest of it. */
export interface PlannedChange extends Change {
  readonly unit: string
}

export class WriterPlan {
  private readonly writer: number
  private readonly writers: number
  private readonly longMax: number
  private readonly random: SeededRandom
  private readonly versions = new Map<number, number>()
  private section = 0

  constructor(writer: number, writers: number, seed: number, longMax: number) {
    this.writer = writer
    this.writers = writers
    this.longMax = longMax
    this.random = seededRandom(seed * 100 + writer)
  }

  /** All pairs at their first version: before any section. */
  first(): PlannedChange[] {
    const changes: PlannedChange[] = []
    for (let i = this.writer; i < pairs; i += this.writers) changes.push(...this.pair(i))
    changes.push(this.put(markerKey(this.writer), 'm', 0))
    return changes
  }

  next(): PlannedChange[] {
    const { random } = this
    this.section++
    const growing = Math.floor(this.section / waveLength) % 2 === 0
    const changes: PlannedChange[] = []
    for (let i = random.between(20, 300); i > 0; i--) {
      if (random.chance(0.2)) changes.push(...this.pair(this.own(pairs)))
      else {
        const key = comingKey(this.own(coming))
        const unit = nameOf(key)
        if (random.chance(growing ? 0.85 : 0.1)) changes.push(this.put(key, unit, this.section))
        else changes.push({ key, value: undefined, unit })
      }
    }
    changes.push(this.put(markerKey(this.writer), 'm', this.section))
    return changes
  }

  private own(count: number): number {
    const { random, writer, writers } = this
    return random.below(Math.floor((count - 1 - writer) / writers) + 1) * writers + writer
  }

  private pair(i: number): PlannedChange[] {
    const version = (this.versions.get(i) ?? 0) + 1
    this.versions.set(i, version)
    return [this.put(pairKey(i, 'x'), `p${i}`, version), this.put(pairKey(i, 'y'), `p${i}`, version)]
  }

  private put(key: Uint8Array, unit: string, version: number): PlannedChange {
    return { key, value: makeValue(key, version, version, fillerOf(this.random, this.longMax)), unit }
  }
}

/** What a reader holds against what it sees. `shown`: each change shows at once; else whole sections. */
export class ReaderChecks {
  private readonly random: SeededRandom
  private readonly writers: number
  private readonly shown: boolean
  private readonly newest = new Map<string, number>()

  constructor(random: SeededRandom, writers: number, shown: boolean) {
    this.random = random
    this.writers = writers
    this.shown = shown
  }

  /** An operation, and what it saw: names and versions. Throws where that is not one state. */
  next(): (view: View) => [string, number][] {
    const { random, writers, shown } = this
    const reverse = random.chance(0.5)
    switch (random.below(8)) {
      case 0:
        return view => {
          const found = scanned(view, 'p', reverse)
          if (found.length !== 2 * pairs) throw new Error(`${found.length} entries of pairs`)
          return found
        }
      case 1:
        return view => {
          scanned(view, 'c', reverse)
          return []
        }
      case 2:
        return view => {
          const versions = Array.from({ length: writers }, (_, w): [string, number] => [
            `m${w}`,
            seen(view, markerKey(w)),
          ])
          if (!shown && versions.some(([, version]) => version !== versions[0]?.[1])) {
            throw new Error(`half a section: ${versions.map(([, version]) => version)}`)
          }
          return versions
        }
      default: {
        const i = random.below(pairs)
        return view => {
          const first = seen(view, pairKey(i, reverse ? 'y' : 'x'))
          const second = seen(view, pairKey(i, reverse ? 'x' : 'y'))
          const [x, y] = reverse ? [second, first] : [first, second]
          if (x !== y && (!shown || x !== y + 1)) throw new Error(`pair ${i} has versions ${x} and ${y}`)
          return [[`p${i}x`, x]]
        }
      }
    }
  }

  /** What was believed must not go back. */
  believed(found: readonly [string, number][]): void {
    for (const [name, version] of found) {
      const before = this.newest.get(name) ?? 0
      if (version < before) throw new Error(`${name} went back from ${before} to ${version}`)
      this.newest.set(name, version)
    }
  }
}

const seen = (view: View, key: Uint8Array): number => readValue(key, view.get(key)).version

function scanned(view: View, prefix: string, reverse: boolean): [string, number][] {
  const found: [Uint8Array, Uint8Array][] = []
  view.scan(
    keyOf(`${prefix}/`),
    keyOf(`${prefix}0`),
    reverse,
    ({ key, keyBytes, value, valueFrom, valueTo }) =>
      found.push([key.slice(0, keyBytes), value.slice(valueFrom, valueTo)]) < 5000,
  )
  return found.map(([key, value], i): [string, number] => {
    const order = i === 0 ? 0 : compareBytes(key, found[i - 1]![0])
    if (i > 0 && (reverse ? order >= 0 : order <= 0)) throw new Error(`${prefix}: entry ${i} is out of order`)
    return [nameOf(key), readValue(key, value).version]
  })
}
