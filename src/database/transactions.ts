/** `Database.transaction` and `begin`: options, and attempt after attempt until one commits. */

import type { HarmonyError } from '../base/errors.ts'
import { isHarmonyError } from '../base/errors.ts'
import { deadlockPolicies } from '../txn/lock-table.ts'
import type { AttemptHost, AttemptOptions } from './attempt.ts'
import { overtaken } from './conflicts.ts'
import type { Core } from './core.ts'
import { Deadlines } from './deadlines.ts'
import { flag, idempotencyKeyOf, invalid, oneOf, record, shown, signalOf, timeoutOf } from './options.ts'
import { CoreTransaction } from './transaction.ts'
import type { Isolation, Transaction, TransactionOptions } from './types.ts'

const lockings = ['optimistic', 'pessimistic'] as const
const isolations: readonly Isolation[] = ['serializable', 'snapshot', 'read-committed']
const retriesDefault = 30
const pauseMsMax = 100
/** Of an attempt in the moving average. */
const conflictsWeight = 1 / 64
/** Where no more than so many are overtaken, the first repetition goes with what others begin now, without a pause. */
const seldom = 1 / 8

interface RunOptions extends AttemptOptions {
  readonly retries: number
}

export class Transactions {
  private readonly core: Core
  private readonly host: AttemptHost
  /** Of this handle; with it, pauses of several peers differ. */
  private pauses: number
  private attempts = 0
  /** How many of the last attempts were not committed, as a part of all. */
  private conflicts = 0
  readonly counts = { active: 0, committed: 0, aborted: 0, retried: 0 }

  constructor(core: Core, ended: () => HarmonyError | undefined) {
    this.core = core
    const { counts } = this
    const onOver = (isCommitted: boolean): void => {
      counts.active--
      if (isCommitted) counts.committed++
      else counts.aborted++
      this.conflicts += ((isCommitted ? 0 : 1) - this.conflicts) * conflictsWeight
    }
    this.host = { core, deadlines: new Deadlines(core.clock), ended, onOver }
    this.pauses = 0
  }

  begin(options: TransactionOptions | undefined): CoreTransaction {
    const run = runOptions(options)
    return this.attempt(run, 0, this.deadlineMs(run))
  }

  async run<T>(fn: (tx: Transaction) => T | Promise<T>, options: TransactionOptions | undefined): Promise<T> {
    if (typeof fn !== 'function') throw invalid(`transaction takes a function, not ${shown(fn)}`)
    const run = runOptions(options)
    const deadlineMs = this.deadlineMs(run)
    let age = 0
    for (let attempt = 0; ; attempt++) {
      const tx = this.attempt(run, age, deadlineMs)
      try {
        return await attemptOf(tx, fn)
      } catch (error) {
        await tx.rollback()
        age = tx.age
        const leftMs = deadlineMs - this.core.clock.now()
        const { wasOvertaken } = tx
        if (attempt >= run.retries || leftMs <= 0 || !(wasOvertaken || mayRetry(error, run)))
          throw wasOvertaken ? overtaken(error) : error
        if (attempt > 0 || this.conflicts > seldom) await this.pause(attempt, leftMs)
        this.counts.retried++
        // Closed or aborted meanwhile: the next attempt says so.
        if (run.signal !== undefined) signalOf({ signal: run.signal })
      }
    }
  }

  private attempt(run: RunOptions, age: number, deadlineMs: number): CoreTransaction {
    this.counts.active++
    return new CoreTransaction(this.host, run, { number: ++this.attempts, age, deadlineMs })
  }

  private deadlineMs({ timeoutMs }: RunOptions): number {
    return this.core.clock.now() + timeoutMs
  }

  /** Longer each time, by an amount that differs between attempts and peers. */
  private pause(attempt: number, leftMs: number): Promise<void> {
    if (this.pauses === 0) this.pauses = 1 + Number.parseInt(this.core.mirror().cluster.self.slice(0, 8), 16)
    const fraction = (Math.imul(++this.pauses, 0x9e3779b1) >>> 0) / 2 ** 32
    const ms = Math.min(leftMs, fraction * Math.min(pauseMsMax, 2 ** attempt))
    return new Promise(resolve => void this.core.clock.after(ms, resolve))
  }
}

function checkedOptions(options: TransactionOptions): RunOptions {
  const given = record(options, 'options')
  const { isolation = 'serializable', locking = 'optimistic', deadlocks = 'detect', retries = retriesDefault } = given
  if (!Number.isInteger(retries) || retries < 0)
    throw invalid(`retries must be an integer from 0, not ${shown(retries)}`)
  return {
    isolation: oneOf(isolation, isolations, 'isolation'),
    locking: oneOf(locking, lockings, 'locking'),
    deadlocks: oneOf(deadlocks, deadlockPolicies, 'deadlocks'),
    readOnly: flag(given.readOnly, 'readOnly'),
    retries,
    idempotencyKey: idempotencyKeyOf(given),
    signal: signalOf(given),
    timeoutMs: timeoutOf(given),
  }
}

/** Of most transactions. */
const usualOptions = checkedOptions({})

const runOptions = (options: TransactionOptions | undefined): RunOptions =>
  options === undefined ? usualOptions : checkedOptions(options)

/** Ends at once when the transaction does (its time is over, its signal fires), whatever `fn` is doing. */
function attemptOf<T>(tx: CoreTransaction, fn: (tx: Transaction) => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    tx.whenEnded(reject)
    void carryOut(tx, fn, resolve, reject)
  })
}

async function carryOut<T>(
  tx: CoreTransaction,
  fn: (tx: Transaction) => T | Promise<T>,
  resolve: (result: T) => void,
  reject: (error: unknown) => void,
): Promise<void> {
  try {
    const result = await fn(tx)
    await tx.commitOnce()
    resolve(result)
  } catch (error) {
    reject(error)
  }
}

/** What the next attempt may mend. An unknown outcome is asked for again where an idempotency key makes that harmless. */
function mayRetry(error: unknown, { idempotencyKey }: RunOptions): boolean {
  if (isHarmonyError(error, 'COMMIT_UNKNOWN')) return idempotencyKey !== undefined
  // The state that it read was given up, which another attempt does not care about.
  if (isHarmonyError(error, 'SNAPSHOT_TOO_OLD') || isHarmonyError(error, 'DEADLOCK')) return true
  return isHarmonyError(error, 'CONFLICT') && error.retryable
}
