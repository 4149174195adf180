/** Tabs of one profile that are killed, frozen and opened again: who is left goes on for those that are gone (rules A1 to A8 of `adoption.ts`). */
import { describe, expect, it } from 'vitest'
import { Invariants } from '../../platform/simulation/invariants.ts'
import { World } from '../../platform/simulation/world.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { type ClusterId, lsn, type PeerId } from '../../src/base/ids.ts'
import { encodeText } from '../../src/base/text.ts'
import { makeIdentity } from '../../src/cluster/identity.ts'
import type { Random, Result } from '../../src/platform.ts'
import { type OpenedSuperblock, openSuperblock } from '../../src/storage/superblock.ts'
import { fewerSeeds } from './seeds.ts'
import { Host, type HostOptions } from './simulated-host.ts'
import { writeOf } from './write-of.ts'

const minuteMs = 60_000

/** Consensus messages of all peers, adopted ones too, keep Raft's promises. */
class Tabs {
  readonly world: World
  readonly invariants = new Invariants()
  readonly hosts: Host[] = []
  /** Consensus messages, by the process that sent them. */
  readonly sent = new Map<string, number>()
  private readonly options: HostOptions
  private cluster: ClusterId | undefined
  private written = 0
  private readonly refused = new Set<number>()

  constructor(seed: number, options: HostOptions = {}) {
    this.world = new World(seed)
    this.options = options
  }

  add(profile = 'browser'): Host {
    const name = `h${this.hosts.length}`
    const trace: HostOptions['trace'] = message => {
      this.sent.set(name, (this.sent.get(name) ?? 0) + 1)
      if (this.cluster !== undefined) this.invariants.onMessage(this.cluster, message)
    }
    const options = { adopts: true, trace, ...this.options }
    const host = new Host(this.world, name, profile, options)
    this.hosts.push(host)
    host.open()
    expect(host.join()).toBeUndefined()
    this.cluster ??= host.status.cluster
    return host
  }

  /** Three that vote. */
  three(): [Host, Host, Host] {
    const hosts = [this.add(), this.add(), this.add()] as [Host, Host, Host]
    expect(this.world.runUntil(() => voters(hosts[0]).length === 3, minuteMs)).toBe(true)
    return hosts
  }

  write(host: Host, count = 5): void {
    for (let i = 0; i < count; i++) {
      const n = this.written++
      expect(host.put(`key ${n}`, `${n}`)).toBe('ok')
    }
  }

  /** It may be refused. */
  tryToWrite(host: Host): void {
    const n = this.written++
    if (host.put(`key ${n}`, `${n}`) !== 'ok') this.refused.add(n)
  }

  expectEverything(host: Host): void {
    for (let n = 0; n < this.written; n++) if (!this.refused.has(n)) expect(host.get(`key ${n}`)).toBe(`${n}`)
    expect(this.invariants.violations).toEqual([])
  }

  untilHealthy(host: Host, ms = minuteMs): void {
    expect(this.world.runUntil(() => host.status.health === 'ok', ms)).toBe(true)
  }
}

const voters = (host: Host): readonly PeerId[] => host.status.raft.configuration.voters
const leaderless = (host: Host): boolean => host.status.health === 'no-quorum'

for (const seed of [1, 2, 3, 4]) {
  for (const cache of ['kept', 'lost'] as const) {
    it(`pitfall 31: seed ${seed}, cache ${cache}: two of three voters are killed at once; who is left adopts them, and nothing acknowledged is lost`, () => {
      const tabs = new Tabs(seed)
      const [a, b, c] = tabs.three()
      const ids = [a.status.id, b.status.id]
      tabs.write(a)
      tabs.write(c)
      a.crash(cache)
      b.crash(cache)
      expect(tabs.world.runUntil(() => leaderless(c), minuteMs)).toBe(true)
      tabs.untilHealthy(c, 15_000)
      tabs.write(c)
      tabs.expectEverything(c)
      expect(ids).toEqual(expect.arrayContaining([...c.lives.adopted]))
      expect(c.lives.adopted.length).toBeGreaterThan(0)
    })
  }

  it(`pitfall 31: seed ${seed}: an owner that comes back gets its storage back, as the same peer, with what was written meanwhile`, () => {
    const tabs = new Tabs(seed)
    const [a, b, c] = tabs.three()
    const ids = [a.status.id, b.status.id].sort()
    a.crash()
    b.crash()
    expect(tabs.world.runUntil(() => c.lives.adopted.length === 2, minuteMs)).toBe(true)
    tabs.untilHealthy(c)
    tabs.write(c)
    const beganMs = tabs.world.nowMs
    a.restart()
    expect(tabs.world.nowMs - beganMs).toBeLessThan(2000)
    expect(c.told).toContain(`returned ${a.status.id}: its owner is back`)
    expect(ids).toContain(a.status.id)
    expect(c.lives.adopted).toEqual([ids.find(id => id !== a.status.id)])
    expect(a.join()).toBeUndefined()
    tabs.write(a)
    b.restart()
    expect(b.join()).toBeUndefined()
    expect([a.status.id, b.status.id].sort()).toEqual(ids)
    expect(c.lives.adopted).toEqual([])
    for (const host of [a, b, c]) tabs.expectEverything(host)
    expect([...voters(c)].sort()).toEqual([...ids, c.status.id].sort())
  })
}

describe('one after the other', () => {
  for (const seed of [1, 2, 3]) {
    it(`pitfall 31: seed ${seed}: five tabs are killed down to one, which runs the rest, and then that one, too: one that is opened again revives all`, () => {
      const tabs = new Tabs(seed)
      const hosts = Array.from({ length: 5 }, () => tabs.add())
      const random = tabs.world.random('who is killed')
      expect(tabs.world.runUntil(() => voters(hosts[0]!).length === 5, minuteMs)).toBe(true)
      const living = [...hosts]
      while (living.length > 1) {
        const [victim] = living.splice(random.below(living.length), 1)
        tabs.write(living[0]!)
        victim!.crash(random.chance(1 / 2) ? 'kept' : 'lost')
        const left = living[random.below(living.length)]!
        // Somebody leads, or will: however soon the next one goes.
        tabs.world.run(random.below(6000))
        tabs.untilHealthy(left)
        tabs.write(left)
      }
      const [last] = living as [Host]
      tabs.expectEverything(last)
      const adopted = hosts.find(host => host !== last)!
      last.crash('lost')
      adopted.restart()
      expect(adopted.join()).toBeUndefined()
      tabs.expectEverything(adopted)
    })
  }
})

describe('a tab that is frozen', () => {
  for (const seed of [1, 2, 3]) {
    it(`pitfall 31: seed ${seed}: keeps its lock: it is not adopted, and goes on when it is thawed`, () => {
      const tabs = new Tabs(seed)
      const [a, b, c] = tabs.three()
      a.process.freeze()
      tabs.world.run(30_000)
      expect([...b.lives.adopted, ...c.lives.adopted]).toEqual([])
      tabs.write(c)
      a.process.thaw()
      tabs.untilHealthy(a)
      tabs.expectEverything(a)
    })

    it(`pitfall 31: seed ${seed}: and whose lock is taken away all the same stops when it is thawed, before it writes or answers`, () => {
      const tabs = new Tabs(seed)
      const [a, b, c] = tabs.three()
      tabs.write(a)
      const { id } = a.status
      const outcomes: string[] = []
      const note = (result: unknown): void => {
        outcomes.push(result instanceof HarmonyError ? result.code : JSON.stringify(result))
      }
      // Whatever it is in the middle of: a write, a read, and what the others send it.
      a.peer.clients.write(
        writeOf([{ type: 'put', key: encodeText('late'), value: encodeText('1') }]),
        60_000,
        result => {
          note('error' in result ? result.error : result)
        },
      )
      a.peer.clients.read({ consistency: 'linearizable' }, 60_000, view => view.get(encodeText('key 0')), note)
      // The questions leave, and the answers come when nobody hears them.
      tabs.world.run(1)
      a.process.freeze()
      tabs.world.run(100)
      a.process.disk.takeAway()
      const runs = (): boolean => [...b.lives.adopted, ...c.lives.adopted].includes(id)
      expect(tabs.world.runUntil(runs, minuteMs)).toBe(true)
      tabs.write(c)
      const before = tabs.sent.get(a.name)
      a.process.thaw()
      tabs.world.run(10_000)
      expect(tabs.sent.get(a.name)).toBe(before)
      expect(outcomes).toEqual(['STORAGE_LOST', 'STORAGE_LOST'])
      expect(a.told).toContain('error STORAGE_LOST')
      expect(a.put('key 0', 'late')).toMatchObject({ code: 'STORAGE_LOST' })
      expect(a.get('key 0', 'local')).toMatchObject({ code: 'STORAGE_LOST' })
      a.close()
      expect(runs()).toBe(true)
      tabs.write(b)
      tabs.expectEverything(c)
    })
  }
})

describe('what is adopted, and for how long', () => {
  it('A4: a learner, and a store of another cluster, or of none, are let be', () => {
    const tabs = new Tabs(7)
    const hosts = [tabs.add(), tabs.add(), tabs.add(), tabs.add()]
    const stranger = new Host(tabs.world, 'stranger', 'browser').open()
    expect(stranger.put('own', '1')).toBe('ok')
    tabs.world.run(10_000)
    const learner = hosts.find(host => !voters(hosts[0]!).includes(host.status.id))!
    const others = hosts.filter(host => host !== learner)
    learner.crash()
    stranger.crash()
    tabs.world.run(30_000)
    for (const host of others) expect(host.told.filter(line => line.startsWith('adopted'))).toEqual([])
    expect(stranger.restart().get('own')).toBe('1')
  })

  it('A4: a store that has not begun, and one that is damaged, are left as they are', () => {
    const tabs = new Tabs(15)
    const [a, b, c] = tabs.three()
    const begun = new Host(tabs.world, 'begun', 'browser')
    const { id } = a.status
    a.crash()
    a.process.disk.rot('log', a.process.disk.contents().find(({ name }) => name === 'log')!.start + 40, 3)
    const damaged = JSON.stringify(a.process.disk.contents())
    const { directory, platform } = begun.process
    directory.openPages('pages', pages => {
      if (pages.ok) openSuperblock(pages.value, opened => writeFirst(opened, platform.random))
    })
    tabs.world.run(1000)
    begun.crash()
    const empty = JSON.stringify(begun.process.disk.contents())
    tabs.world.run(90_000)
    expect([...b.told, ...c.told].filter(line => line.startsWith('adopted'))).toEqual([])
    expect(JSON.stringify(a.process.disk.contents())).toBe(damaged)
    expect(JSON.stringify(begun.process.disk.contents())).toBe(empty)
    // Its owner begins anew, as another peer.
    expect(a.restart().join()).toBeUndefined()
    expect(a.status.id).not.toBe(id)
    tabs.write(a)
    tabs.expectEverything(b)
  })

  it('A4: a learner lives, all three voters are killed: it adopts them', () => {
    const tabs = new Tabs(8)
    const hosts = [tabs.add(), tabs.add(), tabs.add(), tabs.add()]
    expect(tabs.world.runUntil(() => voters(hosts[0]!).length === 3, minuteMs)).toBe(true)
    tabs.write(hosts[0]!)
    const learner = hosts.find(host => !voters(hosts[0]!).includes(host.status.id))!
    for (const host of hosts) if (host !== learner) host.crash('lost')
    expect(tabs.world.runUntil(() => leaderless(learner), minuteMs)).toBe(true)
    tabs.untilHealthy(learner)
    tabs.write(learner)
    tabs.expectEverything(learner)
  })

  it('A2: a seat that a living tab can take is given to it first; nothing is adopted', () => {
    const tabs = new Tabs(9)
    const hosts = [tabs.add(), tabs.add(), tabs.add(), tabs.add()]
    expect(tabs.world.runUntil(() => voters(hosts[0]!).length === 3, minuteMs)).toBe(true)
    const victim = hosts.find(host => voters(hosts[0]!).includes(host.status.id) && host.status.raft.role !== 'leader')!
    const { id } = victim.status
    const left = hosts.filter(host => host !== victim)
    victim.crash()
    tabs.world.run(30_000)
    expect(voters(left[0]!)).not.toContain(id)
    for (const host of left) expect(host.told.filter(line => line.startsWith('adopted'))).toEqual([])
  })

  it('A5: who has no vote any more is closed', () => {
    const tabs = new Tabs(10)
    const [a, b, c] = tabs.three()
    const { id } = a.status
    a.crash()
    const runner = (): Host | undefined => [b, c].find(host => host.lives.adopted.includes(id))
    expect(tabs.world.runUntil(() => runner() !== undefined, minuteMs)).toBe(true)
    const host = runner()!
    // Somebody else comes, and is given the seat: then nobody needs the replica.
    const d = tabs.add('another browser')
    let promoted: HarmonyError | undefined | 'pending' = 'pending'
    b.peer.order('remove', id, error => {
      promoted = error
    })
    expect(tabs.world.runUntil(() => promoted !== 'pending', minuteMs)).toBe(true)
    expect(promoted).toBeUndefined()
    expect(tabs.world.runUntil(() => host.lives.adopted.length === 0, minuteMs)).toBe(true)
    tabs.world.run(20_000)
    expect(runner()).toBeUndefined()
    expect(voters(d)).toHaveLength(3)
    tabs.write(d)
    tabs.expectEverything(d)
  })

  it('A6: leading is left to the peer of a living tab', () => {
    const tabs = new Tabs(11)
    const [a, b, c] = tabs.three()
    a.crash()
    b.crash()
    expect(tabs.world.runUntil(() => c.status.raft.role === 'leader' && c.lives.adopted.length === 2, minuteMs)).toBe(
      true,
    )
    tabs.world.run(10_000)
    expect(c.status.raft.role).toBe('leader')
  })

  it('A7: who closes gives the votes of those that it runs to who stays; nobody waits for a grace period', () => {
    const tabs = new Tabs(12)
    const [a, b, c] = tabs.three()
    const d = tabs.add('another browser')
    a.crash()
    b.crash()
    expect(tabs.world.runUntil(() => c.lives.adopted.length === 2 && c.status.health === 'ok', minuteMs)).toBe(true)
    tabs.write(c)
    tabs.untilHealthy(d)
    c.close()
    tabs.untilHealthy(d, 2000)
    expect(voters(d)).toEqual([d.status.id])
    tabs.write(d)
    tabs.expectEverything(d)
  })

  it('A7: the last tab closes within a second, votes stay where they are, and one that is opened revives them', () => {
    const tabs = new Tabs(13)
    const [a, b, c] = tabs.three()
    a.crash()
    b.crash()
    expect(tabs.world.runUntil(() => c.lives.adopted.length === 2 && c.status.health === 'ok', minuteMs)).toBe(true)
    tabs.write(c)
    const beganMs = tabs.world.nowMs
    c.close()
    expect(tabs.world.nowMs - beganMs).toBeLessThan(1500)
    c.process.crash('kept')
    a.restart()
    expect(a.join()).toBeUndefined()
    tabs.write(a)
    tabs.expectEverything(a)
  })

  it('A5: an owner that comes in the middle of the opening of its storage gets it all the same', () => {
    for (let afterMs = 0; afterMs < 60; afterMs += 3) {
      const tabs = new Tabs(14)
      const [a, b, c] = tabs.three()
      a.crash()
      b.crash()
      expect(tabs.world.runUntil(() => !a.process.running && !a.process.disk.orphaned, minuteMs)).toBe(true)
      tabs.world.run(afterMs)
      a.restart()
      expect(a.join()).toBeUndefined()
      tabs.write(c)
      tabs.expectEverything(a)
    }
  })
})

/** Who it is, and nothing else yet: a crash in the middle of being founded. */
function writeFirst(opened: Result<OpenedSuperblock>, random: Random): void {
  if (!opened.ok) throw opened.error
  const identitySeed = new Uint8Array(32)
  random.fill(identitySeed)
  const { id } = makeIdentity(identitySeed)
  opened.value.store.write({ identitySeed, peerId: id, durableLsn: lsn(0), clean: false }, () => {})
}

/** Tabs come, go, reload, freeze and are killed, in any order, while there are writes; at least one lives, and is not frozen. */
function anyOrder(seed: number): Tabs {
  const tabs = new Tabs(seed)
  const random = tabs.world.random('what happens')
  const start = random.between(2, 5)
  for (let n = 0; n < start; n++) tabs.add()
  const open = (): Host[] => tabs.hosts.filter(host => host.isOpen)
  const awake = (): Host[] => open().filter(host => !host.process.frozen)
  const kill = (host: Host): void => host.crash(random.pick(['kept', 'lost']))
  for (let step = 0; step < 14; step++) {
    const host = random.pick(awake())
    const closed = tabs.hosts.filter(one => !one.isOpen)
    const dice = random.below(10)
    if (dice < 4 && awake().length > 1) kill(host)
    else if (dice < 5 && awake().length > 1) {
      host.close()
      host.crash('kept')
    } else if (dice < 7 && closed.length > 0) random.pick(closed).restart().startJoin()
    else if (dice < 8) {
      // Reloaded, perhaps a slow one.
      kill(host)
      tabs.world.run(random.below(4000))
      host.restart().startJoin()
    } else if (dice < 9 && awake().length > 2) {
      host.process.freeze()
      tabs.world.run(random.below(8000))
      host.process.thaw()
    } else if (open().length < 6) tabs.add()
    tabs.world.run(random.pick([0, 100, 1000, 5000, 12_000]))
    // A write may fail while nobody leads; what was answered counts.
    tabs.tryToWrite(random.pick(awake()))
  }
  for (const host of awake()) tabs.untilHealthy(host)
  return tabs
}

describe('in any order', () => {
  for (const seed of fewerSeeds(20)) {
    it(`pitfall 31: seed ${seed}: whatever tabs are closed, killed, reloaded, frozen and opened, as long as one lives there is a majority, and everything acknowledged`, () => {
      const tabs = anyOrder(seed)
      const living = tabs.hosts.filter(host => host.isOpen)
      for (const host of living) tabs.expectEverything(host)
      tabs.write(living[0]!)
      const running = living.flatMap(host => host.lives.adopted)
      expect(new Set(running).size).toBe(running.length)
    })
  }
})
