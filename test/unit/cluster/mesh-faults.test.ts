import { describe, expect, it } from 'vitest'
import { equalBytes } from '../../../src/base/bytes.ts'
import { peerId } from '../../../src/base/ids.ts'
import { encodeSignal } from '../../../src/cluster/introduction.ts'
import type { Rendezvous, RendezvousEvents } from '../../../src/platform.ts'
import { identityOf, type Node, patterned, Room } from './mesh-kit.ts'

/** A rendezvous that a test speaks through, in anybody's name. */
class PuppetRendezvous implements Rendezvous {
  events: RendezvousEvents | undefined
  readonly sent: { readonly to: string; readonly message: unknown }[] = []
  connect(_room: string, _self: string, events: RendezvousEvents) {
    this.events = events
    events.onState('open', 'at hand')
    return { send: (to: string, message: unknown) => void this.sent.push({ to, message }), close() {} }
  }
}

const ask = (room: Room, from: Node, to: Node): boolean => {
  const before = to.received.length
  from.mesh.send(to.id, 'consensus', patterned(5))
  return room.world.runUntil(() => to.received.length > before, 500)
}

describe('refusals', () => {
  it('a wrong secret is reported as UNAUTHORIZED on both sides, and disturbs nobody else', () => {
    const room = new Room(1)
    const [a, b] = [room.start('a'), room.start('b')]
    const stranger = room.start('c', { secret: 'hs1_zzzzzzzzzzzzzzzzzzzzzzzzzz' })
    room.world.run(5000)
    expect(room.allLinked([a, b])).toBe(true)
    expect(stranger.linked.size).toBe(0)
    for (const node of [a, b]) expect(node.refused.map(({ error }) => error.code)).toEqual(['UNAUTHORIZED'])
    expect(stranger.refused.map(({ error }) => error.code)).toEqual(['UNAUTHORIZED', 'UNAUTHORIZED'])
    expect(stranger.mesh.unresolved()).toBe(0)
    room.world.run(20_000)
    expect(a.refused.length).toBe(1)
  })

  it('with the secret put right, the same peer gets in at once', () => {
    const room = new Room(2)
    const a = room.start('a')
    const wrong = room.start('b', { secret: 'hs1_zzzzzzzzzzzzzzzzzzzzzzzzzz' })
    room.world.run(3000)
    wrong.mesh.close()
    const right = room.start('b')
    expect(room.world.runUntil(() => room.allLinked([a, right]), 2000)).toBe(true)
  })
})

describe('links that fail', () => {
  it('a crashed peer is missed after four seconds; when it comes back it is linked again', () => {
    const room = new Room(3)
    const [a] = room.pair()
    room.world.process('b').crash()
    expect(room.world.runUntil(() => a.linked.size === 0, 5500)).toBe(true)
    room.world.run(20_000)
    room.world.process('b').restart()
    const b = room.start('b')
    expect(room.world.runUntil(() => room.allLinked([a, b]), 3000)).toBe(true)
    expect(a.unlinked.length).toBe(1)
    expect(ask(room, a, b) && ask(room, b, a)).toBe(true)
  })

  it.each(['a', 'b'])('a peer that starts anew at once (%s) replaces its link, without waiting for silence', name => {
    const room = new Room(4)
    const pair = room.pair()
    const other = pair.find(node => node.name !== name)!
    room.world.process(name).crash()
    room.world.run(100)
    room.world.process(name).restart()
    const fresh = room.start(name)
    expect(room.world.runUntil(() => fresh.linked.has(other.id), 2500)).toBe(true)
    // The old one is asked first whether it is there; it has half a second to answer.
    expect(room.world.runUntil(() => other.links === 2, 1000)).toBe(true)
    expect(other.unlinked.map(({ reason }) => reason)).toEqual(['replaced by a new connection'])
    expect(ask(room, other, fresh) && ask(room, fresh, other)).toBe(true)
  })

  it('a reset connection is made again', () => {
    const room = new Room(5)
    const [a, b] = room.pair()
    room.world.network.reset('a', 'b')
    expect(room.world.runUntil(() => a.links === 2 && b.links === 2, 10_000)).toBe(true)
    expect(ask(room, a, b) && ask(room, b, a)).toBe(true)
  })

  it('who is cut off by the network is missed, and linked again when it heals', () => {
    const room = new Room(6)
    const nodes = room.startAll('abcd')
    room.world.runUntil(() => room.allLinked(nodes), 5000)
    room.world.network.isolate('b')
    expect(room.world.runUntil(() => nodes.every(node => !node.linked.has(nodes[1]!.id)), 6000)).toBe(true)
    expect(nodes[1]!.linked.size).toBe(0)
    room.world.run(30_000)
    room.world.network.heal()
    expect(room.world.runUntil(() => room.allLinked(nodes), 12_000)).toBe(true)
    for (const node of nodes) if (node.name !== 'b') expect(node.links).toBe(4)
  })

  it('who leaves is unlinked at once and not looked for any more', () => {
    const room = new Room(7)
    const [a, b] = room.pair()
    b.mesh.close()
    expect(room.world.runUntil(() => a.linked.size === 0, 100)).toBe(true)
    expect(a.unlinked[0]!.reason).toMatch(/left/)
    room.world.run(3000)
    expect(a.mesh.links()).toEqual([])
    expect(b.unlinked).toEqual([])
    expect(b.mesh.send(a.id, 'consensus', patterned(1))).toBe('unlinked')
  })
})

describe('partition switch', () => {
  it('short: nothing is closed, nothing gets through, and healed links go on', () => {
    const room = new Room(8)
    const [a, b] = room.pair()
    a.mesh.partition(true)
    a.mesh.send(b.id, 'consensus', patterned(1))
    b.mesh.send(a.id, 'consensus', patterned(1))
    room.world.run(2000)
    expect([...a.received, ...b.received, ...a.unlinked, ...b.unlinked]).toEqual([])
    a.mesh.partition(false)
    expect(ask(room, a, b) && ask(room, b, a)).toBe(true)
    room.world.run(10_000)
    expect([a.links, b.links]).toEqual([1, 1])
  })

  const cases = ['a', 'b'].flatMap(name => [17_000, 33_000, 41_000, 90_000].map(ms => [name, ms] as const))
  it.each(cases)('long (%s, %i ms): the others miss it; healed, it is back within two seconds', (name, durationMs) => {
    const room = new Room(9)
    const nodes = room.startAll('abc')
    room.world.runUntil(() => room.allLinked(nodes), 5000)
    const cut = nodes.find(node => node.name === name)!
    cut.mesh.partition(true)
    expect(room.world.runUntil(() => nodes.every(node => node === cut || node.linked.size === 1), 6000)).toBe(true)
    room.world.run(durationMs)
    cut.mesh.partition(false)
    expect(room.world.runUntil(() => room.allLinked(nodes), 2000)).toBe(true)
    for (const node of nodes) for (const other of nodes) if (node !== other) expect(ask(room, node, other)).toBe(true)
  })
})

describe('finding each other', () => {
  it('peers that cannot link before signaling died are introduced by a common neighbour', () => {
    const room = new Room(10)
    room.world.network.partition(['a'], ['c'])
    const nodes = room.startAll('abc')
    const [a, b, c] = nodes as [Node, Node, Node]
    expect(room.world.runUntil(() => b.linked.size === 2, 5000)).toBe(true)
    room.world.run(1000)
    expect(a.linked.has(c.id)).toBe(false)
    room.world.network.signaling.setDown(true)
    room.world.run(70_000)
    room.world.network.heal()
    expect(room.world.runUntil(() => room.allLinked(nodes), 20_000)).toBe(true)
    expect(ask(room, a, c) && ask(room, c, a)).toBe(true)
  })

  it('links outlive signaling', () => {
    const room = new Room(11)
    const [a, b] = room.pair()
    room.world.network.signaling.setDown(true)
    room.world.run(60_000)
    expect([a.links, b.links, a.linked.size]).toEqual([1, 1, 1])
  })

  it('a rendezvous that is down at first: not reachable, then linked', () => {
    const room = new Room(12)
    room.world.network.signaling.setDown(true)
    const nodes = room.startAll('ab')
    room.world.run(5000)
    expect(nodes.map(node => node.mesh.reachable())).toEqual([false, false])
    room.world.network.signaling.setDown(false)
    expect(room.world.runUntil(() => room.allLinked(nodes), 3000)).toBe(true)
    expect(nodes.map(node => node.mesh.reachable())).toEqual([true, true])
    expect(room.start('c', { rendezvous: [] }).mesh.reachable()).toBe(true)
  })

  it('six peers find each other over a rendezvous that loses a third of what it is given', () => {
    for (const seed of [13, 14, 15]) {
      const room = new Room(seed, { network: { rendezvousLossChance: 0.33 } })
      const nodes = room.startAll('abcdef')
      expect(room.world.runUntil(() => room.allLinked(nodes), 40_000)).toBe(true)
    }
  })

  it('links come up, and carry, over connections that lose, double and shuffle messages', () => {
    for (const seed of [16, 17, 18]) {
      const lossy = { dropChance: 0.05, duplicateChance: 0.05, reorderChance: 0.1 }
      const room = new Room(seed, { network: { lossy } })
      const nodes = room.startAll('abc')
      expect(room.world.runUntil(() => room.allLinked(nodes), 20_000)).toBe(true)
      for (let i = 0; i < 100; i++) {
        nodes[0]!.mesh.send(nodes[1]!.id, 'consensus', patterned(20, i))
        room.world.run(20)
      }
      expect(nodes[1]!.received.length).toBeGreaterThan(80)
      expect(nodes.flatMap(node => node.refused)).toEqual([])
    }
  })

  it('waits for those who are announced, until they are linked or have failed', () => {
    const room = new Room(19)
    const puppet = new PuppetRendezvous()
    const b = room.start('b', { rendezvous: [puppet] })
    room.world.run(10)
    expect(b.mesh.unresolved()).toBe(0)
    for (const name of ['a', 'c']) {
      const here = encodeSignal({ type: 'here', instance: '0'.repeat(16), reply: false })
      puppet.events!.onMessage(identityOf(name).id, here)
    }
    expect(b.mesh.unresolved()).toBe(2)
    room.world.run(6000)
    expect(b.mesh.unresolved()).toBe(0)
  })

  it('an introduction that was meant for a former life of this peer begins nothing', () => {
    const room = new Room(25)
    const puppet = new PuppetRendezvous()
    const b = room.start('b', { rendezvous: [puppet] })
    room.world.run(10)
    const [a, instance] = [identityOf('a').id, '0'.repeat(16)]
    const intro = { type: 'intro', instance, session: 1, number: 0, payload: { type: 'offer', attempt: 99 } } as const
    puppet.events!.onMessage(a, encodeSignal({ ...intro, instanceFor: 'f'.repeat(16) }))
    room.world.run(100)
    expect(b.mesh.links()).toEqual([])
    const { message } = puppet.sent.find(({ to }) => to === '*')!
    const { i: own } = message as { i: string }
    puppet.events!.onMessage(a, encodeSignal({ ...intro, instanceFor: own }))
    room.world.run(100)
    expect(b.mesh.links()).toMatchObject([{ id: a, state: 'connecting' }])
    expect(puppet.sent.at(-1)).toMatchObject({ to: a, message: { t: 'intro', f: instance, s: 1, n: 0 } })
  })

  it('adopts a connection that the application made, with no rendezvous at all', () => {
    const room = new Room(20)
    const [a, b] = [room.start('a', { rendezvous: [] }), room.start('b', { rendezvous: [] })]
    const [one, other] = room.world.network.adoptablePair()
    a.mesh.adopt(b.id, one)
    b.mesh.adopt(a.id, other)
    expect(room.world.runUntil(() => room.allLinked([a, b]), 3000)).toBe(true)
    expect(() => a.mesh.adopt(b.id, 'no connection')).toThrow(expect.objectContaining({ code: 'VALIDATION' }))
    expect(ask(room, a, b)).toBe(true)
    expect(a.adoptionsFailed).toEqual([])
  })

  it('what cannot be adopted does the adoption under way no harm', () => {
    const room = new Room(31)
    const [a, b] = [room.start('a', { rendezvous: [] }), room.start('b', { rendezvous: [] })]
    const [one, other] = room.world.network.adoptablePair()
    a.mesh.adopt(b.id, one)
    expect(() => a.mesh.adopt(b.id, 'no connection')).toThrow(expect.objectContaining({ code: 'VALIDATION' }))
    expect(a.mesh.links().map(({ state }) => state)).toEqual(['connecting'])
    b.mesh.adopt(a.id, other)
    expect(room.world.runUntil(() => room.allLinked([a, b]), 3000)).toBe(true)
  })

  it('of two connections adopted for one peer the later counts, though the other side has only the former', () => {
    const room = new Room(32)
    const [a, b] = [room.start('a', { rendezvous: [] }), room.start('b', { rendezvous: [] })]
    const [former, formerEnd] = room.world.network.adoptablePair()
    const [later, laterEnd] = room.world.network.adoptablePair()
    a.mesh.adopt(b.id, former)
    a.mesh.adopt(b.id, later)
    b.mesh.adopt(a.id, formerEnd)
    room.world.run(3000)
    expect(room.allLinked([a, b])).toBe(false)
    b.mesh.adopt(a.id, laterEnd)
    expect(room.world.runUntil(() => room.allLinked([a, b]), 3000)).toBe(true)
  })

  it('a connection that leads to no link is reported, once: nobody answers, the wrong secret', () => {
    const room = new Room(33)
    const [a, b] = [
      room.start('a', { rendezvous: [] }),
      room.start('b', { rendezvous: [], secret: 'hs1_zzzzzzzzzzzzzzzzzzzzzzzzzz' }),
    ]
    a.mesh.adopt(b.id, room.world.network.adoptablePair()[0])
    room.world.run(30_000)
    expect(a.adoptionsFailed.map(({ peer }) => peer)).toEqual([b.id])
    const [one, other] = room.world.network.adoptablePair()
    a.mesh.adopt(b.id, one)
    b.mesh.adopt(a.id, other)
    room.world.run(30_000)
    expect(a.adoptionsFailed.map(({ peer }) => peer)).toEqual([b.id, b.id])
    expect(b.adoptionsFailed.map(({ peer }) => peer)).toEqual([a.id])
    expect(a.mesh.links()).toEqual([])
  })

  it('a link over an adopted connection that another replaces has not failed', () => {
    let replaced = 0
    for (let seed = 40; seed < 60; seed++) {
      const room = new Room(seed)
      const [a, b] = [room.start('a'), room.start('b')]
      const [one, other] = room.world.network.adoptablePair()
      // While the way over signalling is found as well: whichever link comes later replaces the other.
      room.world.run(seed - 40)
      a.mesh.adopt(b.id, one)
      b.mesh.adopt(a.id, other)
      room.world.run(3000)
      expect(room.allLinked([a, b])).toBe(true)
      expect([a.adoptionsFailed, b.adoptionsFailed]).toEqual([[], []])
      if (a.links === 2) replaced++
    }
    expect(replaced).toBeGreaterThan(0)
  })
})

describe('hostile signaling', () => {
  it('pitfall 43: a flood of strangers, garbage and forged introductions is bounded, and the real ones get through', () => {
    const room = new Room(21)
    const puppet = new PuppetRendezvous()
    const nodes = [room.start('a', { rendezvous: [room.world.process('a').rendezvous, puppet] }), room.start('b')]
    const random = room.world.random('flood')
    room.world.run(1)
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 20; i++) {
        const id = peerId(Array.from({ length: 32 }, () => random.below(16).toString(16)).join(''))
        const instance = id.slice(0, 16)
        const session = 1 + random.below(100)
        const payload = { type: 'offer', attempt: random.below(50) }
        puppet.events!.onMessage(id, encodeSignal({ type: 'here', instance, reply: random.chance(0.5) }))
        puppet.events!.onMessage(
          id,
          encodeSignal({ type: 'intro', instance, instanceFor: undefined, session, number: 0, payload }),
        )
        puppet.events!.onMessage(id, { t: 'intro', v: 1, p: { deep: [payload] } })
      }
      room.world.run(10)
      expect(nodes[0]!.mesh.links().length).toBeLessThanOrEqual(128)
    }
    expect(room.world.runUntil(() => room.allLinked(nodes), 30_000)).toBe(true)
  })

  it('pitfall 43: what is said in the name of a linked peer does not touch its link', () => {
    const room = new Room(22)
    const puppets = { a: new PuppetRendezvous(), b: new PuppetRendezvous() }
    const a = room.start('a', { rendezvous: [room.world.process('a').rendezvous, puppets.a] })
    const b = room.start('b', { rendezvous: [puppets.b, room.world.process('b').rendezvous] })
    room.world.runUntil(() => room.allLinked([a, b]), 5000)
    for (let i = 0; i < 250; i++) {
      if (i % 50 === 0) {
        const instance = i.toString(16).padStart(16, '0')
        puppets.a.events!.onMessage(b.id, encodeSignal({ type: 'here', instance, reply: false }))
        puppets.a.events!.onMessage(b.id, encodeSignal({ type: 'bye', instance: '1'.repeat(16) }))
      }
      room.world.run(20)
      // The puppet passes on what the liar made the victim say.
      for (const { to, message } of puppets.a.sent.splice(0))
        if (to === b.id) puppets.b.events!.onMessage(a.id, message)
      for (const { to, message } of puppets.b.sent.splice(0))
        if (to === a.id) puppets.a.events!.onMessage(b.id, message)
    }
    room.world.run(20_000)
    expect([a.links, b.links, a.unlinked.length]).toEqual([1, 1, 0])
  })
})

describe('many and much', () => {
  it('a large bulk message does not hold up consensus, and a full lane drains', () => {
    const room = new Room(23, { network: { bytesPerMs: 1000 } })
    const [a, b] = room.pair()
    const large = patterned(3_000_000)
    expect(a.mesh.send(b.id, 'bulk', large)).toBe('sent')
    room.world.run(10)
    expect(a.mesh.send(b.id, 'bulk', large)).toBe('full')
    expect(ask(room, a, b)).toBe(true)
    expect(b.received.length).toBe(1)
    expect(a.mesh.counters().bytesInFlight).toBeGreaterThan(2_000_000)
    expect(room.world.runUntil(() => a.drained.length > 0, 10_000)).toBe(true)
    expect(a.mesh.send(b.id, 'bulk', patterned(10))).toBe('sent')
    expect(room.world.runUntil(() => b.received.length === 3, 10_000)).toBe(true)
    expect(equalBytes(b.received[1]!.bytes, large)).toBe(true)
    room.world.run(1000)
    expect(a.mesh.counters().bytesInFlight).toBeLessThan(2000)
  })

  it('the same seed gives the same run', () => {
    const hashes = [1, 2].map(() => {
      const room = new Room(24, { network: { rendezvousLossChance: 0.1, resetChance: 0.001 } })
      room.startAll('abcd')
      room.world.run(10_000)
      return room.world.hash
    })
    expect(hashes[0]).toBe(hashes[1])
  })
})
