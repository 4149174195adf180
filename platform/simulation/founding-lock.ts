/** A lock for each room among the processes of one profile, as Web Locks are among the tabs of one origin: first come, first served. */
import type { FoundingLock } from '../../src/platform.ts'
import type { Incarnation } from './incarnation.ts'

interface Waiter {
  readonly process: Incarnation
  readonly granted: (release: () => void) => void
}

export class ProfileLocks {
  /** The first of each room's queue holds the lock. */
  private readonly queues = new Map<string, Waiter[]>()

  lockOf(process: Incarnation): FoundingLock {
    return {
      acquire: (room, granted) => {
        const waiter: Waiter = { process, granted }
        const queue = this.queues.get(room) ?? []
        this.queues.set(room, queue)
        queue.push(waiter)
        if (queue.length === 1) this.grantFirst(room)
        return () => this.leave(room, waiter)
      },
    }
  }

  processDied(process: Incarnation): void {
    for (const [room, queue] of this.queues) {
      for (const waiter of queue.filter(one => one.process === process)) this.leave(room, waiter)
    }
  }

  private grantFirst(room: string): void {
    const first = this.queues.get(room)?.[0]
    first?.process.soon('founding lock', () => {
      if (this.queues.get(room)?.[0] === first) first.granted(() => this.leave(room, first))
    })
  }

  private leave(room: string, waiter: Waiter): void {
    const queue = this.queues.get(room)
    const at = queue?.indexOf(waiter) ?? -1
    if (queue === undefined || at < 0) return
    queue.splice(at, 1)
    if (at === 0) this.grantFirst(room)
  }
}
