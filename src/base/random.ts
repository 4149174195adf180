/**
 * A seeded generator: sfc32 (Doty-Humphrey's Small Fast Counting generator, 128 bits of state). The same seed gives the same
 * numbers on every host. Not for secrets: those come from the platform's `Random`.
 */
import { assert } from './assert.ts'

export interface SeededRandom {
  /** Uniform in 0…2^32-1. */
  uint32(): number
  /** Uniform in 0…n-1, for n from 1 to 2^32. */
  below(n: number): number
  /** Uniform in low…high, both included. */
  between(low: number, high: number): number
  /** Uniform in [0, 1), 53 bits. */
  unit(): number
  /** True with this probability. */
  chance(probability: number): boolean
  fill(bytes: Uint8Array): void
  pick<T>(items: readonly T[]): T
  /** In place (Fisher and Yates); returns its argument. */
  shuffle<T>(items: T[]): T[]
  /** A generator of its own, seeded from this one: what it is used for does not shift this one's numbers. */
  fork(): SeededRandom
}

/** @param seed Any number or text; all of its digits count. */
export function seededRandom(seed: number | string): SeededRandom {
  const [a, b] = seedWords(String(seed))
  return make(a, b, 0x9e3779b9)
}

/** Two 32-bit hashes (FNV-1a with different starts) of the seed's text. */
function seedWords(text: string): [number, number] {
  let a = 0x811c9dc5
  let b = 0x01234567
  for (let i = 0; i < text.length; i++) {
    a = Math.imul(a ^ text.charCodeAt(i), 0x01000193)
    b = Math.imul(b ^ text.charCodeAt(i), 0x85ebca6b)
    b ^= b >>> 15
  }
  return [a | 0, b | 0]
}

function make(seedA: number, seedB: number, seedC: number): SeededRandom {
  let a = seedA | 0
  let b = seedB | 0
  let c = seedC | 0
  let counter = 1

  const uint32 = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    c |= 0
    return sum >>> 0
  }
  // The first numbers of close seeds are alike.
  for (let i = 0; i < 15; i++) uint32()

  const below = (n: number): number => {
    assert(n >= 1 && n <= 0x1_0000_0000 && Number.isInteger(n), 'below needs 1 to 2^32')
    // Numbers from the incomplete last stretch are drawn again, or low results would come up more often.
    const unfair = 0x1_0000_0000 - (0x1_0000_0000 % n)
    for (;;) {
      const drawn = uint32()
      if (drawn < unfair) return drawn % n
    }
  }
  const unit = (): number => ((uint32() >>> 5) * 0x400_0000 + (uint32() >>> 6)) / 0x20_0000_0000_0000

  return {
    uint32,
    below,
    unit,
    between: (low, high) => low + below(high - low + 1),
    chance: probability => unit() < probability,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i += 4) {
        const word = uint32()
        for (let j = i; j < i + 4 && j < bytes.length; j++) bytes[j] = word >>> ((j - i) * 8)
      }
    },
    pick(items) {
      assert(items.length > 0, 'pick needs an item')
      return items[below(items.length)]!
    },
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = below(i + 1)
        const item = items[i]!
        items[i] = items[j]!
        items[j] = item
      }
      return items
    },
    fork: () => make(uint32(), uint32(), uint32()),
  }
}
