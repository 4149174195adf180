/**
 * A simulated machine with one process on it that can crash, start again, freeze, or lose its disk. What belongs to the process (ports,
 * callbacks) dies with it; the machine's clock and disk stay.
 */
import { assert } from '../../src/base/assert.ts'
import type { SeededRandom } from '../../src/base/random.ts'
import type { Completion, Directory, Platform, Random, Rendezvous, SlotEvents, Slots } from '../../src/platform.ts'
import { SimulatedTime } from './clock.ts'
import { type DiskOptions, SimulatedDisk } from './disk.ts'
import type { ProfileLocks } from './founding-lock.ts'
import { Incarnation } from './incarnation.ts'
import type { SimulatedNetwork } from './network.ts'
import type { Scheduler } from './scheduler.ts'
import type { ProfileSlots } from './slots.ts'

export interface ProcessOptions {
  readonly kind: 'tab' | 'node'
  /** Processes of one profile share a founding lock, as tabs of one origin do. Undefined: none. */
  readonly locks: ProfileLocks | undefined
  /** Its disk is one of them, and it may go on for the others'. */
  readonly slots: ProfileSlots | undefined
  readonly disk: Partial<DiskOptions>
}

/** What one life of a process has. */
interface Life {
  readonly incarnation: Incarnation
  readonly platform: Platform
  readonly rendezvous: Rendezvous
  readonly slots: Slots | undefined
  directory: Directory | undefined
}

export class SimulatedProcess {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly time: SimulatedTime
  /** Its disk was taken away from it (`SimulatedDisk.takeAway`). */
  onDiskLost: () => void = () => {}
  private readonly scheduler: Scheduler
  private readonly network: SimulatedNetwork
  private readonly options: ProcessOptions
  private readonly random: SeededRandom
  private lives = 0
  private life: Life

  constructor(scheduler: Scheduler, network: SimulatedNetwork, name: string, options: ProcessOptions) {
    this.scheduler = scheduler
    this.network = network
    this.name = name
    this.options = options
    this.random = scheduler.random(`process ${name}`)
    this.disk = new SimulatedDisk(scheduler, name, options.disk)
    options.slots?.disks.push(this.disk)
    this.time = new SimulatedTime(scheduler, scheduler.random(`clock ${name}`))
    this.life = this.start()
  }

  get running(): boolean {
    return this.life.incarnation.alive
  }

  get frozen(): boolean {
    return this.life.incarnation.frozen
  }

  get platform(): Platform {
    return this.current().platform
  }

  get rendezvous(): Rendezvous {
    return this.current().rendezvous
  }

  /** This life's hold on the disk; the same object each time. */
  get directory(): Directory {
    const life = this.current()
    if (life.directory === undefined) {
      const opened = this.disk.open(life.incarnation, this.ownEvents)
      if (opened instanceof Error) throw opened
      life.directory = opened
    }
    return life.directory
  }

  /** Other disks of its profile; undefined: it has none. */
  get slots(): Slots | undefined {
    return this.current().slots
  }

  /** As a tab claims its slot: if another one has adopted it, asks for it and waits. Then `directory` is there. */
  claimDirectory(done: () => void): void {
    const life = this.current()
    this.disk.want(() => {
      if (!life.incarnation.alive) return
      // In the moment in which it is free: nobody comes in between.
      void this.directory
      life.incarnation.soon('own slot', done)
    })
  }

  /** As a host opens one: LOCKED while this or another life holds the disk. */
  openDirectory(done: Completion<Directory>): void {
    const { incarnation } = this.current()
    incarnation.soon('open directory', () => {
      const opened = this.disk.open(incarnation)
      done(opened instanceof Error ? { ok: false, error: opened } : { ok: true, value: opened })
    })
  }

  /** `lost`: as by a power failure, any of the unsynced writes may be gone. `kept`: the process was killed, the system goes on. */
  crash(cache: 'lost' | 'kept' = 'lost'): void {
    const { incarnation } = this.current()
    incarnation.kill()
    this.options.slots?.processDied(incarnation, cache)
    if (this.options.slots === undefined) this.disk.crash(cache)
    this.options.locks?.processDied(incarnation)
    this.network.processDied(incarnation)
  }

  /** A new life on what the last one left. The caller builds a new peer on the new ports. */
  restart(): void {
    assert(!this.running, `${this.name} is running`)
    this.life = this.start()
  }

  /** Nothing that happens reaches the process until `thaw`; then it comes in order. */
  freeze(): void {
    this.current().incarnation.freeze()
  }

  thaw(): void {
    this.current().incarnation.thaw()
  }

  private current(): Life {
    assert(this.running, `${this.name} is not running: restart it first`)
    return this.life
  }

  private start(): Life {
    const incarnation = new Incarnation(this.scheduler, this.name, ++this.lives)
    const numbers = this.random.fork()
    const random: Random = { fill: bytes => numbers.fill(bytes) }
    const platform: Platform = {
      kind: this.options.kind,
      clock: this.time.clockOf(incarnation),
      random,
      transport: this.network.transportOf(incarnation),
      foundingLock: this.options.locks?.lockOf(incarnation),
    }
    return {
      incarnation,
      platform,
      rendezvous: this.network.signaling.rendezvousOf(incarnation),
      slots: this.options.slots?.slotsOf(incarnation),
      directory: undefined,
    }
  }

  private get ownEvents(): SlotEvents {
    return { onWanted: () => {}, onLost: () => this.onDiskLost() }
  }
}
