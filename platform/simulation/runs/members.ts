/** A cluster in a simulated world: its members through crashes and restarts, their clients, and the history of what these saw. */

import { HarmonyError } from '../../../src/base/errors.ts'
import { timestamp } from '../../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../../src/base/random.ts'
import { decodeText, encodeText } from '../../../src/base/text.ts'
import { Lives } from '../../../src/cluster/lives.ts'
import type { Peer } from '../../../src/cluster/peer.ts'
import type { PeerEvent, PeerJoin } from '../../../src/cluster/peer-types.ts'
import { openStore, type Store, type StoreOptions } from '../../../src/cluster/store.ts'
import type { WriteRequest } from '../../../src/cluster/writes.ts'
import { payloadOf, timestampOf } from '../../../src/mvcc/versioned.ts'
import type { View } from '../../../src/storage/engine.ts'
import { type Outcome, Recorder } from '../../histories/recorder.ts'
import { Invariants } from '../invariants.ts'
import type { SimulatedProcess } from '../process.ts'
import type { TracedCall, TraceLine } from '../trace.ts'
import { World } from '../world.ts'
import { isDisksFault, type Seat, seatOf } from './damage.ts'
import type { Field, Struck } from './nemesis.ts'
import { type Coverage, Observer } from './observer.ts'
import type { Sizes } from './plan.ts'

const secret = 'hs1_simulationsimulationsimulation'
const room = 'simulation'
/** Far less than the data take. */
const cacheBytes = 16 * 1024
/** Rows of a piece of the state lie on pages that are in memory together. */
const pieceBytesMax = 2048
export const keys: readonly string[] = ['a', 'b', 'c']
const keyBytes = new Map(keys.map(key => [key, encodeText(key)]))
const operationsPerPeerMax = 60

/** One process of the world with the peers that run in it, one after the other, through crashes and restarts. */
export class Member implements Struck {
  readonly name: string
  readonly process: SimulatedProcess
  joined = false
  /** Comes while there are faults: its first attempts to join may come to nothing, and it tries again. It founds nothing. */
  private newcomer: boolean
  /** Why it cannot run (again), and somebody has to see to it. */
  failure: HarmonyError | undefined
  private readonly run: Run
  private readonly random: SeededRandom
  private lives: Lives | undefined
  /** Of the peer that runs, or ran last, as it was when it began or ended. */
  private known: Seat | undefined
  private life = 0
  private operations = 0
  /** Clients of this process that wait for an answer, and for what. */
  private readonly calls = new Map<string, string | undefined>()

  constructor(run: Run, name: string, random: SeededRandom, newcomer = false) {
    this.run = run
    this.newcomer = newcomer
    this.name = name
    this.random = random
    this.process = run.world.process(name)
  }

  get peer(): Peer | undefined {
    return this.lives?.peer
  }

  get seat(): Seat | undefined {
    return this.peer === undefined ? this.known : seatOf(this.peer.status())
  }

  start(): void {
    const life = ++this.life
    this.failure = undefined
    const { platform, directory } = this.process
    const storeOptions = { directory, platform, cacheBytes }
    openStore(storeOptions, store => {
      if (life !== this.life) return
      if (store.ok) this.live(life, storeOptions, store.value)
      else this.fail(`${this.name} cannot open its store`, store.error)
    })
  }

  runCopy(copy: SimulatedProcess, stopped: (why: HarmonyError) => void): void {
    const { platform, directory, rendezvous } = copy
    const storeOptions = { directory, platform, cacheBytes }
    openStore(storeOptions, store => {
      if (!store.ok) return stopped(store.error)
      const lives: Lives = new Lives(
        {
          platform,
          storeOptions,
          ...this.run.sizes,
          // A vote of the copy's is one of the member's.
          trace: message => this.run.invariants.onMessage(lives.peer.cluster, message),
          onChange: () => {},
          onEvent: event => {
            if (event.type !== 'error') return
            if (event.error.code === 'LOCKED') this.run.observer.reached('copy of a member was refused')
            stopped(event.error)
          },
          onPaused: () => {},
          onReplaced: () => {},
          onRepaired: () => {},
        },
        store.value,
      )
      lives.join({ ...this.ofRoom(), rendezvous: [rendezvous] }, () => {})
    })
  }

  private ofRoom(): Omit<PeerJoin, 'rendezvous'> {
    return { room, secret, wish: 'auto', bootstrap: this.newcomer ? false : 'auto', onConflict: 'fail' }
  }

  private live(life: number, storeOptions: StoreOptions, store: Store): void {
    const { platform, rendezvous } = this.process
    const { invariants, observer } = this.run
    this.lives = new Lives(
      {
        platform,
        storeOptions,
        ...this.run.sizes,
        limits: { messageBytesMax: pieceBytesMax, ...this.run.sizes.limits },
        trace: message => {
          if (this.peer === undefined) return
          if (observer.traces) observer.message('sent', this.name, message, this.peer.status())
          invariants.onMessage(this.peer.cluster, message)
        },
        ...(observer.traces
          ? {
              traceReceived: message => {
                if (this.peer !== undefined) observer.message('received', this.name, message, this.peer.status())
              },
            }
          : {}),
        onChange: () => this.observe(),
        onEvent: event => this.onEvent(event),
        onPaused: () => {},
        onReplaced: () => this.begun(),
        onRepaired: () => {},
      },
      store,
    )
    this.begun()
    const join = { ...this.ofRoom(), rendezvous: [rendezvous] }
    const attempt = (): void =>
      this.lives?.join(join, error => {
        if (life !== this.life) return
        if (error === undefined) this.joined = true
        else if (this.isTransient(error)) platform.clock.after(1000, attempt)
        else this.fail(`${this.name} could not join`, error)
      })
    attempt()
  }

  /** A peer runs: the first of this life, or one that goes on in its place. */
  private begun(): void {
    const { peer } = this
    if (peer === undefined) return
    if (this.known !== undefined && this.known.id !== peer.id) {
      this.newcomer = true
      this.run.observer.reached('damaged member began anew')
    }
    this.known = seatOf(peer.status())
    // It may know less than the one before knew in memory.
    this.run.invariants.forget(peer.id)
    this.run.observer.started(this.name, peer.id)
  }

  private onEvent(event: PeerEvent): void {
    const { observer } = this.run
    if (event.type === 'snapshot') {
      this.run.snapshots++
      observer.snapshotInstalled(this.name, event.index)
    }
    if (event.type === 'link' && event.message.startsWith('malformed: '))
      observer.reached('damaged frame closed a link')
    if (event.type === 'error' && ['STORAGE_LOST', 'CORRUPT', 'QUOTA'].includes(event.error.code)) {
      this.fail(`${this.name} stopped`, event.error)
    }
  }

  private isTransient({ code }: HarmonyError): boolean {
    if (code === 'TIMEOUT' || code === 'NO_QUORUM') return this.newcomer
    // Another peer goes on in its place, which nobody told to join.
    return code === 'QUOTA' || (code === 'CORRUPT' && this.failure === undefined)
  }

  /** It needs somebody who starts it again. A broken promise, unless its disk gave reason for it. */
  private fail(what: string, error: HarmonyError): void {
    this.failure = error
    if (!isDisksFault(this.process.disk, error)) this.run.violate(`${what}: ${said(error)}`)
    else if (error.code === 'STORAGE_LOST') this.run.observer.reached('failed sync or read stopped a peer')
  }

  crash(cache: 'lost' | 'kept' = 'lost'): void {
    this.life++
    this.run.observer.crashed(this.name, this.peer?.status())
    for (const client of [...this.calls.keys()]) this.end(client, 'info')
    this.known = this.seat
    if (this.known !== undefined) this.run.invariants.forget(this.known.id)
    this.lives = undefined
    this.process.crash(cache)
  }

  restart(): void {
    this.process.restart()
    this.start()
  }

  revive(): void {
    this.restart()
    this.work()
  }

  wiped(): void {
    this.known = undefined
    this.joined = false
    this.newcomer = true
    this.run.observer.reached('member lost its disk')
  }

  get isLeader(): boolean {
    return this.peer?.status().raft.role === 'leader'
  }

  get isReceiving(): boolean {
    return this.peer?.status().receivedBytes !== undefined
  }

  handOver(): void {
    this.peer?.transferLeadership(undefined, () => {})
  }

  observe(): void {
    if (this.peer === undefined) return
    const status = this.peer.status()
    const { id, cluster, raft, fingerprint } = status
    const { role, term, commit, applied, lastIndex } = raft
    this.run.observer.changed(this.name, status)
    this.run.invariants.observe({ id, cluster, role, term, commit, applied, lastIndex, fingerprint })
  }

  /** Starts the client: one operation after the other, with pauses. */
  work(): void {
    this.process.platform.clock.after(this.random.between(5, 250), () => this.nextOperation())
  }

  private nextOperation(): void {
    if (this.run.clientsStopped || this.operations >= operationsPerPeerMax) return
    const life = this.life
    const again = (): void => {
      if (life === this.life) this.work()
    }
    // Alone, it would write into a database of its own, which never merges with the room's.
    if (this.peer === undefined || !this.joined) return again()
    this.operations++
    const key = keys[this.random.below(keys.length)]!
    const value = `${this.name}.${this.operations}`
    const dice = this.random.below(10)
    if (dice < 4) this.read(key, again)
    else if (dice < 7) this.write(key, value, undefined, again)
    else if (dice < 8) this.write(key, undefined, undefined, again)
    else this.compareAndSet(key, value, again)
  }

  /** A call is under way. */
  get busy(): boolean {
    return this.calls.size > 0
  }

  /** A linearizable read; `then` gets the value and its timestamp. `client`: who reads; one call at a time. */
  read(key: string, then: (value: string | undefined, at: number) => void, client = this.name): void {
    const peer = this.peer
    if (peer === undefined) return
    this.begin(client, { op: 'get', key })
    const operation = (view: View): { value: string | undefined; at: number } => {
      const stored = view.get(keyBytes.get(key)!)
      if (stored === undefined) return { value: undefined, at: 0 }
      return { value: decodeText(payloadOf(stored)), at: timestampOf(stored) }
    }
    const life = this.life
    peer.clients.read({ consistency: 'linearizable' }, 5000, operation, result => {
      if (life !== this.life) return
      if (result instanceof HarmonyError) this.refuse(client, result)
      else this.end(client, 'ok', heldIn(result.value))
      if (result instanceof HarmonyError) then(undefined, -1)
      else then(result.value, result.at)
    })
  }

  private write(
    key: string,
    value: string | undefined,
    expected: { value: string | undefined; at: number } | undefined,
    then: () => void,
  ): void {
    const peer = this.peer
    if (peer === undefined) return
    const client = this.name
    if (expected !== undefined) {
      const before = expected.value === undefined ? {} : { expected: expected.value }
      this.begin(client, { op: 'cas', key, ...before, ...heldIn(value) })
    } else if (value === undefined) this.begin(client, { op: 'delete', key })
    else this.begin(client, { op: 'put', key, value })
    const bytes = keyBytes.get(key)!
    const op =
      value === undefined
        ? { type: 'delete' as const, key: bytes }
        : { type: 'put' as const, key: bytes, value: encodeText(value) }
    const checks = expected === undefined ? [] : [{ key: bytes, at: timestamp(expected.at) }]
    const life = this.life
    const { operations } = this
    // What is written in the same turn goes into the same entry. All together it is more than the cache takes.
    const accompany = (): void => {
      const beside = {
        type: 'put' as const,
        key: encodeText(`beside ${this.name} ${operations % 17}`),
        value: encodeText(`${operations} `.repeat(operations % 101)),
      }
      peer.clients.write(writeOf([beside]), 5000, () => {})
    }
    if (operations % 2 === 0) accompany()
    peer.clients.write({ ...writeOf([op]), checks }, 5000, result => {
      if (life !== this.life) return
      if ('error' in result) this.refuse(client, result.error)
      else if (result.outcome.type === 'committed') this.end(client, 'ok', expected && { applied: true })
      else if (result.outcome.type === 'conflict' && expected !== undefined) this.end(client, 'ok', { applied: false })
      else this.run.violate(`${this.name}: a write ended as ${result.outcome.type}`)
      then()
    })
    if (operations % 3 === 0) accompany()
  }

  private compareAndSet(key: string, value: string, then: () => void): void {
    this.read(key, (found, at) => {
      if (at < 0) then()
      else this.write(key, value, { value: found, at }, then)
    })
  }

  private begin(client: string, call: TracedCall): void {
    this.calls.set(client, call.op)
    this.run.began(this.name, client, call)
  }

  private end(client: string, outcome: Outcome, answer: TracedCall = {}, error?: string): void {
    if (outcome === 'info' && this.calls.get(client) !== 'get') this.run.unknown++
    this.calls.delete(client)
    this.run.ended(this.name, client, outcome, answer, error)
  }

  private refuse(client: string, error: HarmonyError): void {
    this.run.refused++
    this.end(client, error.maybeCommitted ? 'info' : 'fail', {}, error.code)
  }
}

const heldIn = (value: string | undefined): TracedCall => (value === undefined ? {} : { value })
const said = ({ code, message, cause }: HarmonyError): string =>
  `${code} ${message} ${cause instanceof Error ? cause.stack : ''}`

const writeOf = (ops: WriteRequest['ops']): WriteRequest => ({
  ops,
  checks: [],
  ranges: [],
  idempotencyKey: undefined,
})

export class Run implements Field<Member> {
  readonly world: World
  readonly invariants: Invariants
  readonly members: Member[] = []
  readonly recorder: Recorder
  /** When the lines of the history were written, the first at 0. */
  readonly historyMs: number[] = []
  /** When the first violation happened. */
  brokenMs: number | undefined
  readonly random: SeededRandom
  clientsStopped = false
  unknown = 0
  refused = 0
  /** How often a whole state was received. */
  snapshots = 0
  /** Logs are short in some runs: who was away needs a snapshot, in several pieces. */
  readonly sizes: Sizes
  private readonly extra: string[] = []

  readonly observer: Observer

  /**
   * @param trace Hears of every protocol event, see `trace.ts`.
   * @param history Hears of every line of the clients' history, as `harmonydb check` reads it.
   */
  constructor(seed: number, sizes: Sizes, trace?: (line: TraceLine) => void, history?: (line: string) => void) {
    this.random = seededRandom(seed)
    this.world = new World(seed)
    this.sizes = sizes
    const observer = new Observer(() => this.world.nowMs, trace)
    this.observer = observer
    this.recorder = new Recorder(history)
    this.invariants = new Invariants({
      nameOf: id => observer.nameOf(id),
      onViolation: (text, id) => this.broken(text, this.world.nowMs, observer.nameOf(id)),
    })
  }

  get coverage(): Coverage {
    return this.observer.coverage
  }

  newcomer(): void {
    const made = new Member(this, `p${this.members.length}`, this.random.fork(), true)
    this.members.push(made)
    made.start()
    made.work()
  }

  /** @param at When, if that was before now. */
  violate(text: string, at = this.world.nowMs, peer?: string): void {
    if (this.extra.length >= 20) return
    this.extra.push(text)
    this.broken(text, at, peer)
  }

  private broken(text: string, at: number, peer: string | undefined): void {
    this.brokenMs = Math.min(at, this.brokenMs ?? at)
    this.observer.violation(text, at, peer)
  }

  began(peer: string, client: string, call: TracedCall): void {
    this.recorder.invoke(client, { ...call, ...this.stamp() })
    this.observer.call('invoke', peer, client, call)
  }

  ended(peer: string, client: string, outcome: Outcome, answer: TracedCall, error: string | undefined): void {
    this.recorder.end(client, outcome, { ...answer, ...this.stamp() })
    this.observer.call(outcome, peer, client, error === undefined ? answer : { ...answer, error })
  }

  private stamp(): { readonly time: number } {
    const { nowMs } = this.world
    this.historyMs.push(nowMs)
    return { time: Math.round(nowMs * 1000) / 1000 }
  }

  get violations(): readonly string[] {
    return [...this.invariants.violations, ...this.extra]
  }

  /** Virtual milliseconds until `condition` holds; false if it does not within `ms`. */
  until(ms: number, condition: () => boolean): boolean {
    return this.world.runUntil(condition, ms)
  }
}
