/** The faults of the laboratory themselves: each does what it says, is bounded as it says, and runs with it alone break no promise. */
import { describe, expect, it } from 'vitest'
import type { SimulatedDisk } from '../../platform/simulation/disk.ts'
import { isHarmonyError, type SimulatedPeer, simulate } from '../../platform/simulation/entry.ts'
import { DamageBudget, type Seat } from '../../platform/simulation/runs/damage.ts'
import type { states } from '../../platform/simulation/runs/observer.ts'
import { drawPlan, type FaultKind } from '../../platform/simulation/runs/plan.ts'
import { runPlan } from '../../platform/simulation/runs/run.ts'
import { World } from '../../platform/simulation/world.ts'
import { closeFiles, openStore } from '../../src/cluster/store.ts'
import type { LogFile, PageFile } from '../../src/platform.ts'
import { fewerSeeds } from './seeds.ts'
import { hosts } from './simulated-host.ts'

function files(world: World): { disk: SimulatedDisk; pages: PageFile; log: LogFile } {
  const { disk, directory } = world.process('a', { disk: { reads: 'synchronous' } })
  let pages: PageFile | undefined
  let log: LogFile | undefined
  directory.openPages('pages', result => {
    if (result.ok) pages = result.value
  })
  directory.openLog('log', result => {
    if (result.ok) log = result.value
  })
  expect(world.runUntil(() => pages !== undefined && log !== undefined)).toBe(true)
  return { disk, pages: pages!, log: log! }
}

function bytesOf(file: PageFile | LogFile, offset: number, length: number): number[] | string {
  let answer: number[] | string = 'none'
  file.read(offset, length, result => {
    answer = result.ok ? [...result.value] : result.error.code
  })
  return answer
}

function synced(world: World, file: PageFile | LogFile): number {
  const beganMs = world.nowMs
  let over = false
  file.sync(() => {
    over = true
  })
  expect(world.runUntil(() => over)).toBe(true)
  return world.nowMs - beganMs
}

describe('a disk', () => {
  it('fails one read, typed, and is what it was', () => {
    const { disk, pages } = files(new World(1))
    pages.write(0, new Uint8Array(512).fill(7))
    disk.failNextRead()
    expect(bytesOf(pages, 0, 512)).toBe('STORAGE_LOST')
    expect(bytesOf(pages, 0, 512)).toEqual(Array(512).fill(7))
    expect(disk.harm.failedReads).toBe(1)
  })

  it('puts one write at another sector of the file, whole', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { disk, pages } = files(new World(seed))
      pages.write(0, new Uint8Array(8 * 512))
      disk.misdirectNextWrite()
      pages.write(1024, new Uint8Array(1024).fill(7))
      const found = bytesOf(pages, 0, 8 * 512) as number[]
      expect(found.filter(byte => byte === 7)).toHaveLength(1024)
      expect(found.indexOf(7) % 512).toBe(0)
      expect(found.indexOf(7)).not.toBe(1024)
      pages.write(1024, new Uint8Array(1024).fill(8))
      expect(bytesOf(pages, 1024, 1024)).toEqual(Array(1024).fill(8))
      expect(disk.harm.misdirectedWrites).toBe(1)
    }
  })

  it('syncs slowly, then as before', () => {
    const world = new World(2)
    const { disk, pages } = files(world)
    disk.slowSyncMs = 5000
    const slow = Array.from({ length: 10 }, () => synced(world, pages))
    expect(Math.max(...slow)).toBeGreaterThan(1000)
    disk.mend()
    expect(synced(world, pages)).toBeLessThan(100)
  })

  it('decays anywhere but where nobody could tell that from the torn end of a log', () => {
    const world = new World(3)
    const { disk, pages, log } = files(world)
    const random = world.random('decay')
    expect(disk.decay(10, random)).toBe(0)
    pages.write(0, new Uint8Array(1024))
    log.append(new Uint8Array(1000))
    synced(world, log)
    log.append(new Uint8Array(100))
    synced(world, log)
    // Neither synced nor proven by what stands behind it.
    log.append(new Uint8Array(50))
    expect(disk.decay(2000, random)).toBe(2000)
    const damaged = (bytes: number[] | string): number => [...bytes].filter(byte => byte !== 0).length
    expect(damaged(bytesOf(pages, 0, 1024))).toBeGreaterThan(100)
    expect(damaged(bytesOf(log, 0, 1000))).toBeGreaterThan(100)
    expect(damaged(bytesOf(log, 1000, 150))).toBe(0)
  })
})

describe('a store', () => {
  it('that could not be opened can be, in the same directory, once nothing is in the way: nothing of it stays open', () => {
    // Found by a peer on a full disk, which looked for space for ever: its own files were in use.
    for (let reads = 0; reads < 6; reads++) {
      const world = new World(5, { disk: { reads: 'synchronous' } })
      const { disk, directory, platform } = world.process('a')
      const opened = (): string => {
        let answer = ''
        openStore({ directory, platform, cacheBytes: 65_536 }, store => {
          if (!store.ok) answer = store.error.code
          else closeFiles(store.value, () => (answer = store.value.identity.id))
        })
        expect(world.runUntil(() => answer !== '')).toBe(true)
        return answer
      }
      const id = opened()
      // One read after the other goes through first, so that each of them is the one that fails.
      let left = reads
      const take = disk.takeReadFailure.bind(disk)
      disk.takeReadFailure = () => {
        if (left-- === 0) disk.failNextRead()
        return take()
      }
      const first = opened()
      disk.takeReadFailure = take
      expect(first, `read ${reads}`).toBe(left < 0 ? 'STORAGE_LOST' : id)
      expect(opened(), `after read ${reads}`).toBe(id)
      if (reads === 0) expect(first).toBe('STORAGE_LOST')
    }
  })
})

describe('a network', () => {
  it('flips bits of messages: links close with a reason and are made again; nothing malformed is taken, no version is doubted', () => {
    for (const seed of [1, 2, 3]) {
      const world = new World(seed)
      const all = hosts(world, 3)
      for (const host of all) expect(host.join()).toBeUndefined()
      world.network.configure({ corruptChance: 0.05 })
      for (let i = 0; i < 40; i++) all[i % 3]!.put(`key ${i % 5}`, `value ${i}`)
      expect(world.network.corrupted).toBeGreaterThan(20)
      world.network.configure({ corruptChance: 0 })
      for (const host of all) {
        expect(host.told).toEqual([])
        // A refusal would keep two peers apart for a minute.
        expect(
          world.runUntil(() => host.status.links.filter(({ state }) => state === 'linked').length === 2, 20_000),
        ).toBe(true)
      }
      expect(world.runUntil(() => all.every(({ status }) => status.health === 'ok'), 20_000)).toBe(true)
      expect(all[0]!.put('key 0', 'after')).toBe('ok')
      expect(all[2]!.get('key 0')).toBe('after')
    }
  })
})

describe('a clock', () => {
  it('pitfall 21: in a background tab a timer comes up to a minute late, and at once when the tab is shown', () => {
    const world = new World(4)
    const { time, platform } = world.process('a')
    const fired: number[] = []
    platform.clock.after(50, () => fired.push(world.nowMs))
    time.throttle(60_000)
    platform.clock.after(100, () => fired.push(world.nowMs))
    world.run(59_000)
    expect(fired).toEqual([])
    world.run(2000)
    expect(fired).toHaveLength(2)
    platform.clock.after(100, () => fired.push(world.nowMs))
    const cancel = platform.clock.after(100, () => fired.push(0))
    world.run(5000)
    cancel()
    const shownMs = world.nowMs
    time.throttle(0)
    world.run(5)
    expect(fired).toHaveLength(3)
    expect(fired[2]! - shownMs).toBeLessThan(2)
  })
})

describe('the budget of damage', () => {
  const seats = (...halves: string[][]): Seat[] => [{ id: 'who says so', halves }]

  it('never takes the majority of a configuration, or of a half of one', () => {
    const budget = new DamageBudget()
    expect(budget.take('a', seats(['a']))).toBe(false)
    expect(budget.take('a', seats(['a', 'b']))).toBe(false)
    expect(budget.take('a', seats(['a', 'b', 'c'], []))).toBe(true)
    expect(budget.take('b', seats(['a', 'b', 'c'], []))).toBe(false)
    // More of the same one is no more.
    expect(budget.take('a', seats(['a', 'b', 'c'], []))).toBe(true)
    expect(budget.take('b', seats(['a', 'b', 'c', 'd', 'e'], []))).toBe(true)
    expect(budget.take('c', seats(['a', 'b', 'c', 'd', 'e'], []))).toBe(false)
  })

  it('is whole again once the damaged one has given its seat up, in both halves and for everybody', () => {
    const budget = new DamageBudget()
    expect(budget.take('c', seats(['a', 'b', 'c'], []))).toBe(true)
    expect(budget.take('b', seats(['a', 'b', 'c2'], ['a', 'b', 'c']))).toBe(false)
    expect(budget.take('b', [...seats(['a', 'b', 'c2'], []), ...seats(['a', 'b', 'c'], [])])).toBe(false)
    expect(budget.take('b', seats(['a', 'b', 'c2'], []))).toBe(true)
    budget.add('c3')
    expect(budget.take('a', seats(['a', 'c3', 'd']))).toBe(false)
  })

  it('counts who is damaged and may get a seat', () => {
    const budget = new DamageBudget()
    const all = (...ids: string[]): Seat[] => ids.map(id => ({ id, halves: [['a', 'b', 'c'], []] }))
    expect(budget.take('d', all('a', 'b', 'c', 'd'))).toBe(true)
    expect(budget.take('c', all('a', 'b', 'c', 'd'))).toBe(false)
    // It has begun anew, and never had a seat.
    expect(budget.take('c', all('a', 'b', 'c', 'd2'))).toBe(true)
    expect(budget.take('d2', all('a', 'b', 'c2', 'd2'))).toBe(false)
  })

  it('does not hang on somebody who is alone', () => {
    const budget = new DamageBudget()
    const alone: Seat = { id: 'x', halves: [['x'], []] }
    expect(budget.take('a', [alone, ...seats(['a', 'b', 'c'], [])])).toBe(true)
    expect(budget.take('x', [alone])).toBe(false)
  })
})

describe('runs with one kind of fault', () => {
  const expected: readonly (readonly [FaultKind, readonly FaultKind[], (typeof states)[number] | undefined])[] = [
    ['corrupt', [], 'damaged frame closed a link'],
    ['rot', ['crash'], 'damaged member began anew'],
    ['misdirect', ['crash'], 'damaged member began anew'],
    ['wipe', [], 'member lost its disk'],
    ['fail-sync', [], 'failed sync or read stopped a peer'],
    ['fail-read', [], 'failed sync or read stopped a peer'],
    ['clone', ['transfer'], 'copy of a member was refused'],
    ['slow-sync', ['crash'], undefined],
    ['throttle', ['transfer'], 'leader changed'],
  ]
  for (const [kind, others, state] of expected) {
    it(`${kind}: no promise is broken${state === undefined ? '' : `; ${state}`}`, { timeout: 120_000 }, () => {
      let struck = 0
      let reached = 0
      for (const seed of fewerSeeds(25)) {
        const { violations, faults, coverage } = runPlan(drawPlan(seed, { kinds: [kind, ...others] }))
        expect(violations, `seed ${seed}`).toEqual([])
        struck += faults[kind] ?? 0
        reached += state === undefined ? 1 : coverage[state]
      }
      expect(struck).toBeGreaterThan(10)
      expect(reached).toBeGreaterThan(0)
    })
  }
})

describe('for an application', () => {
  const code = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work
      return 'done'
    } catch (error) {
      if (isHarmonyError(error)) return error.code
      throw error
    }
  }

  it('a peer loses its disk: it comes back as another one, with everything', async () => {
    const cluster = simulate(11)
    const peers = (await cluster.peers(3)) as [SimulatedPeer, SimulatedPeer, SimulatedPeer]
    const [, , third] = peers
    await cluster.run(third.db.put('a', 1))
    const { self } = third.db.cluster.status()
    expect(() => third.wipe()).toThrowError(expect.objectContaining({ code: 'VALIDATION' }))
    third.crash()
    third.wipe()
    await third.open()
    await third.join()
    expect(third.db.cluster.status().self).not.toBe(self)
    expect(await cluster.run(third.db.get('a'))).toBe(1)
  })

  it('a peer rots while it is down: it begins anew and says so', async () => {
    const said: string[] = []
    const cluster = simulate(12)
    const onEvent = ({ type }: { type: string }): void => void said.push(type)
    const peers = (await cluster.peers(3, { onEvent })) as [SimulatedPeer, SimulatedPeer, SimulatedPeer]
    for (let i = 0; i < 50; i++) await cluster.run(peers[i % 3]!.db.put(['k', i], i))
    peers[1].crash('kept')
    expect(peers[1].rot(20)).toBe(20)
    said.length = 0
    await peers[1].open()
    await peers[1].join()
    expect(said).toContain('repaired')
    for (let i = 0; i < 50; i++) expect(await cluster.run(peers[1].db.get(['k', i]))).toBe(i)
  })

  it('a disk that fails stops its peer; what was acknowledged is there when it is opened again', async () => {
    const codes: string[] = []
    const cluster = simulate(13)
    const peer = cluster.peer('solo', {
      onEvent: event => {
        if (event.type === 'error') codes.push(event.error.code)
      },
    })
    await peer.open()
    await cluster.run(peer.db.put('a', 1))
    peer.slowSyncMs = 400
    await cluster.run(peer.db.put('b', 2))
    peer.slowSyncMs = 0
    peer.failSync()
    expect(await code(cluster.run(peer.db.put('c', 3)))).toBe('STORAGE_LOST')
    expect(codes).toEqual(['STORAGE_LOST'])
    expect(await code(cluster.run(peer.db.get('a')))).toBe('STORAGE_LOST')
    peer.crash()
    peer.failRead()
    expect(await code(peer.open())).toBe('STORAGE_LOST')
    await peer.open()
    expect(await cluster.run(peer.db.getMany(['a', 'b']))).toEqual([1, 2])
  })
})
