/**
 * Runs operations over pages: an operation that meets a page which is not in memory throws the pool's miss; it is run again from its
 * beginning when that page has come. What an operation has waited for stays pinned until it is over, so that operations cannot push out each other's
 * pages for ever. For that, only so many wait for pages at a time that half of the frames is enough for their pins; others queue.
 *
 * While the tree is between two states (`midway`), no operation is run but the one that changes it.
 */
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import type { Completion } from '../platform.ts'
import type { BTree } from './btree.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { ReadMemo } from './overflow.ts'
import type { PageId } from './page-source.ts'

interface Wait {
  /** Runs the operation and, if it comes to its end, completes it. False: it met `pool.miss`. */
  attempt(): boolean
  fail(error: HarmonyError): void
  readonly writing: boolean
  page: PageId
  memo: ReadMemo
  readonly pins: number[]
  misses: number
}

interface Parked {
  run(): void
  fail(error: HarmonyError): void
}

const waitsMax = 32

export class PageWaits {
  private readonly pool: BufferPool
  private tree: BTree
  private readonly isMidway: () => boolean
  private readonly activeMax: number
  private readonly pinsMax: number
  private readonly missesMax: number
  private readonly active = new Set<Wait>()
  /** They met a miss, and others that wait come first. */
  private readonly queue: Wait[] = []
  /** Not run as long as the tree is midway. */
  private parked: Parked[] = []
  private closed: HarmonyError | undefined

  constructor(pool: BufferPool, tree: BTree, isMidway: () => boolean) {
    this.pool = pool
    this.tree = tree
    this.isMidway = isMidway
    this.activeMax = Math.min(waitsMax, Math.max(1, pool.frames >>> 4))
    this.pinsMax = Math.max(2, Math.floor(pool.frames / 4 / this.activeMax))
    // Far more than any operation that fits needs: whoever gets there pushes out its own pages again and again.
    this.missesMax = 10_000 + 64 * pool.frames
  }

  read<T>(operation: () => T, done: Completion<T>): void {
    if (!this.isMidway()) return this.run(operation, done, false)
    this.park({ run: () => this.read(operation, done), fail: error => done({ ok: false, error }) })
  }

  /** At once, before all that queue. One at a time. */
  write<T>(operation: () => T, done: Completion<T>): void {
    this.run(operation, done, true)
  }

  /** The tree is not midway any more. */
  resume(): void {
    if (this.parked.length === 0) return
    const { parked } = this
    this.parked = []
    for (const { run } of parked) run()
  }

  /** If the tree is midway, it stays so: who waits for its end hears `error`. */
  close(error: HarmonyError): void {
    this.closed ??= error
    const { parked } = this
    this.parked = []
    for (const one of parked) one.fail(error)
  }

  private park(one: Parked): void {
    if (this.closed === undefined) this.parked.push(one)
    else one.fail(this.closed)
  }

  /** Another tree took the place of the old one: operations that wait are run over that. */
  restart(tree: BTree): void {
    for (const wait of [...this.active, ...this.queue]) {
      this.tree.closeMemo(wait.memo)
      wait.memo = tree.openMemo()
    }
    this.tree = tree
    this.resume()
  }

  private run<T>(operation: () => T, done: Completion<T>, writing: boolean): void {
    let value: T
    try {
      value = operation()
    } catch (error) {
      if (error === this.pool.miss) return this.wait(operation, done, writing)
      if (isHarmonyError(error)) return done({ ok: false, error })
      throw error
    }
    done({ ok: true, value })
  }

  private wait<T>(operation: () => T, done: Completion<T>, writing: boolean): void {
    const { pool } = this
    const wait: Wait = {
      writing,
      page: pool.miss.page,
      memo: this.tree.openMemo(),
      pins: [],
      misses: 1,
      attempt: () => {
        let value: T
        try {
          value = this.tree.within(wait.memo, operation)
        } catch (error) {
          if (error === pool.miss) return false
          this.end(wait)
          if (!isHarmonyError(error)) throw error
          done({ ok: false, error })
          return true
        }
        this.end(wait)
        done({ ok: true, value })
        return true
      },
      fail: error => {
        this.end(wait)
        done({ ok: false, error })
      },
    }
    if (!writing && this.active.size >= this.activeMax) this.queue.push(wait)
    else {
      this.active.add(wait)
      this.load(wait)
    }
  }

  /** Loads what is missing until that takes time. */
  private load(wait: Wait): void {
    let looping = true
    let again = true
    while (again) {
      again = false
      const { page } = wait
      this.pool.load(page, error => {
        if (error !== undefined) return wait.fail(error)
        const frame = this.pool.find(page)
        if (frame !== -1) this.pin(wait, frame)
        this.go(wait, () => {
          if (looping) again = true
          else this.load(wait)
        })
      })
    }
    looping = false
  }

  private go(wait: Wait, loadNext: () => void): void {
    if (!wait.writing && this.isMidway()) {
      return this.park({ run: () => this.go(wait, () => this.load(wait)), fail: error => wait.fail(error) })
    }
    if (wait.attempt()) return
    wait.page = this.pool.miss.page
    if (++wait.misses < this.missesMax) return loadNext()
    const message = `an operation needs more pages than the ${this.pool.frames} of the cache: read less at a time, or open the database with a larger cacheBytes`
    wait.fail(new HarmonyError('TOO_LARGE', message))
  }

  private pin(wait: Wait, frame: number): void {
    this.pool.pin(frame)
    wait.pins.push(frame)
    if (wait.pins.length <= this.pinsMax) return
    for (const old of wait.pins.splice(0, (wait.pins.length + 1) >>> 1)) this.pool.unpin(old)
  }

  private end(wait: Wait): void {
    for (const frame of wait.pins) this.pool.unpin(frame)
    wait.pins.length = 0
    this.tree.closeMemo(wait.memo)
    if (!this.active.delete(wait)) return
    const next = this.active.size < this.activeMax ? this.queue.shift() : undefined
    if (next === undefined) return
    this.active.add(next)
    // Its page may be none any more.
    this.go(next, () => this.load(next))
  }
}
