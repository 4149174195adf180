/**
 * What keeps a Node process up. An open database alone does not: its timers are not counted, so a script that forgets `close` still ends, and
 * loses nothing that was acknowledged. Counted are calls that have not settled yet, and membership: a peer in a room stays
 * until it leaves or is closed.
 */

/** Any wait that outlives the holds; the longest that Node counts. */
const periodMs = 2 ** 31 - 1

export class KeepAlive {
  private holds = 0
  private timer: NodeJS.Timeout | undefined

  /** Until the returned function is called; calling it again does nothing. */
  hold(): () => void {
    let held = true
    this.begin()
    return () => {
      if (!held) return
      held = false
      this.end()
    }
  }

  /** As `during`; a call that is over at once costs nothing. */
  whileWaiting<R>(started: R): R {
    if (!(started instanceof Promise)) return started
    this.begin()
    started.then(this.end, this.end)
    return started
  }

  async during<T>(run: () => Promise<T>): Promise<T> {
    this.begin()
    try {
      return await run()
    } finally {
      this.end()
    }
  }

  /** For good: nothing is held any more. */
  close(): void {
    clearInterval(this.timer)
    this.timer = undefined
  }

  private begin(): void {
    if (this.holds++ > 0) return
    // Made once: a timer costs more than many a call.
    if (this.timer === undefined) this.timer = setInterval(() => {}, periodMs)
    else this.timer.ref()
  }

  private readonly end = (): void => {
    if (--this.holds === 0) this.timer?.unref()
  }
}
