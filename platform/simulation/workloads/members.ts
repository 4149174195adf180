/** The peers of a run of transactions, through crashes and new lives; their clients; and what these saw. */
import { type HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import type { DatabaseEvent } from '../../../src/index.ts'
import type { Recorder } from '../../histories/recorder.ts'
import { insideOf, type SimulatedCluster, type SimulatedPeer } from '../cluster.ts'
import type { SimulatedProcess } from '../process.ts'
import { isDisksFault, type Seat, seatOf } from '../runs/damage.ts'
import type { Struck } from '../runs/nemesis.ts'
import { GivenUp, type Step, type Workload } from './workload.ts'

const clientsOfPeer = 2
/** What a call may come to under faults. Anything else is a mistake, of the database or of the workload. */
const expected: readonly string[] = [
  'CONFLICT',
  'DEADLOCK',
  'NO_QUORUM',
  'COMMIT_UNKNOWN',
  'TIMEOUT',
  'SNAPSHOT_TOO_OLD',
  'QUOTA',
  'CLOSED',
]

export interface RunOfWorkload {
  readonly cluster: SimulatedCluster
  readonly workload: Workload
  readonly recorder: Recorder
  readonly random: SeededRandom
  /** Clients begin no further call. */
  stopped: boolean
  violate(text: string): void
}

export class Member implements Struck {
  readonly name: string
  readonly peer: SimulatedPeer
  readonly process: SimulatedProcess
  private readonly run: RunOfWorkload
  private readonly random: SeededRandom
  /** Why it cannot run (again), and somebody has to see to it. */
  failure: HarmonyError | undefined
  private joined: boolean
  private life = 0
  private working = 0

  /** @param isNew Comes while there are faults, and has not joined. */
  constructor(run: RunOfWorkload, peer: SimulatedPeer, isNew: boolean) {
    this.run = run
    this.name = peer.name
    this.peer = peer
    this.process = run.cluster.world.process(peer.name)
    this.random = run.random.fork()
    this.joined = !isNew
  }

  /** Clients of this life have calls that are not answered. */
  get busy(): boolean {
    return this.working > 0
  }

  get isLeader(): boolean {
    return this.isOpen && this.peer.db.cluster.status().role === 'leader'
  }

  get seat(): Seat | undefined {
    return seatOf(insideOf(this.peer)?.status())
  }

  /** In the cluster, with a leader, and able to go on. */
  get isWell(): boolean {
    return this.isOpen && this.failure === undefined && this.peer.db.cluster.status().health === 'ok'
  }

  /** Another number for each life. */
  get lifeNumber(): number {
    return this.life
  }

  get isReceiving(): boolean {
    return this.isOpen && this.peer.db.status().log.receivedBytes !== undefined
  }

  /** The clients' calls are never answered, and theirs are other clients afterwards. */
  crash(cache: 'lost' | 'kept'): void {
    this.life++
    this.working = 0
    this.peer.crash(cache)
  }

  /** Opens the database and joins, again and again where there are reasons for that; then its clients work. Where it cannot, somebody has to start it again. */
  async begin(): Promise<void> {
    const life = ++this.life
    this.failure = undefined
    try {
      await this.peer.start()
      if (this.joined && life === this.life) this.work()
      await this.attempt(life, 1000, () => this.peer.enter(this.joined ? {} : { bootstrap: false }))
    } catch (error) {
      if (life === this.life) this.fail('could not begin', error)
      return
    }
    if (life !== this.life || this.joined) return
    this.joined = true
    this.work()
  }

  revive(): void {
    void this.begin()
  }

  runCopy(copy: SimulatedProcess, stopped: (why: HarmonyError) => void): void {
    const onEvent = (event: DatabaseEvent): void => {
      if (event.type === 'error') stopped(event.error)
    }
    const peer = this.run.cluster.peer(copy.name, { onEvent })
    const begin = async (): Promise<void> => {
      await peer.start()
      await peer.enter()
    }
    begin().catch(error => {
      if (isHarmonyError(error)) stopped(error)
      else this.run.violate(`${copy.name}: ${said(error)}`)
    })
  }

  wiped(): void {
    this.joined = false
  }

  /** What its database says. */
  hear(event: DatabaseEvent): void {
    if (event.type === 'error' && ['STORAGE_LOST', 'CORRUPT', 'QUOTA'].includes(event.error.code)) {
      this.fail('stopped', event.error)
    }
  }

  private fail(what: string, error: unknown): void {
    if (isHarmonyError(error)) this.failure = error
    if (!isHarmonyError(error) || !isDisksFault(this.process.disk, error)) {
      this.run.violate(`${this.name} ${what}: ${said(error)}`)
    }
  }

  handOver(): void {
    // It may be refused, or never be answered.
    this.peer.db.cluster.transferLeadership().catch(() => {})
  }

  work(): void {
    const { life } = this
    for (let n = 0; n < clientsOfPeer; n++) {
      this.working++
      this.client(life, `${this.name}.${life}.${n}`).then(
        () => {
          if (life === this.life) this.working--
        },
        error => this.run.violate(`a client of ${this.name} stopped: ${said(error)}`),
      )
    }
  }

  /** One call; false where the process died. The line that ends it is missing then. */
  async call(client: string, { invoke, run, unknown }: Step): Promise<boolean> {
    const { recorder } = this.run
    const { life } = this
    recorder.invoke(client, invoke)
    try {
      const answer = await run(this.peer.db)
      if (life !== this.life) return false
      recorder.end(client, 'ok', answer)
    } catch (error) {
      if (life !== this.life) return false
      if (error instanceof GivenUp) recorder.end(client, 'fail')
      else if (isHarmonyError(error)) {
        if (error.maybeCommitted) recorder.end(client, 'info', unknown?.())
        else recorder.end(client, 'fail')
        if (!expected.includes(error.code) && !isDisksFault(this.process.disk, error))
          this.run.violate(`a call of ${client} ended with ${said(error)}`)
      } else throw error
    }
    return true
  }

  private get isOpen(): boolean {
    try {
      return this.peer.db !== undefined
    } catch {
      return false
    }
  }

  private async client(life: number, name: string): Promise<void> {
    for (;;) {
      await this.pause(5 + this.random.below(200))
      if (this.run.stopped) return
      if (!(await this.call(name, this.run.workload.step())) || life !== this.life) return
    }
  }

  /** By the process's own clock: for ever where it dies. */
  private pause(ms: number): Promise<void> {
    return new Promise(resolve => void this.process.platform.clock.after(ms, resolve))
  }

  /** @throws What is no reason to try again. */
  private async attempt(life: number, pauseMs: number, what: () => Promise<unknown>): Promise<void> {
    for (;;) {
      if (life !== this.life) return
      try {
        await what()
        return
      } catch (error) {
        const full = isHarmonyError(error, 'QUOTA')
        const late = isHarmonyError(error, 'TIMEOUT') || isHarmonyError(error, 'NO_QUORUM')
        if (life !== this.life) return
        // Another peer goes on in its place, which nobody told to join.
        const replaced = isHarmonyError(error, 'CORRUPT') && this.failure === undefined
        if (!full && !late && !replaced) throw error
        await this.pause(pauseMs)
      }
    }
  }
}

function said(error: unknown): string {
  if (isHarmonyError(error)) return `${error.code}: ${error.message}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
