/** Carries out the faults of a plan, each at its time, and ends them all at the end. */
import { defaultNetworkOptions } from '../conditions.ts'
import { Member, type Run } from './members.ts'
import type { Fault } from './plan.ts'

export class Nemesis {
  readonly counts: Record<string, number> = {}
  private readonly run: Run
  private stopped = false
  private readonly down = new Set<Member>()
  private readonly frozen = new Set<Member>()

  constructor(run: Run) {
    this.run = run
  }

  start(schedule: readonly Fault[]): void {
    for (const fault of schedule) {
      this.run.world.after(fault.atMs, `nemesis ${fault.kind}`, () => {
        if (!this.stopped) this.strike(fault)
      })
    }
  }

  /** Ends all faults: everybody runs, everything is delivered. */
  heal(): void {
    this.stopped = true
    this.run.observer.fault('heal', {})
    this.rejoin()
    this.run.world.network.configure(defaultNetworkOptions)
    for (const member of [...this.frozen]) this.thaw(member)
    for (const member of this.run.members) {
      member.process.time.setRate(1)
      member.process.time.throttle(0)
      this.emptyDisk(member)
    }
    for (const member of [...this.down]) this.revive(member)
  }

  private strike(fault: Fault): void {
    const { kind, forMs = 0, peers = [], amount = 0 } = fault
    const { network } = this.run.world
    const names = this.run.members.map(({ name }) => name)
    const chosen = peers.flatMap(n => names[n] ?? [])
    const member = fault.peer === 'leader' ? this.leader() : this.run.members[fault.peer ?? 0]
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    this.run.observer.fault(kind, { ...fault, ...(fault.peer === undefined ? {} : { struck: member?.name }) })
    const later = (run: () => void): void => {
      this.run.world.after(forMs, 'nemesis ends', () => {
        if (!this.stopped) run()
      })
    }
    const part = (side: readonly string[], others: readonly string[]): void => {
      this.run.observer.partitioned = side.length > 0 && others.length > 0
      network.partition(side, others)
      later(() => this.rejoin())
    }
    switch (kind) {
      case 'partition':
        return part(
          chosen,
          names.filter(name => !chosen.includes(name)),
        )
      case 'isolate':
        if (member === undefined) return
        return part(
          [member.name],
          names.filter(name => name !== member.name),
        )
      case 'one-way':
        for (const to of chosen) if (member !== undefined && to !== member.name) network.cut(member.name, to)
        return later(() => this.rejoin())
      case 'reset-links':
        for (const to of chosen) if (member !== undefined && to !== member.name) network.reset(member.name, to)
        return
      case 'crash':
        return this.crash(member, forMs)
      case 'crash-all':
        for (const one of this.run.members) this.crash(one, forMs)
        return
      case 'crash-receiver':
        return this.crashReceiver(this.run.world.nowMs + forMs)
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
        this.leader()?.peer?.transferLeadership(undefined, () => {})
        return
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
      case 'newcomer': {
        const { members, random } = this.run
        const made = new Member(this.run, `p${members.length}`, random.fork(), true)
        members.push(made)
        made.start()
        return made.work()
      }
      case 'flapping':
        return
    }
  }

  /** A state comes in a few milliseconds: a crash at a drawn moment would hardly ever meet it. */
  private crashReceiver(untilMs: number): void {
    const receiver = this.run.members.find(({ peer }) => peer?.status().receivedBytes !== undefined)
    if (receiver !== undefined) return this.crash(receiver, 500)
    if (this.run.world.nowMs >= untilMs) return
    this.run.world.after(1, 'nemesis waits for a receiver', () => {
      if (!this.stopped) this.crashReceiver(untilMs)
    })
  }

  private rejoin(): void {
    this.run.observer.partitioned = false
    this.run.world.network.heal()
  }

  private leader(): Member | undefined {
    return this.run.members.find(member => member.peer?.status().raft.role === 'leader')
  }

  private crash(member: Member | undefined, forMs: number, cache: 'lost' | 'kept' = 'lost'): void {
    if (member === undefined || this.down.has(member) || this.frozen.has(member)) return
    this.down.add(member)
    member.crash(cache)
    this.run.world.after(forMs, `revive ${member.name}`, () => {
      if (this.down.has(member)) this.revive(member)
    })
  }

  /** There is space again. A peer that met the end of it has stopped: it is started again, as a user would. */
  private emptyDisk(member: Member): void {
    if (!member.process.disk.full) return
    member.process.disk.full = false
    if (this.frozen.has(member)) this.thaw(member)
    this.crash(member, 50, 'kept')
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
