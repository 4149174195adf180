/**
 * The rules of Transport and Endpoint (T1 to T4, E1 to E4 of `src/platform.ts`), for every way to connect two peers.
 *
 * A harness gives two transports that can reach each other. Introductions are passed on by the suite, as JSON, as signaling does.
 */
import { isHarmonyError } from '../../src/base/errors.ts'
import { peerId } from '../../src/base/ids.ts'
import type { Connection, ConnectionEvents, Endpoint, Introduction, Lane, Transport } from '../../src/platform.ts'
import { check, checkEqual, type Rule, type Waiting } from './rule.ts'

export interface EndpointHarness extends Waiting {
  /** Of two peers that reach each other. Attempts should fail within 3 s, so that T2 can be seen. */
  readonly transports: readonly [Transport, Transport]
  /** Two halves of one connection made elsewhere, the initiator's first. */
  readonly adoptable?: () => Promise<readonly [unknown, unknown]>
}

const ids = [peerId('a'.repeat(32)), peerId('b'.repeat(32))] as const
const lanes: readonly Lane[] = ['consensus', 'bulk']

/** What one side of an attempt saw. */
interface Side {
  connection: Connection
  endpoint: Endpoint | undefined
  opened: number
  readonly received: Record<Lane, Uint8Array[]>
  /** In the order of arrival. */
  readonly log: string[]
  readonly drained: Lane[]
  readonly closed: string[]
  readonly failed: string[]
  readonly introductions: Introduction[]
}

interface ConnectOptions {
  /** Default true: endpoints are listened to as soon as they open. */
  readonly listen?: boolean
  /** What passes an introduction on; default: at once. */
  readonly pass?: (message: Introduction, deliver: (message: Introduction) => void) => void
}

function emptySide(): Side {
  return {
    connection: { introduce() {}, close() {} },
    endpoint: undefined,
    opened: 0,
    received: { consensus: [], bulk: [] },
    log: [],
    drained: [],
    closed: [],
    failed: [],
    introductions: [],
  }
}

function listenTo(side: Side): void {
  side.endpoint!.listen({
    onMessage(lane, bytes) {
      side.received[lane].push(bytes)
      side.log.push(side.closed.length === 0 ? lane : 'message after close')
    },
    onDrain: lane => side.drained.push(lane),
    onClose: reason => side.closed.push(reason),
  })
}

function eventsOf(side: Side, onIntroduction: (message: Introduction) => void, listen: boolean): ConnectionEvents {
  return {
    onIntroduction(message) {
      side.introductions.push(message)
      onIntroduction(JSON.parse(JSON.stringify(message)) as Introduction)
    },
    onOpen(endpoint) {
      side.opened++
      side.endpoint = endpoint
      if (listen) listenTo(side)
    },
    onFailed: reason => side.failed.push(reason),
  }
}

/** Begins an attempt; the first side initiates. */
function begin(harness: EndpointHarness, options: ConnectOptions = {}): [Side, Side] {
  const { listen = true, pass = (message, deliver) => deliver(message) } = options
  const [a, b] = [emptySide(), emptySide()]
  const [first, second] = harness.transports
  b.connection = second.connect(
    ids[0],
    false,
    eventsOf(b, message => pass(message, m => a.connection.introduce(m)), listen),
  )
  a.connection = first.connect(
    ids[1],
    true,
    eventsOf(a, message => pass(message, m => b.connection.introduce(m)), listen),
  )
  return [a, b]
}

async function linked(harness: EndpointHarness, options: ConnectOptions = {}): Promise<[Side, Side]> {
  const sides = begin(harness, options)
  await harness.until(() => sides.every(side => side.opened + side.failed.length > 0), 'both ends are open')
  checkEqual(
    sides.map(side => side.failed),
    [[], []],
    'failures',
  )
  return sides
}

/** `length` bytes that say which message they are. */
function numbered(n: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (n >> ((i % 3) * 8)) + Math.floor(i / 3)
  return bytes
}

const malformed: readonly Introduction[] = [
  {},
  { type: 'hello' },
  { type: 'offer' },
  { type: 'answer' },
  { type: 'offer', sdp: 7, attempt: 'x' },
  { type: 'offer', sdp: 'v=0\r\nthis is no description', attempt: null },
  { type: 'candidate', candidate: { nested: ['deeply'] }, mid: 5 },
  { __proto__: null, constructor: 1 },
  { type: 'offer', sdp: 'x'.repeat(1_000_000), attempt: Number.NaN },
]

export const endpointRules: readonly Rule<EndpointHarness>[] = [
  {
    id: 'T1',
    title: 'two sides that pass on introductions open one endpoint each, once; introductions survive JSON',
    async run(harness) {
      const [a, b] = await linked(harness)
      checkEqual([a.opened, b.opened], [1, 1], 'openings')
      check(a.introductions.length > 0 && b.introductions.length > 0, 'each side introduced itself')
      for (const message of [...a.introductions, ...b.introductions]) {
        checkEqual(JSON.parse(JSON.stringify(message)), message, 'an introduction after JSON')
      }
    },
  },
  {
    id: 'T1',
    title: 'several links between the same two at once do not disturb each other',
    async run(harness) {
      const links = [begin(harness), begin(harness), begin(harness)]
      await harness.until(() => links.flat().every(side => side.opened === 1), 'all are open')
      links.forEach(([a], i) => {
        a.endpoint!.send('consensus', Uint8Array.of(i))
      })
      await harness.until(() => links.every(([, b]) => b.received.consensus.length > 0), 'all have heard')
      links.forEach(([, b], i) => {
        checkEqual(b.received.consensus, [Uint8Array.of(i)], 'what came')
      })
    },
  },
  {
    id: 'T2',
    title: 'an attempt whose introductions are lost ends in onFailed, once, at both sides',
    async run(harness) {
      const [a, b] = begin(harness, { pass: () => {} })
      await harness.until(() => a.failed.length > 0 && b.failed.length > 0, 'both have failed')
      a.connection.close()
      b.connection.close()
      checkEqual([a.failed.length, b.failed.length, a.opened, b.opened], [1, 1, 0, 0], 'failures and openings')
    },
  },
  {
    id: 'T2',
    title: 'an attempt that is closed first tells nothing more; the other side fails',
    async run(harness) {
      const held: (() => void)[] = []
      const [a, b] = begin(harness, { pass: (message, deliver) => held.push(() => deliver(message)) })
      a.connection.close()
      for (const deliver of held) deliver()
      await harness.until(() => b.failed.length > 0 || b.closed.length > 0, 'the other side has failed')
      a.connection.close()
      checkEqual([a.failed, a.opened, a.closed], [[], 0, []], 'what the closed side heard')
    },
  },
  {
    id: 'T3',
    title: 'malformed introductions end the attempt in onFailed, at either side, and never throw',
    async run(harness) {
      for (const message of malformed) {
        const [a, b] = begin(harness, { pass: () => {} })
        a.connection.introduce(message)
        b.connection.introduce(message)
        await harness.until(
          () => a.failed.length > 0 && b.failed.length > 0,
          `both refuse ${JSON.stringify(message).slice(0, 80)}`,
        )
        a.connection.introduce(message)
        checkEqual([a.failed.length, b.failed.length, a.opened, b.opened], [1, 1, 0, 0], 'failures and openings')
      }
    },
  },
  {
    id: 'T4',
    title: 'adopt refuses what is no connection: undefined, or VALIDATION thrown',
    async run(harness) {
      for (const nothing of [undefined, null, 7, 'connection', {}, []]) {
        const side = emptySide()
        try {
          const made = harness.transports[0].adopt(
            nothing,
            true,
            eventsOf(side, () => {}, true),
          ) as Connection | undefined
          check(made === undefined, `${JSON.stringify(nothing)} was adopted`)
        } catch (error) {
          check(isHarmonyError(error, 'VALIDATION'), `adopt threw ${String(error)}`)
        }
      }
    },
  },
  {
    id: 'T4',
    title: 'a connection made elsewhere opens like an own one',
    needs: ['adoptable'],
    async run(harness) {
      const halves = await harness.adoptable!()
      const sides = [emptySide(), emptySide()] as const
      sides.forEach((side, i) => {
        side.connection = harness.transports[i as 0 | 1].adopt(
          halves[i],
          i === 0,
          eventsOf(side, () => {}, true),
        )
      })
      const [a, b] = sides
      await harness.until(() => a.opened === 1 && b.opened === 1, 'both ends are open')
      checkEqual(a.endpoint!.binding, b.endpoint!.binding, 'the binding')
      a.endpoint!.send('bulk', Uint8Array.of(1))
      b.endpoint!.send('consensus', Uint8Array.of(2))
      await harness.until(() => a.received.consensus.length === 1 && b.received.bulk.length === 1, 'both have heard')
    },
  },
  {
    id: 'T4',
    title: 'closing the transport closes what it had opened',
    async run(harness) {
      const [a, b] = await linked(harness)
      harness.transports[0].close()
      await harness.until(() => a.closed.length === 1 && b.closed.length === 1, 'both ends know')
    },
  },
  {
    id: 'E1',
    title: 'each lane keeps order and boundaries of small messages, both ways at once',
    async run(harness) {
      const [a, b] = await linked(harness)
      const count = 500
      for (let i = 0; i < count; i++) {
        for (const lane of lanes) {
          a.endpoint!.send(lane, numbered(i, 1 + (i % 40)))
          b.endpoint!.send(lane, numbered(i + 7, 1 + (i % 23)))
        }
      }
      await harness.until(
        () => [a, b].every(side => lanes.every(lane => side.received[lane].length === count)),
        'all have arrived',
      )
      for (const lane of lanes) {
        b.received[lane].forEach((bytes, i) => {
          checkEqual(bytes, numbered(i, 1 + (i % 40)), `message ${i} on ${lane}`)
        })
        a.received[lane].forEach((bytes, i) => {
          checkEqual(bytes, numbered(i + 7, 1 + (i % 23)), `message ${i} back on ${lane}`)
        })
      }
    },
  },
  {
    id: 'E1',
    title: 'messages of every size up to messageBytesMax arrive whole, as plain byte arrays of their own',
    async run(harness) {
      const [a, b] = await linked(harness)
      const { messageBytesMax } = a.endpoint!
      check(messageBytesMax >= 16_384 && messageBytesMax <= 262_144, `messageBytesMax is ${messageBytesMax}`)
      const sizes = [1, 2, 255, 256, 1_199, 1_200, 16_383, 16_384, messageBytesMax - 1, messageBytesMax]
      for (const [i, size] of sizes.entries()) for (const lane of lanes) a.endpoint!.send(lane, numbered(i, size))
      await harness.until(() => lanes.every(lane => b.received[lane].length === sizes.length), 'all have arrived')
      for (const lane of lanes) {
        for (const [i, size] of sizes.entries()) {
          const bytes = b.received[lane][i]!
          check(Object.getPrototypeOf(bytes) === Uint8Array.prototype, 'a plain Uint8Array')
          checkEqual(bytes, numbered(i, size), `${size} bytes`)
        }
      }
    },
  },
  {
    id: 'E1',
    title: 'a full bulk lane does not hold up the consensus lane until it is empty',
    async run(harness) {
      const [a, b] = await linked(harness)
      const chunk = new Uint8Array(16_384)
      const count = 128
      for (let i = 0; i < count; i++) a.endpoint!.send('bulk', chunk)
      a.endpoint!.send('consensus', Uint8Array.of(1))
      await harness.until(() => b.log.length === count + 1, 'all have arrived')
      check(b.log.indexOf('consensus') < count, 'the small message came behind all of the bulk')
    },
  },
  {
    id: 'E2',
    title: 'what waits is counted; onDrain tells that it fell below the mark; nothing is lost',
    async run(harness) {
      const [a, b] = await linked(harness)
      const chunk = numbered(5, 16_384)
      let sent = 0
      for (let round = 0; round < 5; round++) {
        const drains = a.drained.length
        while (a.endpoint!.bufferedBytes('bulk') < 262_144 && sent < 10_000) {
          a.endpoint!.send('bulk', chunk)
          sent++
        }
        check(a.endpoint!.bufferedBytes('bulk') >= 262_144, 'what waits is counted')
        await harness.until(() => a.drained.length > drains, `drain ${round}`)
        check(a.endpoint!.bufferedBytes('bulk') <= 131_072, 'it is drained')
      }
      check(
        a.drained.every(lane => lane === 'bulk'),
        'only the lane that was full drained',
      )
      await harness.until(() => b.received.bulk.length === sent, 'all have arrived')
      await harness.until(() => a.endpoint!.bufferedBytes('bulk') === 0, 'nothing waits any more')
    },
  },
  {
    id: 'E2',
    title: 'more than 16 MiB in waiting closes with "overflow", and send never throws',
    async run(harness) {
      const [a, b] = await linked(harness)
      const chunk = new Uint8Array(a.endpoint!.messageBytesMax)
      for (let i = 0; i < 400 && a.closed.length === 0; i++) a.endpoint!.send('bulk', chunk)
      await harness.until(() => a.closed.length > 0, 'it has closed')
      checkEqual(a.closed, ['overflow'], 'the reason')
      a.endpoint!.send('bulk', chunk)
      checkEqual(a.endpoint!.bufferedBytes('bulk'), 0, 'what waits')
      await harness.until(() => b.closed.length === 1, 'the other side knows')
    },
  },
  {
    id: 'E3',
    title: 'the binding is equal at both ends, not empty, and another for every connection',
    async run(harness) {
      const [a, b] = await linked(harness)
      const [c, d] = await linked(harness)
      check(a.endpoint!.binding.length >= 16, 'the binding has 16 bytes or more')
      checkEqual(a.endpoint!.binding, b.endpoint!.binding, 'the first binding')
      checkEqual(c.endpoint!.binding, d.endpoint!.binding, 'the second binding')
      check(String(a.endpoint!.binding) !== String(c.endpoint!.binding), 'two connections have the same binding')
    },
  },
  {
    id: 'E4',
    title: 'close is told once at both ends, whoever closes and how often; later calls do nothing',
    async run(harness) {
      for (const closer of [0, 1] as const) {
        const sides = await linked(harness)
        const [here, there] = [sides[closer], sides[closer === 0 ? 1 : 0]]
        here.endpoint!.close('enough')
        here.endpoint!.close('again')
        checkEqual(here.closed, ['enough'], 'what the closing end heard')
        await harness.until(() => there.closed.length > 0, 'the other end knows')
        for (const { endpoint, connection } of sides) {
          endpoint!.send('consensus', Uint8Array.of(1))
          endpoint!.close('late')
          connection.close()
        }
        checkEqual([here.closed.length, there.closed.length], [1, 1], 'closings')
        check(
          !here.log.includes('message after close') && !there.log.includes('message after close'),
          'silence after close',
        )
      }
    },
  },
  {
    id: 'E4',
    title: 'both ends closing at once is one close each',
    async run(harness) {
      const [a, b] = await linked(harness)
      a.endpoint!.close('one')
      b.endpoint!.close('other')
      const [c, d] = await linked(harness)
      c.endpoint!.send('consensus', Uint8Array.of(1))
      await harness.until(() => d.received.consensus.length === 1, 'a message over another link, later')
      checkEqual([a.closed, b.closed], [['one'], ['other']], 'closings')
    },
  },
  {
    id: 'E4',
    title: 'what arrives before listen waits for it, and comes before the close',
    async run(harness) {
      const [a, b] = await linked(harness, { listen: false })
      listenTo(a)
      for (let i = 0; i < 3; i++) a.endpoint!.send('consensus', Uint8Array.of(i))
      b.endpoint!.send('bulk', Uint8Array.of(9))
      // Something went the other way and back over the same link: the early ones are there.
      await harness.until(() => a.received.bulk.length === 1, 'the other end can send')
      await harness.until(() => a.endpoint!.bufferedBytes('consensus') === 0, 'the early ones have left')
      const [c, d] = await linked(harness)
      for (let i = 0; i < 5; i++) {
        c.endpoint!.send('consensus', Uint8Array.of(i))
        await harness.until(() => d.received.consensus.length === i + 1, 'round trips elsewhere')
      }
      listenTo(b)
      await harness.until(() => b.received.consensus.length === 3, 'the early ones have come')
      checkEqual(b.received.consensus, [Uint8Array.of(0), Uint8Array.of(1), Uint8Array.of(2)], 'the early ones')
      a.endpoint!.close('done')
      await harness.until(() => b.closed.length === 1, 'the close has come')
    },
  },
  {
    id: 'E4',
    title: 'a close that came before listen is told to the listener',
    async run(harness) {
      const [a, b] = await linked(harness, { listen: false })
      b.endpoint!.close('gone')
      listenTo(a)
      await harness.until(() => a.closed.length > 0, 'the close has come')
      listenTo(b)
      await harness.until(() => b.closed.length > 0, 'the own close as well')
      checkEqual([a.closed.length, b.closed.length], [1, 1], 'closings')
    },
  },
]
