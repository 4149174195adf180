/**
 * An ordered map from bytes to bytes: a B+ tree whose versions share what did not change between them.
 *
 * Invariants
 *  - Leaves hold keys and values, branches children and one separator fewer; keys under child i are ≥ separator i-1 and
 *    < separator i. All leaves have the same depth. Separators need not exist as keys.
 *  - A node carries the epoch in which it was made. `shared` is the epoch of the newest live snapshot: nodes of that epoch or
 *    older may be seen by one and are copied before they change; younger ones change in place. With no
 *    snapshot alive nothing is ever copied.
 *  - A node has at most `fanMax` keys. A deletion that leaves few merges the node with a neighbour where both fit
 *    into one. No node is empty, except the root leaf of an empty tree; a branch may have a single child.
 */
import { compareBytes } from '../base/bytes.ts'

const fanMax = 64
const fanFew = fanMax / 4
/** Two neighbours become one only with room to spare, or the next insertion would split it again. */
const fanMerged = (fanMax * 3) / 4

export interface Leaf {
  readonly leaf: true
  readonly epoch: number
  readonly keys: Uint8Array[]
  readonly values: Uint8Array[]
}

export interface Branch {
  readonly leaf: false
  readonly epoch: number
  /** Separators. */
  readonly keys: Uint8Array[]
  readonly children: Node[]
}

export type Node = Leaf | Branch

/** Which nodes may change in place, and what new ones are marked with. */
export interface Edition {
  /** Of the newest live snapshot; -1 without one. */
  readonly shared: number
  readonly epoch: number
}

export const emptyTree = (epoch: number): Node => ({ leaf: true, epoch, keys: [], values: [] })

/** Index of the first key ≥ `key`. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareBytes(keys[middle]!, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** Index of the child under which `key` belongs. */
function childIndex(branch: Branch, key: Uint8Array): number {
  const at = lowerBound(branch.keys, key)
  return at < branch.keys.length && compareBytes(branch.keys[at]!, key) === 0 ? at + 1 : at
}

export function treeGet(root: Node, key: Uint8Array): Uint8Array | undefined {
  let node = root
  while (!node.leaf) node = node.children[childIndex(node, key)]!
  const at = lowerBound(node.keys, key)
  return at < node.keys.length && compareBytes(node.keys[at]!, key) === 0 ? node.values[at] : undefined
}

/** Calls `visit` for from ≤ key < to in order until it returns false; returns false if it did. */
export function treeScan(
  node: Node,
  from: Uint8Array | undefined,
  to: Uint8Array | undefined,
  reverse: boolean,
  visit: (key: Uint8Array, value: Uint8Array) => boolean,
): boolean {
  if (node.leaf) {
    const first = from === undefined ? 0 : lowerBound(node.keys, from)
    const end = to === undefined ? node.keys.length : lowerBound(node.keys, to)
    if (reverse) {
      for (let i = end - 1; i >= first; i--) if (!visit(node.keys[i]!, node.values[i]!)) return false
    } else {
      for (let i = first; i < end; i++) if (!visit(node.keys[i]!, node.values[i]!)) return false
    }
    return true
  }
  const first = from === undefined ? 0 : childIndex(node, from)
  const last = to === undefined ? node.keys.length : lowerBound(node.keys, to)
  // Only the outermost children can hold keys outside of the range.
  const visitChild = (i: number): boolean =>
    treeScan(node.children[i]!, i === first ? from : undefined, i === last ? to : undefined, reverse, visit)
  if (reverse) {
    for (let i = last; i >= first; i--) if (!visitChild(i)) return false
  } else {
    for (let i = first; i <= last; i++) if (!visitChild(i)) return false
  }
  return true
}

export interface Changed {
  readonly root: Node
  /** The value that stood there before. */
  readonly previous: Uint8Array | undefined
}

/** Keeps both arrays. */
export function treeSet(root: Node, key: Uint8Array, value: Uint8Array, edition: Edition): Changed {
  const { node, right, separator, previous } = insert(root, key, value, edition)
  if (right === undefined) return { root: node, previous }
  return { root: { leaf: false, epoch: edition.epoch, keys: [separator!], children: [node, right] }, previous }
}

export function treeDelete(root: Node, key: Uint8Array, edition: Edition): Changed {
  const previous = treeGet(root, key)
  // Asked first, so that a deletion of what is not there copies nothing.
  if (previous === undefined) return { root, previous }
  let node = remove(root, key, edition)
  while (!node.leaf && node.children.length === 1) node = node.children[0]!
  if (isEmpty(node)) node = emptyTree(edition.epoch)
  return { root: node, previous }
}

function editable(node: Leaf, edition: Edition): Leaf
function editable(node: Branch, edition: Edition): Branch
function editable(node: Node, edition: Edition): Node {
  if (node.epoch > edition.shared) return node
  const { epoch } = edition
  return node.leaf
    ? { leaf: true, epoch, keys: node.keys.slice(), values: node.values.slice() }
    : { leaf: false, epoch, keys: node.keys.slice(), children: node.children.slice() }
}

interface Inserted {
  readonly node: Node
  /** Set if the node was split: its right half, and the first key that belongs there. */
  readonly right: Node | undefined
  readonly separator: Uint8Array | undefined
  readonly previous: Uint8Array | undefined
}

function insert(node: Node, key: Uint8Array, value: Uint8Array, edition: Edition): Inserted {
  if (node.leaf) return insertIntoLeaf(node, key, value, edition)
  const at = childIndex(node, key)
  const child = node.children[at]!
  const inserted = insert(child, key, value, edition)
  if (inserted.node === child && inserted.right === undefined) {
    return { node, right: undefined, separator: undefined, previous: inserted.previous }
  }
  const mine = editable(node, edition)
  mine.children[at] = inserted.node
  if (inserted.right !== undefined) {
    mine.keys.splice(at, 0, inserted.separator!)
    mine.children.splice(at + 1, 0, inserted.right)
  }
  return { ...splitBranch(mine, at, edition), previous: inserted.previous }
}

function insertIntoLeaf(node: Leaf, key: Uint8Array, value: Uint8Array, edition: Edition): Inserted {
  const at = lowerBound(node.keys, key)
  const mine = editable(node, edition)
  if (at < mine.keys.length && compareBytes(mine.keys[at]!, key) === 0) {
    const previous = mine.values[at]
    mine.values[at] = value
    return { node: mine, right: undefined, separator: undefined, previous }
  }
  mine.keys.splice(at, 0, key)
  mine.values.splice(at, 0, value)
  if (mine.keys.length <= fanMax) return { node: mine, right: undefined, separator: undefined, previous: undefined }
  const half = splitPoint(mine.keys.length, at)
  const right: Leaf = {
    leaf: true,
    epoch: edition.epoch,
    keys: mine.keys.splice(half),
    values: mine.values.splice(half),
  }
  return { node: mine, right, separator: right.keys[0]!, previous: undefined }
}

function splitBranch(branch: Branch, at: number, edition: Edition): Omit<Inserted, 'previous'> {
  if (branch.keys.length <= fanMax) return { node: branch, right: undefined, separator: undefined }
  const half = Math.min(splitPoint(branch.keys.length, at), branch.keys.length - 2)
  const right: Branch = {
    leaf: false,
    epoch: edition.epoch,
    keys: branch.keys.splice(half + 1),
    children: branch.children.splice(half + 1),
  }
  return { node: branch, right, separator: branch.keys.pop()! }
}

/** Keys that come in ascending order fill nodes nearly up instead of leaving them half empty. */
function splitPoint(count: number, insertedAt: number): number {
  return insertedAt === count - 1 ? Math.floor(count * 0.9) : count >>> 1
}

const isEmpty = (node: Node): boolean => (node.leaf ? node.keys.length === 0 : node.children.length === 0)

/** `key` is there. The node returned may be empty: the caller drops it. */
function remove(node: Node, key: Uint8Array, edition: Edition): Node {
  if (node.leaf) {
    const mine = editable(node, edition)
    const at = lowerBound(mine.keys, key)
    mine.keys.splice(at, 1)
    mine.values.splice(at, 1)
    return mine
  }
  const at = childIndex(node, key)
  const child = node.children[at]!
  const shrunk = remove(child, key, edition)
  const few = shrunk.keys.length < fanFew
  if (shrunk === child && !few) return node
  const mine = editable(node, edition)
  mine.children[at] = shrunk
  if (few) mergeChild(mine, at, edition)
  return mine
}

/** Child `at` is small: drops it if it is empty, else puts it together with a neighbour if both fit into one. */
function mergeChild(parent: Branch, at: number, edition: Edition): void {
  if (isEmpty(parent.children[at]!)) {
    parent.children.splice(at, 1)
    parent.keys.splice(Math.max(0, at - 1), 1)
    return
  }
  for (const left of [at - 1, at]) {
    const a = parent.children[left]
    const b = parent.children[left + 1]
    if (a === undefined || b === undefined || a.keys.length + b.keys.length > fanMerged) continue
    parent.children[left] = join(a, b, parent.keys[left]!, edition)
    parent.children.splice(left + 1, 1)
    parent.keys.splice(left, 1)
    return
  }
}

function join(a: Node, b: Node, separator: Uint8Array, edition: Edition): Node {
  if (a.leaf) {
    const mine = editable(a, edition)
    const from = b as Leaf
    mine.keys.push(...from.keys)
    mine.values.push(...from.values)
    return mine
  }
  const mine = editable(a, edition)
  const from = b as Branch
  mine.keys.push(separator, ...from.keys)
  mine.children.push(...from.children)
  return mine
}
