/**
 * Gives the state to peers that have fallen behind the log: one state at a time, held while anybody asks for it, while writes go on. What was
 * sent is not remembered: every ask names the key to go on behind. A state behind which too much log has come is let go: who still asks for it begins anew.
 *
 * While clients write, a state takes half of the time at most: after each piece its way to the other side and back is waited for once more. Writes then go on at more than half of
 * their rate also where the processors are busy without it. Over a slow link, where a piece is long on its way, the wait is next to nothing beside that.
 */
import { crc32c } from '../base/checksum.ts'
import type { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Cancel, Clock } from '../platform.ts'
import type { LogBase } from '../raft/types.ts'
import type { Engine, EngineSnapshot } from '../storage/engine.ts'
import { isStillNeeded, noteBytesBefore, packRows, type SnapshotAsk, type SnapshotPiece } from './snapshot-wire.ts'

export interface SnapshotSourceHost {
  readonly engine: Engine
  readonly clock: Clock
  /** In one piece: one row at least. */
  readonly pieceBytesMax: number
  /** Uniform in 0…2^32-1. */
  random(): number
  /** What belongs to the state as it is, or undefined in the middle of an entry: `retry` is called after it. */
  describe(): { readonly base: LogBase; readonly note: Uint8Array } | undefined
  /** More log has come behind this entry than so many times what is kept for those who get the state. */
  overdue(base: LogBase, times: number): boolean
  /** Clients wait for their writes. */
  writing(): boolean
  /** The log goes on behind this entry. */
  reaches(base: LogBase): boolean
  send(to: PeerId, piece: SnapshotPiece): void
  onFatal(error: unknown): void
}

interface Held {
  readonly number: number
  readonly base: LogBase
  readonly note: Uint8Array
  readonly snapshot: EngineSnapshot
  usedMs: number
}

/** Without a question, or a sign that it is needed; its pages cost space. */
const heldMs = 15_000
const timesMax = 16
const breatherMsMax = 100

export class SnapshotSource {
  private readonly host: SnapshotSourceHost
  private held: Held | undefined
  private taking = false
  /** When the last piece left. */
  private gaveMs = 0
  /** Pieces that are waited with, one for each asker. */
  private readonly later = new Map<PeerId, Cancel>()
  /** Doubled with each state that was let go while it was asked for: who was not quick enough for the last one may be for the next. */
  private times = 1
  /** They wait for a state to be taken. */
  private readonly asking = new Set<PeerId>()

  constructor(host: SnapshotSourceHost) {
    this.host = host
  }

  /** Entries behind this one are needed by who gets the state that is held. */
  get holds(): LogBase | undefined {
    return this.held?.base
  }

  asked(from: PeerId, ask: SnapshotAsk): void {
    const { held, host } = this
    if (isStillNeeded(ask)) {
      if (held?.number === ask.snapshot) held.usedMs = host.clock.now()
      return
    }
    if (held !== undefined && (ask.snapshot === held.number || host.reaches(held.base))) {
      if (ask.snapshot !== held.number) return this.give(held, from, undefined)
      return this.goOn(held, from, ask.after)
    }
    this.asking.add(from)
    this.take()
  }

  /** After an entry. */
  retry(): void {
    if (this.asking.size > 0) this.take()
  }

  tick(): void {
    const { held, host } = this
    if (held === undefined) return
    if (host.clock.now() - held.usedMs > heldMs) this.times = 1
    else if (host.overdue(held.base, this.times)) this.times = Math.min(timesMax, this.times * 2)
    else return
    this.release()
  }

  stop(): void {
    this.asking.clear()
    this.release()
  }

  private release(): void {
    for (const cancel of this.later.values()) cancel()
    this.later.clear()
    this.held?.snapshot.release()
    this.held = undefined
  }

  private take(): void {
    const { engine, clock } = this.host
    if (this.taking) return
    this.taking = true
    engine.snapshot(taken => {
      this.taking = false
      if (!taken.ok) return this.host.onFatal(taken.error)
      const described = this.host.describe()
      if (described === undefined || described.base.index !== taken.value.applied || this.asking.size === 0) {
        return taken.value.release()
      }
      this.release()
      const held = {
        ...described,
        number: Math.max(1, this.host.random()),
        snapshot: taken.value,
        usedMs: clock.now(),
      }
      this.held = held
      const askers = [...this.asking]
      this.asking.clear()
      for (const from of askers) this.give(held, from, undefined)
    })
  }

  private goOn(held: Held, to: PeerId, after: Uint8Array | undefined): void {
    const { clock } = this.host
    held.usedMs = clock.now()
    if (!this.host.writing()) return this.give(held, to, after)
    this.later.get(to)?.()
    const cancel = clock.after(Math.min(breatherMsMax, clock.now() - this.gaveMs), () => {
      this.later.delete(to)
      this.give(held, to, after)
    })
    this.later.set(to, cancel)
  }

  /**
   * The state of a history that was given up is gone. But a leader whose pages are damaged could never give its state, and who asks would wait for ever: it stops, where others can lead and have
   * everything. Where they cannot, what can be read of it is all that there is.
   */
  private unreadable({ base }: Held, error: HarmonyError): void {
    this.release()
    if (error.code === 'CORRUPT' && base.configuration.voters.length > 2) this.host.onFatal(error)
  }

  private give(held: Held, to: PeerId, after: Uint8Array | undefined): void {
    const { number, base, snapshot } = held
    const { pieceBytesMax } = this.host
    held.usedMs = this.host.clock.now()
    this.gaveMs = held.usedMs
    const noteFrom = noteBytesBefore(after)
    const note = noteFrom === undefined ? undefined : held.note.subarray(noteFrom, noteFrom + pieceBytesMax)
    if (noteFrom !== undefined && noteFrom + pieceBytesMax < held.note.length) {
      const nothing = new Uint8Array(0)
      const part = { snapshot: number, base, after, note, last: false, rows: nothing, crc: crc32c(nothing) }
      return this.host.send(to, part)
    }
    const behind = noteFrom === undefined ? after : undefined
    snapshot.read(packRows(behind, pieceBytesMax - (note?.length ?? 0)), packed => {
      if (this.held !== held) return
      if (!packed.ok) return this.unreadable(held, packed.error)
      this.gaveMs = this.host.clock.now()
      this.host.send(to, { snapshot: number, base, after, note, ...packed.value })
    })
  }
}
