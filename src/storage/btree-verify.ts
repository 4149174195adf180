/**
 * Walks every page of a tree and believes nothing: the layout of each page, order of keys and separators, depth, sibling links, overflow
 * chains, and that no page is reached twice. Tells which pages are reached, so that the store can find leaks.
 *
 * `run` throws the pool's `PageMiss` like everything else and goes on where it was when it is called again; no frames are held between.
 * Damage does not end the walk: it is reported, and what cannot be read is left out.
 */
import { compareBytes, hexEncode } from '../base/bytes.ts'
import { type HarmonyError, isHarmonyError } from '../base/errors.ts'
import { kindData, kindIndex, ReadMemo } from './overflow.ts'
import { hintOf, kindBranch, kindLeaf, pageHeaderBytes, slotBytes } from './page.ts'
import type { PageId } from './page-source.ts'
import { levelsMax, type TreeCore } from './tree-core.ts'

export interface TreeReport {
  readonly keys: number
  /** Of keys and values. */
  readonly bytes: number
  readonly levels: number
  readonly leaves: number
  readonly branches: number
  readonly overflowPages: number
  /** Share of the leaves' space that is in use. */
  readonly fill: number
  /** Everything that was reached. */
  readonly pages: ReadonlySet<PageId>
  /** Empty: the tree is sound. At most `problemsMax`. */
  readonly problems: readonly string[]
}

export const problemsMax = 1000

interface NodeTask {
  readonly kind: 'node'
  readonly page: PageId
  /** Undefined for the root: any. */
  readonly level: number | undefined
  readonly low: Uint8Array | undefined
  readonly high: Uint8Array | undefined
}
interface ChainTask {
  readonly kind: 'chain'
  page: PageId
  readonly owner: PageId
  /** Bytes still to come. */
  left: number
  /** Data pages of the index page being gone through; undefined: `page` is an index page, or the only data page. */
  ids: PageId[]
  readonly single: boolean
}

export class TreeVerification {
  private readonly core: TreeCore
  private readonly tasks: (NodeTask | ChainTask)[]
  private readonly pages = new Set<PageId>()
  private readonly problems: string[] = []
  private readonly memo = new ReadMemo()
  private keys = 0
  private bytes = 0
  private levels = 0
  private leaves = 0
  private branches = 0
  private overflowPages = 0
  private usedBytes = 0
  private lastLeaf = 0 as PageId
  private lastRight = 0 as PageId

  constructor(core: TreeCore) {
    this.core = core
    this.tasks = [{ kind: 'node', page: core.root, level: undefined, low: undefined, high: undefined }]
  }

  /** @throws PageMiss */
  run(): TreeReport {
    const { core, tasks } = this
    core.chains.memo = this.memo
    try {
      for (let task = tasks.at(-1); task !== undefined; task = tasks.at(-1)) {
        try {
          this.step(task)
        } catch (error) {
          if (error === core.pool.miss) throw error
          if (tasks.at(-1) === task) tasks.pop()
          if (isHarmonyError(error)) this.report(task.page, (error as HarmonyError).message)
          else if (error instanceof RangeError) this.report(task.page, 'an offset in it leads nowhere')
          else throw error
        }
      }
    } finally {
      core.chains.memo = undefined
    }
    if (this.lastLeaf !== 0 && this.lastRight !== 0) this.report(this.lastLeaf, 'the last leaf has one after it')
    const { keys, bytes, levels, leaves, branches, overflowPages, pages, problems } = this
    const fill = leaves === 0 ? 0 : this.usedBytes / (leaves * core.pages.usable)
    return { keys, bytes, levels, leaves, branches, overflowPages, fill, pages, problems }
  }

  private report(page: PageId, problem: string): void {
    if (this.problems.length < problemsMax) this.problems.push(`page ${page}: ${problem}`)
  }

  private step(task: NodeTask | ChainTask): void {
    if (task.kind === 'chain') return this.stepChain(task)
    const { core, tasks } = this
    const { pages, pool } = core
    if (this.pages.has(task.page)) {
      tasks.pop()
      return this.report(task.page, 'it is reached twice')
    }
    const frame = core.node(task.page)
    const base = frame * pages.pageBytes
    pool.pin(frame)
    try {
      const problem = this.layout(base)
      if (problem !== undefined) {
        tasks.pop()
        this.pages.add(task.page)
        return this.report(task.page, problem)
      }
      // All that can miss comes before anything is counted.
      const keys: Uint8Array[] = []
      for (let slot = 0; slot < pages.count(base); slot++) keys.push(core.keyAt(base, slot))
      tasks.pop()
      this.pages.add(task.page)
      this.memo.rests.clear()
      this.order(task, keys)
      if (task.level !== undefined && pages.level(base) !== task.level) this.report(task.page, 'it is on another level')
      if (task.level === undefined) this.levels = pages.level(base) + 1
      if (pages.kind(base) === kindLeaf) this.leaf(task, base, keys)
      else this.branch(task, base, keys)
    } finally {
      pool.unpin(frame)
    }
  }

  private order(task: NodeTask, keys: readonly Uint8Array[]): void {
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!
      const at = hexEncode(key, 0, Math.min(16, key.length))
      if (i > 0 && compareBytes(keys[i - 1]!, key) >= 0) this.report(task.page, `key ${at}… is out of order`)
      if (task.low !== undefined && compareBytes(key, task.low) < 0) this.report(task.page, `key ${at}… belongs before`)
      if (task.high !== undefined && compareBytes(key, task.high) >= 0)
        this.report(task.page, `key ${at}… belongs after`)
    }
  }

  private leaf(task: NodeTask, base: number, keys: readonly Uint8Array[]): void {
    const { pages } = this.core
    if (pages.level(base) !== 0) this.report(task.page, 'a leaf has level 0')
    if (pages.left(base) !== this.lastLeaf) this.report(task.page, 'its link to the leaf before is wrong')
    if (this.lastLeaf !== 0 && this.lastRight !== task.page)
      this.report(this.lastLeaf, 'its link to the next leaf is wrong')
    this.lastLeaf = task.page
    this.lastRight = pages.right(base)
    this.leaves++
    this.usedBytes += pages.used(base)
    for (let slot = 0; slot < keys.length; slot++) {
      const cell = pages.cell(base, slot)
      this.keys++
      this.bytes += keys[slot]!.length + pages.valueBytes(cell)
      if (pages.isLong(cell))
        this.chain(task.page, pages.chain(cell), pages.restBytes(base, cell) + pages.valueBytes(cell))
    }
  }

  private branch(task: NodeTask, base: number, keys: readonly Uint8Array[]): void {
    const { pages } = this.core
    const level = pages.level(base) - 1
    if (level < 0 || level >= levelsMax) return this.report(task.page, 'a branch has a level above 0')
    if (task.level === undefined && keys.length === 0) this.report(task.page, 'the root has a single child')
    this.branches++
    // Depth first, from the left: the last task is the next.
    for (let position = keys.length - 1; position >= -1; position--) {
      this.tasks.push({
        kind: 'node',
        page: pages.child(base, position),
        level,
        low: position < 0 ? task.low : keys[position],
        high: position + 1 < keys.length ? keys[position + 1] : task.high,
      })
    }
    for (let slot = 0; slot < keys.length; slot++) {
      const cell = pages.cell(base, slot)
      if (pages.isLong(cell)) this.chain(task.page, pages.chain(cell), pages.restBytes(base, cell))
    }
  }

  private chain(owner: PageId, first: PageId, left: number): void {
    this.tasks.push({ kind: 'chain', page: first, owner, left, ids: [], single: left <= this.core.chains.dataBytes })
  }

  private stepChain(task: ChainTask): void {
    const { core, tasks } = this
    const { chains, pages, pool } = core
    const data = task.single ? task.page : task.ids.at(-1)
    if (data === undefined) {
      if (task.left === 0 || task.page === 0) {
        tasks.pop()
        if (task.left !== 0 || task.page !== 0) this.report(task.owner, 'an overflow chain has another length')
        return
      }
      const ids = chains.idsOf(task.page)
      const next = chains.nextOf(task.page)
      this.reach(task.page)
      task.ids = ids.reverse()
      task.page = next
      return
    }
    const base = pool.frameOf(data) * pages.pageBytes
    if (pages.kind(base) !== kindData) {
      tasks.pop()
      const what = pages.kind(base) === kindIndex ? 'an index' : 'something else'
      return this.report(data, `it should be overflow data and is ${what}`)
    }
    const length = pages.view.getUint32(base + 4, true)
    const expected = Math.min(task.left, chains.dataBytes)
    if (length !== expected) this.report(data, 'it holds another number of overflow bytes')
    this.reach(data)
    task.left -= expected
    task.ids.pop()
    if (task.single) tasks.pop()
  }

  private reach(page: PageId): void {
    if (this.pages.has(page)) this.report(page, 'it is reached twice')
    this.pages.add(page)
    this.overflowPages++
  }

  /** What is wrong with a page by itself. */
  private layout(base: number): string | undefined {
    const { pages } = this.core
    const { pageBytes } = pages
    const count = pages.count(base)
    const slotsEnd = pageHeaderBytes + slotBytes * count
    const heap = pages.heap(base)
    const prefix = pages.prefixBytes(base)
    if (pages.kind(base) === kindBranch && pages.left(base) === 0) return 'it has no first child'
    if (prefix > pages.keyInlineMax || heap > pageBytes - prefix || slotsEnd > heap) return 'its parts overlap'
    const cells: [number, number][] = []
    for (let slot = 0; slot < count; slot++) {
      const cell = pages.cell(base, slot)
      const from = cell - base
      if (from < heap || from + 2 > pageBytes) return `the cell of slot ${slot} is outside`
      const length = pages.cellBytes(base, cell)
      if (from + length > pageBytes - prefix) return `the cell of slot ${slot} is too long`
      const local = pages.localBytes(base, cell)
      if (local > pages.keyInlineMax) return `the key of slot ${slot} is too long`
      if (pages.isLong(cell) && pages.restBytes(base, cell) > 0 && local !== pages.keyInlineMax) {
        return `the key of slot ${slot} is cut at the wrong place`
      }
      const suffix = cell + 2 + pages.fixedBytes(base, pages.isLong(cell))
      const hint = hintOf(pages.bytes, suffix, suffix + local - prefix)
      if (pages.view.getUint32(base + pageHeaderBytes + slotBytes * slot, true) !== hint)
        return `the hint of slot ${slot} is wrong`
      cells.push([from, length])
    }
    cells.sort((a, b) => a[0] - b[0])
    let live = 0
    for (let i = 0; i < cells.length; i++) {
      live += cells[i]![1]
      if (i > 0 && cells[i - 1]![0] + cells[i - 1]![1] > cells[i]![0]) return 'two cells overlap'
    }
    if (live + pages.dead(base) !== pageBytes - prefix - heap) return 'its count of dead bytes is wrong'
    return undefined
  }
}
