/**
 * A simulated world: machines, a network and time, all from one seed. The core runs on it unchanged, synchronously, thousands
 * of times faster than by the clock; the same seed gives the same run, to the last event (`hash`).
 *
 *   const world = new World(42)
 *   const a = world.process('a')
 *   // build a peer on a.platform, a.directory and [a.rendezvous]
 *   world.runUntil(() => peer.status().health === 'ok')
 *   world.network.isolate('a'); world.run(3_000); world.network.heal()
 *   a.crash(); world.run(500); a.restart() // and build a new peer
 *
 * Caveat: what a test draws from must come from `world.random(purpose)`, and what it does must not depend on anything
 * outside of the world; else the seed does not repeat the run.
 */
import type { SeededRandom } from '../../src/base/random.ts'
import type { NetworkOptions } from './conditions.ts'
import type { DiskOptions } from './disk.ts'
import { ProfileLocks } from './founding-lock.ts'
import { SimulatedNetwork } from './network.ts'
import { SimulatedProcess } from './process.ts'
import { Scheduler } from './scheduler.ts'
import { ProfileSlots } from './slots.ts'

export interface WorldOptions {
  readonly network?: Partial<NetworkOptions>
  /** For every disk, unless its process says otherwise. */
  readonly disk?: Partial<DiskOptions>
}

export interface NewProcess {
  /** Default 'node'. */
  readonly kind?: 'tab' | 'node'
  /** Processes of one profile share a founding lock, and may hold each other's disks, as tabs of one origin do. Default: neither. */
  readonly profile?: string
  readonly disk?: Partial<DiskOptions>
}

/** What the tabs of one origin share. */
interface Profile {
  readonly locks: ProfileLocks
  readonly slots: ProfileSlots
}

export class World {
  readonly network: SimulatedNetwork
  private readonly scheduler: Scheduler
  private readonly options: WorldOptions
  private readonly machines = new Map<string, SimulatedProcess>()
  private readonly profiles = new Map<string, Profile>()

  constructor(seed: number | string, options: WorldOptions = {}) {
    this.scheduler = new Scheduler(seed)
    this.options = options
    this.network = new SimulatedNetwork(this.scheduler, options.network ?? {})
  }

  get seed(): number | string {
    return this.scheduler.seed
  }

  /** Since the world began. */
  get nowMs(): number {
    return this.scheduler.nowMs
  }

  /** How many have happened. */
  get events(): number {
    return this.scheduler.events
  }

  /** 16 hex digits over everything that has happened: equal for equal runs. */
  get hash(): string {
    return this.scheduler.hash
  }

  /** Hears of every event before it happens: 'time label'. */
  set trace(trace: ((line: string) => void) | undefined) {
    this.scheduler.trace = trace
  }

  /** Numbers for a purpose of the test's own, which shift nobody else's. */
  random(purpose: string): SeededRandom {
    return this.scheduler.random(`test ${purpose}`)
  }

  /** The process of that name; made, and running, at the first call. `options` count then only. */
  process(name: string, options: NewProcess = {}): SimulatedProcess {
    const known = this.machines.get(name)
    if (known !== undefined) return known
    const { kind = 'node', profile, disk = {} } = options
    const made = new SimulatedProcess(this.scheduler, this.network, name, {
      kind,
      ...(profile === undefined ? { locks: undefined, slots: undefined } : this.profile(profile)),
      disk: { ...this.options.disk, ...disk },
    })
    this.machines.set(name, made)
    return made
  }

  get processes(): readonly SimulatedProcess[] {
    return [...this.machines.values()]
  }

  /** Something that the test does at a given moment, as an event of the world. */
  after(delayMs: number, label: string, run: () => void): void {
    this.scheduler.after(delayMs, label, run)
  }

  /** One event. False: nothing is left to happen. */
  step(): boolean {
    return this.scheduler.step()
  }

  /** Everything of the next `durationMs`. */
  run(durationMs: number): void {
    this.scheduler.run(durationMs)
  }

  /** Looks after every event. False: the time was over before the condition held. */
  runUntil(condition: () => boolean, timeoutMs = 60_000): boolean {
    return this.scheduler.runUntil(condition, timeoutMs)
  }

  private profile(name: string): Profile {
    const known = this.profiles.get(name)
    if (known !== undefined) return known
    const made = { locks: new ProfileLocks(), slots: new ProfileSlots() }
    this.profiles.set(name, made)
    return made
  }
}
