/**
 * A scripted workload, its model, and one peer that runs it on a simulated disk through crashes. The script is a list of writes, each
 * atomic; they are sent in order, a few at a time, so whatever survives a crash must be the state after some first part of the script
 * that holds everything acknowledged.
 */
import type { SimulatedProcess } from '../../platform/simulation/process.ts'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import { decodeText, encodeText } from '../../src/base/text.ts'
import { Peer } from '../../src/cluster/peer.ts'
import { openStore } from '../../src/cluster/store.ts'
import { type StoreReport, verifyStore } from '../../src/cluster/verify.ts'
import { payloadOf } from '../../src/mvcc/versioned.ts'
import type { Result } from '../../src/platform.ts'
import type { WriteOp } from '../../src/shard/command.ts'
import type { Engine, EngineStatus, View } from '../../src/storage/engine.ts'

/** 16 frames: far less than the data take. */
const cacheBytes = 16 * 1024
/** By seed: often, now and then, at closing only. */
const checkpointBytes = [24 * 1024, 80 * 1024, 16 * 1024 * 1024] as const
const inFlightMax = 4
const keyCount = 40

export interface Script {
  readonly writes: readonly (readonly WriteOp[])[]
  /** The process closes its database in order, and opens it again, before these writes. */
  readonly closings: ReadonlySet<number>
  /** After the first n writes, as `stateText` says it. */
  readonly states: readonly string[]
  /** Of keys and values, when they were most. */
  readonly bytesMax: number
}

/** Values of 0 bytes to 100 KB, batches, deletes; it begins small, so that crashes of a store's first moments are among those of a sample. */
export function makeScript(seed: number, writeCount = 70): Script {
  const random = seededRandom(`script ${seed}`)
  const writes: WriteOp[][] = []
  const states: string[] = ['']
  const model = new Map<string, string>()
  let bytesMax = 0
  for (let n = 0; n < writeCount; n++) {
    const ops: WriteOp[] = []
    const size = random.chance(0.3) ? random.between(2, 8) : 1
    const used = new Set<string>()
    while (ops.length < size) {
      const name = `key ${String(random.below(keyCount)).padStart(2, '0')}`
      if (used.has(name)) continue
      used.add(name)
      const key = encodeText(name)
      if (random.chance(0.25)) {
        ops.push({ type: 'delete', key })
        model.delete(name)
        continue
      }
      // The last before each closing is large enough for a checkpoint at the end.
      const last = n === writeCount - 1 || n === Math.floor(writeCount / 2) - 1
      const bytes = last && ops.length === 0 ? 100_000 : sizeOf(random, size)
      const value = valueFor(n * 16 + ops.length, bytes)
      ops.push({ type: 'put', key, value })
      model.set(name, describe(value))
    }
    writes.push(ops)
    states.push(stateText(model))
    let bytes = 0
    for (const [key, value] of model) bytes += key.length + Number.parseInt(value, 10)
    bytesMax = Math.max(bytesMax, bytes)
  }
  return { bytesMax, writes, closings: new Set([Math.floor(writeCount / 2)]), states }
}

function sizeOf(random: SeededRandom, batch: number): number {
  const dice = random.below(20)
  if (dice < 2) return 0
  if (dice < 10) return random.between(1, 100)
  if (dice < 16) return random.between(100, 1500)
  if (dice < 19) return random.between(1500, 8000)
  return batch === 1 ? random.between(20_000, 100_000) : 5000
}

/** Names itself at its beginning where it is long enough; half of it can be compressed. */
function valueFor(id: number, bytes: number): Uint8Array {
  const value = new Uint8Array(bytes)
  const random = seededRandom(id)
  random.fill(value.subarray(0, bytes >>> 1))
  value.fill(id % 251, bytes >>> 1)
  return value
}

/** Two values that differ anywhere do not read the same. */
function describe(value: Uint8Array): string {
  let [a, b] = [0x811c9dc5, 1]
  for (const byte of value) {
    a = Math.imul(a ^ byte, 0x01000193)
    b = (Math.imul(b, 31) + byte + 1) | 0
  }
  return `${value.length}:${a >>> 0}:${b >>> 0}`
}

function stateText(state: ReadonlyMap<string, string>): string {
  return [...state]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')
}

/** A peer on a disk, life after life. Everything that goes wrong, but for what the test asked for, throws. */
export class CrashRun {
  readonly world: World
  readonly process: SimulatedProcess
  readonly script: Script
  /** Writes that are known to have been executed, in any life. */
  acknowledged = 0
  /** Writes that went out, in any life. */
  submitted = 0
  /** The first refusal of this life. */
  refusal: HarmonyError | undefined
  /** The store was there once: from then on it is whole, whatever happens. */
  everOpened = false
  private readonly checkpointBytes: number
  private engine: Engine | undefined
  private peer: Peer | undefined

  constructor(seed: number, script: Script) {
    this.world = new World(seed)
    this.process = this.world.process('p')
    this.script = script
    this.checkpointBytes = checkpointBytes[seed % checkpointBytes.length] as number
  }

  get operations(): number {
    return this.process.disk.operations
  }

  get powerLost(): boolean {
    return this.process.disk.powerLost
  }

  get isOpen(): boolean {
    return this.peer !== undefined
  }

  get status(): EngineStatus {
    if (this.engine === undefined) throw new Error('never opened')
    return this.engine.status()
  }

  /** False: the power went, or it was refused. */
  open(): boolean {
    const { platform, directory } = this.process
    const opened = this.wait<Result<undefined>>('open', done =>
      openStore({ directory, platform, cacheBytes }, store => {
        if (!store.ok) return done(store)
        this.everOpened = true
        this.engine = store.value.engine
        const { checkpointBytes } = this
        const onEvent = () => {}
        this.peer = new Peer({ platform, store: store.value, checkpointBytes, onChange: () => {}, onEvent })
        done({ ok: true, value: undefined })
      }),
    )
    if (opened === undefined) return false
    if (opened.ok) return true
    this.refuse(opened.error)
    return false
  }

  /** From the write after `submitted` to the end of the script or the next closing. False: the power went, or a write was refused. */
  write(): boolean {
    const { writes, closings } = this.script
    const { peer } = this
    if (peer === undefined) throw new Error('not open')
    let end = this.submitted + 1
    while (end < writes.length && !closings.has(end)) end++
    if (end > writes.length) return true
    let inFlight = 0
    const more = (): void => {
      while (inFlight < inFlightMax && this.submitted < end && this.refusal === undefined && !this.powerLost) {
        const n = this.submitted++
        inFlight++
        peer.clients.write(writes[n] as WriteOp[], [], undefined, 60_000, result => {
          if (this.powerLost || this.peer !== peer) return
          inFlight--
          if ('error' in result) this.refuse(result.error)
          else if (result.outcome.type !== 'committed') throw new Error(`write ${n}: ${result.outcome.type}`)
          else this.acknowledged = Math.max(this.acknowledged, n + 1)
          more()
        })
      }
    }
    more()
    this.until('writes', () => inFlight === 0 || this.powerLost)
    return this.refusal === undefined && !this.powerLost
  }

  /** In order, and then the process ends. False: the power went. */
  close(): boolean {
    const { peer } = this
    if (peer === undefined) throw new Error('not open')
    const closed = this.wait<{ error: HarmonyError | undefined }>('close', done => peer.close(error => done({ error })))
    if (closed === undefined) return false
    if (closed.error !== undefined) this.refuse(closed.error)
    this.end('kept')
    return true
  }

  /** The process ends, however; another life begins. */
  end(cache: 'lost' | 'kept'): void {
    this.peer = undefined
    this.refusal = undefined
    this.process.crash(cache)
    this.process.disk.full = false
    this.process.restart()
  }

  /** The whole script in as many lives as it has. False: as above. */
  finish(): boolean {
    for (;;) {
      if (!this.open() || !this.write() || !this.close()) return false
      if (this.submitted === this.script.writes.length) return true
    }
  }

  /** The offline check of what lies on the disk. */
  check(): StoreReport {
    const report = this.wait<StoreReport>('check', done => verifyStore(this.process.directory, () => {}, done))
    if (report === undefined) throw new Error('the power went during a check')
    const damage = report.findings.filter(({ severity }) => severity === 'damage')
    if (damage.length > 0) throw new Error(`the check found: ${damage.map(({ message }) => message).join('; ')}`)
    return report
  }

  /**
   * What the open database holds is the state after some first part of the script with all that was acknowledged; the script goes on
   * behind that. False: the power went.
   */
  compare(): boolean {
    const state = this.readAll()
    if (state === undefined) return false
    const text = stateText(state)
    const { acknowledged, submitted } = this
    for (let n = submitted; n >= acknowledged; n--) {
      if (this.script.states[n] !== text) continue
      this.acknowledged = n
      this.submitted = n
      return true
    }
    const earlier = this.script.states.lastIndexOf(text)
    const what = earlier < 0 ? 'no state that ever was' : `the state after write ${earlier}`
    throw new Error(`${what}: ${acknowledged} writes were acknowledged and ${submitted} sent`)
  }

  /** One entry at a time: the cache is small. */
  private readAll(): Map<string, string> | undefined {
    const { peer } = this
    if (peer === undefined) throw new Error('not open')
    const found = new Map<string, string>()
    let from: Uint8Array | undefined
    for (;;) {
      const at = from
      const entry = this.wait<{ key: Uint8Array; value: Uint8Array } | 'none' | HarmonyError>('a read', done =>
        peer.clients.read({ consistency: 'linearizable' }, 60_000, view => firstFrom(view, at), done),
      )
      if (entry === undefined) return undefined
      if (entry instanceof HarmonyError) throw new Error(`a read ended with ${entry.code}: ${entry.message}`)
      if (entry === 'none') return found
      found.set(decodeText(entry.key) ?? '?', describe(payloadOf(entry.value)))
      from = new Uint8Array(entry.key.length + 1)
      from.set(entry.key)
    }
  }

  private refuse(error: HarmonyError): void {
    this.refusal ??= error
  }

  /** Undefined: the power went. */
  private wait<T>(what: string, start: (done: (value: T) => void) => void): T | undefined {
    let answer: { value: T } | undefined
    start(value => {
      answer ??= { value }
    })
    this.until(what, () => answer !== undefined || this.powerLost)
    return this.powerLost ? undefined : answer?.value
  }

  private until(what: string, condition: () => boolean): void {
    if (!this.world.runUntil(condition, 120_000)) throw new Error(`did not end within two minutes: ${what}`)
  }
}

function firstFrom(view: View, from: Uint8Array | undefined): { key: Uint8Array; value: Uint8Array } | 'none' {
  let first: { key: Uint8Array; value: Uint8Array } | 'none' = 'none'
  view.scan(from, undefined, false, ({ key, keyBytes, value, valueFrom, valueTo }) => {
    first = { key: key.slice(0, keyBytes), value: value.slice(valueFrom, valueTo) }
    return false
  })
  return first
}
