/**
 * A peer of the link tests, in whichever realm it is started: a transport, a rendezvous, and at most one link. Driven by named calls from
 * the test, through the page. Payloads carry a sequence number, so that the receiving side can tell order and completeness.
 */

import { type BrowserTransport, createRtcTransport } from '../../../platform/browser/worker/rtc-transport.ts'
import { createBroadcastRendezvous } from '../../../platform/browser/worker/signaling/broadcast.ts'
import { createFoundingLock } from '../../../platform/browser/worker/signaling/founding-lock.ts'
import { createWebSocketRendezvous } from '../../../platform/browser/worker/signaling/web-socket.ts'
import type { HostPort, LentConnection } from '../../../platform/network/rtc-host-wire.ts'
import { hexEncode } from '../../../src/base/bytes.ts'
import { peerId } from '../../../src/base/ids.ts'
import type {
  Cancel,
  Clock,
  Connection,
  ConnectionEvents,
  Endpoint,
  Introduction,
  Lane,
  RendezvousSession,
} from '../../../src/platform.ts'

export const clock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  soon: run => queueMicrotask(run),
}
const random = { fill: (bytes: Uint8Array) => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>) }

export interface StartOptions {
  readonly id: string
  readonly room: string
  readonly signalUrl?: string
  readonly timeoutMs?: number
}

export interface LinkState {
  open: boolean
  binding: string
  messageBytesMax: number
  /** Messages per lane, and whether each came with the number that was due. */
  received: Record<Lane, number>
  receivedBytes: Record<Lane, number>
  inOrder: boolean
  wellFilled: boolean
  drained: Lane[]
  closed: string[]
  failed: string[]
  rendezvous: string[]
  heard: [string, unknown][]
  handedOver: string | undefined
  threw: string | undefined
}

const lanes: readonly Lane[] = ['consensus', 'bulk']

export class Driver {
  readonly state: LinkState = {
    open: false,
    binding: '',
    messageBytesMax: 0,
    received: { consensus: 0, bulk: 0 },
    receivedBytes: { consensus: 0, bulk: 0 },
    inOrder: true,
    wellFilled: true,
    drained: [],
    closed: [],
    failed: [],
    rendezvous: [],
    heard: [],
    handedOver: undefined,
    threw: undefined,
  }
  private readonly transport: BrowserTransport
  private readonly session: RendezvousSession
  private connection: Connection | undefined
  private endpoint: Endpoint | undefined
  private readonly next: Record<Lane, number> = { consensus: 0, bulk: 0 }
  private wake: (() => void) | undefined
  private release: (() => void) | undefined
  private cancel: Cancel | undefined
  private early: Introduction[] = []
  echo = false

  constructor(port: HostPort, { id, room, signalUrl, timeoutMs }: StartOptions, lend?: (c: never) => LentConnection) {
    this.transport = createRtcTransport(port, {
      clock,
      ...(lend === undefined ? {} : { lend }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    })
    const rendezvous =
      signalUrl === undefined
        ? createBroadcastRendezvous()
        : createWebSocketRendezvous({ url: signalUrl, clock, random })
    this.session = rendezvous.connect(room, peerId(id), {
      onState: state => this.state.rendezvous.push(state),
      onMessage: (from, message) => {
        if (typeof message === 'object' && message !== null && 'introduction' in message) {
          const introduction = message.introduction as Introduction
          if (this.connection === undefined) this.early.push(introduction)
          else this.connection.introduce(introduction)
        } else this.state.heard.push([from, message])
      },
    })
  }

  private events(remote: string): ConnectionEvents {
    return {
      onIntroduction: introduction => this.session.send(remote, { introduction }),
      onFailed: reason => this.state.failed.push(reason),
      onOpen: endpoint => {
        this.endpoint = endpoint
        this.state.open = true
        this.state.binding = hexEncode(endpoint.binding)
        this.state.messageBytesMax = endpoint.messageBytesMax
        this.state.handedOver = this.transport.handedOver
        endpoint.listen({
          onMessage: (lane, bytes) => this.onMessage(lane, bytes),
          onDrain: lane => {
            this.state.drained.push(lane)
            this.wake?.()
          },
          onClose: reason => this.state.closed.push(reason),
        })
      },
    }
  }

  private onMessage(lane: Lane, bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (bytes.length >= 4 && view.getUint32(0) !== this.next[lane]) this.state.inOrder = false
    for (let i = 4; i < bytes.length; i++) if (bytes[i] !== ((i * 31) & 255)) this.state.wellFilled = false
    this.next[lane]++
    this.state.received[lane]++
    this.state.receivedBytes[lane] += bytes.length
    if (this.echo) this.endpoint!.send(lane, bytes)
  }

  connect(remote: string, initiator: boolean): void {
    this.connection = this.transport.connect(peerId(remote), initiator, this.events(remote))
    for (const message of this.early.splice(0)) this.connection.introduce(message)
  }

  /** With what `lend` gave, or (on the page) the connection itself. */
  adopt(connection: unknown, remote: string, initiator: boolean): void {
    try {
      this.connection = this.transport.adopt(connection, initiator, this.events(remote))
    } catch (error) {
      this.state.threw = String((error as { code?: unknown }).code)
    }
  }

  introduce(message: unknown): void {
    this.connection!.introduce(message as Introduction)
  }

  setEcho(): void {
    this.echo = true
  }

  say(to: string, message: unknown): void {
    this.session.send(to, message)
  }

  leaveRoom(): void {
    this.session.close()
  }

  private sent: Record<Lane, number> = { consensus: 0, bulk: 0 }

  private payload(lane: Lane, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let i = 4; i < length; i++) bytes[i] = (i * 31) & 255
    if (length >= 4) new DataView(bytes.buffer).setUint32(0, this.sent[lane]++)
    return bytes
  }

  burst(lane: Lane, count: number, bytesEach: number): void {
    for (let i = 0; i < count; i++) this.endpoint!.send(lane, this.payload(lane, bytesEach))
  }

  /** Sends as fast as back-pressure at 256 KiB allows; answers with the highest fill seen and how often it waited. */
  async pump(lane: Lane, count: number, bytesEach: number): Promise<{ highBytes: number; waits: number; ms: number }> {
    let highBytes = 0
    let waits = 0
    const startMs = performance.now()
    for (let i = 0; i < count; i++) {
      this.endpoint!.send(lane, this.payload(lane, bytesEach))
      const fill = this.endpoint!.bufferedBytes(lane)
      highBytes = Math.max(highBytes, fill)
      if (fill < 262_144) continue
      waits++
      await new Promise<void>(resolve => {
        this.wake = resolve
      })
    }
    return { highBytes, waits, ms: performance.now() - startMs }
  }

  buffered(): number[] {
    return lanes.map(lane => this.endpoint!.bufferedBytes(lane))
  }

  closeEndpoint(reason: string): void {
    this.endpoint!.close(reason)
  }

  closeConnection(): void {
    this.connection!.close()
  }

  closeTransport(): void {
    this.transport.close()
  }

  acquire(room: string): void {
    this.cancel = createFoundingLock().acquire(room, release => {
      this.release = release
    })
  }

  holds(): boolean {
    return this.release !== undefined
  }

  letGo(): void {
    this.release!()
  }

  stopWaiting(): void {
    this.cancel!()
  }

  read(): LinkState {
    return this.state
  }
}

/** Serves calls [name, …arguments] on a driver. */
export async function answer(driver: Driver, name: string, args: readonly unknown[]): Promise<unknown> {
  const verb = (driver as unknown as Record<string, (...given: readonly unknown[]) => unknown>)[name]!
  return verb.apply(driver, [...args])
}
