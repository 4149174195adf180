/**
 * The peers that a mesh has heard of: linked, being connected, or only announced. Bounded, because anybody who reaches a
 * rendezvous can announce as many as he likes: when it is full, one that led nowhere makes room, or else the new one is not let in.
 */
import type { PeerId } from '../base/ids.ts'
import type { Attempt, Way } from './mesh-attempt.ts'
import { Budget } from './mesh-budget.ts'
import type { Link } from './mesh-link.ts'
import type { Advert, MeshTiming } from './mesh-types.ts'

const remotesMax = 128
const signalsBurstMax = 1024
const signalsPerSecondMax = 64

export class Remote {
  readonly id: PeerId
  readonly budget: Budget
  readonly firstHeardMs: number
  /** Its mesh's instance, by its last word over signalling. */
  instance: string | undefined
  /** When it was last heard over each rendezvous. */
  readonly heardMs = new Map<number, number>()
  /** Linked peers that say they are linked to it. */
  readonly via = new Set<PeerId>()
  link: Link | undefined
  /** Proven, of another run of the same peer, while `link` has not shown yet whether it is dead. */
  challenger: { readonly link: Link; readonly advert: Advert; readonly untilMs: number } | undefined
  attempt: Attempt | undefined
  /** Over a connection that the application made. */
  adopted: Attempt | undefined
  /** The last session number that this peer, as the dialler, gave in this instance. */
  session = 0
  failures = 0
  retryAtMs = 0
  repliedMs = Number.NEGATIVE_INFINITY
  /** It was tried, or waited for, in vain: nobody needs to wait for it any more. */
  resolved = false
  /** The last handshake failed by what one side is, not by accident: no hurry to try again. */
  refused = false

  constructor(id: PeerId, nowMs: number) {
    this.id = id
    this.firstHeardMs = nowMs
    this.budget = new Budget(signalsBurstMax, signalsPerSecondMax, nowMs)
  }

  get isIdle(): boolean {
    return this.link === undefined && this.attempt === undefined && this.adopted === undefined
  }

  isAnnounced(nowMs: number, timing: MeshTiming): boolean {
    if (this.via.size > 0) return true
    for (const heard of this.heardMs.values()) if (nowMs - heard <= timing.presenceMsMax) return true
    return false
  }

  /** Ways to reach it, the latest heard first, neighbours last. */
  ways(isOpen: (rendezvous: number) => boolean): readonly Way[] {
    const direct = [...this.heardMs].filter(([way]) => isOpen(way)).sort((a, b) => b[1] - a[1])
    return [...direct.map(([way]) => way), ...this.via]
  }

  forgetWays(): void {
    this.heardMs.clear()
    this.via.clear()
  }

  onFailure(nowMs: number, delayMs: number): void {
    this.failures++
    this.retryAtMs = nowMs + delayMs
    this.resolved = true
  }
}

export class Remotes {
  private readonly remotes = new Map<PeerId, Remote>()

  get(id: PeerId): Remote | undefined {
    return this.remotes.get(id)
  }

  /** Undefined if there is no room for another. */
  obtain(id: PeerId, nowMs: number): Remote | undefined {
    const known = this.remotes.get(id)
    if (known !== undefined) return known
    if (this.remotes.size >= remotesMax && !this.makeRoom()) return undefined
    const remote = new Remote(id, nowMs)
    this.remotes.set(id, remote)
    return remote
  }

  /** A copy: entries may come and go while it is walked. */
  all(): readonly Remote[] {
    return [...this.remotes.values()]
  }

  linked(): readonly Remote[] {
    return this.all().filter(remote => remote.link !== undefined)
  }

  delete(id: PeerId): void {
    this.remotes.delete(id)
  }

  clear(): void {
    this.remotes.clear()
  }

  private makeRoom(): boolean {
    for (const remote of this.remotes.values()) {
      if (!remote.isIdle || !remote.resolved) continue
      this.remotes.delete(remote.id)
      return true
    }
    return false
  }
}
