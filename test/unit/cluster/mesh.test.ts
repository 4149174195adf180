import { describe, expect, it } from 'vitest'
import { equalBytes } from '../../../src/base/bytes.ts'
import { Attempt } from '../../../src/cluster/mesh-attempt.ts'
import type { ConnectionEvents, Introduction, Transport } from '../../../src/platform.ts'
import { advert, identityOf, patterned, Room } from './mesh-kit.ts'

describe('linking', () => {
  it('two peers of a room link once, each knows the other by its advert', () => {
    const room = new Room(1)
    const [a, b] = room.pair()
    expect(a.linked.get(b.id)).toEqual(advert)
    expect(b.linked.get(a.id)).toEqual(advert)
    room.world.run(30_000)
    expect([a.links, b.links]).toEqual([1, 1])
    expect(a.mesh.links()).toMatchObject([{ id: b.id, state: 'linked', kind: 'node' }])
    expect(a.mesh.links()[0]!.rttMs).toBeGreaterThan(0)
    expect(a.mesh.unresolved()).toBe(0)
    expect(a.mesh.reachable()).toBe(true)
  })

  it('ten peers that start at the same moment are all linked to each other within three seconds', () => {
    const room = new Room(2)
    const nodes = room.startAll('abcdefghij')
    expect(room.world.runUntil(() => room.allLinked(nodes), 3000)).toBe(true)
    room.world.run(20_000)
    for (const node of nodes) expect(node.links).toBe(9)
  }, 30_000)

  it('messages arrive whole, in order, on both lanes', () => {
    const room = new Room(3)
    const [a, b] = room.pair()
    const sizes = [0, 1, 100, 16_383, 16_384, 16_400, 65_500, 65_535, 65_536, 200_000, 1_000_000]
    for (const lane of ['consensus', 'bulk'] as const) {
      for (const [i, size] of sizes.entries()) {
        while (a.mesh.send(b.id, lane, patterned(size, i)) === 'full' && lane === 'bulk') room.world.run(10)
      }
    }
    room.world.run(2000)
    for (const lane of ['consensus', 'bulk'] as const) {
      const got = b.received.filter(message => message.lane === lane).map(({ bytes }) => bytes)
      expect(got.map(bytes => bytes.length)).toEqual(sizes)
      for (const [i, bytes] of got.entries()) expect(equalBytes(bytes, patterned(sizes[i]!, i))).toBe(true)
    }
  })

  it('a new advert reaches the others', () => {
    const room = new Room(4)
    const [a, b] = room.pair()
    a.mesh.advertise({ ...advert, standing: 'member', hasData: true })
    room.world.run(100)
    expect(b.linked.get(a.id)).toEqual({ ...advert, standing: 'member', hasData: true })
  })
})

describe('introductions', () => {
  it('reach the transport in order and once, however the ways between shuffled and doubled them', () => {
    const got: Introduction[] = []
    const sent: number[] = []
    const connection = { introduce: (message: Introduction) => got.push(message), close() {} }
    let host: ConnectionEvents | undefined
    const transport: Transport = {
      connect(_remote, _initiator, events) {
        host = events
        events.onIntroduction({ own: 0 })
        return connection
      },
      adopt: () => connection,
      assertAdoptable() {},
      close() {},
    }
    const attempt = new Attempt({
      session: 1,
      initiator: false,
      startedMs: 0,
      way: undefined,
      send: (_attempt, number) => sent.push(number),
      onOpen() {},
      onFailed() {},
    })
    attempt.connect(transport, identityOf('a').id)
    for (const number of [2, 0, 0, 3, 2, 1, 1, 3, 5]) attempt.introduce(number, { number })
    expect(got).toEqual([{ number: 0 }, { number: 1 }, { number: 2 }, { number: 3 }])
    attempt.introduce(4, { number: 4 })
    expect(got.slice(4)).toEqual([{ number: 4 }, { number: 5 }])
    for (let i = 0; i < 300; i++) host!.onIntroduction({})
    expect(sent.length).toBe(256)
  })
})
