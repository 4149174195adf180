/**
 * Who connects to whom, when, and by which way the introductions go: everything between "somebody said that X is here" and an open
 * endpoint. (`mesh.ts` has the rules in words.) All that it is told is hearsay; all that it does is try, within bounds.
 */
import type { PeerId } from '../base/ids.ts'
import type { Clock, Endpoint, Introduction, Transport } from '../platform.ts'
import { type Signal, type SignalIntroduction, signalToBytes } from './introduction.ts'
import { Attempt, type Way } from './mesh-attempt.ts'
import type { Link } from './mesh-link.ts'
import { endpointBytesMin } from './mesh-outbox.ts'
import type { Presence } from './mesh-presence.ts'
import type { Remote, Remotes } from './mesh-remotes.ts'
import type { MeshTiming } from './mesh-types.ts'

const attemptsMax = 32
/** Answers to one peer's announcements come no faster. */
const replyEveryMs = 100
/** An attempt that nobody answered for so long is begun again when its peer speaks up. */
const patienceMs = 1000

const refusedFactor = 4

export interface DialerOptions {
  readonly self: PeerId
  readonly instance: string
  readonly clock: Clock
  readonly timing: MeshTiming
  readonly transport: Transport
  readonly presence: Presence
  readonly remotes: Remotes
  /** Uniform in [0, 1). */
  readonly unit: () => number
  /** Cut off or closed: nothing new is begun and nothing said. */
  isQuiet(): boolean
  makeLink(remote: Remote, endpoint: Endpoint): Link
  onAdoptionFailed(peer: PeerId, reason: string): void
}

export class Dialer {
  private readonly options: DialerOptions
  /** One count for all peers: it grows also for those that were forgotten in between. */
  private sessions = 0

  constructor(options: DialerOptions) {
    this.options = options
  }

  onSignal(way: Way, from: PeerId, signal: Signal): void {
    const { remotes, clock } = this.options
    const now = clock.now()
    const remote = signal.type === 'bye' ? remotes.get(from) : remotes.obtain(from, now)
    if (remote === undefined || !remote.budget.take(now)) return
    if (signal.type === 'bye') return this.onBye(remote, signal.instance)
    if (typeof way === 'number') remote.heardMs.set(way, now)
    if (remote.instance !== signal.instance) this.onOtherLife(remote, signal.instance)
    if (signal.type === 'intro') return this.onIntro(remote, way, signal)
    if (!signal.reply && typeof way === 'number') this.reply(remote, way)
    this.onHere(remote)
  }

  /** @throws HarmonyError VALIDATION where the transport does not know such connections. */
  adopt(remote: Remote, connection: unknown): void {
    const attempt = this.makeAttempt(remote, 0, undefined)
    // First: what is refused here does the one before no harm.
    attempt.adopt(this.options.transport, connection)
    const former = remote.adopted
    remote.adopted = attempt
    const carries = former?.link !== undefined && former.link === remote.link
    if (!carries) former?.close('another was adopted')
  }

  /** Dials if it is this peer's turn, and time. */
  consider(remote: Remote): void {
    const { clock, timing, presence, isQuiet } = this.options
    if (isQuiet() || !this.dials(remote)) return
    const { attempt, link } = remote
    if (attempt !== undefined && (attempt.link === undefined || attempt.link !== link)) return
    if (link !== undefined && !isStale(remote)) return
    const now = clock.now()
    if (now < remote.retryAtMs || !remote.isAnnounced(now, timing) || this.attempts() >= attemptsMax) return
    const ways = remote.ways(way => presence.isOpen(way))
    if (ways.length === 0) return
    this.release(remote, 'a new attempt')
    this.begin(remote, ++this.sessions, ways[remote.failures % ways.length])
  }

  /** The attempt came to nothing, at whatever stage. */
  onFailed(remote: Remote, attempt: Attempt, reason: string): void {
    attempt.close('failed')
    if (remote.adopted === attempt) {
      remote.adopted = undefined
      this.options.onAdoptionFailed(remote.id, reason)
    }
    if (remote.attempt !== attempt) return
    remote.attempt = undefined
    const { clock, timing, unit } = this.options
    const growing = timing.retryMs * 2 ** Math.min(remote.failures, 16)
    // After a refusal somebody must change something first.
    const delayMs = remote.refused ? refusedFactor * timing.retryMsMax : Math.min(timing.retryMsMax, growing)
    remote.onFailure(clock.now(), delayMs * (0.5 + 0.5 * unit()))
  }

  /** After a cut: whatever was under way got stuck, and whoever could not be reached may be by now. */
  startAfresh(): void {
    for (const remote of this.options.remotes.all()) {
      if (remote.attempt?.link === undefined) this.drop(remote, 'cut off meanwhile')
      remote.failures = 0
      remote.retryAtMs = this.options.clock.now()
    }
  }

  tick(remote: Remote): void {
    const { clock, timing, remotes } = this.options
    const now = clock.now()
    const { attempt } = remote
    if (attempt !== undefined && attempt.link === undefined) {
      const limitMs = attempt.answered ? timing.connectMsMax : timing.answerMsMax
      if (now - attempt.startedMs >= limitMs) this.onFailed(remote, attempt, 'timed out')
    }
    if (!remote.resolved && remote.isIdle && now - remote.firstHeardMs >= timing.answerMsMax) remote.resolved = true
    this.consider(remote)
    if (remote.isIdle && !remote.isAnnounced(now, timing)) remotes.delete(remote.id)
  }

  private dials(remote: Remote): boolean {
    return this.options.self < remote.id
  }

  private onBye(remote: Remote, instance: string): void {
    if (remote.instance !== instance) return
    remote.forgetWays()
    remote.resolved = true
    if (remote.attempt?.link === undefined) this.drop(remote, 'it left')
  }

  private onHere(remote: Remote): void {
    const now = this.options.clock.now()
    const { attempt } = remote
    if (this.dials(remote) && !remote.refused) {
      // A sign of life: waiting any longer, or for an answer to what it has never got, makes no sense.
      remote.retryAtMs = Math.min(remote.retryAtMs, now)
      const unheard = attempt !== undefined && attempt.link === undefined && !attempt.answered
      if (unheard && now - attempt.startedMs >= patienceMs) this.drop(remote, 'not answered')
    }
    this.consider(remote)
  }

  private reply(remote: Remote, way: number): void {
    const { clock, presence, instance } = this.options
    const now = clock.now()
    const settled = remote.link !== undefined && !isStale(remote)
    if (settled || now - remote.repliedMs < replyEveryMs) return
    remote.repliedMs = now
    presence.send(way, remote.id, { type: 'here', instance, reply: true })
  }

  /** The peer started anew (or somebody says so): what was under way with its former life leads nowhere. */
  private onOtherLife(remote: Remote, instance: string): void {
    const first = remote.instance === undefined
    remote.instance = instance
    remote.session = 0
    if (first) return
    const { attempt } = remote
    if (attempt !== undefined && attempt.link !== remote.link) this.drop(remote, 'it started anew')
    remote.resolved = false
    remote.refused = false
    remote.failures = Math.min(remote.failures, 1)
    const { clock, timing } = this.options
    remote.retryAtMs = Math.min(remote.retryAtMs, clock.now() + timing.retryMs)
  }

  private onIntro(remote: Remote, way: Way, signal: SignalIntroduction): void {
    if (signal.instanceFor !== undefined && signal.instanceFor !== this.options.instance) return
    const { session, number, payload } = signal
    if (session > remote.session && !this.dials(remote)) this.expect(remote, session)
    const { attempt } = remote
    if (attempt === undefined || attempt.session !== session) return
    attempt.way = way
    attempt.introduce(number, payload)
  }

  /** The dialler began a new session: its older ones are over, but a link stands until the new one has proved itself. */
  private expect(remote: Remote, session: number): void {
    this.release(remote, 'a new attempt')
    if (this.options.isQuiet() || this.attempts() >= attemptsMax) return
    remote.session = session
    this.begin(remote, session, undefined)
  }

  private begin(remote: Remote, session: number, way: Way | undefined): void {
    const attempt = this.makeAttempt(remote, session, way)
    remote.attempt = attempt
    attempt.connect(this.options.transport, remote.id)
  }

  private makeAttempt(remote: Remote, session: number, way: Way | undefined): Attempt {
    return new Attempt({
      session,
      initiator: this.dials(remote),
      startedMs: this.options.clock.now(),
      way,
      send: (attempt, number, payload) => this.introduce(remote, attempt, number, payload),
      onOpen: (attempt, endpoint) => this.onOpen(remote, attempt, endpoint),
      onFailed: (failed, reason) => this.onFailed(remote, failed, reason),
    })
  }

  private introduce(remote: Remote, attempt: Attempt, number: number, payload: Introduction): void {
    const { instance, presence, isQuiet } = this.options
    // An adopted connection is introduced by the application.
    if (attempt.session === 0 || isQuiet()) return
    const { session } = attempt
    const signal: Signal = { type: 'intro', instance, instanceFor: remote.instance, session, number, payload }
    const ways = remote.ways(way => presence.isOpen(way))
    for (const way of attempt.way === undefined ? ways : [attempt.way, ...ways]) {
      if (!this.carry(way, remote.id, signal)) continue
      attempt.way = way
      return
    }
  }

  private carry(way: Way, to: PeerId, signal: Signal): boolean {
    const { presence, remotes, self } = this.options
    if (typeof way === 'number') return presence.send(way, to, signal)
    const link = remotes.get(way)?.link
    const bytes = link?.isLinked === true ? signalToBytes(signal) : undefined
    if (link === undefined || bytes === undefined) return false
    link.introduce(self, to, bytes)
    return true
  }

  private onOpen(remote: Remote, attempt: Attempt, endpoint: Endpoint): void {
    if (endpoint.messageBytesMax < endpointBytesMin) {
      endpoint.close('not usable')
      return this.onFailed(remote, attempt, 'its messages are too small')
    }
    attempt.link = this.options.makeLink(remote, endpoint)
    attempt.link.start()
  }

  /** Ends the attempt, its link too. */
  private drop(remote: Remote, reason: string): void {
    const { attempt } = remote
    remote.attempt = undefined
    attempt?.close(reason)
  }

  /** Ends the attempt, unless it is what the peer's link came from. */
  private release(remote: Remote, reason: string): void {
    if (remote.attempt?.link === undefined || remote.attempt.link !== remote.link) this.drop(remote, reason)
    else remote.attempt = undefined
  }

  private attempts(): number {
    return this.options.remotes.all().filter(({ attempt, link }) => attempt !== undefined && attempt.link !== link)
      .length
  }
}

/** The link leads to a former life of the peer, if its last word over signalling is true. */
function isStale({ link, instance }: Remote): boolean {
  return link !== undefined && instance !== undefined && link.instance !== instance
}
