/** Committed entries through the state machine: in order, plain writes together; where one has to wait for its pages, the rest goes on when they have come. */
import type { Index } from '../base/ids.ts'
import type { Completion } from '../platform.ts'
import type { Entry } from '../raft/types.ts'
import type { Applied, ApplyMachine } from './apply.ts'

export interface ApplyEvents {
  /** Nothing is applied, and nobody told, any more. */
  stopped(): boolean
  onApplied(applied: Applied, at: Index): void
  /** Between two steps, when the state is one. */
  onStep(): void
  /** All of them are applied. */
  onEnd(): void
  onError(error: unknown): void
}

export function applyInOrder(machine: ApplyMachine, entries: readonly Entry[], events: ApplyEvents): void {
  let next = 0
  let looping = false
  const loop = (): void => {
    if (looping) return
    looping = true
    let arrived = true
    while (arrived && next < entries.length && !events.stopped()) {
      arrived = false
      const applied: Completion<readonly (Applied | undefined)[]> = results => {
        if (events.stopped()) return
        if (!results.ok) return events.onError(results.error)
        for (const one of results.value) {
          const { index: at } = entries[next++] as Entry
          if (one !== undefined) events.onApplied(one, at)
        }
        events.onStep()
        arrived = true
        if (!looping) goOn()
      }
      machine.apply(entries, next, applied, error => events.onError(error))
    }
    looping = false
    if (next === entries.length && !events.stopped()) events.onEnd()
  }
  /** After a wait: nobody above catches. */
  const goOn = (): void => {
    try {
      loop()
    } catch (error) {
      events.onError(error)
    }
  }
  loop()
}
