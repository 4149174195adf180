/**
 * The page's end: a `Core` whose peer runs behind a port.
 *
 *  R1  Every call ends: with an answer, or with CLOSED once the other side was closed or is known to be gone (`lost`). A write that was
 *      under way says `maybeCommitted` then.
 *  R2  `mirror()` is a copy that the other side pushes whenever it changed: a moment behind, and only ever forward.
 *  R3  Connections are held from module level until they end: comlink releases a remote object that only a pending call
 *      can reach (GoogleChromeLabs/comlink#692), and then the call would hang.
 */
import { type Endpoint, proxy, type Remote, releaseProxy, transfer, wrap } from 'comlink'
import { errorFromRecord, HarmonyError } from '../base/errors.ts'
import type {
  Core,
  CoreDecide,
  CoreJoin,
  CoreLock,
  CoreMirror,
  CorePage,
  CorePrepare,
  CorePrepared,
  CoreReadOptions,
  CoreScan,
  CoreSnapshot,
  CoreWatch,
  CoreWatching,
  CoreWrite,
} from '../database/core.ts'
import type { PackedEntries } from '../database/entries.ts'
import type { DatabaseEvent, Signaling } from '../database/types.ts'
import { buffersOf, packKeys, packWrite } from './pack.ts'
import {
  acknowledgement,
  type CoreService,
  type Envelope,
  isPush,
  opened,
  type Push,
  protocolVersion,
  type RemoteSignaling,
  type RpcPort,
  type Transferable,
} from './protocol.ts'

export interface ConnectOptions {
  /** Goes to the function given to `exposeCore`. */
  readonly request: unknown
  /** Of this realm. */
  readonly clock: Core['clock']
  /** Ports within the request. */
  readonly transfer?: readonly Transferable[]
  /**
   * Tells when the other side is gone for good (the worker died), if the port itself does not. Called once, before anything is
   * sent; what it is given may be called at any time, also more than once.
   */
  readonly watch?: (lost: (reason: string) => void) => void
  /** What `peek` reads with, made of what the other side's `open` had to say; without it, or where it makes nothing, `peek` knows nothing. */
  readonly peekWith?: (about: unknown) => Promise<Peek | undefined>
  /** Makes something that can cross of a connection that `adopt` was given. @throws HarmonyError VALIDATION */
  readonly lend?: (connection: unknown) => unknown
}

export type Peek = (key: Uint8Array) => PackedEntries | undefined

export interface Connected {
  readonly core: Core
  /** What the other side's `open` had to say. */
  readonly about: unknown
}

/** Events from before anybody listened. */
const earlyEventsMax = 100

const connections = new Set<RemoteCore>()

/** Opens the core behind the port. Rejects with what opening it there failed with, or CLOSED. */
export async function connectCore(port: RpcPort, options: ConnectOptions): Promise<Connected> {
  const core = new RemoteCore(port, options)
  connections.add(core)
  return { core, about: await core.open(options) }
}

class RemoteCore implements Core {
  readonly clock: Core['clock']
  private readonly port: RpcPort
  private readonly service: Remote<CoreService>
  /** Reading a method of a remote object makes a new proxy and registers it for finalization: these are called often. */
  private readonly often: Pick<Remote<CoreService>, 'getMany' | 'scan' | 'snapshot' | 'release' | 'watched' | 'write'>
  private readonly pending = new Set<() => void>()
  private readonly mirrorListeners = new Set<(mirror: CoreMirror) => void>()
  private readonly eventListeners = new Set<(event: DatabaseEvent) => void>()
  private readonly onMessage: (event: { readonly data?: unknown }) => void
  private latest: CoreMirror | undefined
  private peekHere: Peek | undefined
  private early: DatabaseEvent[] = []
  private ended: string | undefined
  private closing: Promise<void> | undefined
  private readonly lend: ((connection: unknown) => unknown) | undefined

  constructor(port: RpcPort, options: ConnectOptions) {
    this.port = port
    this.clock = options.clock
    this.lend = options.lend
    this.service = wrap<CoreService>(port as unknown as Endpoint)
    const { getMany, scan, snapshot, release, watched, write } = this.service
    this.often = { getMany, scan, snapshot, release, watched, write }
    this.onMessage = ({ data }) => {
      if (isPush(data)) this.onPush(data)
    }
    port.addEventListener('message', this.onMessage)
    port.addEventListener('messageerror', () => this.end('a message could not be read'))
    port.addEventListener('close', () => this.end('the connection to its worker ended'))
    options.watch?.(reason => this.end(reason))
  }

  async open({ request, transfer: ports = [], peekWith }: ConnectOptions): Promise<unknown> {
    try {
      const parcel = transfer(request, [...ports] as never)
      const { mirror, about } = await this.call(() => this.service.open(protocolVersion, parcel))
      this.latest ??= mirror // what was pushed meanwhile is newer
      this.peekHere = await peekWith?.(about)
      return about
    } catch (error) {
      this.end('it could not be opened')
      throw error
    }
  }

  getMany(keys: readonly Uint8Array[], options: CoreReadOptions): Promise<PackedEntries> {
    return this.call(() => this.often.getMany(handedOver(packKeys(keys)), options))
  }

  scan(request: CoreScan): Promise<CorePage> {
    const { continuation } = request
    // A view would be cloned with all of the page that it looks into.
    const own = continuation && { ...continuation, after: continuation.after.slice() }
    return this.call(() => this.often.scan({ ...request, continuation: own }))
  }

  peek(key: Uint8Array): PackedEntries | undefined {
    if (this.ended !== undefined) throw this.closedError(false)
    return this.peekHere?.(key)
  }

  snapshot(options: CoreReadOptions): Promise<CoreSnapshot> {
    return this.call(() => this.often.snapshot(options))
  }

  release(snapshot: string): void {
    this.call(() => this.often.release(snapshot)).catch(() => {})
  }

  watch(request: CoreWatch): Promise<CoreWatching> {
    return this.call(() => this.service.watch(request))
  }

  watched(watch: string): Promise<Uint8Array> {
    return this.call(() => this.often.watched(watch))
  }

  unwatch(watch: string): void {
    this.call(() => this.service.unwatch(watch)).catch(() => {})
  }

  write(request: CoreWrite): Promise<{ readonly version: string }> {
    return this.call(() => this.often.write(handedOver(packWrite(request))), true)
  }

  prepare(write: CoreWrite, as: CorePrepare): Promise<{ readonly id: string }> {
    return this.call(() => this.service.prepare(handedOver(packWrite(write)), as), true)
  }

  decide(request: CoreDecide): Promise<{ readonly version: string }> {
    return this.call(() => this.service.decide(request), true)
  }

  prepared(timeoutMs: number): Promise<readonly CorePrepared[]> {
    return this.call(() => this.service.prepared(timeoutMs))
  }

  lock(request: CoreLock): Promise<{ readonly age: number }> {
    return this.call(() => this.service.lock(request))
  }

  unlock(transaction: number): void {
    this.call(() => this.service.unlock(transaction)).catch(() => {})
  }

  join({ ownSignaling, ...options }: CoreJoin): Promise<void> {
    const own = ownSignaling && (proxy(remoteSignaling(ownSignaling)) as never)
    return this.call(() => this.service.join(options, own))
  }

  leave(): Promise<void> {
    return this.call(() => this.service.leave())
  }

  async adopt(remote: string, connection: unknown): Promise<void> {
    if (this.lend === undefined) {
      throw new HarmonyError('VALIDATION', 'connections of the application cannot be used from here')
    }
    const lent = this.lend(connection)
    await this.call(() => this.service.adopt(remote, lent))
  }

  compact(): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }> {
    return this.call(() => this.service.compact())
  }

  order(order: 'promote' | 'remove', id: string): Promise<void> {
    return this.call(() => this.service.order(order, id))
  }

  recover(): Promise<void> {
    return this.call(() => this.service.recover())
  }

  transferLeadership(to: string | undefined): Promise<void> {
    return this.call(() => this.service.transferLeadership(to))
  }

  partition(cut: boolean): void {
    this.call(() => this.service.partition(cut)).catch(() => {})
  }

  mirror(): CoreMirror {
    return this.latest as CoreMirror // from `open` on
  }

  subscribe(listener: (mirror: CoreMirror) => void): () => void {
    this.mirrorListeners.add(listener)
    listener(this.mirror())
    return () => this.mirrorListeners.delete(listener)
  }

  events(listener: (event: DatabaseEvent) => void): () => void {
    this.eventListeners.add(listener)
    for (const event of this.early.splice(0)) listener(event)
    return () => this.eventListeners.delete(listener)
  }

  close(): Promise<void> {
    this.closing ??= this.closeOnce()
    return this.closing
  }

  private async closeOnce(): Promise<void> {
    if (this.ended !== undefined) return
    try {
      await this.call(() => this.service.close())
    } catch (error) {
      // Gone already: closed all the same. Another failure is the caller's to know.
      if (this.ended === undefined) throw error
    } finally {
      this.end('it was closed')
    }
  }

  private call<T>(run: () => Promise<Envelope<T>>, mayCommit = false): Promise<T> {
    if (this.ended !== undefined) return Promise.reject(this.closedError(false))
    return new Promise((resolve, reject) => {
      const fail = () => reject(this.closedError(mayCommit))
      this.pending.add(fail)
      run()
        .then(opened)
        .then(resolve, reject)
        .finally(() => this.pending.delete(fail))
    })
  }

  private closedError(maybeCommitted: boolean): HarmonyError {
    const effect = maybeCommitted ? '; this write may be committed all the same' : ''
    return new HarmonyError('CLOSED', `the database is closed: ${this.ended}${effect}`, { maybeCommitted })
  }

  private onPush({ mirror, events }: Push): void {
    this.port.postMessage(acknowledgement, [])
    this.latest = mirror
    for (const pushed of events) {
      const event: DatabaseEvent =
        pushed.type === 'error' ? { type: 'error', error: errorFromRecord(pushed.record) } : pushed
      if (this.eventListeners.size === 0 && this.early.length < earlyEventsMax) this.early.push(event)
      for (const listener of [...this.eventListeners]) listener(event)
    }
    for (const listener of [...this.mirrorListeners]) listener(mirror)
  }

  private end(reason: string): void {
    if (this.ended !== undefined) return
    this.ended = reason
    for (const fail of this.pending) fail()
    this.pending.clear()
    this.port.removeEventListener('message', this.onMessage)
    this.service[releaseProxy]()
    this.port.close?.()
    connections.delete(this)
  }
}

/** Packed bytes are made for one message: their buffer goes with it. */
function handedOver(packed: Uint8Array): Uint8Array {
  return transfer(packed, buffersOf(packed) as never)
}

/** An application's Signaling for the worker: what it returns stays here, and is reached by reference. */
function remoteSignaling(own: Signaling): RemoteSignaling {
  return {
    connect: async (room, self, on) => {
      const session = await own.connect(room, self, (from, message) => {
        Promise.resolve(on(from, message)).catch(() => {})
      })
      return proxy({
        send: (to: string, message: unknown) => session.send(to, message),
        close: () => session.close(),
      })
    },
  }
}
