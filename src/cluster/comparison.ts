/**
 * Replicas compare their states: now and then the leader says what its state is after an entry, and whoever has applied that very entry, then or later, looks whether its own is the
 * same. One that differs has a bug, or memory that lies, behind it: nobody can tell here which of the two is right, so the follower stops, and a person decides.
 *
 * Compared are the fingerprint (of everything applied and what came of it) and how many keys and bytes there are. One comparison is under way at a time.
 */
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Replica } from '../shard/replica.ts'
import type { StateMark } from '../shard/replica-host.ts'

const everyTicks = 20

export class Comparison {
  private ticks = 0
  private sent: StateMark | undefined
  private waiting = false
  private readonly diverged: (error: HarmonyError) => void

  constructor(diverged: (error: HarmonyError) => void) {
    this.diverged = diverged
  }

  /** Leader: tells the others, unless they heard the same before. */
  tick(replica: Replica, tell: (mark: StateMark) => void): void {
    if (++this.ticks % everyTicks !== 0 || replica.status().role !== 'leader') return
    const mark = replica.mark()
    if (mark === undefined || mark.index === this.sent?.index) return
    this.sent = mark
    tell(mark)
  }

  received(replica: Replica, from: PeerId, theirs: StateMark): void {
    if (this.waiting || replica.applied > theirs.index) return
    this.waiting = true
    replica.whenApplied(theirs.index, () => {
      this.waiting = false
      const ours = replica.mark()
      if (ours?.index !== theirs.index) return
      const { fingerprint, keys, bytes } = ours
      if (fingerprint === theirs.fingerprint && keys === theirs.keys && bytes === theirs.bytes) return
      const message =
        `this replica's state after entry ${theirs.index} (${text(ours)}) is not that of the leader ${from} (${text(theirs)}): one of the two is wrong. ` +
        'This peer has stopped. Compare both (harmonydb verify), and give the wrong one a new directory'
      this.diverged(new HarmonyError('CORRUPT', message))
    })
  }

  /** Another replica, of which nothing was asked. */
  restart(): void {
    this.waiting = false
    this.sent = undefined
  }
}

const text = ({ fingerprint, keys, bytes }: StateMark): string =>
  `${keys} keys, ${bytes} bytes, fingerprint ${fingerprint.toString(16).padStart(8, '0')}`
