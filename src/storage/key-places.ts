/**
 * Where keys stand that were found lately: leaf and slot, by the key's hash. Who comes back to a key (a transaction reads it, its check looks at it, its write changes it)
 * need not go down the tree again. As the adaptive hash index of InnoDB, but for every key that is found, and of one size: who was found last takes the place.
 *
 * They are hints: who follows one compares the whole key, and goes down the tree where it is not there. So cells may move within a leaf and from leaf to leaf, and nobody has to
 * be told. But no page may be looked at that is no leaf of the tree which is read. Therefore a hint is good for one shape of the tree, and each page that comes to it
 * or goes makes another one. A snapshot has the shape that the tree had when it was taken. Who reads follows none to a leaf that is not in memory: its filter may know better (`leaf-filters.ts`).
 */
import { fnv1a } from '../base/fnv1a.ts'
import type { PageId } from './page-source.ts'

const wordsEach = 4
const nowhere = 0 as PageId

export class KeyPlaces {
  /** Of the tree as it is. */
  shape = 1
  /** In the leaf that `find` told. */
  slot = 0
  /** Each: hash, leaf, slot, shape. */
  private readonly words: Int32Array
  private readonly mask: number
  /** Of the key that `find` was asked for last. */
  private hash = 0
  private at = 0

  /** @param size How many hints: a power of two, 2^16 at most. */
  constructor(size: number) {
    this.words = new Int32Array(size * wordsEach)
    this.mask = size - 1
  }

  /** The leaf where the key may stand in a tree of this shape; 0: nothing is known. */
  find(key: Uint8Array, shape: number): PageId {
    const { words } = this
    const hash = fnv1a(key) | 0
    // The low bits alone know little of what stands before the last bytes.
    const at = ((hash ^ (hash >>> 16)) & this.mask) * wordsEach
    this.hash = hash
    this.at = at
    if (words[at] !== hash || words[at + 3] !== shape) return nowhere
    this.slot = words[at + 2]!
    return (words[at + 1]! >>> 0) as PageId
  }

  /** Where the key stands in a tree of this shape that `find` was asked for last. */
  found(leaf: PageId, slot: number, shape: number): void {
    const { words, at } = this
    words[at] = this.hash
    words[at + 1] = leaf
    words[at + 2] = slot
    words[at + 3] = shape
  }

  /** A page came to the tree, or left it. */
  reshape(): void {
    this.shape = (this.shape + 1) | 0
    if (this.shape !== 0) return
    // All numbers were used once: what is left of the first must not come back.
    this.words.fill(0)
    this.shape = 1
  }
}
