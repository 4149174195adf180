/** A whole peer on a simulated host, with verbs that run the world until they are answered. */
import { expect } from 'vitest'
import type { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { timestamp } from '../../src/base/ids.ts'
import { encodeText } from '../../src/base/text.ts'
import { Lives } from '../../src/cluster/lives.ts'
import type { Peer } from '../../src/cluster/peer.ts'
import type { PeerJoin, PeerOptions } from '../../src/cluster/peer-types.ts'
import { openStore } from '../../src/cluster/store.ts'
import { payloadOf, timestampOf } from '../../src/mvcc/versioned.ts'
import type { Outcome } from '../../src/shard/sessions.ts'
import { writeOf } from './write-of.ts'

const secret = 'hs1_simulationsimulationsimulation'
const bytes = encodeText

export interface HostOptions
  extends Pick<PeerOptions, 'checkpointBytes' | 'limits' | 'timing' | 'policy' | 'leaseDriftMax' | 'trace'> {
  /** Goes on for others of its profile that are gone. */
  readonly adopts?: boolean
}

export class Host {
  readonly name: string
  readonly world: World
  /** Received states, in this life. */
  snapshots = 0
  private readonly options: HostOptions
  /** What its database said, in this life of the process: `paused CODE`, `repaired: …`, `error CODE`. */
  readonly told: string[] = []
  private current: Lives | undefined
  joinError: HarmonyError | undefined | 'pending' = 'pending'

  constructor(world: World, name: string, profile?: string, options: HostOptions = {}) {
    this.world = world
    this.options = options
    this.name = name
    world.process(name, profile === undefined ? {} : { profile, kind: 'tab' })
  }

  get peer(): Peer {
    if (this.current === undefined) throw new Error(`${this.name} is not open`)
    return this.current.peer
  }
  get isOpen(): boolean {
    return this.current !== undefined
  }
  get lives(): Lives {
    if (this.current === undefined) throw new Error(`${this.name} is not open`)
    return this.current
  }
  get status() {
    return this.peer.status()
  }
  get process() {
    return this.world.process(this.name)
  }

  /** Another one in the same world, with the same sizes. */
  sibling(name: string): Host {
    return new Host(this.world, name, undefined, this.options)
  }

  open(): this {
    const { process } = this
    let claimed = process.slots === undefined
    if (!claimed) {
      process.claimDirectory(() => {
        claimed = true
      })
    }
    expect(claimed || this.world.runUntil(() => claimed, 30_000)).toBe(true)
    const { platform, directory, slots } = process
    const { adopts = false, ...options } = this.options
    process.onDiskLost = () => this.current?.lose(new HarmonyError('STORAGE_LOST', 'the lock was taken away'))
    let error: HarmonyError | undefined
    const storeOptions = { directory, platform, cacheBytes: 65_536 }
    openStore(storeOptions, store => {
      if (!store.ok) {
        error = store.error
        return
      }
      this.told.push(...store.value.repairs.map(message => `repaired: ${message}`))
      this.current = new Lives(
        {
          platform,
          storeOptions,
          ...options,
          slots: adopts ? slots : undefined,
          onAdoption: event =>
            void this.told.push(
              event.type === 'adopted' ? `adopted ${event.id}` : `returned ${event.id}: ${event.message}`,
            ),
          onChange: () => {},
          onEvent: event => {
            if (event.type === 'snapshot') this.snapshots++
            if (event.type === 'error') this.told.push(`error ${event.error.code}`)
          },
          onReplaced: () => {},
          onPaused: why => void this.told.push(`paused ${why.code}`),
          onRepaired: message => void this.told.push(`repaired: ${message}`),
        },
        store.value,
      )
    })
    this.world.runUntil(() => this.current !== undefined || error !== undefined)
    if (error !== undefined) throw error
    return this
  }

  startJoin(options: Partial<PeerJoin> = {}): this {
    this.joinError = 'pending'
    const { rendezvous } = this.process
    this.lives.join(
      { room: 'r', secret, rendezvous: [rendezvous], wish: 'auto', bootstrap: 'auto', onConflict: 'fail', ...options },
      error => {
        this.joinError = error
      },
    )
    return this
  }

  join(options: Partial<PeerJoin> = {}): HarmonyError | undefined {
    this.startJoin(options)
    this.world.runUntil(() => this.joinError !== 'pending', 120_000)
    if (this.joinError === 'pending') throw new Error(`${this.name} never came to an end with joining`)
    return this.joinError
  }

  put(key: string, value: string, timeoutMs = 10_000): 'ok' | HarmonyError {
    return this.putAll([[key, value]], timeoutMs)
  }

  /** The state machine's own answer to a write with an idempotency key. */
  putOnce(key: string, value: string, idempotencyKey: string, timeoutMs = 10_000): Outcome | HarmonyError {
    let answer: Outcome | HarmonyError | undefined
    const ops = [{ type: 'put', key: bytes(key), value: bytes(value) }] as const
    this.peer.clients.write({ ...writeOf(ops), idempotencyKey }, timeoutMs, result => {
      answer = 'error' in result ? result.error : result.outcome
    })
    this.world.runUntil(() => answer !== undefined, 60_000)
    if (answer === undefined) throw new Error('a write was never answered')
    return answer
  }

  /** Writes if the key has this value, by what this replica has. */
  swap(key: string, expected: string, value: string): Outcome | HarmonyError {
    const stored = this.lives.store.engine.peek(view => view.get(bytes(key)))?.value
    expect(stored && new TextDecoder().decode(payloadOf(stored))).toBe(expected)
    let answer: Outcome | HarmonyError | undefined
    const ops = [{ type: 'put', key: bytes(key), value: bytes(value) }] as const
    const checks = [{ key: bytes(key), at: timestamp(timestampOf(stored!)) }]
    this.peer.clients.write({ ...writeOf(ops), checks }, 10_000, result => {
      answer = 'error' in result ? result.error : result.outcome
    })
    this.world.runUntil(() => answer !== undefined, 60_000)
    if (answer === undefined) throw new Error('a write was never answered')
    return answer
  }

  /** In one batch. */
  putAll(rows: readonly (readonly [key: string, value: string])[], timeoutMs = 10_000): 'ok' | HarmonyError {
    let answer: 'ok' | HarmonyError | undefined
    const ops = rows.map(([key, value]) => ({ type: 'put', key: bytes(key), value: bytes(value) }) as const)
    this.peer.clients.write(writeOf(ops), timeoutMs, result => {
      answer = 'error' in result ? result.error : 'ok'
    })
    this.world.runUntil(() => answer !== undefined, 60_000)
    return answer ?? 'ok'
  }

  get(key: string, consistency: 'linearizable' | 'local' = 'linearizable'): string | undefined | HarmonyError {
    let answer: { value: string | undefined | HarmonyError } | undefined
    this.peer.clients.read(
      { consistency },
      10_000,
      view => view.get(bytes(key)),
      stored => {
        const value =
          stored instanceof HarmonyError || stored === undefined ? stored : new TextDecoder().decode(payloadOf(stored))
        answer = { value }
      },
    )
    this.world.runUntil(() => answer !== undefined, 60_000)
    return answer?.value
  }

  leave(): void {
    let done = false
    this.lives.leave(() => {
      done = true
    })
    expect(this.world.runUntil(() => done, 30_000)).toBe(true)
  }

  close(): void {
    let done = false
    this.lives.close(() => {
      done = true
    })
    expect(this.world.runUntil(() => done, 30_000)).toBe(true)
    this.current = undefined
  }

  crash(cache: 'lost' | 'kept' = 'lost'): void {
    this.process.crash(cache)
    this.current = undefined
  }

  restart(): this {
    this.process.restart()
    return this.open()
  }
}

export function hosts(world: World, count: number, profile?: string, options?: HostOptions): Host[] {
  return Array.from({ length: count }, (_, n) => new Host(world, `h${n}`, profile, options).open())
}
