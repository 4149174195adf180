/**
 * How two sides find out that both have adopted a connection. A message on a stream for which the other side has no channel yet is lost
 * (browsers), or has the stream reset (libdatachannel); and a stream that was reset is not to be trusted any more: a channel made
 * on it again may open and still lose what is sent. So no stream is tried twice. There is a fixed row of slots, each with stream ids of
 * its own for both lanes:
 *
 *   the other side   makes the channels of all slots at once, and is silent until it hears something
 *   initiator        makes those of slot 0 and, as soon as they are open, asks once: mark 0 (one byte, consensus lane). Without an
 *                    answer it makes the next slot after 100 ms, 200 ms, 400 ms, …; those before stay open
 *   the other side   answers the first question that it hears, in its slot: mark 1 (one byte). From then on it may send: the initiator
 *                    has both channels of a slot before it asks there
 *   initiator        takes the slot in which the answer comes, and may send
 *
 * Then both close the other slots. On the consensus lane everything after the mark is data; bulk data may come before the mark.
 */
import { HarmonyError } from '../../src/base/errors.ts'
import type { Cancel, Clock } from '../../src/platform.ts'

/** Here, in this realm. */
const adoptedBefore = new WeakSet<object>()

/** The streams of an earlier adoption would be used again. @throws HarmonyError VALIDATION */
export function assertNotAdopted(connection: object): void {
  if (adoptedBefore.has(connection)) {
    throw new HarmonyError('VALIDATION', 'this connection was adopted before: make a new one to link again')
  }
}

/** @throws HarmonyError VALIDATION for one that was claimed before. */
export function claimForAdoption(connection: object): void {
  assertNotAdopted(connection)
  adoptedBefore.add(connection)
}

/** Questions at 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 and 12.7 s after the connection opened: the time-out of an attempt lies behind the last. */
export const adoptionSlots = 8
const question = 0
const heard = 1
const firstDelayMs = 100

export interface Adoption {
  begin(): void
  /** Both lanes of this slot are open. */
  opened(slot: number): void
  /** One of its channels was closed, not by us. */
  closed(slot: number): void
  /** Of a message on the consensus lane: true if it was a mark or is void, false if it is data, `undefined` if it is out of place. */
  take(slot: number, bytes: Uint8Array): boolean | undefined
  stop(): void
}

/** `met` is called once, as soon as this side may send, with the slot to use. */
export function createAdoption(options: {
  readonly initiator: boolean
  readonly clock: Clock
  /** Makes both channels; where that fails, `closed` is called, later. */
  readonly openSlot: (slot: number) => void
  readonly closeSlot: (slot: number) => void
  readonly send: (slot: number, mark: Uint8Array) => void
  readonly met: (slot: number) => void
}): Adoption {
  const { initiator, clock, openSlot, closeSlot, send, met } = options
  const made = new Set<number>()
  const open = new Set<number>()
  let chosen: number | undefined
  let newest = -1
  let timer: Cancel | undefined
  let stopped = false

  function make(slot: number): void {
    newest = slot
    made.add(slot)
    openSlot(slot)
  }

  function scheduleNext(after: number): void {
    if (!initiator || after !== newest || timer !== undefined || newest + 1 === adoptionSlots) return
    timer = clock.after(firstDelayMs * 2 ** newest, () => {
      timer = undefined
      if (!stopped && chosen === undefined) make(newest + 1)
    })
  }

  function choose(slot: number): void {
    chosen = slot
    timer?.()
    for (const other of made) if (other !== slot) closeSlot(other)
    if (initiator || open.has(slot)) conclude(slot)
  }

  function conclude(slot: number): void {
    if (!initiator) send(slot, Uint8Array.of(heard))
    met(slot)
  }

  return {
    begin() {
      if (initiator) make(0)
      else for (let slot = 0; slot < adoptionSlots; slot++) make(slot)
    },
    opened(slot) {
      if (stopped || open.has(slot)) return
      open.add(slot)
      if (!initiator) {
        if (slot === chosen) conclude(slot)
      } else if (chosen === undefined) {
        send(slot, Uint8Array.of(question))
        scheduleNext(slot)
      }
    },
    closed(slot) {
      if (stopped || chosen !== undefined) return
      made.delete(slot)
      closeSlot(slot)
      scheduleNext(slot)
    },
    take(slot, bytes) {
      if (stopped) return true
      if (chosen !== undefined) return slot !== chosen
      if (bytes.length !== 1 || bytes[0] !== (initiator ? heard : question)) return undefined
      choose(slot)
      return true
    },
    stop() {
      stopped = true
      timer?.()
    },
  }
}
