/**
 * Locks of this peer's transactions: asked of the leader, again until it answers, whoever leads by then. And the leader's part, where this peer leads (`lock-service.ts`).
 */
import { HarmonyError } from '../base/errors.ts'
import type { PeerId, Term } from '../base/ids.ts'
import type { Clock, Random } from '../platform.ts'
import type { DeadlockPolicy, LockMode } from '../txn/lock-table.ts'
import type { Span } from '../txn/spans.ts'
import { LockService, type LockStatus } from './lock-service.ts'
import { type LockMessage, lockSpansMax } from './lock-wire.ts'

const askAgainAfterMs = 500
const tellEveryMs = 1000

export interface LocksHost {
  readonly clock: Pick<Clock, 'now'>
  readonly random: Random
  readonly self: PeerId
  leader(): PeerId | undefined
  /** Undefined: this peer does not lead. */
  leads(): Term | undefined
  send(to: PeerId, message: LockMessage): void
}

export interface LockWish {
  /** Given by who runs it, from 1; each number once. */
  readonly transaction: number
  readonly mode: LockMode
  readonly policy: DeadlockPolicy
  /** That an earlier attempt was given; 0: none was. */
  readonly age: number
  readonly spans: readonly Span[]
}

/** The age of the transaction, to be passed with its next attempt: whoever has waited for long is let through some day. */
export type LockAnswer = { readonly age: number } | HarmonyError

interface Pending {
  readonly message: Extract<LockMessage, { type: 'lock' }>
  readonly deadlineMs: number
  readonly timeoutMs: number
  askedMs: number
  readonly done: (answer: LockAnswer) => void
}

interface Held {
  nextRequest: number
  readonly pending: Map<number, Pending>
}

export class Locks {
  private readonly host: LocksHost
  private readonly service: LockService
  /** A number that was used before this peer was opened anew is not used again. */
  private readonly run: number
  private readonly transactions = new Map<number, Held>()
  private toldMs = Number.NEGATIVE_INFINITY

  constructor(host: LocksHost) {
    this.host = host
    const { clock, self, random } = host
    const drawn = new Uint8Array(2)
    random.fill(drawn)
    this.run = (drawn[0]! * 256 + drawn[1]!) * 2 ** 32
    this.service = new LockService({
      clock,
      self,
      leads: () => host.leads(),
      answer: (to, message) => {
        if (to === self) this.answered(message)
        else host.send(to, message)
      },
    })
  }

  /** Of the table, where this peer leads. */
  get status(): LockStatus {
    return this.service.status
  }

  /** Errors: DEADLOCK (the transaction has lost all its locks), TOO_LARGE, TIMEOUT. */
  lock(wish: LockWish, timeoutMs: number, done: (answer: LockAnswer) => void): void {
    const { mode, policy, age, spans } = wish
    if (spans.length > lockSpansMax)
      return done(
        new HarmonyError('TOO_LARGE', `a transaction locks at most ${lockSpansMax} keys and ranges; split it`),
      )
    const transaction = this.run + wish.transaction
    let held = this.transactions.get(transaction)
    if (held === undefined) {
      held = { nextRequest: 1, pending: new Map() }
      this.transactions.set(transaction, held)
    }
    const request = held.nextRequest++
    const message = { type: 'lock', transaction, request, mode, policy, age, spans } as const
    const deadlineMs = this.host.clock.now() + timeoutMs
    const pending: Pending = { message, deadlineMs, timeoutMs, askedMs: Number.NEGATIVE_INFINITY, done }
    held.pending.set(request, pending)
    this.ask(pending)
  }

  /** The transaction is over. Nobody hears of what it still waits for. */
  unlock(number: number): void {
    const transaction = this.run + number
    if (!this.transactions.delete(transaction)) return
    const { self } = this.host
    const leader = this.host.leader()
    if (leader === self) this.service.unlock(self, transaction)
    else if (leader !== undefined) this.host.send(leader, { type: 'unlock', transaction })
  }

  received(from: PeerId, message: LockMessage): void {
    switch (message.type) {
      case 'lock':
        return this.service.take(from, message)
      case 'locked':
        // One that was deposed may say so, too: it is as good as a lock that is lost the next moment.
        return this.answered(message)
      case 'unlock':
        return this.service.unlock(from, message.transaction)
      case 'locking':
        return this.service.goingOn(from, message.transactions)
    }
  }

  tick(): void {
    this.service.tick()
    const now = this.host.clock.now()
    for (const { pending } of this.transactions.values()) {
      for (const one of [...pending.values()]) {
        if (now >= one.deadlineMs) this.end(one, late(one))
        else if (now - one.askedMs >= askAgainAfterMs) this.ask(one)
      }
    }
    if (now - this.toldMs >= tellEveryMs) this.tell(now)
  }

  /** Another one leads, or the link to the leader came up. */
  kick(): void {
    for (const { pending } of this.transactions.values()) for (const one of pending.values()) this.ask(one)
  }

  failAll(why: HarmonyError): void {
    for (const { pending } of this.transactions.values()) for (const one of [...pending.values()]) this.end(one, why)
  }

  private ask(pending: Pending): void {
    const { self, clock } = this.host
    const leader = this.host.leader()
    if (leader === undefined) return
    pending.askedMs = clock.now()
    if (leader === self) this.service.take(self, pending.message)
    else this.host.send(leader, pending.message)
  }

  private tell(now: number): void {
    const { self } = this.host
    const leader = this.host.leader()
    if (this.transactions.size === 0 || leader === undefined || leader === self) return
    this.toldMs = now
    this.host.send(leader, { type: 'locking', transactions: [...this.transactions.keys()] })
  }

  private answered({ transaction, request, age, outcome, why }: Extract<LockMessage, { type: 'locked' }>): void {
    const pending = this.transactions.get(transaction)?.pending.get(request)
    if (pending === undefined) return
    if (outcome === 'granted') this.end(pending, { age })
    else if (outcome === 'gaveWay') this.end(pending, new HarmonyError('DEADLOCK', `${why}; begin anew`))
    else this.end(pending, new HarmonyError('TIMEOUT', `${why}; begin anew, and lock less`))
  }

  private end({ message, done }: Pending, answer: LockAnswer): void {
    this.transactions.get(message.transaction)?.pending.delete(message.request)
    done(answer)
  }
}

function late({ timeoutMs, message }: Pending): HarmonyError {
  const what = message.mode === 'exclusive' ? 'an exclusive lock' : 'a shared lock'
  return new HarmonyError('TIMEOUT', `waited ${Math.round(timeoutMs)} ms for ${what} that others hold, or for a leader`)
}
