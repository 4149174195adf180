/** Carries out the faults of a plan, each at its time, and ends them all at the end. Whom they strike, bare peers or whole databases, is the run's affair. */
import type { HarmonyError } from '../../../src/base/errors.ts'
import type { SeededRandom } from '../../../src/base/random.ts'
import { defaultNetworkOptions } from '../conditions.ts'
import type { SimulatedProcess } from '../process.ts'
import type { World } from '../world.ts'
import { DamageBudget, type Seat } from './damage.ts'
import type { Observer } from './observer.ts'
import type { Fault } from './plan.ts'

/** Somebody looks after what has stopped this often, and starts it again after this. */
const superviseEveryMs = 100
const restartMs = 500

/** A member as the nemesis sees it. */
export interface Struck {
  readonly name: string
  readonly process: SimulatedProcess
  readonly isLeader: boolean
  /** A whole state is on its way to it. */
  readonly isReceiving: boolean
  /** Undefined before it was ever open. */
  readonly seat: Seat | undefined
  /** Why it has stopped, or could not begin: somebody has to start it again. */
  readonly failure: HarmonyError | undefined
  crash(cache: 'lost' | 'kept'): void
  /** After a crash: starts again, and so do its clients. */
  revive(): void
  /** What it had stored is gone: it will come back as a new one, that joins and founds nothing. */
  wiped(): void
  handOver(): void
  /** Runs with this process, whose disk is a copy of the member's, as the member does. `stopped` hears why it stopped. */
  runCopy(process: SimulatedProcess, stopped: (why: HarmonyError) => void): void
}

export interface Field<M extends Struck> {
  readonly world: World
  readonly members: readonly M[]
  readonly observer?: Pick<Observer, 'fault' | 'mended' | 'partitioned'>
  /** One more member, with clients, which has not joined yet. */
  newcomer(): void
  violate(text: string): void
}

export class Nemesis<M extends Struck> {
  /** How often each kind struck. */
  readonly counts: Record<string, number> = {}
  private readonly field: Field<M>
  private stopped = false
  private readonly down = new Set<M>()
  private readonly frozen = new Set<M>()
  private readonly budget = new DamageBudget()
  /** Their disks will write a page to the wrong place. */
  private readonly misdirected = new Set<M>()
  private copies = 0

  constructor(field: Field<M>) {
    this.field = field
  }

  start(schedule: readonly Fault[]): void {
    for (const fault of schedule) {
      this.field.world.after(fault.atMs, `nemesis ${fault.kind}`, () => {
        if (!this.stopped) this.strike(fault)
      })
    }
    this.supervise()
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
      member.process.disk.mend()
    }
    this.misdirected.clear()
    for (const member of [...this.down]) this.revive(member)
  }

  private strike(fault: Fault): void {
    const { kind, forMs = 0, peers = [], amount = 0 } = fault
    const { world, members, observer } = this.field
    const { network } = world
    const names = members.map(({ name }) => name)
    const chosen = peers.flatMap(n => names[n] ?? [])
    const member = fault.peer === 'leader' ? this.leader() : members[fault.peer ?? 0]
    this.count(kind)
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
      case 'corrupt':
        network.configure({ corruptChance: amount })
        return later(() => network.configure({ corruptChance: 0 }))
      case 'transfer':
        return this.leader()?.handOver()
      case 'disk-full':
        if (member === undefined) return
        member.process.disk.full = true
        return later(() => {
          member.process.disk.full = false
        })
      case 'slow-sync':
        if (member === undefined) return
        member.process.disk.slowSyncMs = amount
        return later(() => {
          member.process.disk.slowSyncMs = 0
        })
      case 'fail-sync':
        member?.process.disk.failNextSync()
        return later(() => member?.process.disk.disarm())
      case 'fail-read':
        member?.process.disk.failNextRead()
        return later(() => member?.process.disk.disarm())
      case 'rot':
        return this.rot(member, forMs, amount, world.random(`rot at ${fault.atMs}`))
      case 'misdirect':
        if (member === undefined || !this.mayDamage(member)) return
        this.misdirected.add(member)
        member.process.disk.misdirectNextWrite()
        return later(() => {
          this.misdirected.delete(member)
          member.process.disk.disarm()
        })
      case 'wipe':
        if (member === undefined || this.frozen.has(member) || !this.mayDamage(member)) return
        this.crash(member, forMs)
        return this.wipe(member)
      case 'clock-rate':
        member?.process.time.setRate(amount)
        return later(() => member?.process.time.setRate(1))
      case 'clock-jump':
        return member?.process.time.jumpWall(amount)
      case 'throttle':
        member?.process.time.throttle(amount)
        return later(() => member?.process.time.throttle(0))
      case 'clone':
        return this.clone(member, forMs)
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

  private rot(member: M | undefined, forMs: number, bits: number, random: SeededRandom): void {
    if (member === undefined || this.frozen.has(member) || !this.mayDamage(member)) return
    if (forMs > 0) this.crash(member, forMs)
    member.process.disk.decay(bits, random)
  }

  /** A copy must find somebody who reaches the original; so nobody is down, and `drawPlan` cuts nobody off meanwhile. */
  private clone(member: M | undefined, forMs: number): void {
    const { world, members } = this.field
    if (member?.seat === undefined || members.some(({ process }) => !process.running || process.frozen)) return
    const copy = world.process(`copy ${++this.copies} of ${member.name}`)
    copy.disk.copyFrom(member.process.disk)
    let why: HarmonyError | undefined
    member.runCopy(copy, error => {
      if (why === undefined && error.code === 'LOCKED') this.count('copies that were refused')
      why ??= error
    })
    world.after(forMs, `${copy.name} ends`, () => {
      if (why?.code !== 'LOCKED') {
        this.field.violate(
          `copies: ${copy.name} ran beside it for ${forMs} ms: ${why === undefined ? '' : why.message}`,
        )
      }
      copy.crash('lost')
    })
  }

  private mayDamage({ seat }: M): boolean {
    if (seat === undefined) return false
    const may = this.budget.take(seat.id, this.seats())
    if (!may) this.count('damage that was too much')
    return may
  }

  private count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  private seats(): readonly Seat[] {
    return this.field.members.flatMap(({ seat }) => seat ?? [])
  }

  private wipe(member: M): void {
    member.process.disk.wipe()
    member.wiped()
  }

  /** Does what a user, or a process manager, does for ever: starts what has stopped. A damaged store that cannot be opened, and that nothing else takes the place of, is given up. */
  private supervise(): void {
    for (const member of this.field.members) {
      if (this.misdirected.has(member) && member.seat !== undefined) this.budget.add(member.seat.id)
      const { failure } = member
      if (failure === undefined || this.down.has(member) || this.frozen.has(member)) continue
      if (failure.code === 'QUOTA' && member.process.disk.full) continue
      this.crash(member, restartMs, failure.code === 'QUOTA' ? 'kept' : 'lost')
      if (failure.code === 'CORRUPT') this.wipe(member)
      this.count('started again')
    }
    this.field.world.after(superviseEveryMs, 'nemesis supervises', () => this.supervise())
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

  private revive(member: M): void {
    this.down.delete(member)
    member.revive()
  }

  private thaw(member: M): void {
    if (this.frozen.delete(member)) member.process.thaw()
  }
}
