/** Carries out the faults of a plan, each at its time, and ends them all at the end. Whom they strike, bare peers or whole databases, is the run's affair. */
import { defaultNetworkOptions } from '../conditions.ts'
import type { SimulatedProcess } from '../process.ts'
import type { World } from '../world.ts'
import type { Observer } from './observer.ts'
import type { Fault } from './plan.ts'

/** A member as the nemesis sees it. */
export interface Struck {
  readonly name: string
  readonly process: SimulatedProcess
  readonly isLeader: boolean
  /** A whole state is on its way to it. */
  readonly isReceiving: boolean
  crash(cache: 'lost' | 'kept'): void
  /** After a crash: starts again, and so do its clients. */
  revive(): void
  handOver(): void
}

export interface Field<M extends Struck> {
  readonly world: World
  readonly members: readonly M[]
  /** Who met the end of its disk has stopped, and a user starts it again when there is space. A database goes on by itself. */
  readonly stopsWhenFull: boolean
  readonly observer?: Pick<Observer, 'fault' | 'mended' | 'partitioned'>
  /** One more member, with clients, which has not joined yet. */
  newcomer(): void
}

export class Nemesis<M extends Struck> {
  /** How often each kind struck. */
  readonly counts: Record<string, number> = {}
  private readonly field: Field<M>
  private stopped = false
  private readonly down = new Set<M>()
  private readonly frozen = new Set<M>()

  constructor(field: Field<M>) {
    this.field = field
  }

  start(schedule: readonly Fault[]): void {
    for (const fault of schedule) {
      this.field.world.after(fault.atMs, `nemesis ${fault.kind}`, () => {
        if (!this.stopped) this.strike(fault)
      })
    }
  }

  /** Ends all faults: everybody runs, everything is delivered. */
  heal(): void {
    this.stopped = true
    this.field.observer?.fault('heal', {})
    this.rejoin()
    this.field.world.network.configure(defaultNetworkOptions)
    for (const member of [...this.frozen]) this.thaw(member)
    for (const member of this.field.members) {
      member.process.time.setRate(1)
      member.process.time.throttle(0)
      this.emptyDisk(member)
    }
    for (const member of [...this.down]) this.revive(member)
  }

  private strike(fault: Fault): void {
    const { kind, forMs = 0, peers = [], amount = 0 } = fault
    const { world, members, observer } = this.field
    const { network } = world
    const names = members.map(({ name }) => name)
    const chosen = peers.flatMap(n => names[n] ?? [])
    const member = fault.peer === 'leader' ? this.leader() : members[fault.peer ?? 0]
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    const struck = fault.peer === undefined ? undefined : member?.name
    const told = observer?.fault(kind, struck === undefined ? fault : { ...fault, struck })
    const later = (run: () => void): void => {
      world.after(forMs, 'nemesis ends', () => {
        if (this.stopped) return
        run()
        if (told !== undefined) observer?.mended(kind, told, struck)
      })
    }
    const part = (side: readonly string[]): void => {
      const others = names.filter(name => !side.includes(name))
      if (observer !== undefined) observer.partitioned = side.length > 0 && others.length > 0
      network.partition(side, others)
      later(() => this.rejoin())
    }
    switch (kind) {
      case 'partition':
        return part(chosen)
      case 'isolate':
        return member && part([member.name])
      case 'one-way':
        for (const to of chosen) if (member !== undefined && to !== member.name) network.cut(member.name, to)
        return later(() => this.rejoin())
      case 'reset-links':
        for (const to of chosen) if (member !== undefined && to !== member.name) network.reset(member.name, to)
        return
      case 'crash':
        return this.crash(member, forMs)
      case 'crash-all':
        for (const one of members) this.crash(one, forMs)
        return
      case 'crash-receiver':
        return this.crashReceiver(world.nowMs + forMs)
      case 'freeze':
        if (member === undefined || this.frozen.has(member) || this.down.has(member)) return
        this.frozen.add(member)
        member.process.freeze()
        return later(() => this.thaw(member))
      case 'slow':
        network.configure({ delayMsMax: amount })
        return later(() => network.configure(defaultNetworkOptions))
      case 'lossy':
        network.configure({ lossy: { dropChance: amount, duplicateChance: amount, reorderChance: amount } })
        return later(() => network.configure(defaultNetworkOptions))
      case 'transfer':
        return this.leader()?.handOver()
      case 'disk-full':
        if (member === undefined) return
        member.process.disk.full = true
        return later(() => this.emptyDisk(member))
      case 'clock-rate':
        member?.process.time.setRate(amount)
        return later(() => member?.process.time.setRate(1))
      case 'clock-jump':
        return member?.process.time.jumpWall(amount)
      case 'throttle':
        member?.process.time.throttle(amount)
        return later(() => member?.process.time.throttle(0))
      case 'newcomer':
        return this.field.newcomer()
      case 'flapping':
        return
    }
  }

  /** A state comes in a few milliseconds: a crash at a drawn moment would hardly ever meet it. */
  private crashReceiver(untilMs: number): void {
    const { world, members } = this.field
    const receiver = members.find(({ isReceiving }) => isReceiving)
    if (receiver !== undefined) return this.crash(receiver, 500)
    if (world.nowMs >= untilMs) return
    world.after(1, 'nemesis waits for a receiver', () => {
      if (!this.stopped) this.crashReceiver(untilMs)
    })
  }

  private rejoin(): void {
    const { world, observer } = this.field
    if (observer !== undefined) observer.partitioned = false
    world.network.heal()
  }

  private leader(): M | undefined {
    return this.field.members.find(({ isLeader }) => isLeader)
  }

  private crash(member: M | undefined, forMs: number, cache: 'lost' | 'kept' = 'lost'): void {
    if (member === undefined || this.down.has(member) || this.frozen.has(member)) return
    this.down.add(member)
    member.crash(cache)
    this.field.world.after(forMs, `revive ${member.name}`, () => {
      if (this.down.has(member)) this.revive(member)
    })
  }

  /** There is space again. */
  private emptyDisk(member: M): void {
    if (!member.process.disk.full) return
    member.process.disk.full = false
    if (!this.field.stopsWhenFull) return
    this.thaw(member)
    this.crash(member, 50, 'kept')
  }

  private revive(member: M): void {
    this.down.delete(member)
    member.revive()
  }

  private thaw(member: M): void {
    if (this.frozen.delete(member)) member.process.thaw()
  }
}
