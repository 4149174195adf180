/** Runs the operations of one file one after the other, so that completions come in the order of the calls (P1). */
import { HarmonyError } from '../../../../src/base/errors.ts'
import type { Completion, Done } from '../../../../src/platform.ts'
import { storageError } from './schema.ts'

export class Serial {
  /** Once set, every later call gets it (L6, G5). */
  death: HarmonyError | undefined
  private closing = false
  private last: Promise<void> = Promise.resolve()
  private readonly name: string

  constructor(name: string) {
    this.name = name
  }

  get unusable(): HarmonyError | undefined {
    return this.closing ? new HarmonyError('CLOSED', `the file ${this.name} is closed`) : this.death
  }

  /** `fatal`: an error is the end of the file. */
  run<T>(doing: string, fatal: boolean, work: () => Promise<T>, done: Completion<T>): void {
    const refusal = this.closing ? this.unusable : undefined
    this.last = this.last.then(async () => {
      let error = refusal ?? this.death
      let value: T | undefined
      if (error === undefined) {
        try {
          value = await work()
        } catch (thrown) {
          error = storageError(thrown, `${doing} ${this.name}`)
          if (fatal) this.death = error
        }
      }
      // Outside of the try: what the receiver throws is not a storage error.
      if (error !== undefined) done({ ok: false, error })
      else done({ ok: true, value: value as T })
    })
    this.last = this.last.catch(rethrowLater)
  }

  close(done: Done): void {
    if (this.closing) {
      const error = this.unusable
      this.last = this.last.then(() => done(error)).catch(rethrowLater)
      return
    }
    this.closing = true
    this.last = this.last.then(() => done(undefined)).catch(rethrowLater)
  }
}

/** An error in a callback is a bug of its owner: it must be seen, and must not stop the queue. */
function rethrowLater(error: unknown): void {
  setTimeout(() => {
    throw error
  })
}
