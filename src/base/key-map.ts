/**
 * A map by keys in bytes, in order of their first `set`: to make a string of each, which a `Map` needs, would cost more than all the rest. The keys must stay as they are; nothing is
 * copied.
 */
import { equalBytes } from './bytes.ts'
import { fnv1a } from './fnv1a.ts'

const fewMax = 8
const argumentsMax = 4096

/** One character a byte: equal for equal keys, and in their order. */
export function keyText(key: Uint8Array): string {
  if (key.length <= argumentsMax) return String.fromCharCode.apply(undefined, key as unknown as number[])
  let text = ''
  for (let at = 0; at < key.length; at += argumentsMax) text += keyText(key.subarray(at, at + argumentsMax))
  return text
}

export class KeyMap<V> {
  private readonly keys: Uint8Array[] = []
  private readonly held: V[] = []
  /** By hash the place of the last key that has it; undefined while they are few. */
  private places: Map<number, number> | undefined
  /** With `places`: of each key the place of the one before with the same hash, or -1. */
  private before: number[] = none

  get size(): number {
    return this.keys.length
  }

  /** Not to be changed. */
  get values(): readonly V[] {
    return this.held
  }

  get(key: Uint8Array): V | undefined {
    const place = this.places === undefined ? this.lookThrough(key) : this.lookUp(this.places, key, hashOf(key))
    return place < 0 ? undefined : this.held[place]
  }

  set(key: Uint8Array, value: V): void {
    const { places } = this
    const hash = places === undefined ? 0 : hashOf(key)
    const place = places === undefined ? this.lookThrough(key) : this.lookUp(places, key, hash)
    if (place >= 0) {
      this.held[place] = value
      return
    }
    this.keys.push(key)
    this.held.push(value)
    if (places !== undefined) this.index(places, hash, this.keys.length - 1)
    else if (this.keys.length > fewMax) {
      this.places = new Map()
      this.before = []
      for (const [at, one] of this.keys.entries()) this.index(this.places, hashOf(one), at)
    }
  }

  private index(places: Map<number, number>, hash: number, place: number): void {
    this.before.push(places.get(hash) ?? -1)
    places.set(hash, place)
  }

  private lookThrough(key: Uint8Array): number {
    for (let place = this.keys.length - 1; place >= 0; place--) {
      if (equalBytes(this.keys[place] as Uint8Array, key)) return place
    }
    return -1
  }

  private lookUp(places: Map<number, number>, key: Uint8Array, hash: number): number {
    let place = places.get(hash) ?? -1
    while (place >= 0 && !equalBytes(this.keys[place] as Uint8Array, key)) place = this.before[place] as number
    return place
  }
}

const none: number[] = []

/** 30 bits: what the host keeps without an object. Who chooses keys so that they meet makes his own transactions slow, which are bounded. */
const hashOf = (key: Uint8Array): number => fnv1a(key) >>> 2
