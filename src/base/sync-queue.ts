/**
 * The syncs of one file, for adapters of LogFile and PageFile: one is under way at a time, and whoever asks meanwhile shares the next
 * one. So each answer covers what was written before its call, in the order of the calls, and the first failure is final (L6).
 */
import { HarmonyError } from './errors.ts'

type Done = (error: HarmonyError | undefined) => void

export class SyncQueue {
  private readonly start: (done: (error: HarmonyError | undefined) => void) => void
  private waiting: Done[] = []
  private running = false
  private idle: (() => void)[] = []
  private closed = false
  private failure: HarmonyError | undefined

  /** `start` begins one sync of all that was written until now. */
  constructor(start: (done: (error: HarmonyError | undefined) => void) => void) {
    this.start = start
  }

  get failed(): boolean {
    return this.failure !== undefined
  }

  /** What every call is to be answered with from now on, if anything. */
  refusal(): HarmonyError | undefined {
    return this.closed ? closedError() : this.failure
  }

  /** The file is lost. Syncs that are under way will say so too. */
  fail(error: HarmonyError): void {
    this.failure ??= error
  }

  sync(done: Done): void {
    // Behind those that were asked before, even if the answer is known.
    const refusal = this.refusal()
    if (refusal !== undefined && !this.running) return done(refusal)
    this.waiting.push(this.closed ? () => done(closedError()) : done)
    if (!this.running) this.run()
  }

  /** Completes once nothing is under way; from the call on everything else is refused. */
  close(release: () => void, done: Done): void {
    if (this.closed) return this.whenIdle(() => done(closedError()))
    this.closed = true
    this.whenIdle(() => {
      release()
      done(undefined)
    })
  }

  private whenIdle(run: () => void): void {
    if (this.running) this.idle.push(run)
    else run()
  }

  private run(): void {
    this.running = true
    const served = this.waiting
    this.waiting = []
    this.start(error => {
      if (error !== undefined) this.fail(error)
      for (const done of served) done(error === undefined ? undefined : this.failure)
      if (this.waiting.length > 0 && this.failure === undefined) return this.run()
      const refused = this.waiting
      this.waiting = []
      for (const done of refused) done(this.failure)
      this.running = false
      for (const next of this.idle.splice(0)) next()
    })
  }
}

function closedError(): HarmonyError {
  return new HarmonyError('CLOSED', 'the file was closed')
}
