/** For adapters whose host answers in any order: hands answers on in the order of the calls (P1 of `src/platform.ts`). */

interface Waiting {
  /** Set when the answer is known: at once for refusals, else when the device is done. */
  ready: boolean
  readonly finish: () => void
}

/** Answers calls in the order in which they were made, whatever order they get ready in. */
export class OrderedCompletions {
  private readonly waiting: Waiting[] = []

  /** Returns what to call when the answer is known. */
  add(finish: () => void): () => void {
    const one: Waiting = { ready: false, finish }
    this.waiting.push(one)
    return () => {
      one.ready = true
      while (this.waiting[0]?.ready === true) this.waiting.shift()!.finish()
    }
  }
}
