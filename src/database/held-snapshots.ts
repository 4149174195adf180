/**
 * States that somebody goes on reading: scans from page to page, snapshots and transactions from call to call. Each has a name; scans and others of one state share it.
 *
 * Bounds: a scan's state goes a minute after its last use, and where scans hold more than 64; one that a user holds goes when he releases it, ten minutes after its last
 * use, and where there are more than 4096. Who asks for it then hears SNAPSHOT_TOO_OLD.
 *
 * Bytes: one state costs as much as it was large, at most, however often it is written over meanwhile (a page is copied once); several of different moments cost as much each. Where all
 * together keep more than four times the data (256 MiB where the data are few), those go whose last use is longest ago, down to one.
 */
import { HarmonyError } from '../base/errors.ts'
import type { EngineSnapshot } from '../storage/engine.ts'

const scansMax = 64
const scanKeptMs = 60_000
const heldMax = 4096
const heldKeptMs = 600_000
const keptBytesMin = 256 * 1024 * 1024
const keptOfData = 4

/** What they cost, and what there is besides. */
export interface HeldCost {
  readonly keptBytes: number
  readonly dataBytes: number
}

export interface HeldState {
  readonly name: string
  readonly of: string
  readonly version: string
  readonly snapshot: EngineSnapshot
  /** How many scans began on it. */
  scans: number
  /** How many users hold it. */
  users: number
  usedMs: number
}

export class HeldSnapshots {
  /** In order of last use. */
  private readonly states = new Map<string, HeldState>()
  private serial = 0
  /** Undefined: it was let go. */
  private newest: HeldState | undefined
  /** It stands last. */
  private lastUsed: HeldState | undefined
  private readonly now: () => number
  private readonly cost: () => HeldCost
  private readonly keptMin: number
  /** Given up although somebody still held them. */
  givenUp = 0

  constructor(now: () => number, cost: () => HeldCost, keptMin = keptBytesMin) {
    this.now = now
    this.cost = cost
    this.keptMin = keptMin
  }

  get count(): number {
    return this.states.size
  }

  /** The one that was taken last, once more, if nothing has changed since. */
  takeNewest(by: 'scans' | 'users'): HeldState | undefined {
    const { newest } = this
    if (newest?.snapshot.standing() !== 'present') return undefined
    newest[by]++
    this.used(newest)
    return newest
  }

  /** Takes over `snapshot`. @param of Names what it shows. */
  take(of: string, snapshot: EngineSnapshot, version: string, by: 'scans' | 'users'): HeldState {
    const known = this.newest?.of === of ? this.newest : undefined
    if (known !== undefined) snapshot.release()
    // Who lets go late of a state that was given up must not meet another holder of what it showed.
    const name = known?.name ?? `${of}.${(++this.serial).toString(36)}`
    const state = known ?? { name, of, version, snapshot, scans: 0, users: 0, usedMs: 0 }
    state[by]++
    this.newest = state
    this.used(state)
    if (this.states.size > scansMax) this.expire()
    return state
  }

  /** @throws SNAPSHOT_TOO_OLD */
  use(name: string): HeldState {
    const state = this.states.get(name)
    if (state === undefined) {
      const message = `the state that is read here is no longer kept (${scanKeptMs / 1000} s after the last use by a scan, ${heldKeptMs / 1000} s by a snapshot or transaction, too many or too large ones, or the database was opened anew); read anew`
      throw new HarmonyError('SNAPSHOT_TOO_OLD', message)
    }
    this.used(state)
    return state
  }

  /** One of those who took it is done. */
  letGo(state: HeldState, by: 'scans' | 'users'): void {
    if (state[by] > 0) state[by]--
    if (state.scans === 0 && state.users === 0 && this.states.get(state.name) === state) this.release(state)
  }

  letGoNamed(name: string): void {
    const state = this.states.get(name)
    if (state !== undefined) this.letGo(state, 'users')
  }

  expire(): void {
    const now = this.now()
    let scansOnly = 0
    for (const state of this.states.values()) if (state.users === 0) scansOnly++
    for (const state of this.states.values()) {
      const isScans = state.users === 0
      const tooMany = isScans ? scansOnly > scansMax : this.states.size > heldMax
      if (!tooMany && now - state.usedMs <= (isScans ? scanKeptMs : heldKeptMs)) continue
      if (isScans) scansOnly--
      this.giveUp(state)
    }
    if (this.states.size > 1) this.withinBytes()
  }

  private withinBytes(): void {
    for (const state of this.states.values()) {
      const { keptBytes, dataBytes } = this.cost()
      if (this.states.size === 1 || keptBytes <= Math.max(this.keptMin, keptOfData * dataBytes)) return
      this.giveUp(state)
    }
  }

  private giveUp(state: HeldState): void {
    this.givenUp++
    this.release(state)
  }

  close(): void {
    for (const state of [...this.states.values()]) this.release(state)
  }

  private used(state: HeldState): void {
    state.usedMs = this.now()
    if (this.lastUsed === state) return
    this.lastUsed = state
    this.states.delete(state.name)
    this.states.set(state.name, state)
  }

  private release(state: HeldState): void {
    state.snapshot.release()
    this.states.delete(state.name)
    if (this.newest === state) this.newest = undefined
    if (this.lastUsed === state) this.lastUsed = undefined
  }
}
