/** What the tests of links and signalling in Node share: a real clock, a random source, pairs of transports, waiting for a condition. */
import { randomFillSync } from 'node:crypto'
import nodeDataChannel, { type PeerConnection } from 'node-datachannel'
import { peerId } from '../../src/base/ids.ts'
import type {
  Clock,
  Connection,
  ConnectionEvents,
  Endpoint,
  Introduction,
  Lane,
  Random,
  Transport,
} from '../../src/platform.ts'

export const clock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
  soon: run => void setImmediate(run),
}

export const random: Random = { fill: bytes => void randomFillSync(bytes) }

export const idA = peerId('a'.repeat(32))
export const idB = peerId('b'.repeat(32))
export const idC = peerId('c'.repeat(32))

/** Polls until `condition` holds. */
export async function until(condition: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`did not happen within ${timeoutMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** What one side of a link saw. */
export interface Side {
  connection: Connection
  endpoint: Endpoint | undefined
  readonly received: { lane: Lane; bytes: Uint8Array }[]
  readonly drained: Lane[]
  readonly closed: string[]
  readonly failed: string[]
}

export function emptySide(): Side {
  return {
    connection: { introduce() {}, close() {} },
    endpoint: undefined,
    received: [],
    drained: [],
    closed: [],
    failed: [],
  }
}

export function listenTo(side: Side, endpoint: Endpoint): void {
  endpoint.listen({
    onMessage: (lane, bytes) => side.received.push({ lane, bytes }),
    onDrain: lane => side.drained.push(lane),
    onClose: reason => side.closed.push(reason),
  })
}

/** Events that fill a Side; the endpoint is listened to at once unless told otherwise. */
export function eventsOf(
  side: Side,
  introduce: (message: Introduction) => void,
  listenAtOnce = true,
): ConnectionEvents {
  return {
    onIntroduction: introduce,
    onOpen(endpoint) {
      side.endpoint = endpoint
      if (listenAtOnce) listenTo(side, endpoint)
    },
    onFailed: reason => side.failed.push(reason),
  }
}

/** Both sides of one link, introductions passed as JSON, as signalling does. */
export async function linked(a: Transport, b: Transport): Promise<[Side, Side]> {
  const left = emptySide()
  const right = emptySide()
  const json = (message: Introduction): Introduction => JSON.parse(JSON.stringify(message)) as Introduction
  right.connection = b.connect(
    idA,
    false,
    eventsOf(right, message => left.connection.introduce(json(message))),
  )
  left.connection = a.connect(
    idB,
    true,
    eventsOf(left, message => right.connection.introduce(json(message))),
  )
  await until(() => left.endpoint !== undefined && right.endpoint !== undefined, 'both ends open')
  return [left, right]
}

/** Two connections as an application would make them, with a channel of its own. */
export function application(): [PeerConnection, PeerConnection, () => boolean] {
  const a = new nodeDataChannel.PeerConnection('a', { iceServers: [] })
  const b = new nodeDataChannel.PeerConnection('b', { iceServers: [] })
  const held: unknown[] = []
  let open = 0
  // Candidates go across once both descriptions are in place: see the transport for what the library does otherwise.
  let described = 0
  const early: (() => void)[] = []
  const meet = (from: PeerConnection, to: PeerConnection): void => {
    from.onLocalDescription((text, type) => {
      to.setRemoteDescription(text, type)
      described++
      if (described === 2) for (const pass of early) pass()
    })
    from.onLocalCandidate((candidate, mid) => {
      // A throw in the library's callback would abort the process.
      const pass = (): void => {
        try {
          to.addRemoteCandidate(candidate, mid)
        } catch {
          // Closed meanwhile.
        }
      }
      if (described === 2) pass()
      else early.push(pass)
    })
  }
  meet(a, b)
  meet(b, a)
  b.onDataChannel(channel => void held.push(channel))
  const channel = a.createDataChannel('theirs')
  channel.onOpen(() => open++)
  held.push(channel, held)
  return [a, b, () => open > 0 && held.length > 0]
}
