/** Who adopts what and when, rule by rule (A1 to A8), with a table of locks in memory, on a clock that the test turns. */
import { describe, expect, it } from 'vitest'
import { clusterId, type PeerId, peerId } from '../../../src/base/ids.ts'
import { type Adopted, Adoption, type Claim, type Revival } from '../../../src/cluster/adoption.ts'
import type { Directory, SlotEvents } from '../../../src/platform.ts'

const id = (name: string): PeerId => peerId(name.repeat(32))
const home = clusterId('c'.repeat(32))
const elsewhere = clusterId('d'.repeat(32))
const claim = (name: string, voters = name, cluster = home): Claim => ({
  id: id(name),
  cluster,
  voters: [...voters].map(id),
})

/** One profile: its stores by slot, who holds their locks, and time. */
class Profile {
  nowMs = 0
  /** 'unusable': a store that cannot be opened. */
  readonly stores = new Map<number, Claim | 'unusable'>()
  readonly holders = new Map<number, { readonly by: string; readonly events: SlotEvents | undefined }>()
  private timers: { readonly atMs: number; readonly by: string; readonly run: () => void }[] = []

  after(delayMs: number, run: () => void, by: string): () => void {
    const timer = { atMs: this.nowMs + delayMs, by, run }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter(one => one !== timer)
    }
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    for (;;) {
      const next = this.timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined) break
      this.timers = this.timers.filter(one => one !== next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      next.run()
    }
    this.nowMs = untilMs
  }

  hold(slot: number, by = 'its owner', events?: SlotEvents): void {
    if (this.holders.has(slot)) throw new Error(`slot ${slot} is held`)
    this.holders.set(slot, { by, events })
  }

  release(slot: number): void {
    this.holders.delete(slot)
  }

  forget(by: string): void {
    this.timers = this.timers.filter(timer => timer.by !== by)
    for (const [slot, holder] of this.holders) if (holder.by === by) this.holders.delete(slot)
  }

  /** An owner that is back. */
  want(slot: number): void {
    this.holders.get(slot)?.events?.onWanted()
  }
}

class Tab {
  readonly did: string[] = []
  own: (Claim & { hasLeader: boolean }) | undefined
  readonly adoption: Adoption
  /** What was opened, by slot: to end it, or change its mind. */
  readonly running = new Map<number, { claim: Claim; readonly revival: Revival }>()
  /** Openings and closings wait for `settle`. */
  slow = false
  private waiting: (() => void)[] = []
  private readonly profile: Profile
  private readonly name: string

  constructor(profile: Profile, name: string, own: Claim, jitter = 0) {
    this.profile = profile
    this.name = name
    this.own = { ...own, hasLeader: false }
    const later = (run: () => void): void => {
      if (this.slow) this.waiting.push(run)
      else run()
    }
    this.adoption = new Adoption({
      clock: { now: () => profile.nowMs, after: (ms, run) => profile.after(ms, run, name) },
      random: { fill: bytes => void bytes.fill(jitter) },
      slots: {
        free: done => {
          const free = [...profile.stores.keys()].filter(slot => !profile.holders.has(slot))
          done({ ok: true, value: free.sort((a, b) => a - b) })
        },
        take: (slot, events, done) => {
          if (profile.holders.has(slot)) return done({ ok: true, value: undefined })
          profile.hold(slot, name, events)
          later(() => done({ ok: true, value: directoryOf(slot) }))
        },
      },
      own: () => this.own,
      revive: (directory, revival) => {
        const slot = slotOf(directory)
        if (profile.holders.get(slot)?.by !== name) throw new Error('it was read without its lock')
        const store = profile.stores.get(slot)!
        this.did.push(`open ${slot}`)
        const giveUp = (found: Claim | undefined): void => {
          profile.release(slot)
          revival.done(found)
        }
        if (store === 'unusable') return giveUp(undefined)
        if (!revival.isNeeded(store)) return giveUp(store)
        const one = { claim: store, revival }
        this.running.set(slot, one)
        const free = (): void => {
          this.running.delete(slot)
          profile.release(slot)
        }
        const adopted: Adopted = {
          get claim() {
            return one.claim
          },
          tend: () => {},
          close: (departure, done) => {
            this.did.push(`close ${slot} ${departure ?? 'as a tab'}`)
            later(() => {
              free()
              done()
            })
          },
          abandon: () => {
            this.did.push(`abandon ${slot}`)
            this.running.delete(slot)
          },
        }
        revival.done(adopted)
      },
      onAdopted: peer => this.did.push(`adopted ${peer[0]}`),
      onReturned: (peer, why) => this.did.push(`returned ${peer[0]}: ${why}`),
    })
  }

  /** Its locks are free, and it does nothing any more. */
  kill(): void {
    this.profile.forget(this.name)
  }

  settle(): void {
    for (const run of this.waiting.splice(0)) run()
  }
}

const directories = new Map<Directory, number>()
function directoryOf(slot: number): Directory {
  const directory = {} as Directory
  directories.set(directory, slot)
  return directory
}
const slotOf = (directory: Directory): number => directories.get(directory)!

/** Tab 1 of three voters lives. */
function two(jitter = 0) {
  const profile = new Profile()
  profile.stores.set(1, claim('1', '123'))
  profile.hold(1)
  profile.stores.set(2, claim('2', '123'))
  const tab = new Tab(profile, 'tab 1', claim('1', '123'), jitter)
  tab.adoption.start()
  return { profile, tab }
}

describe('A1, A2: the grace period', () => {
  it('two seconds without a leader, eight with one, and up to one more by chance', () => {
    for (const [hasLeader, jitter, leastMs, mostMs] of [
      [false, 0, 2000, 3000],
      [true, 0, 8000, 10_000],
      [false, 255, 2900, 4000],
    ] as const) {
      const { profile, tab } = two(jitter)
      tab.own = { ...tab.own!, hasLeader }
      profile.pass(leastMs - 1)
      expect(tab.did).toEqual([])
      profile.pass(mostMs - leastMs + 1)
      expect(tab.did).toEqual(['open 2', 'adopted 2'])
      expect(tab.adoption.adopted).toEqual([id('2')])
    }
  })

  it('begins anew when the slot was held in between: a tab that reloads again and again is never adopted', () => {
    const { profile, tab } = two()
    for (let i = 0; i < 20; i++) {
      profile.pass(1500)
      profile.hold(2)
      profile.pass(1100)
      profile.release(2)
    }
    expect(tab.did).toEqual([])
  })

  it('is not waited for a second time when the leader is lost in the middle of it', () => {
    const { profile, tab } = two()
    tab.own = { ...tab.own!, hasLeader: true }
    profile.pass(5000)
    tab.own = { ...tab.own, hasLeader: false }
    profile.pass(2000)
    expect(tab.did).toEqual(['open 2', 'adopted 2'])
  })
})

describe('A3: one runs it', () => {
  it('of two tabs the one that comes first; when it dies, the other', () => {
    const { profile, tab } = two(0)
    const other = new Tab(profile, 'tab 3', claim('3', '123'), 200)
    other.adoption.start()
    profile.pass(10_000)
    expect(tab.did).toEqual(['open 2', 'adopted 2'])
    expect(other.did).toEqual([])
    tab.kill()
    profile.release(1)
    profile.pass(10_000)
    expect(other.did).toEqual(['open 1', 'adopted 1', 'open 2', 'adopted 2'])
  })

  it('eight at most in one process', () => {
    const profile = new Profile()
    const voters = '0123456789a'
    for (const [slot, name] of [...voters].entries()) profile.stores.set(slot, claim(name, voters))
    profile.hold(0)
    const tab = new Tab(profile, 'tab 0', claim('0', voters))
    tab.adoption.start()
    profile.pass(60_000)
    expect(tab.adoption.adopted).toHaveLength(8)
    profile.want(1)
    profile.hold(1)
    profile.pass(5000)
    expect(tab.adoption.adopted).toHaveLength(8)
    expect(tab.adoption.adopted).not.toContain(id('1'))
  })
})

describe('A4: what is worth it', () => {
  it('not a learner, nor who belongs to another cluster; what was let be is not opened again', () => {
    const { profile, tab } = two()
    profile.stores.set(3, claim('5', '123'))
    profile.stores.set(4, claim('4', '4', elsewhere))
    profile.pass(60_000)
    expect(tab.did).toEqual(['open 2', 'adopted 2', 'open 3', 'open 4'])
    expect([...profile.holders.keys()].sort()).toEqual([1, 2])
  })

  it('unless somebody else had it since', () => {
    const { profile, tab } = two()
    profile.stores.set(3, claim('5', '123'))
    profile.pass(10_000)
    profile.hold(3)
    profile.pass(2000)
    profile.stores.set(3, claim('5', '1235'))
    profile.release(3)
    profile.pass(10_000)
    expect(tab.did.slice(2)).toEqual(['open 3', 'open 3', 'adopted 5'])
  })

  it('a peer that only another one’s log promotes is run while there is no leader', () => {
    const profile = new Profile()
    profile.stores.set(1, claim('1', '2'))
    profile.hold(1)
    // The leader 2 died with the promotion of 3 in its log alone, and 3 is opened first.
    profile.stores.set(2, claim('3', '2'))
    profile.stores.set(3, claim('2', '213'))
    const tab = new Tab(profile, 'tab 1', claim('1', '2'))
    tab.adoption.start()
    profile.pass(20_000)
    expect(tab.did).toEqual(['open 2', 'open 3', 'adopted 2', 'open 2', 'adopted 3'])
  })

  it('a leader’s configuration is the judge where there is one, whatever the store says', () => {
    const { profile, tab } = two()
    tab.own = { ...claim('1', '134'), hasLeader: true }
    profile.pass(30_000)
    expect(tab.did).toEqual(['open 2'])
    tab.own = { ...claim('1', '124'), hasLeader: true }
    profile.pass(3000)
    expect(tab.did).toEqual(['open 2', 'open 2', 'adopted 2'])
  })

  it('what cannot be opened is tried again after a minute', () => {
    const { profile, tab } = two()
    profile.stores.set(2, 'unusable')
    profile.pass(60_000)
    expect(tab.did).toEqual(['open 2'])
    profile.pass(5000)
    expect(tab.did).toEqual(['open 2', 'open 2'])
  })

  it('in no room there is nothing to adopt', () => {
    const { profile, tab } = two()
    tab.own = undefined
    profile.pass(60_000)
    expect(tab.did).toEqual([])
  })
})

describe('A5: given back', () => {
  it('to its owner, with its vote; and adopted again should that die', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    profile.want(2)
    expect(profile.holders.has(2)).toBe(false)
    profile.hold(2)
    profile.pass(20_000)
    profile.release(2)
    profile.pass(5000)
    expect(tab.did).toEqual([
      'open 2',
      'adopted 2',
      'close 2 hand-over',
      'returned 2: its owner is back',
      'open 2',
      'adopted 2',
    ])
  })

  it('also by who is just opening it', () => {
    const { profile, tab } = two()
    tab.slow = true
    profile.pass(5000)
    expect(profile.holders.get(2)?.by).toBe('tab 1')
    profile.want(2)
    profile.want(2)
    tab.settle()
    expect(profile.holders.has(2)).toBe(false)
    expect(tab.did).toEqual(['open 2'])
  })

  it('once, however often it is asked for', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    tab.slow = true
    for (let i = 0; i < 3; i++) profile.want(2)
    tab.settle()
    expect(tab.did.filter(line => line.startsWith('close'))).toEqual(['close 2 hand-over'])
  })

  it('when it has had no vote for five seconds, and not before', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    tab.own = { ...claim('1', '134'), hasLeader: true }
    profile.pass(4000)
    tab.own = { ...claim('1', '123'), hasLeader: true }
    profile.pass(4000)
    expect(tab.did).toEqual(['open 2', 'adopted 2'])
    tab.own = { ...claim('1', '134'), hasLeader: true }
    profile.pass(7000)
    expect(tab.did.slice(2)).toEqual(['close 2 hand-over', 'returned 2: it has no vote any more'])
    profile.pass(60_000)
    expect(tab.did).toHaveLength(4)
  })

  it('when its peer cannot go on; tried again after a minute', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    const { revival } = tab.running.get(2)!
    profile.release(2)
    revival.onEnded('QUOTA: full')
    expect(tab.did.slice(2)).toEqual(['returned 2: QUOTA: full'])
    profile.pass(59_000)
    expect(tab.did).toHaveLength(3)
    profile.pass(3000)
    expect(tab.did.slice(3)).toEqual(['open 2', 'adopted 2'])
  })
})

describe('A7, A8: ends', () => {
  it('closing closes what runs, waits for what is being opened, and is over once', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    profile.stores.set(3, claim('3', '123'))
    tab.slow = true
    profile.pass(5000)
    expect(profile.holders.get(3)?.by).toBe('tab 1')
    let closed = 0
    tab.adoption.close(undefined, () => {
      closed++
    })
    expect(closed).toBe(0)
    tab.settle()
    expect(closed).toBe(1)
    expect([...profile.holders.keys()]).toEqual([1])
    expect(tab.did.slice(2)).toEqual(['close 2 as a tab', 'open 3', 'returned 2: this database was closed'])
    profile.pass(60_000)
    expect(tab.did).toHaveLength(5)
  })

  it('who leaves the room closes what it has adopted', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    tab.own = undefined
    profile.pass(2000)
    expect(tab.did.slice(2)).toEqual(['close 2 as a tab', 'returned 2: this peer is not in the room any more'])
  })

  it('a lock that is lost ends it at once, also in the middle of closing', () => {
    const { profile, tab } = two()
    profile.pass(5000)
    const { events } = profile.holders.get(2)!
    tab.slow = true
    profile.want(2)
    events?.onLost()
    expect(tab.did.slice(2)).toEqual([
      'close 2 hand-over',
      'abandon 2',
      'returned 2: the lock of its storage was taken away',
    ])
    tab.settle()
    expect(tab.did).toHaveLength(5)
  })
})
