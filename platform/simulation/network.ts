/**
 * The simulated network as a test drives it: partitions (one-way too), resets, slow, lossy and corrupting spells, a signaling server that
 * fails. Names are those of processes. `link.ts` states what each fault does to an open link.
 */
import type { Transport } from '../../src/platform.ts'
import { NetworkConditions, type NetworkOptions } from './conditions.ts'
import type { Incarnation } from './incarnation.ts'
import { SignalingServer } from './rendezvous.ts'
import type { Scheduler } from './scheduler.ts'
import { type AdoptableConnection, adoptablePair, SimulatedTransport, type Switchboard } from './transport.ts'

export class SimulatedNetwork {
  readonly signaling: SignalingServer
  private readonly conditions: NetworkConditions
  private readonly board: Switchboard

  constructor(scheduler: Scheduler, options: Partial<NetworkOptions>) {
    this.conditions = new NetworkConditions(scheduler, options)
    this.signaling = new SignalingServer(this.conditions)
    this.board = { conditions: this.conditions, attempts: new Map(), links: new Set(), nextAttempt: 1 }
  }

  get options(): NetworkOptions {
    return this.conditions.options
  }

  /** Open connections; a link whose ends have not both noticed its death counts. */
  get linkCount(): number {
    return this.board.links.size
  }

  /** So many messages had bits flipped on their way. */
  get corrupted(): number {
    return this.conditions.corrupted
  }

  /** Changes some options from now on. */
  configure(options: Partial<NetworkOptions>): void {
    this.conditions.options = { ...this.conditions.options, ...options }
  }

  /** Nothing that `from` sends reaches `to`. One way. */
  cut(from: string, to: string): void {
    this.conditions.cut(from, to)
    this.reconsider()
  }

  /** Nothing passes between a process of one side and one of the other, either way. */
  partition(side: readonly string[], otherSide: readonly string[]): void {
    for (const a of side) {
      for (const b of otherSide) {
        this.conditions.cut(a, b)
        this.conditions.cut(b, a)
      }
    }
    this.reconsider()
  }

  /** Nothing reaches or leaves the process, whoever comes. */
  isolate(name: string): void {
    this.conditions.isolate(name)
    this.reconsider()
  }

  /** Ends cuts both ways between two processes, or what `isolate` did to one, or everything. */
  heal(a?: string, b?: string): void {
    if (a === undefined) this.conditions.healAll()
    else if (b === undefined) this.conditions.rejoin(a)
    else {
      this.conditions.heal(a, b)
      this.conditions.heal(b, a)
    }
    this.reconsider()
  }

  /** Breaks the open links between two processes. */
  reset(a: string, b: string): void {
    for (const link of this.board.links) if (link.connects(a, b)) link.reset('connection reset')
  }

  /** Two halves of one connection "made elsewhere", for `Transport.adopt` at two processes. */
  adoptablePair(): [AdoptableConnection, AdoptableConnection] {
    return adoptablePair()
  }

  transportOf(process: Incarnation): Transport {
    return new SimulatedTransport(this.board, process)
  }

  processDied(process: Incarnation): void {
    this.signaling.processDied(process)
    for (const attempt of [...this.board.attempts.values()]) {
      if (attempt.process === process) this.board.attempts.delete(attempt.id)
    }
    for (const link of [...this.board.links]) link.processDied(process)
  }

  private reconsider(): void {
    for (const link of [...this.board.links]) link.reconsider()
  }
}
