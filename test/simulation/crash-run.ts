/** One peer that runs a script on a simulated disk through crashes. */
import type { SimulatedProcess } from '../../platform/simulation/process.ts'
import { World } from '../../platform/simulation/world.ts'
import { keyBehind } from '../../src/base/bytes.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { decodeText, encodeText } from '../../src/base/text.ts'
import { Peer } from '../../src/cluster/peer.ts'
import { openStore } from '../../src/cluster/store.ts'
import { type StoreReport, verifyStore } from '../../src/cluster/verify.ts'
import { payloadOf } from '../../src/mvcc/versioned.ts'
import type { Result } from '../../src/platform.ts'
import type { WriteOp } from '../../src/shard/command.ts'
import type { Engine, EngineStatus, View } from '../../src/storage/engine.ts'

import { fingerprint, inFlightMax, type Script, stateText, writesIn } from './crash-script.ts'
import { writeOf } from './write-of.ts'

/** 16 frames: far less than the data take. */
const cacheBytes = 16 * 1024
/** By seed: often, now and then, at closing only. */
const checkpointBytes = [24 * 1024, 80 * 1024, 16 * 1024 * 1024] as const

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
  /** By seed: the file is made shorter now and then. */
  private readonly compacting: boolean
  private engine: Engine | undefined
  private peer: Peer | undefined

  constructor(seed: number, script: Script) {
    this.world = new World(seed)
    this.process = this.world.process('p')
    this.script = script
    this.compacting = seed % 2 === 0
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
        const ops = (writes[n] ?? []).map((op): WriteOp => ({ ...op, key: encodeText(op.key) }))
        peer.clients.write(writeOf(ops), 60_000, result => {
          if (this.powerLost || this.peer !== peer) return
          inFlight--
          if ('error' in result) this.refuse(result.error)
          else if (result.outcome.type !== 'committed') throw new Error(`write ${n}: ${result.outcome.type}`)
          else this.acknowledged = Math.max(this.acknowledged, n + 1)
          if (this.compacting && n % 12 === 11) this.compact(peer)
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
    const writes = writesIn(this.script, stateText(state), this.acknowledged, this.submitted)
    this.acknowledged = writes
    this.submitted = writes
    return true
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
      found.set(decodeText(entry.key) ?? '?', fingerprint(payloadOf(entry.value)))
      from = keyBehind(entry.key)
    }
  }

  /** Beside the writes; what stops it stops them too. */
  private compact(peer: Peer): void {
    peer.clients.compact(compacted => {
      if (this.powerLost || this.peer !== peer || !(compacted instanceof HarmonyError)) return
      if (compacted.code !== 'CLOSED') this.refuse(compacted)
    })
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
