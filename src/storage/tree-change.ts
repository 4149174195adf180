/**
 * One change of a tree: puts or removes a key, and keeps the tree in shape: splits upwards, merging or borrowing where a page is left with
 * less than a quarter.
 *
 * Invariants
 *  - A change first looks at every page that it may need, and pins them; page misses and errors come out of that phase, before anything is
 *    changed. Then frames are reserved, then it goes through without a stop. So a change is whole or not there, whatever misses it meets.
 *  - Every page that it changes is marked as being written (`beginWrite`) until the whole change is done: readers in other threads never
 *    see a split half done.
 *  - Chains that are not needed any more are unlinked, not freed: that would need their pages.
 *  - An empty leaf stays only as the root, or where it is its parent's only child.
 */
import { assert } from '../base/assert.ts'
import type { ChangedTree, ChangeHands } from './changed-tree.ts'
import { corrupt } from './overflow.ts'
import { notThere, overwrite, overwriteKnown } from './overwrite.ts'
import { type Cell, kindBranch, kindLeaf, slotBytes } from './page.ts'
import { emptyCell, separatorCell, setLeafCell } from './page-cells.ts'
import { PageEntries } from './page-entries.ts'
import type { PageId } from './page-source.ts'
import { levelsMax } from './tree-core.ts'
import { clear } from './tree-held-pages.ts'

const noBytes = new Uint8Array(0)

/** A node under its parent, with the neighbour that it may share or become one with. */
interface Neighbours {
  readonly left: number
  readonly right: number
  readonly leftPage: PageId
  readonly rightPage: PageId
  /** Slot in the parent of the key between them. */
  readonly slot: number
  readonly siblingIsRight: boolean
}

export class TreeChange {
  protected readonly core: ChangedTree
  /** From the root down: frames, and the place of the child taken. */
  protected readonly frames: number[] = []
  protected readonly path: PageId[] = []
  protected readonly positions: number[] = []
  private readonly entries: PageEntries
  private readonly parentEntries: PageEntries
  private readonly held: ChangeHands
  private readonly neighbours: (Neighbours | undefined)[] = []
  private readonly cell: Cell = emptyCell()

  constructor(core: ChangedTree, held: ChangeHands) {
    this.core = core
    this.held = held
    this.entries = new PageEntries(core.pages)
    this.parentEntries = new PageEntries(core.pages)
  }

  /** Value undefined removes. Returns the length of the value that was there, or -1. @throws PageMiss */
  run(key: Uint8Array, value: Uint8Array | undefined): number {
    try {
      const previous = value === undefined ? notThere : overwriteKnown(this.core, this.held, key, value)
      if (previous !== notThere) return previous
      this.descend(key, value === undefined)
      return value === undefined ? this.remove(key) : this.put(key, value)
    } finally {
      this.finish()
    }
  }

  /** Pins the way to a key's leaf for the caller, who unpins what is told. @throws PageMiss */
  touch(key: Uint8Array, pinned: (frame: number) => void): void {
    try {
      this.descend(key, false)
      for (const frame of this.frames) pinned(frame)
    } finally {
      this.finish()
    }
  }

  protected descend(key: Uint8Array, _removes: boolean): void {
    const { pages } = this.core
    let page = this.core.root
    for (let level = 0; level < levelsMax; level++) {
      const frame = this.held.hold(page)
      this.frames.push(frame)
      this.path.push(page)
      const base = frame * pages.pageBytes
      if (pages.kind(base) === kindLeaf) return
      const position = pages.childPosition(base, key, this.core)
      this.positions.push(position)
      page = pages.child(base, position)
    }
    throw corrupt(page)
  }

  private finish(): void {
    this.held.finish()
    clear(this.frames)
    clear(this.path)
    clear(this.positions)
    clear(this.neighbours)
    this.cell.key = noBytes
    this.cell.value = noBytes
  }

  /** A change that goes on to this level says so before it changes anything. */
  protected reach(_level: number): void {}

  protected base(level: number): number {
    return this.frames[level]! * this.core.pages.pageBytes
  }

  private editLevel(level: number): number {
    this.held.edit(this.path[level]!, this.frames[level]!)
    return this.base(level)
  }

  /** Writes what the cell keeps in a chain; where no frames can be had afterwards, that is given up again. */
  private prepare(made: number, cell: Cell, key: Uint8Array, value: Uint8Array): void {
    this.writeChain(cell, key, value)
    try {
      this.held.reserve(made)
    } catch (error) {
      this.unlinkCell(cell)
      throw error
    }
  }

  private writeChain(cell: Cell, key: Uint8Array, value: Uint8Array): void {
    if (cell.long) cell.chain = this.core.chains.write(key, cell.local, value, page => this.held.made(page))
  }

  private unlinkCell(cell: Cell): void {
    if (cell.long) this.core.unlink(cell.chain as PageId, cell.restBytes + cell.valueBytes)
  }

  private put(key: Uint8Array, value: Uint8Array): number {
    const { core, cell, entries } = this
    const { pages } = core
    const leaf = this.frames.length - 1
    const base = this.base(leaf)
    const slot = pages.search(base, key, core)
    const exists = slot >= 0
    const index = exists ? slot : ~slot
    setLeafCell(cell, key, value, pages.keyInlineMax, pages.cellBytesMax)
    let previous = -1
    let oldChain = 0 as PageId
    let oldTotal = 0
    if (exists) {
      core.places?.found(this.path[leaf]!, slot, core.places.shape)
      const replaced = overwrite(core, this.held, this.path[leaf]!, this.frames[leaf]!, slot, value)
      if (replaced !== notThere) return replaced
      const old = pages.cell(base, slot)
      previous = pages.valueBytes(old)
      if (pages.isLong(old)) {
        oldChain = pages.chain(old)
        oldTotal = previous + pages.restBytes(base, old)
      }
    }
    const begins = exists || pages.comparePrefix(base, key) === 0
    if (begins && pages.gap(base) >= pages.bytesFor(base, cell) + (exists ? 0 : slotBytes)) {
      this.prepare(0, cell, key, value)
      this.editLevel(leaf)
      if (exists) pages.replaceCell(base, slot, cell)
      else pages.insertCell(base, index, cell)
    } else {
      entries.clear(true)
      entries.append(base)
      if (exists) entries.remove(index)
      entries.insert(index, cell)
      if (entries.size(0, entries.count) <= pages.usable) {
        this.prepare(0, cell, key, value)
        if (cell.long) entries.setChain(index, cell.chain)
        this.editLevel(leaf)
        entries.build(base, 0, entries.count)
      } else this.split(key, value, index)
    }
    if (oldChain !== 0) core.unlink(oldChain, oldTotal)
    return previous
  }

  /** `entries` holds the leaf with the new cell, too much for one page. */
  private split(key: Uint8Array, value: Uint8Array, index: number): void {
    const { core, cell, entries } = this
    const { pages } = core
    const leaf = this.frames.length - 1
    const base = this.base(leaf)
    this.reach(leaf - 1)
    const next = pages.right(base)
    const cut = entries.cut(false, next === 0 && index === entries.count - 1)
    assert(cut > 0, 'a leaf that is too full cannot be cut')
    const whole = this.separator(cut, index, key)
    const separator = separatorCell(whole, pages.keyInlineMax)
    const nextFrame = next === 0 ? -1 : this.held.hold(next)
    this.writeChain(cell, key, value)
    try {
      this.prepare(1 + this.splitsAbove(leaf), separator, whole, noBytes)
    } catch (error) {
      this.unlinkCell(cell)
      throw error
    }
    if (cell.long) entries.setChain(index, cell.chain)
    this.editLevel(leaf)
    const right = this.held.create(kindLeaf, 0)
    entries.build(right.base, cut, entries.count)
    entries.build(base, 0, cut)
    pages.setRight(right.base, next)
    pages.setLeft(right.base, this.path[leaf]!)
    pages.setRight(base, right.page)
    if (nextFrame >= 0) {
      this.held.edit(next, nextFrame)
      pages.setLeft(nextFrame * pages.pageBytes, right.page)
    }
    separator.child = right.page
    this.insertSeparator(leaf - 1, separator)
  }

  /** At most so many pages above this level are made when it is split. */
  private splitsAbove(level: number): number {
    let made = 0
    for (let above = level - 1; above >= 0; above--) {
      if (this.takesAnySeparator(this.base(above))) return made
      made++
    }
    return made + 1
  }

  protected takesAnySeparator(base: number): boolean {
    const { pages } = this.core
    const spare = pages.gap(base) + pages.dead(base)
    // As though nothing were shared by the keys any more.
    return spare >= pages.cellBytesMax + pages.count(base) * pages.prefixBytes(base)
  }

  /** The shortest key above entry cut-1 and not above entry cut. Entry `own` is not written yet, its key is `key`. */
  private separator(cut: number, own: number, key: Uint8Array): Uint8Array {
    const { entries } = this
    const shared = entries.shared(cut - 1, cut)
    const local = entries.key(cut)
    if (shared < local.length) return local.slice(0, shared + 1)
    const restOf = (index: number): Uint8Array => {
      if (index === own) return key.subarray(local.length)
      const rest = entries.restBytes(index)
      if (rest === 0) return noBytes
      return this.core.chains.read(entries.chain(index) as PageId, rest + entries.valueBytes(index), rest)
    }
    const [left, right] = [restOf(cut - 1), restOf(cut)]
    let common = 0
    while (common < left.length && left[common] === right[common]) common++
    const whole = new Uint8Array(local.length + common + 1)
    whole.set(local)
    whole.set(right.subarray(0, common + 1), local.length)
    return whole
  }

  /** The child at this level's place was split, `separator` leads to its right half. */
  private insertSeparator(level: number, separator: Cell): void {
    const { core, entries } = this
    const { pages } = core
    if (level < 0) {
      const top = this.held.create(kindBranch, pages.level(this.base(0)) + 1)
      pages.setLeft(top.base, core.root)
      pages.insertCell(top.base, 0, separator)
      core.root = top.page
      return
    }
    const base = this.editLevel(level)
    const slot = this.positions[level]! + 1
    const begins = pages.comparePrefix(base, separator.key) === 0
    if (begins && pages.gap(base) >= pages.bytesFor(base, separator) + slotBytes) {
      pages.insertCell(base, slot, separator)
      return
    }
    entries.clear(false)
    entries.append(base)
    entries.insert(slot, separator)
    if (entries.size(0, entries.count) <= pages.usable) {
      entries.build(base, 0, entries.count)
      return
    }
    const cut = entries.cut(true, slot === entries.count - 1)
    assert(cut > 0, 'a branch that is too full cannot be cut')
    const up = this.entryCell(cut)
    const right = this.held.create(kindBranch, pages.level(base))
    pages.setLeft(right.base, up.child)
    entries.build(right.base, cut + 1, entries.count)
    entries.build(base, 0, cut)
    up.child = right.page
    this.insertSeparator(level - 1, up)
  }

  private entryCell(index: number): Cell {
    const { entries } = this
    const key = entries.key(index)
    const long = entries.isLong(index)
    const cell = emptyCell()
    cell.key = key
    cell.local = key.length
    cell.long = long
    cell.restBytes = entries.restBytes(index)
    cell.chain = long ? entries.chain(index) : 0
    cell.child = entries.child(index)
    return cell
  }

  private remove(key: Uint8Array): number {
    const { core, entries } = this
    const { pages } = core
    const level = this.frames.length - 1
    const base = this.base(level)
    const slot = pages.search(base, key, core)
    if (slot < 0) return -1
    const old = pages.cell(base, slot)
    const previous = pages.valueBytes(old)
    const oldChain = pages.isLong(old) ? pages.chain(old) : (0 as PageId)
    const oldTotal = previous + pages.restBytes(base, old)
    const at = this.isFewWithout(level, slot) ? this.neighboursOf(level) : undefined
    if (at === undefined) this.removeAlone(level, slot)
    else {
      entries.clear(true)
      entries.append(at.left)
      const removed = at.siblingIsRight ? slot : entries.count + slot
      entries.append(at.right)
      entries.remove(removed)
      const siblingCount = pages.count(at.siblingIsRight ? at.right : at.left)
      if (this.becomesOne(siblingCount === 0 || siblingCount === entries.count)) {
        this.mergeLeaves(level, at)
      } else if (!this.shareLeaves(level, at)) this.removeAlone(level, slot)
    }
    if (oldChain !== 0) core.unlink(oldChain, oldTotal)
    return previous
  }

  private removeAlone(level: number, slot: number): void {
    this.held.reserve(0)
    this.core.pages.removeCell(this.editLevel(level), slot)
  }

  /** Would the page be left with too little? */
  private isFewWithout(level: number, slot: number): boolean {
    const { pages } = this.core
    if (level === 0) return false
    const base = this.base(level)
    const left = pages.used(base) - slotBytes - pages.cellBytes(base, pages.cell(base, slot))
    return left < pages.usable >>> 2
  }

  /** Pins the neighbour of the node at this level; none where it is an only child. @throws PageMiss */
  protected neighboursOf(level: number): Neighbours | undefined {
    const { pages } = this.core
    this.reach(level - 1)
    const parent = this.base(level - 1)
    const position = this.positions[level - 1]!
    const count = pages.count(parent)
    if (count === 0) return undefined
    const siblingIsRight = position + 1 < count
    const slot = siblingIsRight ? position + 1 : position
    const siblingPage = pages.child(parent, siblingIsRight ? position + 1 : position - 1)
    const sibling = this.held.hold(siblingPage) * pages.pageBytes
    const mine = this.base(level)
    const page = this.path[level]!
    return siblingIsRight
      ? { left: mine, right: sibling, leftPage: page, rightPage: siblingPage, slot, siblingIsRight }
      : { left: sibling, right: mine, leftPage: siblingPage, rightPage: page, slot, siblingIsRight }
  }

  /** Two pages become one only with room to spare, or the next insertion would split it again; but none is left empty. */
  private becomesOne(oneIsEmpty: boolean): boolean {
    const { entries } = this
    const { usable } = this.core.pages
    return entries.size(0, entries.count) <= (oneIsEmpty ? usable : usable - (usable >>> 3))
  }

  private mergeLeaves(level: number, at: Neighbours): void {
    const { core, entries } = this
    const { pages } = core
    const next = pages.right(at.right)
    const nextFrame = next === 0 ? -1 : this.held.hold(next)
    this.planAbove(level - 1, at.slot)
    this.held.reserve(0)
    const left = this.editAt(at.leftPage, at.left)
    entries.build(left, 0, entries.count)
    pages.setRight(left, next)
    if (nextFrame >= 0) {
      this.held.edit(next, nextFrame)
      pages.setLeft(nextFrame * pages.pageBytes, at.leftPage)
    }
    const parent = this.editLevel(level - 1)
    const separator = pages.cell(parent, at.slot)
    if (pages.isLong(separator)) core.unlink(pages.chain(separator), pages.restBytes(parent, separator))
    this.held.drop(at.rightPage)
    pages.removeCell(parent, at.slot)
    this.mend(level - 1)
  }

  /** False, and nothing done, where the parent has no room for the new separator. */
  private shareLeaves(level: number, at: Neighbours): boolean {
    const { core, entries, parentEntries } = this
    const { pages } = core
    const cut = entries.cut(false, false)
    if (cut < 0) return false
    const whole = this.separator(cut, -1, noBytes)
    const separator = separatorCell(whole, pages.keyInlineMax)
    separator.child = at.rightPage
    const parent = this.base(level - 1)
    if (!this.stageReplacement(parent, at.slot, separator)) return false
    this.prepare(0, separator, whole, noBytes)
    if (separator.long) parentEntries.setChain(at.slot, separator.chain)
    const old = pages.cell(parent, at.slot)
    if (pages.isLong(old)) core.unlink(pages.chain(old), pages.restBytes(parent, old))
    this.editLevel(level - 1)
    parentEntries.build(parent, 0, parentEntries.count)
    entries.build(this.editAt(at.leftPage, at.left), 0, cut)
    entries.build(this.editAt(at.rightPage, at.right), cut, entries.count)
    return true
  }

  private editAt(page: PageId, base: number): number {
    this.held.edit(page, base / this.core.pages.pageBytes)
    return base
  }

  private stageReplacement(parent: number, slot: number, cell: Cell): boolean {
    const { parentEntries } = this
    parentEntries.clear(false)
    parentEntries.append(parent)
    parentEntries.remove(slot)
    parentEntries.insert(slot, cell)
    return parentEntries.size(0, parentEntries.count) <= this.core.pages.usable
  }

  /** Pins what will be needed if this branch loses the cell in `slot`, and those above it in turn. @throws PageMiss */
  private planAbove(level: number, slot: number): void {
    let lost = slot
    for (let above = level; above > 0; above--) {
      if (!this.isFewWithout(above, lost)) return
      const neighbours = this.neighboursOf(above)
      if (neighbours === undefined) return
      this.neighbours[above] = neighbours
      lost = neighbours.slot
    }
  }

  /** The branch at this level has lost a cell. */
  private mend(level: number): void {
    const { core, entries, parentEntries } = this
    const { pages } = core
    const base = this.base(level)
    if (level === 0) {
      if (pages.count(base) > 0) return
      this.held.drop(core.root)
      core.root = pages.left(base)
      return
    }
    const at = this.neighbours[level]
    if (at === undefined) return
    const parent = this.base(level - 1)
    const between = pages.cell(parent, at.slot)
    const down = emptyCell()
    down.local = pages.localBytes(parent, between)
    down.key = new Uint8Array(down.local)
    pages.copyLocal(parent, between, down.key, 0)
    down.long = pages.isLong(between)
    down.restBytes = pages.restBytes(parent, between)
    down.chain = down.long ? pages.chain(between) : 0
    down.child = pages.left(at.right)
    entries.clear(false)
    entries.append(at.left)
    entries.insert(entries.count, down)
    entries.append(at.right)
    if (this.becomesOne(pages.count(at.left) === 0 || pages.count(at.right) === 0)) {
      entries.build(this.editAt(at.leftPage, at.left), 0, entries.count)
      this.held.drop(at.rightPage)
      pages.removeCell(this.editLevel(level - 1), at.slot)
      this.mend(level - 1)
      return
    }
    const cut = entries.cut(true, false)
    if (cut < 0) return
    const up = this.entryCell(cut)
    const firstOfRight = up.child
    up.child = at.rightPage
    if (!this.stageReplacement(parent, at.slot, up)) return
    this.editLevel(level - 1)
    parentEntries.build(parent, 0, parentEntries.count)
    this.editAt(at.rightPage, at.right)
    pages.setLeft(at.right, firstOfRight)
    entries.build(at.right, cut + 1, entries.count)
    entries.build(this.editAt(at.leftPage, at.left), 0, cut)
  }
}
