/**
 * What a log may hold after a crash, byte for byte, as rules L2 to L5 leave it open: what the last completed sync covered; and where
 * something was appended or cut since, that, or zero.
 */
import { check } from './rule.ts'

interface Change {
  readonly from: number
  readonly to: number
  /** Undefined: cut. */
  readonly bytes: Uint8Array | undefined
}

export class LogModel {
  end = 0
  private durable: Uint8Array = new Uint8Array(0)
  private durableEnd = 0
  private changes: Change[] = []
  private allowedStart = 0
  private latest: Uint8Array = new Uint8Array(0)

  append(bytes: Uint8Array): void {
    this.changes.push({ from: this.end, to: this.end + bytes.length, bytes })
    this.latest = joined(this.latest.subarray(0, this.end), bytes)
    this.end += bytes.length
  }

  truncate(end: number): void {
    this.changes.push({ from: end, to: this.end, bytes: undefined })
    this.end = end
    // Whether the cut survives a crash is open until the next sync.
    this.durableEnd = Math.min(this.durableEnd, end)
  }

  dropFront(offset: number): void {
    this.allowedStart = Math.max(this.allowedStart, offset)
  }

  sync(): void {
    this.durable = this.latest.slice(0, this.end)
    this.durableEnd = this.end
    this.changes = []
  }

  /** Checks what came back and takes it for the state from now on: what survived a crash is on the device. */
  crashed(start: number, end: number, bytes: Uint8Array): void {
    check(start <= this.allowedStart, `start ${start} is beyond what was allowed, ${this.allowedStart}`)
    check(end >= this.durableEnd, `end ${end} lies before ${this.durableEnd}, which a sync covered`)
    for (let at = start; at < end; at++) {
      const byte = bytes[at - start]!
      check(this.mayHold(at, byte), `byte ${at} is ${byte}; synced up to ${this.durableEnd}`)
    }
    this.latest = joined(new Uint8Array(start), bytes)
    this.end = end
    this.allowedStart = start
    this.sync()
  }

  /** Behind the last byte that is not zero. */
  contentEnd(): number {
    let end = this.end
    while (end > this.allowedStart && this.latest[end - 1] === 0) end--
    return end
  }

  private mayHold(at: number, byte: number): boolean {
    if (byte === (this.durable[at] ?? 0)) return true
    return this.changes.some(
      ({ from, to, bytes }) => at >= from && at < to && (byte === 0 || byte === bytes?.[at - from]),
    )
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length)
  whole.set(a)
  whole.set(b, a.length)
  return whole
}
