/**
 * What is to happen, ordered by virtual time; of two events at one time the one that was put in first comes first. A binary
 * heap in an array. Cancelled events stay until their time comes: their number is bounded by what was put in.
 */

export interface ScheduledEvent {
  readonly timeMs: number
  readonly sequence: number
  /** Goes into the hash of the run and into traces. */
  readonly label: string
  readonly run: () => void
  cancelled: boolean
}

const precedes = (a: ScheduledEvent, b: ScheduledEvent): boolean =>
  a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence)

export class EventQueue {
  private readonly heap: ScheduledEvent[] = []

  get size(): number {
    return this.heap.length
  }

  push(event: ScheduledEvent): void {
    const { heap } = this
    let at = heap.length
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = heap[parentAt]!
      if (!precedes(event, parent)) break
      heap[at] = parent
      at = parentAt
    }
    heap[at] = event
  }

  /** The first event that was not cancelled, without taking it out. */
  peek(): ScheduledEvent | undefined {
    while (this.heap[0]?.cancelled === true) this.removeFirst()
    return this.heap[0]
  }

  pop(): ScheduledEvent | undefined {
    const first = this.peek()
    if (first !== undefined) this.removeFirst()
    return first
  }

  private removeFirst(): void {
    const { heap } = this
    const last = heap.pop()!
    const size = heap.length
    if (size === 0) return
    let at = 0
    for (;;) {
      let childAt = 2 * at + 1
      if (childAt >= size) break
      if (childAt + 1 < size && precedes(heap[childAt + 1]!, heap[childAt]!)) childAt++
      const child = heap[childAt]!
      if (!precedes(child, last)) break
      heap[at] = child
      at = childAt
    }
    heap[at] = last
  }
}
