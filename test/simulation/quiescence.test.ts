/** A cluster in which nothing happens: what it still says, and that it is there when it is wanted. The protocol: `test/golden/raft/quiescence.txt`. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { Host, type HostOptions, hosts } from './simulated-host.ts'

/** Messages of consensus that left since the last look. */
class Counted {
  sent = 0
  readonly options: HostOptions = { trace: () => void this.sent++ }
  take(): number {
    const { sent } = this
    this.sent = 0
    return sent
  }
}

function resting(seed: number): { world: World; all: Host[]; leader: Host; others: Host[]; counted: Counted } {
  const world = new World(seed)
  const counted = new Counted()
  const all = hosts(world, 3, undefined, counted.options)
  for (const host of all) expect(host.join()).toBeUndefined()
  expect(world.runUntil(() => all.every(({ status }) => status.raft.configuration.voters.length === 3), 30_000)).toBe(
    true,
  )
  expect(all[0]!.put('x', '1')).toBe('ok')
  expect(world.runUntil(() => all.every(({ status }) => status.raft.resting), 45_000)).toBe(true)
  const leader = all.find(({ status }) => status.raft.role === 'leader')!
  return { world, all, leader, others: all.filter(host => host !== leader), counted }
}

describe('an idle cluster', () => {
  it('says a fiftieth of what it says otherwise, for as long as nothing happens', () => {
    const { world, all, counted } = resting(1)
    counted.take()
    world.run(300_000)
    // Two followers, a question and an answer each, every five seconds.
    expect(counted.take()).toBeLessThan(4 * 61)
    expect(all.map(({ status }) => [status.health, status.raft.configuration.voters.length])).toEqual([
      ['ok', 3],
      ['ok', 3],
      ['ok', 3],
    ])
    // Awake, for half a minute.
    expect(all[0]!.put('x', '2')).toBe('ok')
    counted.take()
    world.run(10_000)
    expect(counted.take()).toBeGreaterThan(350)
  })

  it('answers at once when somebody asks, whoever it is', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const { world, all, leader, others } = resting(seed)
      const asks = [leader, others[0]!, others[1]!][seed % 3]!
      const fromMs = world.nowMs
      expect(seed < 4 ? asks.get('x') : asks.put('y', '1')).toBe(seed < 4 ? '1' : 'ok')
      expect(world.nowMs - fromMs).toBeLessThan(200)
      expect(all.every(({ status }) => status.health === 'ok')).toBe(true)
    }
  })

  it('elects another leader while a write waits, when its own has died unnoticed', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const { world, leader, others } = resting(seed)
      // It stands still, as a frozen tab does: no link breaks.
      leader.process.freeze()
      world.run(100)
      const fromMs = world.nowMs
      const [asks] = others
      expect(asks!.put('y', '1')).toBe('ok')
      expect(world.nowMs - fromMs, `seed ${seed}`).toBeLessThan(3000)
      leader.process.thaw()
      expect(leader.get('y')).toBe('1')
    }
  })

  it('has another leader some seconds after its own has died, when nobody asks for anything', () => {
    for (let seed = 1; seed <= 8; seed++) {
      const { world, leader, others } = resting(seed)
      leader.crash()
      expect(
        world.runUntil(() => others.some(({ status }) => status.raft.role === 'leader'), 8000),
        `seed ${seed}`,
      ).toBe(true)
    }
  })

  it('takes a newcomer in, and lets a member go', () => {
    for (let seed = 1; seed <= 4; seed++) {
      const { world, all, others } = resting(seed)
      const [left] = others
      left!.leave()
      const newcomer = new Host(world, 'n').open()
      expect(newcomer.join()).toBeUndefined()
      expect(newcomer.get('x')).toBe('1')
      const here = [...all.filter(host => host !== left), newcomer]
      expect(
        world.runUntil(
          () => here.every(({ status }) => status.raft.configuration.voters.includes(newcomer.peer.id)),
          30_000,
        ),
      ).toBe(true)
    }
  })
})
