/** The disks of one profile as slots: what tabs of one origin see of each other's storage. A disk's number is its place among them. */
import type { Slots } from '../../src/platform.ts'
import type { SimulatedDisk } from './disk.ts'
import type { Incarnation } from './incarnation.ts'

/** Asking for locks and looking into folders. */
const lookMs = 2

export class ProfileSlots {
  readonly disks: SimulatedDisk[] = []

  slotsOf(process: Incarnation): Slots {
    return {
      free: done => {
        process.after(lookMs, 'look for slots', () => {
          done({ ok: true, value: this.disks.flatMap((disk, slot) => (disk.orphaned ? [slot] : [])) })
        })
      },
      take: (slot, events, done) => {
        process.after(lookMs, 'take a slot', () => {
          const disk = this.disks[slot]
          const opened = disk?.orphaned === true ? disk.open(process, events) : undefined
          if (opened === undefined) done({ ok: true, value: undefined })
          else if (opened instanceof Error) done({ ok: false, error: opened })
          else done({ ok: true, value: opened })
        })
      },
    }
  }

  /** What it held is free. */
  processDied(process: Incarnation, cache: 'lost' | 'kept'): void {
    for (const disk of this.disks) if (disk.isHeldBy(process)) disk.crash(cache)
  }
}
