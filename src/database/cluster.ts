/** `db.cluster`: checks what callers pass, and answers from the state that the core pushes. */
import { isId128 } from '../base/ids.ts'
import type { Core, CoreJoin, CoreMirror } from './core.ts'
import { invalid, oneOf, record, shown } from './options.ts'
import type { Cluster, ClusterStatus, IceConfiguration, JoinOptions, Member, Signaling } from './types.ts'

const roomLengthMax = 128
const secretLengthMin = 8
const secretLengthMax = 1024
const signalingAddressesMax = 8

export class ClusterFacade implements Cluster {
  private readonly core: Core
  private readonly assertOpen: () => void

  constructor(core: Core, assertOpen: () => void) {
    this.core = core
    this.assertOpen = assertOpen
  }

  /**
   * Becomes a member of the room's cluster, or founds it. Resolves once this peer has caught up.
   * @throws VALIDATION, UNAUTHORIZED (the secret is another one), ROOM_CONFLICT (both have data; see `onConflict`), TIMEOUT, CLOSED.
   */
  async join(options: JoinOptions): Promise<void> {
    this.assertOpen()
    await this.core.join(coreJoin(options))
  }

  /** Leaves the room in order: hands leadership over and stops being a voter. The data stays here. In no room it does nothing. @throws CLOSED. */
  async leave(): Promise<void> {
    this.assertOpen()
    await this.core.leave()
  }

  /**
   * Links to another peer over a connection that the application has already: in browsers an RTCPeerConnection, in Node.js a
   * PeerConnection of node-datachannel. Both sides call it, each with the other's id (`status().self`), before `join` or after. Once
   * both have joined and adopted, within 12 seconds of each other, the room's secret is proven over it as over any other. It stays
   * open when the link ends; HarmonyDB uses stream ids 200 to 215 on it. A connection is adopted once: to link again, make a new one.
   * Resolves when it was taken; `members()` and the event `link` tell what became of it, also where it came to nothing.
   * @throws VALIDATION (no id, this peer's own, no such connection, or one that was adopted before), CLOSED.
   */
  async adopt(id: string, connection: unknown): Promise<void> {
    this.assertOpen()
    if (!isId128(id)) throw invalid(`a peer's id has 32 hexadecimal digits, not ${shown(id)}`)
    await this.core.adopt(id, connection)
  }

  /** What this peer knows of the cluster's health and of its own place in it. @throws CLOSED. */
  status(): ClusterStatus {
    this.assertOpen()
    return { ...this.core.mirror().cluster }
  }

  /** The members, this peer among them. @throws CLOSED. */
  members(): Member[] {
    this.assertOpen()
    return this.core.mirror().members.map(member => ({ ...member }))
  }

  /**
   * Calls the listener at once and then whenever the status or a member changed, at most once per turn of the event loop.
   * @returns Stops it.
   * @throws VALIDATION, CLOSED.
   */
  subscribe(listener: (status: ClusterStatus) => void): () => void {
    this.assertOpen()
    if (typeof listener !== 'function') throw invalid(`subscribe takes a function, not ${shown(listener)}`)
    listener(this.status()) // first: if it throws, nothing is left behind
    let last = fingerprint(this.core.mirror())
    return this.core.subscribe(mirror => {
      const next = fingerprint(mirror)
      if (next === last) return
      last = next
      listener({ ...mirror.cluster })
    })
  }

  /**
   * Gives a member a vote, at the next chance and before others: where there are more who could vote than seats (five, and always an odd number), it takes the place of another. Where
   * it is a voter already, nothing happens. A later leader may give the seat away as it does any other.
   * @param id Of `members()`.
   * @throws VALIDATION (no member), TIMEOUT (10 s: not linked, not caught up, or of two members), NO_QUORUM, NOT_MEMBER (this peer has left), CLOSED.
   */
  async promote(id: string): Promise<void> {
    await this.order('promote', id)
  }

  /**
   * Takes a member out of the cluster. One that is linked leaves the room, as if it had called `leave`; one that cannot be reached asks to be admitted again should it come back (change
   * the room's secret to keep it out). The leader hands over first. This peer may be the one.
   * @param id Of `members()`.
   * @throws VALIDATION (no member), TIMEOUT (10 s), NO_QUORUM, NOT_MEMBER (this peer has left), CLOSED.
   */
  async remove(id: string): Promise<void> {
    await this.order('remove', id)
  }

  private async order(order: 'promote' | 'remove', id: string): Promise<void> {
    this.assertOpen()
    if (!isId128(id)) throw invalid(`a member's id has 32 hexadecimal digits, not ${shown(id)}`)
    await this.core.order(order, id)
  }

  /**
   * Makes another voter the leader. Called on the one that leads.
   * @param to A member's id. Default: the voter that is most up to date.
   * @throws VALIDATION, NOT_MEMBER (this peer does not lead), TIMEOUT, CLOSED.
   */
  async transferLeadership(to?: string): Promise<void> {
    this.assertOpen()
    if (to !== undefined && !isId128(to)) throw invalid(`a member's id has 32 hexadecimal digits, not ${shown(to)}`)
    await this.core.transferLeadership(to)
  }

  /**
   * Makes a new cluster of this peer alone, when a majority of the voters is lost for good: its id is new, its data are what this peer has. Lost is what only others
   * had; writes at the end of its log count as committed even if nobody was told so. Calls that are under way fail, watches and snapshots end; in a room it stays, as another
   * cluster than the one that was there. The other survivors join it with new, empty directories.
   * @throws VALIDATION (not confirmed; there is a leader; this peer is alone, or has no data), CLOSED, QUOTA, CORRUPT, STORAGE_LOST.
   */
  async recover(options: { confirmDataLoss: true }): Promise<void> {
    this.assertOpen()
    if (record(options, 'the argument of recover').confirmDataLoss !== true) {
      throw invalid('recover may lose what only the others had: say { confirmDataLoss: true }')
    }
    await this.core.recover()
  }

  /** Cuts this peer off from all others, as a broken network would, or heals it. @throws VALIDATION, CLOSED. */
  partition(cut: boolean): void {
    this.assertOpen()
    if (typeof cut !== 'boolean') throw invalid(`partition takes true or false, not ${shown(cut)}`)
    this.core.partition(cut)
  }
}

/** Plain data with a fixed order of fields: equal text, equal state. */
function fingerprint({ cluster, members }: CoreMirror): string {
  return JSON.stringify([cluster, members])
}

/** @throws VALIDATION */
export function coreJoin(given: JoinOptions): CoreJoin {
  const options = record(given, 'the argument of join')
  const { room, secret, role = 'auto', bootstrap = 'auto', onConflict = 'fail' } = options
  if (typeof room !== 'string' || room.length < 1 || room.length > roomLengthMax) {
    throw invalid(`room must be a string of 1 to ${roomLengthMax} characters, not ${shown(room)}`)
  }
  if (typeof secret !== 'string' || secret.length < secretLengthMin || secret.length > secretLengthMax) {
    throw invalid(
      `secret must be a string of at least ${secretLengthMin} characters (better: 128 random bits, for example from crypto.randomUUID())`,
    )
  }
  if (typeof bootstrap !== 'boolean') oneOf(bootstrap, ['auto'], 'bootstrap')
  return {
    room,
    secret,
    ...signalingOf(options.signaling),
    rtc: rtcOf(options.rtc),
    role: oneOf(role, ['auto', 'voter', 'learner'], 'role'),
    bootstrap,
    onConflict: oneOf(onConflict, ['fail', 'discard-local'], 'onConflict'),
  }
}

function signalingOf(given: JoinOptions['signaling']): Pick<CoreJoin, 'signaling' | 'ownSignaling'> {
  if (given === undefined) return { signaling: undefined, ownSignaling: undefined }
  if (isOwn(given)) return { signaling: undefined, ownSignaling: given }
  const addresses = typeof given === 'string' ? [given] : given
  if (!Array.isArray(addresses) || !addresses.every(isAddress) || addresses.length > signalingAddressesMax) {
    throw invalid(
      `signaling must be a ws:// or wss:// (or http://) address, up to ${signalingAddressesMax} of them, or an object with connect(), not ${shown(given)}`,
    )
  }
  return { signaling: [...addresses], ownSignaling: undefined }
}

function isOwn(given: unknown): given is Signaling {
  return typeof given === 'object' && given !== null && typeof (given as Partial<Signaling>).connect === 'function'
}

function isAddress(address: unknown): boolean {
  return typeof address === 'string' && /^(ws|http)s?:\/\/[^\s]+$/i.test(address)
}

/** The fields that are used, copied: an RTCConfiguration may hold certificates, which cannot go to a worker. */
function rtcOf(given: IceConfiguration | undefined): IceConfiguration | undefined {
  if (given === undefined) return undefined
  const { iceServers, iceTransportPolicy } = record(given, 'rtc')
  if (iceServers !== undefined && !Array.isArray(iceServers)) throw invalid('rtc.iceServers must be an array')
  if (iceTransportPolicy !== undefined) oneOf(iceTransportPolicy, ['all', 'relay'], 'rtc.iceTransportPolicy')
  const servers = iceServers?.map((server, i) => {
    const { urls, username, credential } = record(server, `rtc.iceServers[${i}]`)
    const list = typeof urls === 'string' ? [urls] : urls
    if (!Array.isArray(list) || list.length === 0 || !list.every(url => typeof url === 'string')) {
      throw invalid(`rtc.iceServers[${i}].urls must be a stun: or turn: address, or several`)
    }
    return {
      urls,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    }
  })
  return {
    ...(servers === undefined ? {} : { iceServers: servers }),
    ...(iceTransportPolicy === undefined ? {} : { iceTransportPolicy }),
  }
}
