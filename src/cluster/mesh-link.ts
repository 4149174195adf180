/**
 * One link over one endpoint: handshake, then messages and control frames, with a heartbeat of its own.
 *
 *   proving ── other's proof holds ──> proven ── other's advert (it holds ours) ──> linked ──> closed
 *      └───────────── refused, malformed, silent, timed out, closed by either side ──────────────┘
 *
 *  - Nothing but the handshake is sent before `proven`, nothing but the own advert before `linked`. So the other side knows who
 *    this is before the first message comes, on either lane. (Lanes overtake each other: bulk that comes while `proven` waits.)
 *  - `onClosed` comes once; nothing comes after it. Calls of this object's verbs raise no event: a link that is found
 *    unusable in one (overflow) closes in the next `flush`.
 *  - Whatever the other side sends, memory is bounded: queues by the outbox, unfinished messages by the inbox, early bulk here.
 *  - Silence is counted in unanswered pings as well as in time: a tab that was frozen or throttled has not listened, and
 *    must not take that for the others' death.
 */
import { hexEncode } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Clock, Endpoint, Lane } from '../platform.ts'
import {
  decodeFrames,
  encodeAdvert,
  encodeBye,
  encodeIntroduction,
  encodeNeighbours,
  encodeNumber,
  encodeReject,
  type Frame,
} from './frame.ts'
import type { Handshake, HandshakeStep } from './handshake.ts'
import { Budget } from './mesh-budget.ts'
import { Inbox, type MessageFrame } from './mesh-inbox.ts'
import { Outbox, type Traffic } from './mesh-outbox.ts'
import type { Advert, MeshTiming, SendResult } from './mesh-types.ts'

/** Fewer unanswered pings than this are no sign of death, however long ago the last word was. */
const unansweredPingsMin = 4
const relaysBurstMax = 1024
const relaysPerSecondMax = 128
const earlyBulkBytesMax = 1024 * 1024
/** What was said in the handshake is said again after this, until the link is up. */
const repeatMs = 1000
/** A rejection is given this long to leave before the connection closes under it. */
const lingerMs = 300

export interface LinkHost {
  readonly clock: Clock
  readonly timing: MeshTiming
  readonly traffic: Traffic
  /** Frames are dropped both ways. */
  isCut(): boolean
  /** Something waits for `flush`, at the end of this turn. */
  onDirty(link: Link): void
  onLinked(link: Link, advert: Advert): void
  onAdvert(link: Link, advert: Advert): void
  onMessage(link: Link, lane: Lane, bytes: Uint8Array): void
  onDrain(link: Link): void
  onIntroduction(link: Link, from: PeerId, to: PeerId, json: Uint8Array): void
  onNeighbours(link: Link, peers: readonly PeerId[]): void
  /** It answered a challenge. */
  onAnswered(link: Link): void
  /** Comes before `onClosed`. */
  onRefused(link: Link, error: HarmonyError): void
  /** `left`: the other side said good-bye. */
  onClosed(link: Link, reason: string, left: boolean): void
}

export interface LinkOptions {
  readonly peer: PeerId
  readonly endpoint: Endpoint
  readonly handshake: Handshake
  readonly advert: () => Advert
  readonly host: LinkHost
}

export class Link {
  readonly peer: PeerId
  private readonly endpoint: Endpoint
  private readonly handshake: Handshake
  private readonly ownAdvert: () => Advert
  private readonly host: LinkHost
  private readonly outbox: Outbox
  private readonly inbox = new Inbox()
  private state: 'proving' | 'proven' | 'linked' | 'closed' = 'proving'
  private readonly startedMs: number
  private saidMs = Number.NEGATIVE_INFINITY
  private proof: Uint8Array | undefined
  private doomed: string | undefined
  private advertDue = false
  private pongDue: number | undefined
  private earlyBulk: Uint8Array[] = []
  private earlyBulkBytes = 0
  private heardMs: number
  private pingedMs = Number.NEGATIVE_INFINITY
  private pingNumber = 0
  private unansweredPings = 0
  /** The ping whose answer says that the other side is there; undefined: none is waited for. */
  private challenged: number | undefined
  /** Which running mesh of the other peer this leads to; empty until proven. */
  instance = ''
  /** For introductions that it wants passed on. */
  readonly relays: Budget
  kind: Advert['kind'] | 'unknown' = 'unknown'
  rttMs: number | undefined

  constructor(options: LinkOptions) {
    const { peer, endpoint, handshake, advert, host } = options
    this.peer = peer
    this.endpoint = endpoint
    this.handshake = handshake
    this.ownAdvert = advert
    this.host = host
    this.outbox = new Outbox(endpoint, host.traffic)
    this.startedMs = host.clock.now()
    this.heardMs = this.startedMs
    this.relays = new Budget(relaysBurstMax, relaysPerSecondMax, this.startedMs)
  }

  /** Says hello. Called once, after the owner has made the link known to itself. */
  start(): void {
    const obstacle = this.handshake.obstacle()
    // The hello goes first: what the other side has said already is answered while `listen` runs.
    if (obstacle === undefined) this.control('hello', this.handshake.hello)
    this.endpoint.listen({
      onMessage: (lane, bytes) => this.receive(lane, bytes),
      onDrain: () => this.flush(),
      onClose: reason => this.end(reason, false),
    })
    if (obstacle !== undefined) this.refuse({ kind: 'refused', error: obstacle, tell: undefined })
  }

  get isLinked(): boolean {
    return this.state === 'linked' && this.doomed === undefined
  }
  get isClosed(): boolean {
    return this.state === 'closed'
  }
  get bufferedBytes(): number {
    return this.isClosed ? 0 : this.outbox.bufferedBytes
  }
  /** All that this link holds in memory. */
  get heldBytes(): number {
    return this.isClosed ? 0 : this.outbox.bufferedBytes + this.inbox.bytes + this.earlyBulkBytes
  }

  send(lane: Lane, bytes: Uint8Array): SendResult {
    if (!this.isLinked) return 'unlinked'
    if (this.host.isCut()) return 'sent'
    const result = this.outbox.message(lane, bytes)
    this.host.onDirty(this)
    if (result !== 'overflow') return result
    this.doomed = 'overflow'
    return 'unlinked'
  }

  advertise(): void {
    if (this.isLinked) this.sayAdvert()
  }

  tellNeighbours(peers: readonly PeerId[]): void {
    if (this.isLinked) this.control('neighbours', encodeNeighbours(peers))
  }

  introduce(from: PeerId, to: PeerId, json: Uint8Array): void {
    if (this.isLinked) this.control('introduction', encodeIntroduction(from, to, json))
  }

  /** At the end of a turn: what was queued leaves. */
  flush(): void {
    if (this.isClosed) return
    if (this.doomed !== undefined) return this.end(this.doomed, false)
    this.queueDue()
    if (this.host.isCut()) this.outbox.clear()
    else this.outbox.flush()
    if (!this.isClosed && this.state === 'linked' && this.outbox.takeDrain()) this.host.onDrain(this)
  }

  /** What is said once a turn, however often there was a reason. */
  private queueDue(): void {
    if (this.advertDue) this.outbox.control('advert', encodeAdvert(this.ownAdvert()))
    if (this.pongDue !== undefined) this.outbox.control('pong', encodeNumber(this.pongDue))
    this.advertDue = false
    this.pongDue = undefined
  }

  /** Called several times a second. */
  tick(): void {
    if (this.isClosed) return
    const now = this.host.clock.now()
    const { pingEveryMs, silenceMsMax, handshakeMsMax } = this.host.timing
    if (this.state !== 'linked') {
      if (now - this.startedMs >= handshakeMsMax) return this.end('handshake timed out', false)
      if (now - this.saidMs >= repeatMs) this.sayAgain()
      return
    }
    if (this.host.isCut()) return
    if (now - this.heardMs >= silenceMsMax && this.unansweredPings >= unansweredPingsMin) {
      return this.end(`silent for ${Math.round(now - this.heardMs)} ms`, false)
    }
    if (now - this.pingedMs < pingEveryMs) return
    this.ping()
  }

  private ping(): void {
    this.pingedMs = this.host.clock.now()
    this.pingNumber = (this.pingNumber + 1) % 0x1_0000_0000
    this.unansweredPings++
    // The flush that follows also feeds the bulk lane, should a drain have gone unreported.
    this.control('ping', encodeNumber(this.pingNumber))
  }

  /** The mesh was cut off, or healed: what was under way is lost, and silence is counted afresh. */
  onCut(): void {
    this.outbox.clear()
    this.inbox.skip()
    this.heardMs = this.host.clock.now()
    this.unansweredPings = 0
  }

  /** Whether the other side is there: its answer to what is asked now, and to nothing before. */
  challenge(): void {
    if (!this.isLinked) return
    this.ping()
    this.challenged = this.pingNumber
  }

  /** The other side is a copy of one that is linked and answers: it is told so, and the link closes. */
  refuseCopy(): void {
    const message = 'a copy of a peer that is linked already, and answers: the same peer twice'
    this.refuse({ kind: 'refused', error: new HarmonyError('UNAUTHORIZED', message), tell: 'copy' })
  }

  /** Closes at once. No event but `onClosed`. @param farewell Tell the other side that this peer leaves the room. */
  close(reason: string, farewell = false): void {
    if (farewell && this.isLinked && !this.host.isCut()) {
      this.outbox.control('bye', encodeBye(reason))
      this.outbox.flush()
    }
    this.end(reason, false)
  }

  private receive(lane: Lane, bytes: Uint8Array): void {
    if (this.isClosed || this.host.isCut()) return
    this.host.traffic.received++
    this.host.traffic.bytesReceived += bytes.length
    if (lane === 'bulk' && this.state === 'proven') this.keepEarly(bytes)
    else this.take(lane, bytes)
  }

  private take(lane: Lane, bytes: Uint8Array): void {
    const decoded = decodeFrames(bytes)
    if (!decoded.ok) {
      if (decoded.reason === 'malformed') return this.end(`malformed: ${decoded.detail}`, false)
      const error = new HarmonyError('VERSION_MISMATCH', `the other peer sent ${decoded.detail}`)
      return this.refuse({ kind: 'refused', error, tell: 'version' })
    }
    this.heardMs = this.host.clock.now()
    this.unansweredPings = 0
    for (const frame of decoded.frames) {
      this.onFrame(lane, frame, bytes.length)
      if (this.isClosed) return
    }
  }

  private onFrame(lane: Lane, frame: Frame, channelBytes: number): void {
    switch (frame.type) {
      case 'whole':
      case 'first':
      case 'more': {
        if (this.state !== 'linked') return this.early(frame)
        const message = this.inbox.accept(lane, frame, channelBytes)
        if (message === 'malformed') return this.end(`malformed: fragments of the ${lane} lane`, false)
        if (message !== undefined) this.host.onMessage(this, lane, message)
        return
      }
      default:
        if (lane !== 'consensus') return this.end(`malformed: ${frame.type} frame on the bulk lane`, false)
        return this.onControl(frame)
    }
  }

  private onControl(frame: Exclude<Frame, MessageFrame>): void {
    switch (frame.type) {
      case 'hello':
      case 'reject':
      case 'proof':
        if (frame.type === 'reject' && frame.code === 'copy') return this.onCopy()
        if (this.state === 'linked' && frame.type === 'reject') return this.end('malformed: late rejection', false)
        return this.step(this.handshake.onFrame(frame))
      case 'advert':
        // Before the proof it says nothing yet; it will come again.
        if (this.state === 'proving') return
        this.kind = frame.advert.kind
        if (this.state === 'proven') return this.onOwnProofAccepted(frame.advert)
        return this.host.onAdvert(this, frame.advert)
      case 'bye':
        return this.end(frame.reason === '' ? 'left' : `left: ${frame.reason}`, true)
      default:
    }
    if (this.state !== 'linked') return this.early(frame)
    switch (frame.type) {
      case 'ping':
        this.pongDue = frame.number
        return this.host.onDirty(this)
      case 'pong':
        return this.onPong(frame.number)
      case 'introduction':
        return this.host.onIntroduction(this, frame.from, frame.to, frame.json)
      case 'neighbours':
        return this.host.onNeighbours(this, frame.peers)
    }
  }

  /** From a stranger it is an offence; from a peer that has proved itself, what it said before was lost, and so is this. */
  private early(frame: Frame): void {
    if (this.state === 'proving') this.end(`malformed: ${frame.type} frame before the handshake was done`, false)
  }

  private step(step: HandshakeStep): void {
    switch (step.kind) {
      case 'ignored':
        // The other side is not done yet, so it may have missed this.
        if (this.state !== 'proving') this.sayAdvert()
        return
      case 'wait':
        this.proof = step.proof
        return this.control('proof', step.proof)
      case 'proven':
        this.state = 'proven'
        this.instance = hexEncode(step.hello.instance)
        this.kind = step.hello.kind
        return this.sayAdvert()
      case 'refused':
        return this.refuse(step)
    }
  }

  /** All that this side has to say in the handshake so far. */
  private sayAgain(): void {
    this.saidMs = this.host.clock.now()
    this.control('hello', this.handshake.hello)
    if (this.proof !== undefined) this.control('proof', this.proof)
    if (this.state === 'proven') this.sayAdvert()
  }

  /** Said by one that has proved itself: what it is linked to already, and what answers, has the id and the key of this peer. From anybody else it is noise. */
  private onCopy(): void {
    if (this.state === 'proving') return this.end('malformed: rejection of a copy before the handshake was done', false)
    const message =
      'another process runs with a copy of this store: the same peer twice. This one has stopped. Give each peer a directory of its own, and let it join as a new one'
    this.refuse({ kind: 'refused', error: new HarmonyError('LOCKED', message), tell: undefined })
  }

  private onOwnProofAccepted(advert: Advert): void {
    this.state = 'linked'
    // The other side must have it before any message.
    this.queueDue()
    const early = this.earlyBulk
    this.earlyBulk = []
    this.earlyBulkBytes = 0
    this.host.onLinked(this, advert)
    for (const bytes of early) if (!this.isClosed) this.take('bulk', bytes)
  }

  private keepEarly(bytes: Uint8Array): void {
    this.earlyBulk.push(bytes)
    this.earlyBulkBytes += bytes.length
    if (this.earlyBulkBytes > earlyBulkBytesMax) this.end('malformed: too much before the link was up', false)
  }

  private sayAdvert(): void {
    this.advertDue = true
    this.host.onDirty(this)
  }

  private onPong(number: number): void {
    if (this.challenged !== undefined && number >= this.challenged) {
      this.challenged = undefined
      this.host.onAnswered(this)
      if (this.isClosed) return
    }
    if (number !== this.pingNumber) return
    const rttMs = this.host.clock.now() - this.pingedMs
    this.rttMs = this.rttMs === undefined ? rttMs : this.rttMs + (rttMs - this.rttMs) / 8
  }

  private control(type: Parameters<Outbox['control']>[0], payload: Uint8Array): void {
    if (this.isClosed) return
    if (this.outbox.control(type, payload) === 'overflow') this.doomed = 'overflow'
    this.host.onDirty(this)
  }

  private refuse(step: Extract<HandshakeStep, { kind: 'refused' }>): void {
    if (this.isClosed) return
    const { error, tell } = step
    if (tell !== undefined && !this.host.isCut()) {
      this.outbox.control('reject', encodeReject(tell, error.message))
      this.outbox.flush()
    }
    this.conclude()
    this.host.clock.after(lingerMs, () => this.endpoint.close('refused'))
    this.host.onRefused(this, error)
    this.host.onClosed(this, `refused: ${error.message}`, false)
  }

  private end(reason: string, left: boolean): void {
    if (this.isClosed) return
    this.conclude()
    this.endpoint.close(reason)
    this.host.onClosed(this, reason, left)
  }

  private conclude(): void {
    this.state = 'closed'
    this.earlyBulk = []
    this.earlyBulkBytes = 0
    this.outbox.clear()
    this.inbox.skip()
  }
}
