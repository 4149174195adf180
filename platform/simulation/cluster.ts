/**
 * A cluster of whole databases in a simulated world, for an application's own tests: `harmonydb/simulation`. Each peer is a `Database` as `open` gives it, on a virtual clock, a
 * network that can be cut and a disk that forgets what was not synced, rots and fails. From one seed comes one run, faults included, in a small part of the time that it simulates.
 *
 * Promises and virtual time meet in `run`: it lets the world go on, an event at a time, until what it was given has settled; between events what can go on without the world
 * does. Outside of `run` and `advance` time stands still.
 *
 * Caveats: a call to a peer that crashes is never answered, as from a process that died (`run` then gives up after its limit); what a test draws by itself (Math.random, Date.now, real
 * timers) is not repeated by the seed.
 */

import {
  createDatabase,
  type Database,
  HarmonyError,
  type JoinOptions,
  type LocalCore,
  type OpenOptions,
  openLocalCore,
} from '../../src/index.ts'
import type { NetworkOptions } from './conditions.ts'
import type { DiskOptions } from './disk.ts'
import type { SimulatedProcess } from './process.ts'
import { World } from './world.ts'

export interface ClusterOptions {
  readonly network?: Partial<NetworkOptions>
  /** For every disk, unless its peer says otherwise. */
  readonly disk?: Partial<DiskOptions>
  /** Hears of every event of the world: 'time label'. */
  readonly trace?: (line: string) => void
}

export interface PeerOptions extends Pick<OpenOptions, 'cacheBytes' | 'onEvent'> {
  /** Peers of one profile are tabs of one browser: they share a founding lock, and go on for each other when some are gone. Default: a machine of its own. */
  readonly profile?: string
  readonly disk?: Partial<DiskOptions>
  /** So many bytes of log between two checkpoints: with few of them, who was away gets a whole state. Default: as everywhere. */
  readonly checkpointBytes?: number
  /** The most that a peer packs into one message to another. Default: as everywhere. */
  readonly messageBytesMax?: number
}

const cores = new WeakMap<SimulatedPeer, LocalCore>()

/** What runs below the database of a peer that is, or was, open: for the laboratory. */
export const insideOf = (peer: SimulatedPeer): LocalCore['peer'] | undefined => cores.get(peer)?.peer

const room = 'simulation'
const secret = 'hs1_simulationsimulationsimulation'
/** Virtual; more than any timeout of a call by default. */
const limitMsDefault = 120_000

export class SimulatedPeer {
  readonly name: string
  private readonly cluster: SimulatedCluster
  private readonly options: PeerOptions
  private readonly process: SimulatedProcess
  private current: Database | undefined
  private lives = 0

  constructor(cluster: SimulatedCluster, process: SimulatedProcess, options: PeerOptions) {
    this.name = process.name
    this.cluster = cluster
    this.process = process
    this.options = options
  }

  /** The database of the present life. @throws HarmonyError CLOSED between a crash and the next `open`. */
  get db(): Database {
    if (this.current !== undefined) return this.current
    throw new HarmonyError('CLOSED', `${this.name} is not open: await its open()`)
  }

  /** Opens what its disk holds; after a crash, as a process that is started again. */
  async open(): Promise<Database> {
    return this.cluster.run(this.start())
  }

  /**
   * As `open`, and time is moved on by somebody else: for what happens while the world goes on.
   * @throws HarmonyError CLOSED where it crashes meanwhile and is started again; else it never comes to an end then.
   */
  async start(): Promise<Database> {
    if (this.current !== undefined) return this.current
    if (!this.process.running) this.process.restart()
    const life = ++this.lives
    const { process } = this
    if (this.options.profile !== undefined) await new Promise<void>(resolve => process.claimDirectory(resolve))
    if (life !== this.lives) throw crashed(this.name)
    const { platform, directory, rendezvous, slots } = process
    const { cacheBytes, onEvent, checkpointBytes, messageBytesMax } = this.options
    const core = await this.openCore({
      platform,
      directory,
      storageKind: 'simulation',
      durability: 'strict',
      ...(cacheBytes === undefined ? {} : { cacheBytes }),
      ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
      ...(messageBytesMax === undefined ? {} : { limits: { messageBytesMax } }),
      ...(slots === undefined ? {} : { slots }),
      rendezvous: () => [rendezvous],
    })
    if (life !== this.lives) throw crashed(this.name)
    cores.set(this, core)
    if (onEvent !== undefined) core.events(onEvent)
    this.current = createDatabase(core)
    return this.current
  }

  /** Where it fails the process is at its end, and the next `open` is one of another process. */
  private async openCore(options: Parameters<typeof openLocalCore>[0]): Promise<LocalCore> {
    const life = this.lives
    try {
      return await openLocalCore(options)
    } catch (error) {
      if (life === this.lives && this.process.running) this.process.crash('kept')
      throw error
    }
  }

  /** Joins the room that all peers of a simulation meet in, unless it is told another one. */
  async join(options: Partial<JoinOptions> = {}): Promise<void> {
    await this.cluster.run(this.enter(options))
  }

  /** As `join`, and time is moved on by somebody else. */
  async enter(options: Partial<JoinOptions> = {}): Promise<void> {
    await this.db.cluster.join({ room, secret, ...options })
  }

  /** In order: leaves its leadership to another, closes its files. */
  async close(): Promise<void> {
    if (this.current === undefined) return
    await this.cluster.run(this.current.close())
    this.current = undefined
    this.process.crash('kept')
  }

  /** `lost`: as by a power failure, any of the unsynced writes may be gone. `kept`: the process was killed, the machine goes on. */
  crash(cache: 'lost' | 'kept' = 'lost'): void {
    this.current = undefined
    this.lives++
    if (this.process.running) this.process.crash(cache)
  }

  /** Nothing reaches it, no time passes for it, until `thaw`: a tab in the background, a laptop that sleeps. */
  freeze(): void {
    this.process.freeze()
  }

  thaw(): void {
    this.process.thaw()
  }

  /**
   * What it has stored is gone, as with a new disk or data that a browser evicted: it opens as another peer. Between `crash` and `open` only.
   * @throws HarmonyError VALIDATION while it runs.
   */
  wipe(): void {
    if (this.process.running)
      throw new HarmonyError('VALIDATION', `${this.name} is running: crash it before its disk is wiped`)
    this.process.disk.wipe()
  }

  /** So many bits of what it has stored flip, anywhere in it, whether it runs or not; the same for each run with the seed. Gives how many did: fewer where little is stored. */
  rot(bits = 1): number {
    const { world } = this.cluster
    return this.process.disk.decay(bits, world.random(`rot of ${this.name} at event ${world.events}`))
  }

  /** The next sync of its disk fails: the database stops (event `error`, STORAGE_LOST), and is to be crashed and opened again. */
  failSync(): void {
    this.process.disk.failNextSync()
  }

  /** The next read of its disk fails with STORAGE_LOST. */
  failRead(): void {
    this.process.disk.failNextRead()
  }

  /** The next page that it writes lands elsewhere in its file. */
  misdirectWrite(): void {
    this.process.disk.misdirectNextWrite()
  }

  /** Each sync takes up to so much longer; 0: no longer. */
  set slowSyncMs(ms: number) {
    this.process.disk.slowSyncMs = ms
  }

  /** The device has no space left, or has some again. */
  set diskFull(full: boolean) {
    this.process.disk.full = full
  }

  /** Its clock runs so much faster (2) or slower (0.5) than the world's, or jumps. */
  get time(): SimulatedProcess['time'] {
    return this.process.time
  }
}

function crashed(name: string): HarmonyError {
  return new HarmonyError('CLOSED', `${name} crashed while it was opened`)
}

export class SimulatedCluster {
  readonly world: World
  private readonly peersByName = new Map<string, SimulatedPeer>()

  constructor(seed: number | string, { trace, ...options }: ClusterOptions = {}) {
    this.world = new World(seed, options)
    this.world.trace = trace
  }

  /** Virtual milliseconds since the world began. */
  get nowMs(): number {
    return this.world.nowMs
  }

  /** Equal for equal runs, to the last event. */
  get hash(): string {
    return this.world.hash
  }

  /** The peer of that name; made at the first call, `options` count then only. It is not open yet. */
  peer(name: string, options: PeerOptions = {}): SimulatedPeer {
    const known = this.peersByName.get(name)
    if (known !== undefined) return known
    const { profile, disk } = options
    const process = this.world.process(name, {
      ...(profile === undefined ? {} : { profile, kind: 'tab' }),
      ...(disk === undefined ? {} : { disk }),
    })
    const made = new SimulatedPeer(this, process, options)
    this.peersByName.set(name, made)
    return made
  }

  /** So many peers, p0, p1 and so on, open and in one room, all caught up. */
  async peers(count: number, options: PeerOptions = {}): Promise<SimulatedPeer[]> {
    const made = Array.from({ length: count }, (_, n) => this.peer(`p${n}`, options))
    for (const peer of made) {
      await peer.open()
      await peer.join()
    }
    return made
  }

  /**
   * Lets the world go on until `work` has settled, and gives what it came to.
   * @param limitMs Of virtual time.
   * @throws What `work` rejects with; HarmonyError TIMEOUT where it has not settled by then.
   */
  async run<T>(work: Promise<T> | (() => Promise<T>), limitMs = limitMsDefault): Promise<T> {
    const untilMs = this.nowMs + limitMs
    let settled = false
    const settle = (): void => {
      settled = true
    }
    const promise = typeof work === 'function' ? work() : work
    promise.then(settle, settle)
    await turn()
    while (!settled) {
      if (this.nowMs > untilMs || !this.world.step()) {
        const message = `what was run has not come to an end after ${limitMs} ms of virtual time: a peer that it asked has crashed, perhaps`
        throw new HarmonyError('TIMEOUT', message)
      }
      await turn()
    }
    return promise
  }

  /** Lets so much virtual time pass. */
  async advance(ms: number): Promise<void> {
    let over = false
    this.world.after(ms, 'the test goes on', () => {
      over = true
    })
    while (!over && this.world.step()) await turn()
  }

  /** Nothing passes between the two sides; peers of neither reach both. */
  partition(side: readonly string[], other: readonly string[]): void {
    this.world.network.partition(side, other)
  }

  /** Nothing reaches the peer, and nothing comes from it. */
  isolate(name: string): void {
    this.world.network.isolate(name)
  }

  /** Nothing goes from one to the other; the other way is open. */
  cut(from: string, to: string): void {
    this.world.network.cut(from, to)
  }

  /** Ends every partition, isolation and cut. */
  heal(): void {
    this.world.network.heal()
  }

  /** How the network does from now on: delays, losses, resets, messages with bits that flip. */
  configure(options: Partial<NetworkOptions>): void {
    this.world.network.configure(options)
  }
}

/** A simulated cluster that is the same for each run with this seed. */
export const simulate = (seed: number | string, options?: ClusterOptions): SimulatedCluster =>
  new SimulatedCluster(seed, options)

/** Steps of promises between two events: what hangs together by more goes on behind the next event, the same in each run. */
const stepsBetween = 8

/** What is ready to go on does so. */
async function turn(): Promise<void> {
  for (let i = 0; i < stepsBetween; i++) await undefined
}
