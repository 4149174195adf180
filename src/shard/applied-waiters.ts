/** Who waits until an entry of the log is applied here: reads at an index that a leader has confirmed, local reads of a peer that has just started. */
import type { Index } from '../base/ids.ts'

export class AppliedWaiters {
  private waiting: { readonly index: Index; readonly run: () => void }[] = []

  add(index: Index, run: () => void): void {
    this.waiting.push({ index, run })
  }

  /** Everything through `applied` is. */
  wake(applied: Index): void {
    if (this.waiting.length === 0) return
    const due = this.waiting.filter(waiter => waiter.index <= applied)
    if (due.length === 0) return
    this.waiting = this.waiting.filter(waiter => waiter.index > applied)
    for (const waiter of due) waiter.run()
  }

  clear(): void {
    this.waiting = []
  }
}
