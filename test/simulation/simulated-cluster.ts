/** A cluster in a simulated world: its members through crashes and restarts, their clients, and the history of what these saw. */

import type { Operation, RegisterInput, RegisterOutput } from '../../platform/histories/linearizability.ts'
import { Invariants } from '../../platform/simulation/invariants.ts'
import type { SimulatedProcess } from '../../platform/simulation/process.ts'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { timestamp } from '../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import { decodeText, encodeText } from '../../src/base/text.ts'
import { Peer } from '../../src/cluster/peer.ts'
import type { PeerOptions } from '../../src/cluster/peer-types.ts'
import { openStore } from '../../src/cluster/store.ts'
import { payloadOf, timestampOf } from '../../src/mvcc/versioned.ts'
import type { View } from '../../src/storage/engine.ts'
import { writeOf } from './write-of.ts'

const secret = 'hs1_simulationsimulationsimulation'
const room = 'simulation'
/** Far less than the data take. */
const cacheBytes = 16 * 1024
export const keys = ['a', 'b', 'c'].map(encodeText)
const operationsPerPeerMax = 60

type History = Operation<RegisterInput, RegisterOutput>[]

/** One process of the world with the peer that runs in it, through crashes and restarts. */
export class Member {
  readonly name: string
  readonly process: SimulatedProcess
  peer: Peer | undefined
  joined = false
  /** Why it cannot run (again); a violation unless it is expected. */
  failure: HarmonyError | undefined
  private readonly run: Run
  private readonly random: SeededRandom
  private life = 0
  private operations = 0
  private inFlight: { key: number; called: number; input: RegisterInput } | undefined

  constructor(run: Run, name: string, random: SeededRandom) {
    this.run = run
    this.name = name
    this.random = random
    this.process = run.world.process(name)
  }

  start(): void {
    const life = ++this.life
    const { platform, directory, rendezvous } = this.process
    openStore({ directory, platform, cacheBytes }, store => {
      if (life !== this.life) return
      if (!store.ok) {
        this.failure = store.error
        this.run.violate(`${this.name} cannot open its store: ${store.error.code} ${store.error.message}`)
        return
      }
      const peer = new Peer({
        platform,
        store: store.value,
        ...this.run.sizes,
        trace: message => this.run.invariants.onMessage(peer.status().cluster, message),
        onChange: () => this.observe(),
        onEvent: event => {
          if (event.type === 'snapshot') this.run.snapshots++
          if (event.type === 'error' && event.error.code === 'STORAGE_LOST') {
            this.run.violate(
              `${this.name} stopped: ${event.error.message} ${(event.error.cause as Error)?.stack ?? ''}`,
            )
          }
        },
      })
      this.peer = peer
      const join = {
        room,
        secret,
        rendezvous: [rendezvous],
        wish: 'auto',
        bootstrap: 'auto',
        onConflict: 'fail',
      } as const
      peer.join(join, error => {
        if (life !== this.life) return
        if (error === undefined) this.joined = true
        else this.run.violate(`${this.name} could not join: ${error.code} ${error.message}`)
      })
    })
  }

  crash(): void {
    this.life++
    this.giveUp()
    if (this.peer !== undefined) this.run.invariants.forget(this.peer.id)
    this.peer = undefined
    this.process.crash()
  }

  restart(): void {
    this.process.restart()
    this.start()
  }

  observe(): void {
    if (this.peer === undefined) return
    const { id, cluster, raft, fingerprint } = this.peer.status()
    const { role, term, commit, applied } = raft
    this.run.invariants.observe({ id, cluster, role, term, commit, applied, fingerprint })
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
    if (this.peer === undefined) return again()
    this.operations++
    const key = this.random.below(keys.length)
    const value = `${this.name}.${this.operations}`
    const dice = this.random.below(10)
    if (dice < 4) this.read(key, again)
    else if (dice < 7) this.write(key, value, undefined, again)
    else if (dice < 8) this.write(key, undefined, undefined, again)
    else this.compareAndSet(key, value, again)
  }

  /** An operation is under way. */
  get busy(): boolean {
    return this.inFlight !== undefined
  }

  /** A linearizable read; `then` gets the value and its timestamp. */
  read(key: number, then: (value: string | undefined, at: number) => void): void {
    const peer = this.peer
    if (peer === undefined) return
    const called = this.begin(key, { type: 'read' })
    const operation = (view: View): { value: string | undefined; at: number } => {
      const stored = view.get(keys[key]!)
      if (stored === undefined) return { value: undefined, at: 0 }
      return { value: decodeText(payloadOf(stored)), at: timestampOf(stored) }
    }
    const life = this.life
    peer.clients.read({ consistency: 'linearizable' }, 5000, operation, result => {
      if (life !== this.life) return
      if (result instanceof HarmonyError) this.refuse(result)
      else this.end(called, { type: 'value', value: result.value })
      if (result instanceof HarmonyError) then(undefined, -1)
      else then(result.value, result.at)
    })
  }

  private write(
    key: number,
    value: string | undefined,
    expected: { value: string | undefined; at: number } | undefined,
    then: () => void,
  ): void {
    const peer = this.peer
    if (peer === undefined) return
    const input: RegisterInput =
      expected === undefined ? { type: 'write', value } : { type: 'compareAndSet', expected: expected.value, value }
    const called = this.begin(key, input)
    const bytes = keys[key]!
    const op =
      value === undefined
        ? { type: 'delete' as const, key: bytes }
        : { type: 'put' as const, key: bytes, value: encodeText(value) }
    const checks = expected === undefined ? [] : [{ key: bytes, at: timestamp(expected.at) }]
    const life = this.life
    const { operations } = this
    // What is written in the same turn goes into the same entry.
    const accompany = (): void => {
      const beside = {
        type: 'put' as const,
        key: encodeText(`beside ${this.name}`),
        value: encodeText(`${operations}`),
      }
      peer.clients.write(writeOf([beside]), 5000, () => {})
    }
    if (operations % 2 === 0) accompany()
    peer.clients.write({ ...writeOf([op]), checks }, 5000, result => {
      if (life !== this.life) return
      if ('error' in result) this.refuse(result.error)
      else if (result.outcome.type === 'committed') this.end(called, { type: 'done', applied: true })
      else if (result.outcome.type === 'conflict') this.end(called, { type: 'done', applied: false })
      else this.run.violate(`${this.name}: a write ended as ${result.outcome.type}`)
      then()
    })
    if (operations % 3 === 0) accompany()
  }

  private compareAndSet(key: number, value: string, then: () => void): void {
    this.read(key, (found, at) => {
      if (at < 0) then()
      else this.write(key, value, { value: found, at }, then)
    })
  }

  private begin(key: number, input: RegisterInput): number {
    const called = this.run.world.nowMs
    this.inFlight = { key, called, input }
    return called
  }

  private end(called: number, output: RegisterOutput): void {
    const { inFlight } = this
    if (inFlight === undefined || inFlight.called !== called) return
    this.inFlight = undefined
    const returned = this.run.world.nowMs
    this.run.histories[inFlight.key]!.push({ client: 0, input: inFlight.input, output, called, returned })
  }

  private refuse(error: HarmonyError): void {
    this.run.refused++
    if (error.maybeCommitted) this.giveUp()
    else this.inFlight = undefined
  }

  /** The answer will never come: it may have happened or not. */
  private giveUp(): void {
    const { inFlight } = this
    this.inFlight = undefined
    if (inFlight === undefined || inFlight.input.type === 'read') return
    this.run.unknown++
    const { input, called, key } = inFlight
    this.run.histories[key]!.push({ client: 0, input, output: undefined, called, returned: undefined })
  }
}

type Sizes = Pick<PeerOptions, 'checkpointBytes' | 'limits'>

function sizesOf(seed: number): Sizes {
  const random = seededRandom(seed + 0x5eed)
  const checkpointBytes = random.pick([512, 1024, 4096, 64 * 1024])
  return { checkpointBytes, limits: random.chance(0.5) ? { messageBytesMax: 40 } : {} }
}

export class Run {
  readonly world: World
  readonly invariants = new Invariants()
  readonly members: Member[] = []
  readonly histories: readonly History[] = keys.map(() => [])
  readonly random: SeededRandom
  clientsStopped = false
  unknown = 0
  refused = 0
  /** How often a whole state was received. */
  snapshots = 0
  /** Logs are short in some runs: who was away needs a snapshot, in several pieces. */
  readonly sizes: Sizes
  private readonly extra: string[] = []

  constructor(seed: number, sizes: Sizes = sizesOf(seed)) {
    this.random = seededRandom(seed)
    this.world = new World(seed)
    this.sizes = sizes
  }

  violate(text: string): void {
    if (this.extra.length < 20) this.extra.push(text)
  }
  get violations(): readonly string[] {
    return [...this.invariants.violations, ...this.extra]
  }

  /** Virtual milliseconds until `condition` holds; false if it does not within `ms`. */
  until(ms: number, condition: () => boolean): boolean {
    return this.world.runUntil(condition, ms)
  }
}
