import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { bindingOf, fingerprintOf } from '../../platform/network/binding.ts'
import { nativeIceServers } from '../../platform/node/rtc/ice-servers.ts'
import { bindAddressNeeded, keptCount } from '../../platform/node/rtc/native.ts'
import { createNodeTransport } from '../../platform/node/rtc/transport.ts'
import { concatBytes } from '../../src/base/bytes.ts'
import type { Transport } from '../../src/platform.ts'
import { application, clock, emptySide, eventsOf, idA, idB, linked, listenTo, type Side, until } from './network-kit.ts'

// One link in three takes a second longer (a lost DTLS hello), and some more on a busy machine.
vi.setConfig({ testTimeout: 20_000, hookTimeout: 20_000 })

const transports: Transport[] = []
const transport = (timeoutMs = 15_000): Transport => {
  const made = createNodeTransport({ clock, timeoutMs })
  transports.push(made)
  return made
}

afterEach(async () => {
  for (const made of transports.splice(0)) made.close()
  // Every connection and channel that the library held is let go of: nothing leaks over many links.
  await until(() => keptCount() === 0, 'all native objects released')
})

const text = (side: Side): string[] =>
  side.received.map(({ lane, bytes }) => `${lane}:${Buffer.from(bytes).toString()}`)

describe('Node to Node', () => {
  it('connects, and each lane carries messages both ways', async () => {
    const [a, b] = await linked(transport(), transport())
    a.endpoint!.send('consensus', Buffer.from('one'))
    a.endpoint!.send('bulk', Buffer.from('two'))
    b.endpoint!.send('consensus', Buffer.from('three'))
    b.endpoint!.send('bulk', Buffer.from('four'))
    await until(() => a.received.length === 2 && b.received.length === 2, 'all four')
    expect(text(b).sort()).toEqual(['bulk:two', 'consensus:one'])
    expect(text(a).sort()).toEqual(['bulk:four', 'consensus:three'])
    expect(a.received[0]!.bytes.constructor).toBe(Uint8Array)
  })

  it('E1: keeps order and boundaries of 1,000 messages per lane, and of one with 64 KiB', async () => {
    const [a, b] = await linked(transport(), transport())
    const large = new Uint8Array(a.endpoint!.messageBytesMax).map((_, i) => i * 7)
    expect(large.length).toBe(65_536)
    for (let i = 0; i < 1_000; i++) {
      a.endpoint!.send('consensus', Uint8Array.of(i & 255, i >> 8))
      a.endpoint!.send('bulk', Uint8Array.of(i & 255, i >> 8, 1))
    }
    a.endpoint!.send('bulk', large)
    await until(() => b.received.length === 2_001, '2,001 messages')
    for (const lane of ['consensus', 'bulk'] as const) {
      const small = b.received.filter(m => m.lane === lane && m.bytes.length < 10)
      expect(small.map(({ bytes }) => bytes[0]! + bytes[1]! * 256)).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
      expect(small.every(({ bytes }) => bytes.length === (lane === 'bulk' ? 3 : 2))).toBe(true)
    }
    expect(b.received.filter(m => m.bytes.length > 10).map(m => Buffer.compare(m.bytes, large))).toEqual([0])
  })

  it('E2: counts what waits, tells when it has drained, and loses nothing under back-pressure', async () => {
    const [a, b] = await linked(transport(), transport())
    const chunk = new Uint8Array(16_384).fill(9)
    let sent = 0
    let high = 0
    for (let round = 0; round < 20; round++) {
      const drains = a.drained.length
      while (a.endpoint!.bufferedBytes('bulk') < 262_144) {
        a.endpoint!.send('bulk', chunk)
        sent++
      }
      high = Math.max(high, a.endpoint!.bufferedBytes('bulk'))
      await until(() => a.drained.length > drains, 'drained')
      expect(a.endpoint!.bufferedBytes('bulk')).toBeLessThanOrEqual(65_536)
    }
    expect(high).toBeLessThanOrEqual(262_144 + chunk.length)
    expect(a.drained.every(lane => lane === 'bulk')).toBe(true)
    await until(() => b.received.length === sent, 'all arrived')
  })

  it('E2: more than 16 MiB in waiting closes with "overflow"', async () => {
    const [a, b] = await linked(transport(), transport())
    const chunk = new Uint8Array(65_536)
    for (let i = 0; i < 1_000; i++) a.endpoint!.send('bulk', chunk)
    expect(a.closed).toEqual(['overflow'])
    expect(a.endpoint!.bufferedBytes('bulk')).toBe(0)
    await until(() => b.closed.length === 1, 'the other side knows')
  })

  it('E3: the binding is the same at both ends, another for another connection, and made of what is documented', async () => {
    const [a1, b1] = await linked(transport(), transport())
    const [a2, b2] = await linked(transport(), transport())
    expect(a1.endpoint!.binding).toHaveLength(32)
    expect(a1.endpoint!.binding).toEqual(b1.endpoint!.binding)
    expect(a2.endpoint!.binding).toEqual(b2.endpoint!.binding)
    expect(a1.endpoint!.binding).not.toEqual(a2.endpoint!.binding)
  })

  it('E4: close is told once at both ends, and nothing comes after it', async () => {
    const [a, b] = await linked(transport(), transport())
    a.endpoint!.close('enough')
    a.endpoint!.close('again')
    expect(a.closed).toEqual(['enough'])
    await until(() => b.closed.length > 0, 'the other side knows', 3_000)
    b.endpoint!.send('consensus', Uint8Array.of(1))
    b.endpoint!.close('late')
    b.connection.close()
    await until(() => keptCount() === 0, 'released')
    expect(b.closed).toHaveLength(1)
    expect(a.closed).toHaveLength(1)
    expect(a.received).toEqual([])
  })

  it('E4: what arrives before listen waits for it, and comes before the close', async () => {
    const left = emptySide()
    const right = emptySide()
    right.connection = transport().connect(
      idA,
      false,
      eventsOf(right, m => left.connection.introduce(m), false),
    )
    left.connection = transport().connect(
      idB,
      true,
      eventsOf(left, m => right.connection.introduce(m)),
    )
    await until(() => left.endpoint !== undefined && right.endpoint !== undefined, 'open')
    left.endpoint!.send('consensus', Buffer.from('early'))
    left.endpoint!.send('consensus', Buffer.from('bird'))
    left.endpoint!.send('bulk', Buffer.from('go'))
    await until(() => left.endpoint!.bufferedBytes('bulk') === 0, 'sent')
    await new Promise(resolve => setTimeout(resolve, 100))
    left.endpoint!.close('done')
    await until(() => keptCount() === 0, 'both sides closed')
    expect(right.closed).toEqual([])
    listenTo(right, right.endpoint!)
    expect(text(right).filter(m => m.startsWith('consensus'))).toEqual(['consensus:early', 'consensus:bird'])
    expect(right.closed).toHaveLength(1)
  })

  it('a throw in a listener does not abort the process: it becomes an ordinary uncaught exception', async () => {
    const previous = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    const caught: unknown[] = []
    process.on('uncaughtException', error => caught.push(error))
    try {
      const [a, b] = await linked(transport(), transport())
      b.received.push = () => {
        throw new Error('listener broke')
      }
      a.endpoint!.send('consensus', Uint8Array.of(1))
      await until(() => caught.length === 1, 'caught')
      expect(String(caught[0])).toBe('Error: listener broke')
      expect(b.closed).toEqual([])
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of previous) process.on('uncaughtException', listener)
    }
  })

  it('a mesh of five connects, every link', async () => {
    const all = Array.from({ length: 5 }, () => transport())
    const links: Promise<[Side, Side]>[] = []
    for (let i = 0; i < 5; i++) for (let j = i + 1; j < 5; j++) links.push(linked(all[i]!, all[j]!))
    const sides = (await Promise.all(links)).flat()
    for (const side of sides) side.endpoint!.send('consensus', Uint8Array.of(1))
    await until(() => sides.every(side => side.received.length === 1), 'one message each way on each link')
  })
})

describe('attempts', () => {
  it('T2: an attempt that nobody answers fails after its time-out', async () => {
    const side = emptySide()
    transport(200).connect(
      idB,
      true,
      eventsOf(side, () => {}),
    )
    await until(() => side.failed.length > 0, 'failed')
    expect(side.failed).toEqual(['timed out'])
    expect(side.endpoint).toBeUndefined()
  })

  it('T2: closed first, nothing is told', async () => {
    const side = emptySide()
    const connection = transport(100).connect(
      idB,
      true,
      eventsOf(side, () => {}),
    )
    connection.close()
    connection.close()
    await until(() => keptCount() === 0, 'released')
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(side.failed).toEqual([])
  })

  const sdp = (fingerprints: string): string =>
    `v=0\r\no=- 1 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n${fingerprints}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n`
  const fingerprint = `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}\r\n`
  const other = fingerprint.replace('AB', 'CD')

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a number', 7],
    ['a text', 'offer'],
    ['an array', []],
    ['an empty object', {}],
    ['an unknown type', { type: 'pranswer', sdp: 'v=0' }],
    ['the prototype', { type: '__proto__' }],
    ['no sdp', { type: 'offer' }],
    ['an sdp that is no text', { type: 'offer', sdp: { length: 5 } }],
    ['an sdp that is none', { type: 'offer', sdp: 'hello' }],
    ['an sdp without a fingerprint', { type: 'offer', sdp: sdp('') }],
    ['an sdp with a weak fingerprint', { type: 'offer', sdp: sdp('a=fingerprint:md5 AB:AB\r\n') }],
    ['an sdp with two different fingerprints', { type: 'offer', sdp: sdp(fingerprint + other) }],
    [
      'an sdp that passes the decoder but not the library',
      { type: 'offer', sdp: `v=0\r\n${fingerprint}m=application\r\n` },
    ],
    ['an sdp of a megabyte', { type: 'offer', sdp: `v=0${'x'.repeat(1 << 20)}` }],
    ['an answer where an offer belongs', { type: 'answer', sdp: sdp(fingerprint) }],
    ['a candidate that is no text', { type: 'candidate', candidate: 5, mid: '0' }],
    ['a candidate of 10 KiB', { type: 'candidate', candidate: `candidate:${'1'.repeat(10_240)}`, mid: '0' }],
    ['a candidate with a line break', { type: 'candidate', candidate: 'candidate:1\r\na=fingerprint:x', mid: '0' }],
  ])('T3: a malformed introduction fails the attempt: %s', async (_, message) => {
    const side = emptySide()
    const connection = transport().connect(
      idA,
      false,
      eventsOf(side, () => {}),
    )
    connection.introduce(message as never)
    await until(() => side.failed.length > 0, 'failed', 3_000)
    expect(side.failed).toHaveLength(1)
    connection.introduce(message as never)
    expect(side.failed).toHaveLength(1)
  })

  it('T3: a second answer and a flood of candidates fail, before the link is open', async () => {
    const side = emptySide()
    const connection = transport().connect(
      idA,
      false,
      eventsOf(side, () => {}),
    )
    for (let i = 0; i < 1_000; i++) {
      connection.introduce({ type: 'candidate', candidate: `candidate:${i} 1 udp 1 127.0.0.1 9 typ host`, mid: '0' })
    }
    expect(side.failed).toEqual(['introduction refused: too many candidates'])
  })

  it('garbage after the link is open does not harm it', async () => {
    const [a, b] = await linked(transport(), transport())
    a.connection.introduce({ type: 'answer', sdp: 'again' })
    a.connection.introduce('noise' as never)
    // These pass the decoder, and the library throws.
    for (const side of [a, b]) {
      side.connection.introduce({ type: 'candidate', candidate: 'candidate:x', mid: '0' })
      side.connection.introduce({ type: 'candidate', candidate: 'candidate:1 1 nonsense', mid: 'y' })
    }
    a.endpoint!.send('consensus', Uint8Array.of(1))
    await until(() => b.received.length === 1, 'still works')
    expect(a.failed).toEqual([])
  })

  it('a closed transport closes its links, fails new attempts, and the other side knows', async () => {
    const first = transport()
    const [a, b] = await linked(first, transport())
    first.close()
    expect(a.closed).toHaveLength(1)
    await until(() => b.closed.length === 1, 'the other side knows')
    const side = emptySide()
    first.connect(
      idB,
      true,
      eventsOf(side, () => {}),
    )
    expect(side.failed).toEqual([])
    await until(() => side.failed.length === 1, 'failed')
  })
})

describe('adopt', () => {
  it('T4: makes a link on a connection that is already open, and leaves the connection open when the link closes', async () => {
    const [pcA, pcB, open] = application()
    await until(open, "the application's own channel")
    const a = emptySide()
    const b = emptySide()
    transport().adopt(
      pcA,
      true,
      eventsOf(a, () => {}),
    )
    transport().adopt(
      pcB,
      false,
      eventsOf(b, () => {}),
    )
    await until(() => a.endpoint !== undefined && b.endpoint !== undefined, 'both open')
    expect(a.endpoint!.binding).toEqual(b.endpoint!.binding)
    expect(a.endpoint!.binding).toHaveLength(32)
    for (const mark of [0, 1, 2]) {
      a.endpoint!.send('consensus', Uint8Array.of(mark))
      b.endpoint!.send('consensus', Uint8Array.of(mark))
      b.endpoint!.send('bulk', Uint8Array.of(mark))
    }
    await until(() => b.received.length === 3 && a.received.length === 6, 'all')
    expect(b.received.map(({ bytes }) => [...bytes])).toEqual([[0], [1], [2]])
    a.endpoint!.close('enough')
    await until(() => b.closed.length === 1, 'the other side knows')
    expect(pcA.state()).toBe('connected')
    pcA.close()
    pcB.close()
  })

  for (const lateMs of [3, 20, 350]) {
    it(`T4: loses nothing, either way, where the other side adopts ${lateMs} ms later`, async () => {
      const [pcA, pcB, open] = application()
      await until(open, "the application's own channel")
      const a = emptySide()
      const b = emptySide()
      transport().adopt(
        pcA,
        true,
        eventsOf(a, () => {}),
      )
      await new Promise(resolve => setTimeout(resolve, lateMs))
      transport().adopt(
        pcB,
        false,
        eventsOf(b, () => {}),
      )
      await until(() => a.endpoint !== undefined && b.endpoint !== undefined, 'both open')
      for (let i = 0; i < 20; i++) {
        for (const { endpoint } of [a, b]) {
          endpoint!.send('consensus', Uint8Array.of(i & 1))
          endpoint!.send('bulk', Uint8Array.of(i))
        }
      }
      await until(() => a.received.length === 40 && b.received.length === 40, 'all there')
      pcA.close()
      pcB.close()
    })
  }

  it('T2: an adoption that the other side does not make too fails after the time-out', async () => {
    const [pcA, pcB, open] = application()
    await until(open, "the application's own channel")
    const side = emptySide()
    transport(300).adopt(
      pcA,
      true,
      eventsOf(side, () => {}),
    )
    await until(() => side.failed.length > 0, 'failed')
    expect(side.failed).toEqual(['timed out'])
    pcA.close()
    pcB.close()
  })

  it('T4: works on a connection that opens later, and is told when the application closes it', async () => {
    const [pcA, pcB] = application()
    const a = emptySide()
    const b = emptySide()
    transport().adopt(
      pcA,
      true,
      eventsOf(a, () => {}),
    )
    await until(() => pcB.remoteDescription() !== null, 'described')
    transport().adopt(
      pcB,
      false,
      eventsOf(b, () => {}),
    )
    await until(() => a.endpoint !== undefined && b.endpoint !== undefined, 'both open')
    pcB.close()
    await until(() => a.closed.length === 1 && b.closed.length === 1, 'both know')
  })

  it('T4: takes a connection once: its streams are not to be trusted a second time', async () => {
    const [pcA, pcB] = application()
    const made = transport()
    const attempt = made.adopt(
      pcA,
      true,
      eventsOf(emptySide(), () => {}),
    )
    attempt.close()
    expect(() =>
      made.adopt(
        pcA,
        true,
        eventsOf(emptySide(), () => {}),
      ),
    ).toThrowError(/adopted before/)
    pcA.close()
    pcB.close()
  })

  it('T4: refuses what is no connection, and introductions of an adopted one', async () => {
    const made = transport()
    for (const thing of [undefined, null, 5, 'pc', {}, { createDataChannel() {} }]) {
      expect(() =>
        made.adopt(
          thing,
          true,
          eventsOf(emptySide(), () => {}),
        ),
      ).toThrowError(/adopt takes/)
    }
  })
})

describe('configuration', () => {
  it('reads ICE servers as a browser would', () => {
    expect(
      nativeIceServers({
        iceServers: [
          { urls: ['stun:stun.example.org', 'stun:[2001:db8::1]:9'] },
          { urls: 'turn:turn.example.org:99?transport=tcp', username: 'u', credential: 'c' },
          { urls: 'turns:turn.example.org', username: 'u', credential: 'c' },
        ],
      }),
    ).toEqual([
      { hostname: 'stun.example.org', port: 3478 },
      { hostname: '2001:db8::1', port: 9 },
      { hostname: 'turn.example.org', port: 99, username: 'u', password: 'c', relayType: 'TurnTcp' },
      { hostname: 'turn.example.org', port: 5349, username: 'u', password: 'c', relayType: 'TurnTls' },
    ])
    for (const urls of ['http://x', 'stun:', 'stun:x:0', 'stun:x:99999', 'turn:x']) {
      expect(() => nativeIceServers({ iceServers: [{ urls }] })).toThrowError(/ICE server/)
    }
  })

  it('binds to loopback only where nothing else is up', () => {
    const loopback = { address: '127.0.0.1', netmask: '', family: 'IPv4' as const, mac: '', internal: true, cidr: null }
    const wired = { ...loopback, address: '192.0.2.2', internal: false }
    const local = { ...wired, address: 'fe80::1', family: 'IPv6' as const, scopeid: 3 }
    expect(bindAddressNeeded({ lo: [loopback] })).toBe('127.0.0.1')
    expect(bindAddressNeeded({ lo: [loopback], eth0: [local] })).toBe('127.0.0.1')
    expect(bindAddressNeeded({ lo: [loopback], eth0: [wired] })).toBeUndefined()
    expect(bindAddressNeeded({})).toBe('127.0.0.1')
  })

  it('links over loopback alone, as on a machine without a network', async () => {
    const make = (): Transport => {
      const made = createNodeTransport({ clock, bindAddress: '127.0.0.1' })
      transports.push(made)
      return made
    }
    const [a, b] = await linked(make(), make())
    a.endpoint!.send('consensus', Uint8Array.of(1))
    await until(() => b.received.length === 1, 'arrived')
  })
})

// The documented hash, computed here by other means.
it('E3: binding = SHA-256 over the domain and both fingerprints, sorted', () => {
  const line = (hex: string, name = 'sha-256'): string =>
    `v=0\r\na=fingerprint:${name} ${hex.match(/../g)!.join(':')}\r\n`
  const low = '01'.repeat(32)
  const high = 'fe'.repeat(32)
  const bytes = concatBytes(Buffer.from('harmonydb/dtls-binding/1'), Buffer.from(low, 'hex'), Buffer.from(high, 'hex'))
  const expected = createHash('sha256').update(bytes).digest()
  expect(Buffer.from(bindingOf(line(low), line(high)))).toEqual(expected)
  expect(Buffer.from(bindingOf(line(high.toUpperCase(), 'SHA-256'), line(low)))).toEqual(expected)
  expect(bindingOf(line(low), 'v=0').length).toBe(0)
  expect(fingerprintOf(line(low) + line(low))).toHaveLength(32)
  expect(fingerprintOf(line(low) + line(high))).toBeUndefined()
  expect(fingerprintOf(line('01'.repeat(20), 'sha-1'))).toBeUndefined()
  expect(fingerprintOf(line('01'.repeat(31)))).toBeUndefined()
})
