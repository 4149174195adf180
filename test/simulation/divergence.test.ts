/** Pitfall 19: replicas compare their states, and one that differs stops and says so. */
import { describe, expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { encodeText } from '../../src/base/text.ts'
import type { Engine } from '../../src/storage/engine.ts'
import { agree } from './left-behind.ts'
import { type Host, hosts } from './simulated-host.ts'

function three(seed: number): { world: World; all: Host[]; leader: Host; follower: Host } {
  const world = new World(seed)
  const all = hosts(world, 3)
  for (const host of all) expect(host.join()).toBeUndefined()
  for (let i = 0; i < 20; i++) expect(all[i % 3]!.put(`key ${i}`, `value ${i}`)).toBe('ok')
  world.run(3000)
  const leader = all.find(host => host.status.raft.role === 'leader')!
  return { world, all, leader, follower: all.find(host => host !== leader)! }
}

/** As a bug would: with the next entry that is applied, another key changes as well. */
function plant(host: Host, value: Uint8Array | undefined): void {
  const { engine } = host.lives.store
  const update = engine.update.bind(engine)
  let planted = false
  const faulty: Engine['update'] = (operation, applied, done) => {
    const also = planted ? [] : [{ key: encodeText('key 7'), value }]
    planted = true
    update(
      view => {
        const { changes, result } = operation(view)
        return { changes: [...changes, ...also], result }
      },
      applied,
      done,
    )
  }
  Object.assign(engine, { update: faulty })
}

describe('pitfall 19: replicas whose states differ', () => {
  for (const seed of [1, 2, 3]) {
    for (const [what, value] of [
      ['a lost key', undefined],
      ['a value of another length', encodeText('x')],
    ] as const) {
      it(`seed ${seed}: ${what} on a follower: it stops with CORRUPT and serves nothing; the others go on`, () => {
        const { world, all, leader, follower } = three(seed)
        plant(follower, value)
        expect(all.find(host => host !== follower)!.put('more', 'x')).toBe('ok')
        expect(world.runUntil(() => follower.told.includes('error CORRUPT'), 5000)).toBe(true)
        expect(follower.get('key 3', 'local')).toMatchObject({ code: 'CORRUPT' })
        expect(follower.put('key 3', 'x')).toMatchObject({ code: 'CORRUPT' })
        world.run(10_000)
        // Nobody can tell whose state is right: it does not begin anew by itself.
        expect(follower.told.join()).not.toContain('begins anew')
        expect(leader.put('more', 'y')).toBe('ok')
        expect(all.filter(host => host !== follower && host !== leader).flatMap(host => host.told)).toEqual([])
      })
    }
  }

  it('a log that is applied to another result is found out, too: outcomes are a part of the fingerprint', () => {
    const { world, leader, follower } = three(4)
    // The key is as long as before, so only what is decided by it differs.
    plant(follower, follower.lives.store.engine.peek(view => view.get(encodeText('key 8'))?.slice())?.value)
    expect(leader.put('more', 'x')).toBe('ok')
    world.run(5000)
    expect(follower.get('key 7', 'local')).toBe('value 8')
    expect(follower.told).toEqual([])
    const swap = leader.swap('key 7', 'value 7', 'other 7')
    expect(swap).toMatchObject({ type: 'committed' })
    expect(world.runUntil(() => follower.told.includes('error CORRUPT'), 5000)).toBe(true)
  })

  it('nobody is suspected who is only behind, restarts, or got the whole state', () => {
    const { world, all, follower } = three(5)
    for (let round = 0; round < 5; round++) {
      world.network.partition(
        [follower.name],
        all.filter(host => host !== follower).map(host => host.name),
      )
      const other = all.find(host => host !== follower)!
      expect(world.runUntil(() => all.some(host => host !== follower && host.status.health === 'ok'), 20_000)).toBe(
        true,
      )
      for (let i = 0; i < 10; i++) other.put(`key ${i}`, `round ${round}`)
      world.network.heal()
      if (round % 2 === 0) {
        follower.crash()
        follower.restart()
        expect(follower.join()).toBeUndefined()
      }
      expect(world.runUntil(() => agree(all), 30_000)).toBe(true)
      world.run(5000)
    }
    expect(all.flatMap(host => host.told)).toEqual([])
  })
})
