/**
 * One peer: its storage, its replica of the group, its links to the others, and its clients' reads and writes. Everything runs in
 * one event loop; ports call back into it, and nothing here returns a promise.
 *
 * Health, as clients see it: `solo` (alone by choice), `ok` (a leader is known), `electing` (none for a moment), `no-quorum` (none for
 * `noQuorumAfterMs`: linearizable reads and writes are refused at once), `left`.
 */
import { assert } from '../base/assert.ts'
import { HarmonyError } from '../base/errors.ts'
import type { ClusterId, Index, PeerId } from '../base/ids.ts'
import type { Cancel, Done, Platform } from '../platform.ts'
import type { Message, RaftLimits, RaftStatus } from '../raft/types.ts'
import type { Applied } from '../shard/apply.ts'
import { newGroup, type RestoredGroup } from '../shard/group-log.ts'
import { Replica } from '../shard/replica.ts'
import { Administration } from './administration.ts'
import { Clients } from './clients.ts'
import { Company } from './company.ts'
import { deliver } from './delivery.ts'
import { type DepartureKind, goodbye, handOver } from './departures.ts'
import { Forwarding } from './forwarding.ts'
import { group0, nobody } from './group-replay.ts'
import { JoinProgress } from './join-progress.ts'
import { Links } from './links.ts'
import { Membership, type Own, standingAtFirst } from './membership.ts'
import type { Advert } from './mesh-types.ts'
import { counts } from './peer-status.ts'
import {
  defaultLimits,
  defaultTiming,
  isNobodys,
  isSole,
  leaderOf,
  noSession,
  type PeerHealth,
  type PeerJoin,
  type PeerOptions,
  type PeerStatus,
  type PeerTiming,
  placeOf,
  replicaSizes,
  unborn,
} from './peer-types.ts'
import { fatalError, noQuorumError } from './refusals.ts'
import { closeStore, randomUint32, type Store, writeBirth } from './store.ts'
import type { Order, PeerMessage } from './wire.ts'

export class Peer {
  readonly id: PeerId
  private readonly platform: Platform
  private readonly store: Store
  private readonly limits: RaftLimits
  private readonly timing: PeerTiming
  private readonly options: PeerOptions
  readonly clients: Clients
  private readonly administration: Administration
  /** Whose history it has; `join` may change it. */
  cluster: ClusterId
  /** Undefined while a new history is being begun. */
  private replica: Replica | undefined
  /** Local reads wait for this index: what the log on disk knew to be committed, or what the first catch-up brings. */
  private localFrom: Index | undefined
  private room: string | undefined
  readonly links: Links
  private readonly forwarding: Forwarding
  private membership: Membership | undefined
  private joining: JoinProgress | undefined
  private leaderSeenMs: number
  private lastLeader: { readonly id: PeerId | undefined; readonly term: number } = { id: undefined, term: -1 }
  private hadData = false
  private left = false
  private fatal: HarmonyError | undefined
  private closing = false
  /** Storage takes no writes for now: what is here can be read, and nothing else is done. */
  private paused: HarmonyError | undefined
  private readonly company: Company
  private cancelTick: Cancel = () => {}
  private changeAnnounced = false
  private lastStatus: RaftStatus | undefined

  constructor(options: PeerOptions) {
    const { platform, store } = options
    this.options = options
    this.platform = platform
    this.store = store
    this.id = store.identity.id
    this.limits = { ...defaultLimits, ...options.limits }
    this.timing = { ...defaultTiming, ...options.timing }
    this.cluster = store.restored.cluster
    const { clock, random } = platform
    this.leaderSeenMs = clock.now()
    this.clients = new Clients({
      clock,
      random,
      engine: store.engine,
      self: this.id,
      send: (to, message) => void this.links.send(to, message),
      replica: () => this.replica,
      localFrom: () => this.localFrom,
      unusable: () => this.unusable(),
      refusal: () => this.refusal(),
      post: (session, serial, command) => this.forwarding.post(session, serial, command),
      damaged: error => void (this.own().hasCompany && this.onFatal(error)),
    })
    this.administration = new Administration({
      self: this.id,
      kind: platform.kind,
      clock,
      policy: options.policy,
      links: () => this.links,
      replica: () => this.replica,
      dismissed: () => this.leave(() => {}),
      diverged: error => this.onFatal(error, false),
    })
    this.company = new Company(store, error => this.onFatal(error))
    this.links = new Links({
      platform,
      identity: store.identity,
      cluster: () => this.cluster,
      onMessage: (from, message) => this.onMessage(from, message),
      onChange: linked => this.onLinks(linked),
      onRefused: error => this.onRefused(error),
      onEvent: options.onEvent,
    })
    this.forwarding = new Forwarding({ self: this.id, links: this.links, replica: () => this.replica })
    this.replica = this.makeReplica(store.restored)
    // Who waits to be admitted has nothing to show before the first catch-up (pitfall 29).
    this.localFrom = isNobodys(store.restored) ? undefined : store.restored.log.hardState.commit
    this.paused = options.paused
    this.tick()
    if (this.paused !== undefined) this.replica.wake()
    else if (isSole(store.restored, this.id)) this.replica.campaign()
  }

  /** There is space again. */
  resume(): void {
    if (this.paused === undefined || this.unusable() !== undefined) return
    this.paused = undefined
    this.leaderSeenMs = this.platform.clock.now()
    if (isSole(this.store.restored, this.id)) this.replica?.campaign()
    this.changed()
  }

  // Clients: see `clients.ts`

  /** Why nothing that needs a quorum is taken now; undefined: go on. */
  private refusal(): HarmonyError | undefined {
    const unusable = this.unusable()
    if (unusable !== undefined) return unusable
    if (this.paused !== undefined) return this.paused
    const health = this.health()
    if (health === 'left')
      return new HarmonyError('NOT_MEMBER', 'this peer has left its cluster: join again to write or to read afresh')
    if (health === 'no-quorum') return this.noQuorum(false)
    return undefined
  }

  private unusable(): HarmonyError | undefined {
    if (this.fatal !== undefined) return this.fatal
    return this.closing ? new HarmonyError('CLOSED', 'the database is closed') : undefined
  }

  private noQuorum(maybeCommitted: boolean): HarmonyError {
    return noQuorumError(this.own().voters.length, this.links.open, maybeCommitted)
  }

  // Status

  health(): PeerHealth {
    if (this.left) return 'left'
    if (this.paused !== undefined) return 'no-quorum'
    if (this.replica?.leader !== undefined) return !this.links.open ? 'solo' : 'ok'
    if (!this.links.open && !this.own().hasCompany) return 'solo'
    return this.platform.clock.now() - this.leaderSeenMs < this.timing.noQuorumAfterMs ? 'electing' : 'no-quorum'
  }

  status(): PeerStatus {
    const { id, cluster, room, hadData: hasData, paused, replica, clients, links } = this
    assert(replica !== undefined || this.lastStatus !== undefined, 'a peer without a history')
    if (replica !== undefined) this.lastStatus = replica.status()
    const raft = this.lastStatus as RaftStatus
    return { id, cluster, room, health: this.health(), raft, hasData, paused, ...counts(replica, clients, links) }
  }

  // Membership

  /** Completes once this peer is a member and has caught up. Errors: ROOM_CONFLICT, UNAUTHORIZED, VERSION_MISMATCH, TIMEOUT, VALIDATION. */
  join(options: PeerJoin, done: Done): void {
    const unusable = this.unusable() ?? this.paused
    if (unusable !== undefined) return done(unusable)
    if (this.links.open || this.joining !== undefined) {
      const message = `this peer is in the room "${this.room}" already; leave it before you join another`
      return done(new HarmonyError('VALIDATION', message))
    }
    this.room = options.room
    const joining = new JoinProgress(this.platform.clock, done)
    this.joining = joining
    // Whether there is data decides how clusters meet, so the log is replayed before anybody is met.
    const { log } = this.store.restored
    const from = isSole(this.store.restored, this.id) ? log.lastIndex : log.hardState.commit
    const begin = (): void => {
      if (this.joining === joining) this.enter(options)
    }
    if (this.cluster === this.store.restored.cluster) this.replica?.whenApplied(from, begin)
    else begin()
  }

  private enter(options: PeerJoin): void {
    const { wish, bootstrap, onConflict, room, asks } = options
    const { clock, foundingLock } = this.platform
    this.left = false
    this.leaderSeenMs = clock.now()
    this.links.start(options, this.advert(standingAtFirst(this.own(), options)))
    this.membership = new Membership(
      { wish, bootstrap, onConflict, room, foundingLock, clock, asks },
      {
        own: () => this.own(),
        linked: () => this.links.adverts,
        unresolved: () => this.links.unresolved(),
        reachable: () => this.links.reachable(),
        advertise: standing => this.links.advertise(this.advert(standing)),
        askAdmission: (peer, wished) => this.links.send(peer, { type: 'admit', wish: wished }),
        proposeDissolution: into => this.forwarding.post(noSession, 0, { type: 'dissolve', into }),
        adopt: cluster => this.adopt(cluster),
        onConflict: error => this.joinFailed(error),
      },
    )
    this.membership.step()
    if (bootstrap === 'settled') this.finishJoin(undefined)
    this.changed()
  }

  /** Hands over what this peer is responsible for and has itself removed, as far as that succeeds within a few seconds. */
  leave(done: Done): void {
    const unusable = this.unusable()
    if (unusable !== undefined) return done(unusable)
    this.finishJoin(new HarmonyError('ABORTED', 'this peer left the room while it was joining'))
    if (!this.links.open) return done(undefined)
    this.administration.depart('remove', () => {
      this.disconnect()
      this.left = this.own().hasCompany
      const why = 'this peer left the cluster before the answer came'
      this.clients.failAll(sent => new HarmonyError('NOT_MEMBER', why, { maybeCommitted: sent }))
      this.changed()
      done(undefined)
    })
  }

  transferLeadership(to: PeerId | undefined, done: Done): void {
    handOver(() => this.replica, to, this.platform.clock, this.timing.tickMs, done)
  }

  /** Any peer takes it. Errors: VALIDATION, TIMEOUT, and what the peer refuses writes with. */
  order(order: Order, id: PeerId, done: Done): void {
    const refusal = this.refusal()
    if (refusal !== undefined) return done(refusal)
    this.administration.orders.begin(order, id, done)
  }

  /** For demonstrations and tests. */
  partition(cut: boolean): void {
    this.links.partition(cut)
    this.changed()
  }

  /** Ends everything in order: hands over (by default as its kind of peer does), tells the others, writes what is not written. Callers in flight get CLOSED. */
  close(done: Done, departure?: DepartureKind): void {
    if (this.closing) return done(undefined)
    this.finishJoin(new HarmonyError('CLOSED', 'the database was closed while it was joining'))
    const finish = (): void => {
      this.closing = true
      this.disconnect()
      this.cancelTick()
      const why = 'the database was closed before the answer came'
      this.clients.close(sent => new HarmonyError('CLOSED', why, { maybeCommitted: sent }))
      this.administration.orders.failAll(new HarmonyError('CLOSED', why))
      const close = (): void => closeStore(this.store, done)
      if (this.fatal === undefined && this.replica !== undefined) this.replica.close(close)
      else close()
    }
    if (!this.links.open || this.fatal !== undefined) return finish()
    this.administration.depart(departure ?? goodbye(this.platform.kind, this.own(), this.links.adverts), finish)
  }

  private disconnect(): void {
    this.membership?.stop()
    this.membership = undefined
    this.links.close()
    this.room = undefined
  }

  private own(): Own {
    return { id: this.id, cluster: this.cluster, hasData: this.hadData, ...placeOf(this.id, this.replica?.status()) }
  }

  private advert(standing: Advert['standing']): Advert {
    return { kind: this.platform.kind, cluster: this.cluster, standing, hasData: this.hadData }
  }

  private onLinks(linked: PeerId | undefined): void {
    this.membership?.step()
    this.replica?.linksChanged(linked)
    if (linked !== undefined) this.clients.writes.kick(linked === this.lastLeader.id)
    this.changed()
  }

  private onRefused(error: HarmonyError): void {
    // This peer is the copy, and must say nothing more.
    if (error.code === 'LOCKED') return this.onFatal(error, false)
    this.options.onEvent({ type: 'error', error })
    // A peer that others have let in is not at fault if a stranger knocks; one that nobody lets in has the wrong secret itself.
    const stranger = this.membership?.standing === 'newcomer' && this.links.adverts.size === 0
    if (this.joining !== undefined && stranger) this.joinFailed(error)
  }

  private joinFailed(error: HarmonyError): void {
    this.options.onEvent({ type: 'error', error })
    if (this.joining === undefined) return
    this.disconnect()
    this.finishJoin(error)
    this.changed()
  }

  private finishJoin(error: HarmonyError | undefined): void {
    const joining = this.joining
    this.joining = undefined
    joining?.finish(error)
  }

  private checkJoin(): void {
    const { joining, membership } = this
    if (joining === undefined || membership === undefined) return
    const member = membership.standing === 'member' && this.own().inConfiguration
    const verdict = joining.check({
      member,
      newcomer: membership.standing === 'newcomer',
      healthy: this.health() === 'ok',
      settled: () => this.administration.steward.isSettled(this.replica?.status()),
      barrier: done => this.clients.reads.barrier(5000, done),
      onCaughtUp: () => {
        this.localFrom ??= this.replica?.applied
      },
    })
    if (verdict === 'done') this.finishJoin(undefined)
    else if (verdict !== 'pending') this.joinFailed(verdict)
  }

  /** Forgets the own history (its user data was checked by the caller) and begins an empty one of `cluster`. */
  private adopt(cluster: ClusterId): void {
    if (this.cluster === cluster && this.replica === undefined) return
    this.lastStatus = unborn(this.id)
    this.replica?.stop()
    this.replica = undefined
    this.cluster = cluster
    this.localFrom = undefined
    this.leaderSeenMs = this.platform.clock.now()
    this.hadData = false
    this.store.engine.reset()
    this.clients.restart()
    this.administration.restart()
    const { lsn: from } = writeBirth(this.store.wal, cluster, nobody)
    this.store.wal.flush(error => {
      if (error !== undefined) return this.onFatal(error)
      if (this.closing || this.cluster !== cluster || this.replica !== undefined) return
      this.replica = this.makeReplica({ ...newGroup(group0, cluster, nobody), from })
      this.membership?.step()
    })
  }

  // Replica and wire

  private makeReplica(restored: RestoredGroup): Replica {
    const { clock, random } = this.platform
    const replica: Replica = new Replica(this.id, this.limits, () => randomUint32(random), restored, {
      clock,
      directory: this.store.directory,
      wal: this.store.wal,
      engine: this.store.engine,
      ...replicaSizes(this.options, this.limits, this.timing),
      send: message => this.sendRaft(message),
      sendAsk: (to, ask) => this.links.send(to, { type: 'snapshotAsk', group: group0, ask }),
      sendPiece: (to, piece) => this.links.send(to, { type: 'snapshotPiece', group: group0, piece }),
      onInstalled: () => this.onInstalled(replica),
      onRefused: message => this.options.onEvent({ type: 'snapshotRefused', message }),
      onApplied: (applied, at) => this.onApplied(replica, applied, at),
      onReadIndex: (context, index) => this.clients.reads.onReadIndex(context, index),
      onProgress: () => this.onProgress(),
      mayWrite: () => this.paused === undefined,
      onFatal: error => this.onFatal(error),
    })
    // A checkpoint may have all of it.
    this.hadData = replica.hasData
    return replica
  }

  private onApplied(replica: Replica, applied: Applied, at: Index): void {
    switch (applied.type) {
      case 'openSession':
        return this.clients.writes.sessionOpened(applied.session)
      case 'writes':
        this.lookForData(replica)
        return this.clients.applied(applied, at)
      case 'dissolved':
        return this.membership?.onDissolved(applied.into)
    }
  }

  private onInstalled(replica: Replica): void {
    this.lookForData(replica)
    this.options.onEvent({ type: 'snapshot', index: replica.applied })
    this.clients.installed()
    this.changed()
  }

  private lookForData(replica: Replica): void {
    if (this.hadData || !replica.hasData) return
    this.hadData = true
    if (this.membership !== undefined) this.links.advertise(this.advert(this.membership.standing))
  }

  private onProgress(): void {
    const status = this.replica?.status()
    if (status === undefined) return
    if (this.paused === undefined) this.company.note(this.id, this.cluster, status)
    const leader = leaderOf(status)
    if (leader !== this.lastLeader.id || status.term !== this.lastLeader.term) {
      this.lastLeader = { id: leader, term: status.term }
      if (leader === this.id) this.administration.steward.onElected()
      if (leader !== undefined) this.clients.leaderKnown()
    } else this.clients.writes.kick(false)
    this.changed()
  }

  private sendRaft(message: Message): void {
    // Lost messages are Raft's daily bread: whoever is not linked hears later.
    this.options.trace?.(message)
    this.links.send(message.to, { type: 'raft', group: group0, message })
  }

  private onMessage(from: PeerId, message: PeerMessage): void {
    if (this.replica === undefined || this.paused !== undefined) return
    const { id: self, replica, administration, forwarding, clients } = this
    const { traceReceived } = this.options
    deliver({ self, replica, administration, forwarding, clients, traceReceived }, from, message)
  }

  // Time

  private tick(): void {
    this.cancelTick = this.platform.clock.after(this.timing.tickMs, () => {
      if (this.closing || this.fatal !== undefined) return
      this.tick()
      this.onTick()
    })
  }

  private onTick(): void {
    const wasHealth = this.health()
    if (!this.left && this.paused === undefined) this.replica?.tick()
    if (this.replica?.leader !== undefined) this.leaderSeenMs = this.platform.clock.now()
    this.membership?.step()
    this.administration.tick()
    this.clients.tick()
    this.checkJoin()
    const health = this.health()
    if (health === 'no-quorum' && this.paused === undefined) this.clients.failAll(sent => this.noQuorum(sent))
    if (health !== wasHealth) this.changed()
  }

  private changed(): void {
    if (this.changeAnnounced) return
    this.changeAnnounced = true
    this.platform.clock.soon(() => {
      this.changeAnnounced = false
      this.options.onChange()
    })
  }

  /** Storage or state cannot be trusted: as good as a crash. Clients hear why; the others see a dead peer. `others`: have what it had. */
  private onFatal(error: unknown, others = this.own().hasCompany): void {
    if (this.fatal !== undefined || this.closing) return
    const fatal = fatalError(error)
    this.stop(fatal)
    if (this.options.onStopped?.(fatal, others ? this.cluster : undefined) !== true)
      this.options.onEvent({ type: 'error', error: fatal })
  }

  /** At once and for good; the store stays open. Everybody who waits hears `why`. */
  stop(why: HarmonyError): void {
    if (this.fatal !== undefined || this.closing) return
    this.fatal = why
    this.cancelTick()
    this.replica?.stop()
    this.disconnect()
    this.finishJoin(why)
    this.administration.stop(why)
    this.clients.close(sent => new HarmonyError(why.code, why.message, { maybeCommitted: sent, cause: why }))
    this.changed()
  }
}
