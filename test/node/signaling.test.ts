import http from 'node:http'
import type net from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  decodeClientFrame,
  decodeJoin,
  decodeServerFrame,
  encodeClientFrame,
  encodeJoin,
  encodeServerFrame,
  frameBytesMax,
  relayedBytesMax,
} from '../../platform/network/signal-wire.ts'
import { createSocketRendezvous, type SocketLike, signalingUrl } from '../../platform/network/socket-rendezvous.ts'
import { createNodeTransport } from '../../platform/node/rtc/transport.ts'
import { createNodeRendezvous } from '../../platform/node/signaling/client.ts'
import { attachSignaling, startSignalingServer } from '../../platform/node/signaling/server.ts'
import { isHarmonyError } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/ids.ts'
import type { Clock, Introduction, RendezvousSession } from '../../src/platform.ts'
import { clock, emptySide, eventsOf, idA, idB, idC, random, until } from './network-kit.ts'
import { closeAll, member, open, server, toClose, upgradeStatus } from './signaling-kit.ts'

vi.setConfig({ testTimeout: 20_000 })

afterEach(closeAll)

describe('relay', () => {
  it('carries a message to one peer, and one to all others, with the sender as the server knows it', async () => {
    const { url } = await server()
    const [a, b, c] = [member(url, 'room', idA), member(url, 'room', idB), member(url, 'room', idC)]
    await open(a, b, c)
    a.session.send(idB, { offer: ['x', 1, null], from: idC })
    a.session.send('*', 'hello')
    await until(() => b.received.length === 2 && c.received.length === 1, 'relayed')
    expect(b.received).toEqual([
      [idA, { offer: ['x', 1, null], from: idC }],
      [idA, 'hello'],
    ])
    expect(c.received).toEqual([[idA, 'hello']])
    expect(a.received).toEqual([])
  })

  it('keeps rooms apart, whatever their names', async () => {
    const { url, stats } = await server()
    const rooms = ['room', 'Room', ' room', 'r&id=x', '', 'ü/😀', '__proto__', 'x'.repeat(128)].filter(r => r !== '')
    const pairs = rooms.map(room => [member(url, room, idA), member(url, room, idB)] as const)
    await open(...pairs.flat())
    expect(stats().rooms).toBe(rooms.length)
    for (const [i, [a]] of pairs.entries()) a.session.send('*', i)
    await until(() => pairs.every(([, b]) => b.received.length > 0), 'all relayed')
    expect(pairs.map(([, b]) => b.received)).toEqual(rooms.map((_, i) => [[idA, i]]))
  })

  it('delivers to every connection of an id, and forgets rooms that are empty', async () => {
    const { url, stats } = await server()
    const [a, b1, b2] = [member(url, 'room', idA), member(url, 'room', idB), member(url, 'room', idB)]
    await open(a, b1, b2)
    a.session.send(idB, 1)
    b1.session.send('*', 2)
    await until(() => b1.received.length === 1 && b2.received.length === 1 && a.received.length === 1, 'relayed')
    for (const { session } of [a, b1, b2]) session.close()
    await until(() => stats().connections === 0 && stats().rooms === 0, 'forgotten')
  })

  it('introduces two transports to each other', async () => {
    const { url } = await server()
    const transport = createNodeTransport({ clock })
    toClose.push(() => transport.close())
    const [a, b] = [emptySide(), emptySide()]
    const states: string[] = []
    const join = (id: PeerId, side: typeof a, other: PeerId): RendezvousSession => {
      const session = createNodeRendezvous({ url, clock, random }).connect('room', id, {
        onMessage: (from, message) => from === other && side.connection.introduce(message as Introduction),
        onState: state => states.push(state),
      })
      toClose.push(() => session.close())
      return session
    }
    const sa = join(idA, a, idB)
    const sb = join(idB, b, idA)
    await until(() => states.length === 2, 'both in the room')
    b.connection = transport.connect(
      idA,
      false,
      eventsOf(b, m => sb.send(idA, m)),
    )
    a.connection = transport.connect(
      idB,
      true,
      eventsOf(a, m => sa.send(idB, m)),
    )
    await until(() => a.endpoint !== undefined && b.endpoint !== undefined, 'linked')
  })
})

describe('client', () => {
  it('comes back by itself after the server restarted, with back-off, and tells each change once', async () => {
    const first = await startSignalingServer({ port: 0 })
    const a = member(first.url, 'room', idA)
    const b = member(first.url, 'room', idB)
    await open(a, b)
    await first.close()
    await until(() => a.states.at(-1) === 'down' && b.states.at(-1) === 'down', 'down')
    a.session.send('*', 'lost')
    await new Promise(resolve => setTimeout(resolve, 700))
    const second = await server({ port: first.port })
    await open(a, b)
    expect(a.states).toEqual(['open', 'down', 'open'])
    a.session.send('*', 'again')
    await until(() => b.received.length > 0, 'relayed')
    expect(b.received).toEqual([[idA, 'again']])
    expect(second.stats().connections).toBe(2)
  })

  it('says "down" once when the server cannot be reached, and nothing after close', async () => {
    const a = member('ws://127.0.0.1:1', 'room', idA)
    await until(() => a.states.length > 0, 'told')
    await new Promise(resolve => setTimeout(resolve, 600))
    expect(a.states).toEqual(['down'])
    expect(a.reasons).toEqual(['the server cannot be reached'])
    a.session.close()
    const running = await server()
    const b = member(running.url, 'room', idB)
    b.session.close()
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(b.states).toEqual([])
    expect(running.stats().connections).toBe(0)
  })

  it('waits 250 ms, then twice as long each time up to 15 s, times 0.5 to 1', () => {
    const delays: number[] = []
    let next: (() => void) | undefined
    const manual: Clock = {
      ...clock,
      now: () => 0,
      soon: run => run(),
      after(delayMs, run) {
        delays.push(delayMs)
        next = run
        return () => {}
      },
    }
    const draws = [0, 65_535, 0, 65_535]
    let draw = 0
    const rendezvous = createSocketRendezvous({
      url: 'ws://x',
      clock: manual,
      random: {
        fill: bytes => {
          const value = draws[draw++ % draws.length]!
          bytes[0] = value >> 8
          bytes[1] = value & 255
        },
      },
      openSocket: () => {
        throw new Error('no')
      },
    })
    const session = rendezvous.connect('r', idA, { onMessage() {}, onState() {} })
    for (let i = 0; i < 9; i++) next!()
    expect(delays.map(Math.round)).toEqual([125, 500, 500, 2_000, 2_000, 8_000, 7_500, 15_000, 7_500, 15_000])
    session.close()
  })

  it('gives up a server that went silent, and a connection that does not come up', () => {
    const timers: { delayMs: number; run: () => void; dead: boolean }[] = []
    const sockets: SocketLike[] = []
    const manual: Clock = {
      ...clock,
      soon: run => run(),
      after(delayMs, run) {
        const timer = { delayMs, run, dead: false }
        timers.push(timer)
        return () => {
          timer.dead = true
        }
      },
    }
    const states: string[] = []
    createSocketRendezvous({
      url: 'ws://x',
      clock: manual,
      random,
      openSocket: () => {
        const socket: SocketLike = {
          readyState: 1,
          bufferedAmount: 0,
          onopen: null,
          onmessage: null,
          onclose: null,
          onerror: null,
          send() {},
          close() {},
        }
        sockets.push(socket)
        return socket
      },
    }).connect('r', idA, { onMessage() {}, onState: (state, reason) => states.push(`${state}: ${reason}`) })
    const fire = (delayMs: number): void => {
      const alive = timers.filter(timer => !timer.dead)
      expect(alive).toHaveLength(1)
      if (delayMs > 0) expect(alive[0]!.delayMs).toBe(delayMs)
      alive[0]!.dead = true
      alive[0]!.run()
    }
    fire(10_000)
    expect(states).toEqual(['down: connecting timed out'])
    fire(0)
    expect(sockets).toHaveLength(2)
    sockets[1]!.onopen?.(undefined as never)
    sockets[1]!.onmessage?.({ data: '{}' } as never)
    fire(45_000)
    expect(states).toEqual(['down: connecting timed out', 'open: connected', 'down: the server went silent'])
    // A late event of the socket that was given up changes nothing.
    sockets[1]!.onopen?.(undefined as never)
    expect(states).toHaveLength(3)
  })

  it('ignores what no server of ours would send', async () => {
    const lines: string[] = []
    const httpServer = http.createServer()
    const { WebSocketServer } = await import('ws')
    const fake = new WebSocketServer({ server: httpServer })
    fake.on('connection', socket => {
      for (const text of ['', '[]', 'null', '{"from":"x","message":1}', `{"from":"${idB}"}`, '{}', '\u0000', '{"a":']) {
        socket.send(text)
      }
      socket.send(Buffer.from([1, 2, 3]))
      socket.send(`{"from":"${idA}","message":"own"}`)
      socket.send(`{"from":"${idB}","message":"good"}`)
      socket.on('message', data => lines.push(String(data)))
    })
    await new Promise<void>(resolve => httpServer.listen(0, '127.0.0.1', resolve))
    toClose.push(() => {
      fake.close()
      httpServer.close()
      for (const socket of fake.clients) socket.terminate()
    })
    const { port } = httpServer.address() as net.AddressInfo
    const a = member(`http://127.0.0.1:${port}`, 'room', idA)
    await until(() => a.received.length > 0, 'the good one')
    expect(a.received).toEqual([[idB, 'good']])
    // What JSON cannot say, or what is too big, is not sent.
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    for (const message of [undefined, () => 1, cycle, 1n, 'x'.repeat(frameBytesMax)]) a.session.send('*', message)
    a.session.send('*', 'fine')
    await until(() => lines.length > 0, 'the fine one')
    expect(lines).toEqual(['{"to":"*","message":"fine"}'])
    expect(a.states).toEqual(['open'])
  })

  it('refuses addresses and rooms that are none', () => {
    for (const url of ['', 'host', 'ftp://x', 'ws://', 'ws://h?q', 'ws://h#f', 'ws://a b']) {
      expect(() => signalingUrl(url)).toThrowError(/signalling address/)
    }
    expect(signalingUrl('http://h:1')).toBe('ws://h:1/signal')
    expect(signalingUrl('WSS://h/')).toBe('wss://h/signal')
    expect(signalingUrl('https://h/deep/er')).toBe('wss://h/deep/er')
    const rendezvous = createNodeRendezvous({ url: 'ws://h', clock, random })
    for (const room of ['', 'x'.repeat(129), '\ud800']) {
      expect(() => rendezvous.connect(room, idA, { onMessage() {}, onState() {} })).toThrowError(/room name/)
    }
  })
})

describe('mounted in another server', () => {
  it('serves its path, leaves the others alone, and goes without taking the server along', async () => {
    const host = http.createServer((_, response) => response.end('mine'))
    const upgrades: string[] = []
    let mounted = true
    host.on('upgrade', (request, socket) => {
      if (mounted && request.url?.startsWith('/signal')) return
      upgrades.push(request.url!)
      socket.end('HTTP/1.1 418 Teapot\r\n\r\n')
    })
    await new Promise<void>(resolve => host.listen(0, '127.0.0.1', resolve))
    toClose.push(() => new Promise(resolve => host.close(resolve)))
    toClose.push(() => host.closeAllConnections())
    const signaling = attachSignaling(host)
    const url = `ws://127.0.0.1:${(host.address() as net.AddressInfo).port}`
    const [a, b] = [member(url, 'room', idA), member(url, 'room', idB)]
    await open(a, b)
    a.session.send(idB, 1)
    await until(() => b.received.length > 0, 'relayed')
    expect(await upgradeStatus(`${url}/other`)).toBe(418)
    signaling.close()
    mounted = false
    await until(() => a.states.at(-1) === 'down', 'down')
    expect(await (await fetch(url.replace('ws', 'http'))).text()).toBe('mine')
    // The clients that come back find it gone.
    expect(upgrades[0]).toBe('/other')
    a.session.close()
    b.session.close()
  })

  it('a port in use is LOCKED', async () => {
    const { port } = await server()
    const error = await startSignalingServer({ port }).catch((thrown: unknown) => thrown)
    expect(isHarmonyError(error, 'LOCKED')).toBe(true)
  })
})

describe('decoders are total', () => {
  it('take any text, and give back what was encoded', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json()), text => {
        for (const decode of [decodeClientFrame, decodeServerFrame, decodeJoin]) decode(text)
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(fc.jsonValue(), message => {
        // JSON has no -0.
        const same = JSON.parse(JSON.stringify(message)) as unknown
        expect(decodeClientFrame(encodeClientFrame(idA, message)!)).toEqual({ to: idA, message: same })
        expect(decodeServerFrame(encodeServerFrame(idB, message)!)).toEqual({ from: idB, message: same })
      }),
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 128 }), room => {
        const query = encodeJoin(room, idA)
        if (query === undefined) expect(Buffer.from(room).toString()).not.toBe(room)
        else expect(decodeJoin(query)).toEqual({ room, id: idA })
      }),
    )
    expect(relayedBytesMax - frameBytesMax).toBeGreaterThanOrEqual(`{"from":"${idA}"`.length - '{"to":"*"'.length)
  })
})
