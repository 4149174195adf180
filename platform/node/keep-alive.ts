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
    this.holds++
    this.timer ??= setInterval(() => {}, periodMs)
    return () => {
      if (!held) return
      held = false
      this.holds--
      if (this.holds > 0) return
      clearInterval(this.timer)
      this.timer = undefined
    }
  }

  async during<T>(run: () => Promise<T>): Promise<T> {
    const release = this.hold()
    try {
      return await run()
    } finally {
      release()
    }
  }
}
