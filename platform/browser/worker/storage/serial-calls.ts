/** For directories whose host answers by promises: each call begins when the one before has ended, answers come in the order of the calls (P1). */
import type { HarmonyError } from '../../../../src/base/errors.ts'
import { OrderedCompletions } from '../../../../src/base/ordered-completions.ts'
import type { Completion, Result } from '../../../../src/platform.ts'

export class SerialCalls {
  private readonly calls = new OrderedCompletions()
  private turn: Promise<void> = Promise.resolve()
  private readonly refusal: () => HarmonyError | undefined

  /** @param refusal Why nothing is done any more; asked when a call's turn has come. */
  constructor(refusal: () => HarmonyError | undefined) {
    this.refusal = refusal
  }

  /** `run` rejects with HarmonyErrors. */
  call<T>(done: Completion<T>, run: () => Promise<T>): void {
    let result: Result<T>
    const ready = this.calls.add(() => done(result))
    this.turn = this.turn
      .then(() => {
        const refusal = this.refusal()
        if (refusal !== undefined) throw refusal
        return run()
      })
      .then(
        value => {
          result = { ok: true, value }
        },
        (error: HarmonyError) => {
          result = { ok: false, error }
        },
      )
      // Not within the chain: what the callback throws is its own affair, and the next call goes on.
      .finally(() => queueMicrotask(ready))
  }
}
