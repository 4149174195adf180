/**
 * The client side of exactly-once writes: every write of this process gets a serial in this process's session, is sent to the leader
 * (wherever it is) until this replica has applied it, and is answered from what the replica applied. Sending twice is harmless;
 * the state machine executes a serial once (`shard/sessions.ts`).
 *
 * What is submitted in one turn of the event loop goes out together, in as few commands as hold it (`shard/command.ts`).
 *
 *  W1  At most `inflightMax` writes / `inflightBytesMax` are with the leader; the rest queue here, in order, up to `queuedBytesMax`.
 *  W2  A caller is answered once: with the outcome, or with an error that says whether the write may still happen.
 *  W3  Nothing here survives a restart: callers of a dead process have no answer, and its session simply ages away.
 */
import { HarmonyError } from '../base/errors.ts'
import { SerialWindow } from '../base/serial-window.ts'
import type { Clock, Random } from '../platform.ts'
import type { AppliedWrite } from '../shard/apply.ts'
import { type Command, type SessionId, standsAlone, type Write } from '../shard/command.ts'
import type { Outcome } from '../shard/sessions.ts'
import { randomId } from './store.ts'
import type { ReturnReason } from './wire.ts'

const inflightMax = 1024
const inflightBytesMax = 4 * 1024 * 1024
/** Of one command that holds more than one. */
const commandWritesMax = 256
const commandBytesMax = 64 * 1024
const queuedBytesMax = 64 * 1024 * 1024
/** How long an answer may take before the command is sent once more. */
const resendAfterMs = 2000
/** So soon after the leader returned something it is asked again: one that has just been elected, or hands over, needs a few milliseconds. */
const returnedPauseMs = 5
/** So many steps of a turn without another write end the gathering. */
const quietStepsMax = 6

export type WriteResult = { readonly outcome: Outcome } | { readonly error: HarmonyError }

/** What a client wants done, all or nothing. */
export type WriteRequest = Omit<Write, 'serial'>

interface Pending extends Write {
  readonly bytes: number
  readonly deadlineMs: number
  readonly done: (result: WriteResult) => void
  /** Undefined: it is to be sent (again). */
  sent: Sent | undefined
  /** It left this peer at least once: from then on nobody can say that it never happened. */
  everSent: boolean
}

/** A command that went out. */
interface Sent {
  readonly atMs: number
  readonly writes: readonly Pending[]
}

/** `later`: nobody to send to now; `post` will be called again after `kick`. */
export type PostResult = 'sent' | 'later'

export interface WritesHost {
  readonly clock: Clock
  readonly random: Random
  /** Hands a command to the leader: proposes it here, or forwards it. `serial`: of the first write in it; 0: there is none. */
  post(session: SessionId, serial: number, command: Command): PostResult
}

export class Writes {
  private readonly host: WritesHost
  private session: SessionId
  private sessionOpen = false
  private sessionSentAtMs: number | undefined
  private nextSerial = 1
  private readonly pending = new SerialWindow<Pending>()
  private readonly queue: Pending[] = []
  private pendingBytes = 0
  private queuedBytes = 0

  /** Some of `pending` may have to be sent (again). */
  private unsent = false
  private pumpScheduled = false
  private quietSteps = 0
  private pausing = false

  constructor(host: WritesHost) {
    this.host = host
    this.session = randomId(host.random)
  }

  get count(): number {
    return this.pending.size + this.queue.length
  }
  get bytes(): number {
    return this.pendingBytes + this.queuedBytes
  }
  get bytesMax(): number {
    return inflightBytesMax + queuedBytesMax
  }

  submit(request: WriteRequest, timeoutMs: number, done: (result: WriteResult) => void): void {
    const { ops, checks, ranges, idempotencyKey, phase } = request
    let bytes = 64
    for (const op of ops) bytes += op.key.length + (op.type === 'put' ? op.value.length : 0) + 8
    for (const check of checks) bytes += check.key.length + 8
    for (const { from, to } of ranges) bytes += (from?.length ?? 0) + (to?.length ?? 0) + 16
    if (this.queuedBytes + bytes > queuedBytesMax) {
      const message = `${this.queue.length} writes (${this.queuedBytes} bytes) wait already; await some of them before you send more`
      return done({ error: new HarmonyError('TIMEOUT', message, { retryable: true }) })
    }
    const deadlineMs = this.host.clock.now() + timeoutMs
    const write: Pending = {
      serial: this.nextSerial++,
      idempotencyKey,
      checks,
      ranges,
      ops,
      phase,
      bytes,
      deadlineMs,
      done,
      sent: undefined,
      everSent: false,
    }
    this.queue.push(write)
    this.queuedBytes += bytes
    this.quietSteps = 0
    if (this.pumpScheduled) return
    this.pumpScheduled = true
    this.gather()
  }

  /** Others of this turn go with it, also those whose callers are a few steps behind. */
  private gather(): void {
    this.host.clock.soon(() => {
      if (++this.quietSteps < quietStepsMax) return this.gather()
      this.pumpScheduled = false
      this.pump()
    })
  }

  /** Something changed that may let writes go: a leader is known, a link came up. `again`: also what was sent before. */
  kick(again: boolean): void {
    if (again) {
      this.sessionSentAtMs = undefined
      for (const write of this.pending) this.unsend(write)
    }
    this.pump()
  }

  /** Called regularly: deadlines, and repeats of what got no answer. */
  tick(): void {
    const now = this.host.clock.now()
    const late = [...this.pending, ...this.queue].filter(write => write.deadlineMs <= now)
    for (const write of late) this.fail(write, timeoutError(write.everSent))
    for (const write of this.pending) {
      if (write.sent !== undefined && now - write.sent.atMs > resendAfterMs) this.unsend(write)
    }
    if (this.sessionSentAtMs !== undefined && now - this.sessionSentAtMs > resendAfterMs)
      this.sessionSentAtMs = undefined
    this.pump()
  }

  /** The leader did not take it; when it may be worth another try. */
  returned(session: SessionId, serial: number, reason: ReturnReason): void {
    if (session !== this.session) return
    this.pumpAfterPause()
    if (serial === 0) {
      this.sessionSentAtMs = undefined
      return
    }
    const sent = this.pending.get(serial)?.sent
    for (const write of sent?.writes ?? []) {
      if (write.sent !== sent || this.pending.get(write.serial) === undefined) continue
      this.unsend(write)
      if (reason !== 'invalid') continue
      const message = 'the leader does not understand this write: update all peers to one version'
      this.fail(write, new HarmonyError('VERSION_MISMATCH', message))
    }
  }

  private pumpAfterPause(): void {
    if (this.pausing) return
    this.pausing = true
    this.host.clock.after(returnedPauseMs, () => {
      this.pausing = false
      this.pump()
    })
  }

  sessionOpened(session: SessionId): void {
    if (session !== this.session || this.sessionOpen) return
    this.sessionOpen = true
    this.pump()
  }

  applied(session: SessionId, writes: readonly AppliedWrite[]): void {
    if (session !== this.session) return
    for (const { serial, outcome } of writes) {
      const write = this.pending.get(serial)
      if (write === undefined) continue
      if (outcome.type === 'noSession') return this.sessionLost()
      if (outcome.type === 'unready') {
        this.unsend(write)
        continue
      }
      this.remove(write)
      if (outcome.type === 'stale') write.done({ error: unknownError('its serial was given up') })
      else write.done({ outcome })
    }
    this.pump()
  }

  /** Every caller hears `why`; those whose write left this peer, with `maybeCommitted`. */
  failAll(why: (everSent: boolean) => HarmonyError): void {
    for (const write of [...this.pending, ...this.queue]) this.fail(write, why(write.everSent))
  }

  /** The replica begins a new history: what was not answered was not executed there, and goes out again in a new session. */
  restart(): void {
    this.session = randomId(this.host.random)
    this.sessionOpen = false
    this.sessionSentAtMs = undefined
    for (const write of this.pending) {
      this.unsend(write)
      write.everSent = false
    }
  }

  /**
   * The state machine does not know our session (any more). What went out once was refused for that reason, or will be: the
   * refusal is in the log. What may have been executed before the session was forgotten cannot be told apart any more.
   */
  private sessionLost(): void {
    const opened = this.sessionOpen
    const sent = [...this.pending].filter(write => write.everSent)
    this.restart()
    for (const write of sent) {
      write.everSent = opened
      // One with an idempotency key is executed at most once in whatever session, so it simply goes out again.
      if (opened && write.idempotencyKey === undefined)
        this.fail(write, unknownError('its session was forgotten, which takes thousands of newer ones'))
    }
    this.pump()
  }

  private pump(): void {
    if (this.queue.length === 0 && !this.unsent) return
    if (!this.sessionOpen) return this.openSession()
    const going = this.unsent ? [...this.pending].filter(write => write.sent === undefined) : []
    let taken = 0
    for (const write of this.queue) {
      const fits = this.pendingBytes + write.bytes <= inflightBytesMax || this.pending.size === 0
      if (!fits || this.pending.size >= inflightMax) break
      taken++
      this.queuedBytes -= write.bytes
      this.pending.add(write.serial, write)
      this.pendingBytes += write.bytes
      going.push(write)
    }
    this.queue.splice(0, taken)
    this.unsent = !this.send(going)
  }

  private openSession(): void {
    if (this.sessionSentAtMs !== undefined) return
    const { session } = this
    if (this.host.post(session, 0, { type: 'openSession', session }) === 'sent') {
      this.sessionSentAtMs = this.host.clock.now()
    }
  }

  /** False: not all of them went, and the others will have to. */
  private send(writes: readonly Pending[]): boolean {
    const atMs = this.host.clock.now()
    const { session } = this
    for (let from = 0; from < writes.length; ) {
      const sent = { atMs, writes: writes.slice(from, commandEnd(writes, from)) }
      from += sent.writes.length
      const first = sent.writes[0] as Pending
      const floor = this.pending.firstSerial ?? first.serial
      const command: Command = { type: 'writes', session, floor, writes: sent.writes }
      if (this.host.post(session, first.serial, command) === 'later') return false
      for (const write of sent.writes) {
        write.sent = sent
        write.everSent = true
      }
    }
    return true
  }

  private unsend(write: Pending): void {
    write.sent = undefined
    this.unsent = true
  }

  private fail(write: Pending, error: HarmonyError): void {
    this.remove(write)
    write.done({ error })
  }

  private remove(write: Pending): void {
    if (this.pending.delete(write.serial)) {
      this.pendingBytes -= write.bytes
      return
    }
    const at = this.queue.indexOf(write)
    if (at < 0) return
    this.queue.splice(at, 1)
    this.queuedBytes -= write.bytes
  }
}

/** Where the command ends that begins with writes[from]. */
function commandEnd(writes: readonly Pending[], from: number): number {
  const first = writes[from] as Pending
  if (standsAlone(first)) return from + 1
  let { bytes } = first
  let to = from + 1
  for (; to < writes.length && to - from < commandWritesMax; to++) {
    const write = writes[to] as Pending
    bytes += write.bytes
    if (bytes > commandBytesMax || standsAlone(write)) break
  }
  return to
}

const unknownError = (why: string): HarmonyError =>
  new HarmonyError(
    'COMMIT_UNKNOWN',
    `whether the write was committed is not known: ${why}. Read the key before you try again`,
  )

function timeoutError(everSent: boolean): HarmonyError {
  if (everSent) return unknownError('no answer came in time')
  return new HarmonyError(
    'TIMEOUT',
    'the write did not reach a leader in time and was not made; try again, or give it a longer timeoutMs',
  )
}
