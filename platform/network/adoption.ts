/**
 * How two sides find out that both have adopted a connection. On one that is open already a negotiated channel is open at once at
 * the side that makes it. What it sends before the other side has made its own is lost (browsers), or has its stream reset, which
 * closes the channel (libdatachannel: then the attempt makes it again). So, on the consensus lane:
 *
 *   mark 0 (one byte)   initiator: "are you here?", again and again until it is answered
 *   mark 1 (one byte)   both: "I have heard you", once. It arrives, because the other side is there; data follow it
 *
 * The other side is silent until it hears something, so its channel is never reset for what it sent. Who has heard something may send.
 * Who has got mark 1 takes everything that comes after it as data. Bulk data are sent only after something was heard, so they need
 * no marks.
 */
import type { Cancel, Clock } from '../../src/platform.ts'

const question = 0
const heard = 1
const repeatMs = 100

export interface Adoption {
  /** Both lanes are open on this side (again). */
  begin(): void
  /** True if the message on the consensus lane was a mark. `undefined`: neither a mark nor in place. */
  take(bytes: Uint8Array): boolean | undefined
  /** The channels are gone: for good, or until `begin`. */
  suspend(): void
}

/** `met` is called once, as soon as this side may send. */
export function createAdoption(options: {
  readonly initiator: boolean
  readonly clock: Clock
  readonly send: (mark: Uint8Array) => void
  readonly met: () => void
}): Adoption {
  const { initiator, clock, send, met } = options
  let timer: Cancel | undefined
  let begun = false
  let hasHeard = false
  let answered = false
  let marksOver = false

  function ask(): void {
    send(Uint8Array.of(question))
    timer = clock.after(repeatMs, ask)
  }

  /** A message may come before this side's channels are said to be open; an answer cannot leave before that. */
  function answer(): void {
    if (answered || !begun || !hasHeard) return
    answered = true
    timer?.()
    send(Uint8Array.of(heard))
    met()
  }

  return {
    begin() {
      begun = true
      timer?.()
      answer()
      if (initiator && !answered) ask()
    },
    take(bytes) {
      if (marksOver) return false
      const mark = bytes.length === 1 ? bytes[0] : undefined
      if (mark !== question && mark !== heard) return undefined
      marksOver = mark === heard
      hasHeard = true
      answer()
      return true
    },
    suspend() {
      begun = false
      timer?.()
    },
  }
}
