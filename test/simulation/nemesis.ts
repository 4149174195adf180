/** Draws faults from the seed: each run has its own mix (swarm testing), so that rare kinds also meet alone. */

import { defaultNetworkOptions } from '../../platform/simulation/conditions.ts'
import type { SeededRandom } from '../../src/base/random.ts'
import type { Member, Run } from './simulated-cluster.ts'

const kinds = [
  'partition',
  'one-way',
  'isolate-leader',
  'crash',
  'crash-all',
  'freeze',
  'reset-links',
  'slow',
  'lossy',
  'transfer',
] as const
type Kind = (typeof kinds)[number]

export class Nemesis {
  readonly counts: Record<string, number> = {}
  private readonly run: Run
  private readonly random: SeededRandom
  private readonly mix: readonly Kind[]
  private stopped = false
  private readonly down = new Set<Member>()
  private readonly frozen = new Set<Member>()

  constructor(run: Run, random: SeededRandom) {
    this.run = run
    this.random = random
    const mix = kinds.filter(() => random.chance(0.45))
    this.mix = mix.length > 0 ? mix : ['crash']
  }

  start(): void {
    this.next()
  }

  /** Ends all faults: everybody runs, everything is delivered. */
  heal(): void {
    this.stopped = true
    const { network } = this.run.world
    network.heal()
    network.configure(defaultNetworkOptions)
    for (const member of [...this.frozen]) this.thaw(member)
    for (const member of [...this.down]) this.revive(member)
  }

  private next(): void {
    this.run.world.after(this.random.between(200, 2500), 'nemesis', () => {
      if (this.stopped) return
      this.strike(this.random.pick(this.mix))
      this.next()
    })
  }

  private strike(kind: Kind): void {
    const { network } = this.run.world
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    const names = this.run.members.map(member => member.name)
    const later = (run: () => void): void => {
      this.run.world.after(this.random.between(300, 5000), 'nemesis ends', () => {
        if (!this.stopped) run()
      })
    }
    switch (kind) {
      case 'partition': {
        const side = names.filter(() => this.random.chance(0.5))
        network.partition(
          side,
          names.filter(name => !side.includes(name)),
        )
        return later(() => network.heal())
      }
      case 'one-way': {
        const from = this.random.pick(names)
        for (const to of names) if (to !== from && this.random.chance(0.7)) network.cut(from, to)
        return later(() => network.heal())
      }
      case 'isolate-leader': {
        const leader = this.leader()
        if (leader === undefined) return
        network.partition(
          [leader.name],
          names.filter(name => name !== leader.name),
        )
        return later(() => network.heal())
      }
      case 'crash':
        return this.crash(this.random.chance(0.5) ? this.leader() : this.random.pick(this.run.members))
      case 'crash-all':
        for (const member of this.run.members) this.crash(member)
        return
      case 'freeze': {
        const member = this.random.chance(0.5) ? this.leader() : this.random.pick(this.run.members)
        if (member === undefined || this.frozen.has(member) || this.down.has(member)) return
        this.frozen.add(member)
        member.process.freeze()
        return later(() => this.thaw(member))
      }
      case 'reset-links':
        for (const a of names) for (const b of names) if (a < b && this.random.chance(0.5)) network.reset(a, b)
        return
      case 'slow':
        network.configure({ delayMsMax: this.random.between(50, 600) })
        return later(() => network.configure(defaultNetworkOptions))
      case 'lossy':
        network.configure({ lossy: { dropChance: 0.1, duplicateChance: 0.1, reorderChance: 0.1 } })
        return later(() => network.configure(defaultNetworkOptions))
      case 'transfer':
        this.leader()?.peer?.transferLeadership(undefined, () => {})
        return
    }
  }

  private leader(): Member | undefined {
    return this.run.members.find(member => member.peer?.status().raft.role === 'leader')
  }

  private crash(member: Member | undefined): void {
    if (member === undefined || this.down.has(member) || this.frozen.has(member)) return
    this.down.add(member)
    member.crash()
    this.run.world.after(this.random.between(50, 4000), `revive ${member.name}`, () => {
      if (this.down.has(member)) this.revive(member)
    })
  }

  private revive(member: Member): void {
    this.down.delete(member)
    member.restart()
    member.work()
  }

  private thaw(member: Member): void {
    if (this.frozen.delete(member)) member.process.thaw()
  }
}
