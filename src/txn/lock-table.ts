/**
 * The locks of transactions, and those who wait for them: shared and exclusive locks on spans of keys, in one place (the leader of a group), in memory. Nothing here
 * is needed for correctness: what a transaction read is validated when it commits. Locks let transactions that would refuse each other wait for each other instead.
 *
 *  T1  Two owners never hold locks that conflict: overlapping spans, one of them exclusive.
 *  T2  A request gets all its spans at once, or waits. It waits for conflicting locks of others, and for conflicting requests that stand before it: so nobody is passed by
 *      for ever. The line is in order of arrival, but for wound-wait, where it is in order of age.
 *  T3  What an owner holds already is not asked for again. A stronger lock on what it holds (an upgrade) does not line up behind requests that wait for that owner itself.
 *  T4  No cycle of waiting outlives the call that would have closed it. Policies (Rosenkrantz, Stearns and Lewis, 1978):
 *        detect      the graph of who waits for whom is searched; the youngest in a cycle gives way, nobody without a cycle does
 *        wound-wait  an older one ends a younger one that is in its way; a younger one waits
 *        wait-die    an older one waits; a younger one gives way
 *      Where owners of different policies meet, preventions prevent nothing, and the graph is searched, too.
 *  T5  Who gave way loses all its locks and requests in the same call.
 *
 * Age is given by the caller: the smaller is the older; a transaction that tries again keeps its age, so it becomes the oldest some day, and gets through.
 */
import { assert } from '../base/assert.ts'
import { covers, type Span, SpanIndex } from './spans.ts'

export const lockModes = ['shared', 'exclusive'] as const
export type LockMode = (typeof lockModes)[number]

export const deadlockPolicies = ['detect', 'wound-wait', 'wait-die'] as const
export type DeadlockPolicy = (typeof deadlockPolicies)[number]

export interface LockOwner {
  /** Of one attempt of one transaction. */
  readonly name: string
  readonly age: number
  readonly policy: DeadlockPolicy
}

export interface LockRequest {
  /** Of this owner's. */
  readonly id: number
  readonly mode: LockMode
  readonly spans: readonly Span[]
}

/** Why an owner lost everything. */
export type GaveWay =
  /** Each waited for the next, and the last for the first, which is the one that gave way. */
  | { readonly type: 'deadlock'; readonly cycle: readonly string[] }
  /** To an older one. */
  | { readonly type: 'wounded'; readonly by: string }
  | { readonly type: 'died'; readonly for: string }

/** Neither calls the table. */
export interface LockListener {
  granted(owner: string, request: number): void
  gaveWay(owner: string, why: GaveWay): void
}

export interface LockCounters {
  granted: number
  waited: number
  deadlocks: number
  wounds: number
  deaths: number
}

interface Owner extends LockOwner {
  readonly held: Set<Item>
  readonly waiting: Map<number, Waiting>
}

interface Waiting {
  readonly owner: Owner
  readonly id: number
  readonly items: readonly Item[]
  place: number
}

interface Item {
  readonly owner: Owner
  readonly span: Span
  readonly mode: LockMode
  /** Undefined: held. */
  waiting: Waiting | undefined
}

export class LockTable {
  readonly counters: LockCounters = { granted: 0, waited: 0, deadlocks: 0, wounds: 0, deaths: 0 }
  private readonly listener: LockListener
  private readonly owners = new Map<string, Owner>()
  private readonly items = new SpanIndex<Item>()
  /** Whoever stands before is served before. */
  private readonly line: Waiting[] = []
  private readonly policies = new Map<DeadlockPolicy, number>()

  constructor(listener: LockListener) {
    this.listener = listener
  }

  /** Spans that are held or waited for. */
  get size(): number {
    return this.items.size
  }

  get waiting(): number {
    return this.line.length
  }

  /** Spans of this owner. */
  sizeOf(owner: string): number {
    const known = this.owners.get(owner)
    if (known === undefined) return 0
    let size = known.held.size
    for (const { items } of known.waiting.values()) size += items.length
    return size
  }

  has(owner: string): boolean {
    return this.owners.has(owner)
  }

  get names(): Iterable<string> {
    return this.owners.keys()
  }

  /** The listener hears, now or later, that it was granted, or that the owner gave way. A request that waits already goes on waiting. */
  request(by: LockOwner, { id, mode, spans }: LockRequest): void {
    const owner = this.ownerOf(by)
    if (owner.waiting.has(id)) return
    const missing = spans.filter(span => !this.holds(owner, span, mode))
    const items: Item[] = missing.map(span => ({ owner, span, mode, waiting: undefined }))
    const waiting: Waiting = { owner, id, items, place: 0 }
    for (const item of items) item.waiting = waiting
    this.lineUp(waiting)
    for (const item of items) this.items.add(item)
    owner.waiting.set(id, waiting)
    if (!this.isBlocked(waiting)) return this.grant(waiting)
    this.counters.waited++
    if (owner.policy === 'wound-wait') this.wound(waiting)
    else if (owner.policy === 'wait-die') this.dieUnlessOldest(waiting)
    if (owner.policy === 'detect' || this.policies.size > 1) this.breakCycles(owner)
  }

  /** The transaction is over, or somebody gave it up. */
  release(owner: string): void {
    const known = this.owners.get(owner)
    if (known !== undefined) this.drop(known)
  }

  private ownerOf(by: LockOwner): Owner {
    const known = this.owners.get(by.name)
    if (known !== undefined) return known
    const { name, age, policy } = by
    const owner: Owner = { name, age, policy, held: new Set(), waiting: new Map() }
    this.owners.set(name, owner)
    this.policies.set(policy, (this.policies.get(policy) ?? 0) + 1)
    return owner
  }

  private holds(owner: Owner, span: Span, mode: LockMode): boolean {
    if (owner.held.size === 0) return false
    return this.items.some(
      span,
      item =>
        item.owner === owner &&
        item.waiting === undefined &&
        (item.mode === 'exclusive' || mode === 'shared') &&
        covers(item.span, span),
    )
  }

  private lineUp(waiting: Waiting): void {
    const { line } = this
    const at = this.placeFor(waiting)
    line.splice(at, 0, waiting)
    for (let i = at; i < line.length; i++) (line[i] as Waiting).place = i
  }

  private placeFor({ owner, items }: Waiting): number {
    const { line } = this
    let at = line.length
    if (owner.policy === 'wound-wait') {
      while (at > 0 && isOlder(owner, (line[at - 1] as Waiting).owner)) at--
    } else if (owner.policy === 'detect' && owner.held.size > 0) {
      // To stand behind somebody who waits for this owner would be a deadlock by politeness.
      const waiters = this.waitersFor(owner)
      for (const item of items) {
        this.items.some(item.span, ({ waiting, owner: other, mode }) => {
          if (waiting !== undefined && conflict(mode, item.mode) && waiters.has(other)) at = Math.min(at, waiting.place)
          return false
        })
      }
    }
    return at
  }

  private grant(waiting: Waiting): void {
    const { owner, id, items } = waiting
    this.leaveLine(waiting)
    for (const item of items) {
      item.waiting = undefined
      owner.held.add(item)
    }
    this.counters.granted++
    this.listener.granted(owner.name, id)
  }

  private leaveLine(waiting: Waiting): void {
    const { line } = this
    waiting.owner.waiting.delete(waiting.id)
    line.splice(waiting.place, 1)
    for (let i = waiting.place; i < line.length; i++) (line[i] as Waiting).place = i
  }

  /** All that it has and waits for; then whoever waited for that goes on. */
  private drop(owner: Owner): void {
    this.owners.delete(owner.name)
    const others = (this.policies.get(owner.policy) as number) - 1
    if (others === 0) this.policies.delete(owner.policy)
    else this.policies.set(owner.policy, others)
    const free = [...owner.held]
    for (const waiting of [...owner.waiting.values()]) {
      this.leaveLine(waiting)
      free.push(...waiting.items)
    }
    for (const item of free) this.items.remove(item)
    const next = new Set<Waiting>()
    for (const { span } of free) {
      this.items.some(span, ({ waiting }) => {
        if (waiting !== undefined) next.add(waiting)
        return false
      })
    }
    for (const waiting of [...next].sort((a, b) => a.place - b.place)) if (!this.isBlocked(waiting)) this.grant(waiting)
  }

  private isBlocked(waiting: Waiting): boolean {
    return waiting.items.some(item => this.items.some(item.span, other => blocks(other, item, waiting)))
  }

  /** In the order in which they were found: the same for the same calls. */
  private blockersOf(waiting: Waiting): Set<Owner> {
    const blockers = new Set<Owner>()
    for (const item of waiting.items) {
      this.items.some(item.span, other => {
        if (blocks(other, item, waiting)) blockers.add(other.owner)
        return false
      })
    }
    return blockers
  }

  /** Everybody who waits for it, or for somebody who does. */
  private waitersFor(owner: Owner): Set<Owner> {
    const found = new Set<Owner>()
    const rest = [owner]
    for (let one = rest.pop(); one !== undefined; one = rest.pop()) {
      const own = [...one.held]
      for (const { items } of one.waiting.values()) own.push(...items)
      for (const item of own) {
        this.items.some(item.span, other => {
          const { waiting } = other
          if (waiting === undefined || found.has(other.owner) || !blocks(item, other, waiting)) return false
          found.add(other.owner)
          rest.push(other.owner)
          return false
        })
      }
    }
    return found
  }

  private breakCycles(owner: Owner): void {
    for (;;) {
      const cycle = this.cycleThrough(owner)
      if (cycle === undefined) return
      const youngest = cycle.reduce((a, b) => (isOlder(a, b) ? b : a))
      const at = cycle.indexOf(youngest)
      this.counters.deadlocks++
      const names = [...cycle.slice(at), ...cycle.slice(0, at)].map(({ name }) => name)
      this.giveWay(youngest, { type: 'deadlock', cycle: names })
      if (youngest === owner) return
    }
  }

  /** Every new edge of the graph begins or ends at the owner whose request is new: a search from there finds whatever it closed. */
  private cycleThrough(owner: Owner): Owner[] | undefined {
    if (owner.held.size === 0 && owner.waiting.size < 2) return undefined
    const seen = new Set<Owner>()
    const path: Owner[] = []
    const search = (one: Owner): boolean => {
      path.push(one)
      for (const waiting of one.waiting.values()) {
        for (const blocker of this.blockersOf(waiting)) {
          if (blocker === owner) return true
          if (seen.has(blocker)) continue
          seen.add(blocker)
          if (search(blocker)) return true
        }
      }
      path.pop()
      return false
    }
    return search(owner) ? path : undefined
  }

  private wound(waiting: Waiting): void {
    const { owner } = waiting
    for (const blocker of this.blockersOf(waiting)) {
      // What another one left may have been all that it waited for.
      if (!owner.waiting.has(waiting.id)) return
      if (!isOlder(owner, blocker)) continue
      this.counters.wounds++
      this.giveWay(blocker, { type: 'wounded', by: owner.name })
    }
  }

  private dieUnlessOldest(waiting: Waiting): void {
    const { owner } = waiting
    for (const blocker of this.blockersOf(waiting)) {
      if (!isOlder(blocker, owner)) continue
      this.counters.deaths++
      return this.giveWay(owner, { type: 'died', for: blocker.name })
    }
  }

  private giveWay(owner: Owner, why: GaveWay): void {
    assert(this.owners.get(owner.name) === owner, 'who gives way is there')
    this.listener.gaveWay(owner.name, why)
    this.drop(owner)
  }
}

const conflict = (a: LockMode, b: LockMode): boolean => a === 'exclusive' || b === 'exclusive'

/** `waiting`, of which `item` is a part, has to wait for `other`. */
const blocks = (other: Item, item: Item, waiting: Waiting): boolean =>
  other.owner !== item.owner &&
  conflict(other.mode, item.mode) &&
  (other.waiting === undefined || other.waiting.place < waiting.place)

const isOlder = (a: LockOwner, b: LockOwner): boolean => a.age < b.age || (a.age === b.age && a.name < b.name)
