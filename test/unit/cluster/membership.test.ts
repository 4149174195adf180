/** How rooms are founded and joined, rule by rule, on a clock that the test turns. */
import { describe, expect, it } from 'vitest'
import type { HarmonyError } from '../../../src/base/errors.ts'
import { clusterId, peerId } from '../../../src/base/ids.ts'
import { Membership, type MembershipOptions, type Own } from '../../../src/cluster/membership.ts'
import type { Advert } from '../../../src/cluster/mesh-types.ts'

const id = (name: string) => peerId(name.repeat(32))
const cluster = (name: string) => clusterId(name.repeat(32))

function bench(own: Partial<Own> = {}, options: Partial<MembershipOptions> = {}) {
  const state: { -readonly [K in keyof Own]: Own[K] } = {
    id: id('5'),
    cluster: cluster('5'),
    hasData: false,
    hasCompany: false,
    voters: [],
    inConfiguration: true,
    hasLeader: true,
    ...own,
  }
  const did: string[] = []
  const linked = new Map<ReturnType<typeof id>, Advert>()
  let nowMs = 0
  let unresolved = 0
  let reachable = true
  const clock = { now: () => nowMs, wall: () => 0, after: () => () => {}, soon: () => {} }
  const membership = new Membership(
    { wish: 'auto', bootstrap: 'auto', onConflict: 'fail', room: 'r', foundingLock: undefined, clock, ...options },
    {
      own: () => state,
      linked: () => linked,
      unresolved: () => unresolved,
      reachable: () => reachable,
      advertise: standing => did.push(`advertise ${standing}`),
      askAdmission: peer => did.push(`ask ${peer[0]}`),
      proposeDissolution: into => did.push(`dissolve into ${into[0]}`),
      adopt(into) {
        did.push(`adopt ${into[0]}`)
        Object.assign(state, {
          cluster: into,
          hasData: false,
          hasCompany: false,
          inConfiguration: false,
          hasLeader: false,
        })
      },
      onConflict: (error: HarmonyError) => did.push(error.code),
    },
  )
  return {
    state,
    did,
    membership,
    set: (next: { unresolved?: number; reachable?: boolean }) => {
      unresolved = next.unresolved ?? unresolved
      reachable = next.reachable ?? reachable
    },
    sees(name: string, of: string, standing: Advert['standing'], hasData = false) {
      linked.set(id(name), { kind: 'tab', cluster: cluster(of), standing, hasData })
    },
    pass(ms: number) {
      for (const end = nowMs + ms; nowMs < end; nowMs += 50) membership.step()
    },
  }
}

describe('membership', () => {
  it('M1 one that finds nobody founds the room, after having looked', () => {
    const { did, pass } = bench()
    pass(1100)
    expect(did).toEqual([])
    pass(300)
    expect(did).toEqual(['advertise member'])
  })

  it('M1 waits while someone who was announced is not linked yet, but not for ever', () => {
    const { did, pass, set } = bench()
    set({ unresolved: 1 })
    pass(5500)
    expect(did).toEqual([])
    pass(1000)
    expect(did).toEqual(['advertise member'])
  })

  it('M1 without a way into the room nobody founds it; joining fails after a while', () => {
    const { did, pass, set } = bench()
    set({ reachable: false })
    pass(29_000)
    expect(did).toEqual([])
    pass(2000)
    expect(did).toEqual(['TIMEOUT'])
  })

  it('M1 of newcomers the lowest id founds; the others wait for it', () => {
    const waits = bench()
    waits.sees('3', '3', 'newcomer')
    waits.pass(3000)
    expect(waits.did).toEqual([])
    const founds = bench()
    founds.sees('7', '7', 'newcomer')
    founds.pass(1500)
    expect(founds.did).toEqual(['advertise member'])
  })

  it('M1 one with data founds before one without, whatever the ids', () => {
    const waits = bench()
    waits.sees('7', '7', 'newcomer', true)
    waits.pass(3000)
    expect(waits.did).toEqual([])
    const founds = bench({ hasData: true })
    founds.sees('3', '3', 'newcomer')
    founds.pass(1500)
    expect(founds.did).toEqual(['advertise member'])
  })

  it('M1 a founder that never founds is not waited for without end', () => {
    const { did, sees, pass } = bench()
    sees('3', '3', 'newcomer')
    pass(7000)
    expect(did).toEqual(['advertise member'])
  })

  it('M1 the founding lock is held while looking, and let go of', () => {
    let grant: ((release: () => void) => void) | undefined
    let released = 0
    const foundingLock = {
      acquire: (_room: string, granted: (release: () => void) => void) => {
        grant = granted
        return () => {}
      },
    }
    const { did, pass } = bench({}, { foundingLock })
    pass(3000)
    expect(did).toEqual([])
    grant?.(() => released++)
    pass(100)
    expect([did, released]).toEqual([['advertise member'], 1])
  })

  it('bootstrap: true founds at once, bootstrap: false never does', () => {
    const now = bench({}, { bootstrap: true })
    now.pass(50)
    expect(now.did).toEqual(['advertise member'])
    const never = bench({}, { bootstrap: false })
    never.pass(31_000)
    expect(never.did).toEqual(['TIMEOUT'])
  })

  it('M2 an empty newcomer gives itself up for a cluster that is there, and asks to be admitted', () => {
    const { did, sees, pass, state } = bench()
    sees('3', '9', 'member')
    pass(50)
    expect(did).toEqual(['adopt 9', 'advertise newcomer'])
    pass(300)
    expect(did.slice(2)).toEqual(['ask 3', 'ask 3'])
    Object.assign(state, { inConfiguration: true, hasCompany: true, hasLeader: true })
    pass(1000)
    expect(did.slice(4)).toEqual(['advertise member'])
  })

  it('M2 a newcomer with data meets a room with data: ROOM_CONFLICT, and nothing is given up', () => {
    const { did, sees, pass } = bench({ hasData: true })
    sees('3', '9', 'member', true)
    pass(1000)
    expect(did).toEqual(['ROOM_CONFLICT'])
  })

  it("M2 onConflict: 'discard-local' gives the own data up", () => {
    const { did, sees, pass } = bench({ hasData: true }, { onConflict: 'discard-local' })
    sees('3', '9', 'member', true)
    pass(50)
    expect(did).toEqual(['adopt 9', 'advertise newcomer'])
  })

  it('M3 a newcomer with data stands by it where the room has none; the room dissolves', () => {
    const withData = bench({ hasData: true })
    withData.sees('3', '1', 'member', false)
    withData.pass(100)
    expect(withData.did).toEqual(['advertise member'])
    const without = bench({ cluster: cluster('1'), hasCompany: true })
    without.sees('8', '9', 'member', true)
    without.pass(100)
    expect(without.did).toEqual(['dissolve into 9'])
  })

  it('M3 of two clusters without data the greater id dissolves, and only that one', () => {
    const greater = bench({ cluster: cluster('8'), hasCompany: true })
    greater.sees('3', '2', 'member')
    greater.pass(100)
    expect(greater.did).toEqual(['dissolve into 2'])
    greater.membership.onDissolved(cluster('2'))
    expect(greater.did.slice(1, 3)).toEqual(['adopt 2', 'advertise newcomer'])
    const lesser = bench({ cluster: cluster('2'), hasCompany: true })
    lesser.sees('3', '8', 'member')
    lesser.pass(1000)
    expect(lesser.did).toEqual([])
  })

  it('M3 two clusters with data say so once and go on apart', () => {
    const { did, sees, pass } = bench({ hasData: true, hasCompany: true })
    sees('3', '2', 'member', true)
    pass(5000)
    expect(did).toEqual(['ROOM_CONFLICT'])
  })

  it('M3 who was left behind by most of the voters of a cluster without data follows them', () => {
    const orphan = { hasCompany: true, hasLeader: false, voters: [id('6'), id('7'), id('8')] }
    const left = bench(orphan)
    left.sees('6', '9', 'member')
    left.pass(50)
    expect(left.did).not.toContain('adopt 9')
    left.sees('7', '9', 'newcomer')
    left.pass(50)
    expect(left.did).toContain('adopt 9')
    for (const own of [
      { ...orphan, hasData: true },
      { ...orphan, hasLeader: true },
    ]) {
      const { did, sees, pass } = bench(own)
      for (const voter of ['6', '7', '8']) sees(voter, '9', 'member')
      pass(1000)
      expect(did).not.toContain('adopt 9')
    }
  })

  it('M3 who waits for a cluster that has dissolved meanwhile follows it', () => {
    const { did, sees, pass } = bench()
    sees('3', '9', 'member')
    pass(50)
    sees('3', '2', 'member')
    pass(50)
    expect(did.filter(one => one.startsWith('adopt'))).toEqual(['adopt 9', 'adopt 2'])
  })

  it('M4 a peer that runs for another tab asks nobody, whether it has a leader or is no member any more', () => {
    const { did, sees, pass, state } = bench({ hasCompany: true, hasLeader: false, hasData: true }, { asks: false })
    sees('3', '5', 'member', true)
    pass(1000)
    state.inConfiguration = false
    pass(1000)
    expect(did).toEqual([])
  })

  it('M4 a member without a leader asks to be admitted again: it may have been removed while it was away', () => {
    const { did, sees, pass, state } = bench({ hasCompany: true, hasLeader: false, hasData: true })
    sees('3', '5', 'member', true)
    pass(100)
    expect(did).toEqual(['ask 3'])
    state.hasLeader = true
    pass(1000)
    expect(did).toEqual(['ask 3'])
  })
})
