/**
 * Carries out the faults of a plan (`runs/plan.ts`) on whole databases, each at its time, and ends them all at the end. As `runs/nemesis.ts` does for bare peers; the
 * difference is that a database goes on by itself after a full disk.
 */
import { defaultNetworkOptions } from '../conditions.ts'
import type { Fault } from '../runs/plan.ts'
import { Member, type RunOfWorkload } from './members.ts'

export class Faults {
  /** How often each kind struck. */
  readonly counts: Record<string, number> = {}
  readonly members: Member[]
  private readonly run: RunOfWorkload
  private stopped = false

  constructor(run: RunOfWorkload, members: Member[]) {
    this.run = run
    this.members = members
  }

  start(schedule: readonly Fault[]): void {
    for (const fault of schedule) {
      this.after(fault.atMs, `fault ${fault.kind}`, () => {
        if (!this.stopped) this.strike(fault)
      })
    }
  }

  /** Ends all faults: everybody runs, everything is delivered. */
  heal(): void {
    this.stopped = true
    this.run.cluster.heal()
    this.run.cluster.configure(defaultNetworkOptions)
    for (const member of this.members) {
      this.thaw(member)
      member.process.time.setRate(1)
      member.process.time.throttle(0)
      member.process.disk.full = false
      if (member.down) void member.begin()
    }
  }

  private strike(fault: Fault): void {
    const { kind, forMs = 0, peers = [], amount = 0 } = fault
    const { cluster } = this.run
    const { network } = cluster.world
    const names = this.members.map(({ name }) => name)
    const chosen = peers.flatMap(n => names[n] ?? [])
    const member = fault.peer === 'leader' ? this.members.find(one => one.isLeader) : this.members[fault.peer ?? 0]
    this.counts[kind] = (this.counts[kind] ?? 0) + 1
    const later = (run: () => void): void => {
      this.after(forMs, `fault ${kind} ends`, () => {
        if (!this.stopped) run()
      })
    }
    const part = (side: readonly string[]): void => {
      const others = names.filter(name => !side.includes(name))
      cluster.partition(side, others)
      later(() => cluster.heal())
    }
    switch (kind) {
      case 'partition':
        return part(chosen)
      case 'isolate':
        return member && part([member.name])
      case 'one-way':
        for (const to of chosen) if (member !== undefined && to !== member.name) cluster.cut(member.name, to)
        return later(() => cluster.heal())
      case 'reset-links':
        for (const to of chosen) if (member !== undefined && to !== member.name) network.reset(member.name, to)
        return
      case 'crash':
        return this.crash(member, forMs)
      case 'crash-all':
        for (const one of this.members) this.crash(one, forMs)
        return
      case 'crash-receiver':
        return this.crashReceiver(cluster.nowMs + forMs)
      case 'freeze':
        if (member === undefined || member.frozen || member.down) return
        member.frozen = true
        member.peer.freeze()
        return later(() => this.thaw(member))
      case 'slow':
        cluster.configure({ delayMsMax: amount })
        return later(() => cluster.configure(defaultNetworkOptions))
      case 'lossy':
        cluster.configure({ lossy: { dropChance: amount, duplicateChance: amount, reorderChance: amount } })
        return later(() => cluster.configure(defaultNetworkOptions))
      case 'transfer':
        // It may be refused, or never be answered.
        this.members
          .find(one => one.isLeader)
          ?.peer.db.cluster.transferLeadership()
          .catch(() => {})
        return
      case 'disk-full':
        if (member === undefined) return
        member.process.disk.full = true
        return later(() => {
          member.process.disk.full = false
        })
      case 'clock-rate':
        member?.process.time.setRate(amount)
        return later(() => member?.process.time.setRate(1))
      case 'clock-jump':
        return member?.process.time.jumpWall(amount)
      case 'throttle':
        member?.process.time.throttle(amount)
        return later(() => member?.process.time.throttle(0))
      case 'newcomer': {
        const made = new Member(this.run, cluster.peer(`p${this.members.length}`, this.run.sizes), true)
        this.members.push(made)
        void made.begin()
        return
      }
    }
  }

  private crash(member: Member | undefined, forMs: number): void {
    if (member === undefined || member.down || member.frozen) return
    member.crash()
    this.after(forMs, `${member.name} starts again`, () => {
      if (member.down) void member.begin()
    })
  }

  /** A state comes in a few milliseconds: a crash at a drawn moment would hardly ever meet it. */
  private crashReceiver(untilMs: number): void {
    const receiver = this.members.find(one => one.isReceiving)
    if (receiver !== undefined) return this.crash(receiver, 500)
    if (this.run.cluster.nowMs >= untilMs) return
    this.after(1, 'waits for a receiver', () => {
      if (!this.stopped) this.crashReceiver(untilMs)
    })
  }

  private thaw(member: Member): void {
    if (!member.frozen) return
    member.frozen = false
    member.peer.thaw()
  }

  private after(ms: number, label: string, run: () => void): void {
    this.run.cluster.world.after(ms, label, run)
  }
}
