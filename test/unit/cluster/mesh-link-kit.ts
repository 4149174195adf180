/** Links over endpoints that a test holds in its hands: everything sent is seen, anything can be put in, and nothing drains by itself. */

import { World } from '../../../platform/simulation/world.ts'
import { copyBytes } from '../../../src/base/bytes.ts'
import type { HarmonyError } from '../../../src/base/errors.ts'
import { Handshake, type HandshakeOptions } from '../../../src/cluster/handshake.ts'
import { defaultTiming } from '../../../src/cluster/mesh.ts'
import { Link, type LinkHost } from '../../../src/cluster/mesh-link.ts'
import type { Traffic } from '../../../src/cluster/mesh-outbox.ts'
import type { Advert } from '../../../src/cluster/mesh-types.ts'
import { deriveRoomKey, hashRoom } from '../../../src/cluster/room-key.ts'
import type { Clock, Endpoint, EndpointEvents, Lane } from '../../../src/platform.ts'
import { advert, identityOf, patterned, secret } from './mesh-kit.ts'

const key = deriveRoomKey('room', secret)
const lowWaterBytes = 65_536

export class HandEndpoint implements Endpoint {
  readonly binding: Uint8Array
  readonly messageBytesMax = 65_536
  readonly sent: { readonly lane: Lane; readonly bytes: Uint8Array }[] = []
  closedWith: string | undefined
  events: EndpointEvents | undefined
  /** Where `send` delivers to; undefined: it stays in the buffer until `drain`. */
  other: HandEndpoint | undefined
  private readonly buffered: Record<Lane, number> = { consensus: 0, bulk: 0 }
  private readonly clock: Clock
  private early: (() => void)[] = []

  constructor(clock: Clock, binding = patterned(32)) {
    this.clock = clock
    this.binding = binding
  }

  listen(events: EndpointEvents): void {
    this.events = events
    for (const run of this.early) run()
    this.early = []
  }

  send(lane: Lane, bytes: Uint8Array): void {
    if (this.closedWith !== undefined) return
    this.sent.push({ lane, bytes })
    const { other } = this
    if (other === undefined) this.buffered[lane] += bytes.length
    else this.clock.soon(() => other.inject(lane, copyBytes(bytes)))
  }

  inject(lane: Lane, bytes: Uint8Array): void {
    if (this.closedWith !== undefined) return
    if (this.events === undefined) this.early.push(() => this.inject(lane, bytes))
    else this.events.onMessage(lane, bytes)
  }

  bufferedBytes(lane: Lane): number {
    return this.buffered[lane]
  }

  drain(lane: Lane): void {
    const full = this.buffered[lane] > lowWaterBytes
    this.buffered[lane] = 0
    if (full) this.events?.onDrain(lane)
  }

  close(reason: string): void {
    if (this.closedWith !== undefined) return
    this.closedWith = reason
    this.events?.onClose(reason)
    const { other } = this
    if (other !== undefined) this.clock.soon(() => other.close(`closed by the other side: ${reason}`))
  }
}

/** A link and all that it reported. */
export class LinkUnderTest implements LinkHost {
  readonly clock: Clock
  readonly timing = defaultTiming
  readonly traffic: Traffic = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0 }
  readonly endpoint: HandEndpoint
  readonly link: Link
  readonly received: { readonly lane: Lane; readonly bytes: Uint8Array }[] = []
  readonly refused: HarmonyError[] = []
  readonly closed: { readonly reason: string; readonly left: boolean }[] = []
  advertOfOther: Advert | undefined
  linked = 0
  drains = 0
  cut = false
  /** Sent from within `onLinked`, on both lanes. */
  greeting: Uint8Array | undefined
  private flushDue = false

  constructor(clock: Clock, self: string, peer: string, changes: Partial<HandshakeOptions> = {}) {
    this.clock = clock
    this.endpoint = new HandEndpoint(clock, changes.binding)
    const identity = identityOf(self)
    const handshake = new Handshake({
      identity,
      expected: identityOf(peer).id,
      kind: 'node',
      roomHash: hashRoom('room'),
      roomKey: () => key,
      nonce: patterned(32, self.charCodeAt(0)),
      instance: patterned(8),
      binding: this.endpoint.binding,
      ...changes,
    })
    const { endpoint } = this
    this.link = new Link({ peer: identityOf(peer).id, endpoint, handshake, advert: () => advert, host: this })
  }

  isCut(): boolean {
    return this.cut
  }
  onDirty(): void {
    if (this.flushDue) return
    this.flushDue = true
    this.clock.soon(() => {
      this.flushDue = false
      this.link.flush()
    })
  }
  onLinked(_link: Link, said: Advert): void {
    this.linked++
    this.advertOfOther = said
    if (this.greeting === undefined) return
    this.link.send('consensus', this.greeting)
    this.link.send('bulk', this.greeting)
  }
  onAnswered(): void {}
  onAdvert(_link: Link, said: Advert): void {
    this.advertOfOther = said
  }
  onMessage(_link: Link, lane: Lane, bytes: Uint8Array): void {
    this.received.push({ lane, bytes })
  }
  onDrain(): void {
    this.drains++
  }
  onIntroduction(): void {}
  onNeighbours(): void {}
  onRefused(_link: Link, error: HarmonyError): void {
    this.refused.push(error)
  }
  onClosed(_link: Link, reason: string, left: boolean): void {
    this.closed.push({ reason, left })
  }
}

export interface Bench {
  readonly world: World
  readonly a: LinkUnderTest
  readonly b: LinkUnderTest
  /** Runs for so long, with both links' ticks. */
  run(durationMs: number): void
}

/** Two ends, connected and started; linked unless the changes keep them from it. */
export function bench(forA: Partial<HandshakeOptions> = {}, forB: Partial<HandshakeOptions> = {}): Bench {
  const world = new World(1)
  const a = new LinkUnderTest(world.process('a').platform.clock, 'a', 'b', forA)
  const b = new LinkUnderTest(world.process('b').platform.clock, 'b', 'a', forB)
  a.endpoint.other = b.endpoint
  b.endpoint.other = a.endpoint
  a.link.start()
  b.link.start()
  const run = (durationMs: number): void => {
    for (let ms = 0; ms < durationMs; ms += 200) {
      world.run(Math.min(200, durationMs - ms))
      a.link.tick()
      b.link.tick()
    }
  }
  run(400)
  return { world, a, b, run }
}
