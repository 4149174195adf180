/**
 * The leader's part of locking: the table of who has and waits for which locks (`txn/lock-table.ts`), for transactions of all peers. It is not replicated: with its leader it
 * is gone, and the next one begins with an empty table (what a transaction read is validated when it commits, locks or no locks).
 *
 *  K1  No lock outlives its transaction: it is released by `unlock`; where that is lost, by the next list of transactions that go on, which lacks it.
 *  K2  Nor its peer: who sends no such list for three seconds (closed, frozen, cut off) has nothing any more.
 *  K3  Nor its leader: the table is of one term, and is emptied when this peer leads no longer, or leads again.
 *  K4  What is asked again is answered again: a request may arrive any number of times, and its answer get lost.
 */
import { assert } from '../base/assert.ts'
import type { PeerId, Term } from '../base/ids.ts'
import type { Clock } from '../platform.ts'
import { type GaveWay, type LockCounters, LockTable } from '../txn/lock-table.ts'
import { type LockMessage, type LockOutcome, lockSpansMax } from './lock-wire.ts'

const silentMsMax = 3000
/** Of all transactions together. */
const tableMax = 200_000
const lineMax = 4096

export interface LockServiceHost {
  readonly clock: Pick<Clock, 'now'>
  readonly self: PeerId
  /** Undefined: this peer does not lead. */
  leads(): Term | undefined
  answer(to: PeerId, message: Extract<LockMessage, { type: 'locked' }>): void
}

interface Owner {
  readonly peer: PeerId
  readonly transaction: number
  readonly age: number
  /** That wait. */
  readonly requests: Set<number>
  /** Why it has nothing, and gets nothing. */
  gone: string | undefined
}

export interface LockStatus extends LockCounters {
  /** Spans that are held or waited for, and requests that wait. */
  readonly spans: number
  readonly waiting: number
}

export class LockService {
  private readonly host: LockServiceHost
  private table: LockTable
  private term: Term | undefined
  private owners = new Map<string, Owner>()
  private readonly heardMs = new Map<PeerId, number>()
  private nextAge = 1

  constructor(host: LockServiceHost) {
    this.host = host
    this.table = this.makeTable()
  }

  get status(): LockStatus {
    const { granted, waited, deadlocks, wounds, deaths } = this.table.counters
    return { spans: this.table.size, waiting: this.table.waiting, granted, waited, deadlocks, wounds, deaths }
  }

  take(from: PeerId, message: Extract<LockMessage, { type: 'lock' }>): void {
    if (!this.isLeading()) return
    const { transaction, request, mode, policy, age, spans } = message
    this.heardMs.set(from, this.host.clock.now())
    const name = nameOf(from, transaction)
    const owner = this.owners.get(name) ?? this.ownerOf(name, from, transaction, age)
    if (owner.gone !== undefined) return this.answer(owner, request, 'gaveWay', owner.gone)
    if (owner.requests.has(request)) return
    const isTooMuch =
      this.table.size + spans.length > tableMax ||
      this.table.waiting >= lineMax ||
      this.table.sizeOf(name) + spans.length > lockSpansMax
    if (isTooMuch) {
      this.forget(name)
      return this.answer(owner, request, 'full', 'there are too many locks already')
    }
    owner.requests.add(request)
    this.table.request({ name, age: owner.age, policy }, { id: request, mode, spans })
  }

  unlock(from: PeerId, transaction: number): void {
    if (this.isLeading()) this.forget(nameOf(from, transaction))
  }

  /** K1 */
  goingOn(from: PeerId, transactions: readonly number[]): void {
    if (!this.isLeading()) return
    this.heardMs.set(from, this.host.clock.now())
    const going = new Set(transactions)
    for (const [name, { peer, transaction }] of [...this.owners])
      if (peer === from && !going.has(transaction)) this.forget(name)
  }

  tick(): void {
    if (!this.isLeading() || this.owners.size === 0) return
    const now = this.host.clock.now()
    for (const [name, { peer }] of [...this.owners]) {
      if (peer !== this.host.self && now - (this.heardMs.get(peer) ?? 0) > silentMsMax) this.forget(name)
    }
    for (const [peer, atMs] of this.heardMs) if (now - atMs > silentMsMax) this.heardMs.delete(peer)
  }

  /** K3 */
  private isLeading(): boolean {
    const term = this.host.leads()
    if (term !== this.term) {
      this.term = term
      this.table = this.makeTable()
      this.owners = new Map()
      this.heardMs.clear()
    }
    return term !== undefined
  }

  private ownerOf(name: string, peer: PeerId, transaction: number, age: number): Owner {
    assert(this.term !== undefined, 'who leads has a term')
    // Those of a later leader are younger: of what another attempt brings along, the order is what counts.
    const given = age === 0 ? this.term * 2 ** 32 + this.nextAge++ : age
    const owner: Owner = { peer, transaction, age: given, requests: new Set(), gone: undefined }
    this.owners.set(name, owner)
    return owner
  }

  private forget(name: string): void {
    this.owners.delete(name)
    this.table.release(name)
  }

  private makeTable(): LockTable {
    return new LockTable({
      granted: (name, request) => {
        const owner = this.owners.get(name)
        assert(owner !== undefined, 'who gets a lock has asked for it')
        owner.requests.delete(request)
        this.answer(owner, request, 'granted')
      },
      gaveWay: (name, why) => {
        const owner = this.owners.get(name)
        assert(owner !== undefined, 'who gives way has something')
        owner.gone = textOf(name, why)
        for (const request of owner.requests) this.answer(owner, request, 'gaveWay', owner.gone)
        owner.requests.clear()
      },
    })
  }

  private answer({ peer, transaction, age }: Owner, request: number, outcome: LockOutcome, why = ''): void {
    this.host.answer(peer, { type: 'locked', transaction, request, age, outcome, why })
  }
}

/** The number within a run of the peer is what people can tell apart. */
const nameOf = (peer: PeerId, transaction: number): string =>
  `${peer.slice(0, 8)}/${transaction % 2 ** 32}.${Math.floor(transaction / 2 ** 32)}.${peer.slice(8)}`

const shownName = (name: string): string =>
  `transaction ${name.slice(9, name.indexOf('.'))} of peer ${name.slice(0, 8)}`

function textOf(name: string, why: GaveWay): string {
  switch (why.type) {
    case 'deadlock': {
      const others = [...why.cycle.slice(1), name].map(shownName)
      return `a deadlock: ${shownName(name)} waited for ${others.join(', which waited for ')}. The youngest of them gave way`
    }
    case 'wounded':
      return `${shownName(name)} was in the way of an older one, ${shownName(why.by)} (wound-wait)`
    case 'died':
      return `${shownName(name)} would have waited for an older one, ${shownName(why.for)} (wait-die)`
  }
}
