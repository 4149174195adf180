/** Locks of transactions on several peers, in a cluster that loses leaders, links and tabs: nobody waits for a lock whose holder is gone, and nothing is lost. */
import { expect, test } from 'vitest'
import { type SimulatedCluster, type SimulatedPeer, simulate } from '../../platform/simulation/entry.ts'
import { isHarmonyError } from '../../src/base/errors.ts'
import { type DeadlockPolicy, deadlockPolicies } from '../../src/txn/lock-table.ts'
import { fewerSeeds } from './seeds.ts'

const forUpdate = { forUpdate: true } as const
type Three = [SimulatedPeer, SimulatedPeer, SimulatedPeer]

const leaderOf = (peers: readonly SimulatedPeer[]): SimulatedPeer =>
  peers.find(({ db }) => db.cluster.status().role === 'leader')!

async function three(
  seed: number,
): Promise<{ cluster: SimulatedCluster; peers: Three; lead: SimulatedPeer; rest: SimulatedPeer[] }> {
  const cluster = simulate(seed)
  const peers = (await cluster.peers(3)) as Three
  await cluster.run(peers[0].db.put('a', 1))
  const lead = leaderOf(peers)
  return { cluster, peers, lead, rest: peers.filter(peer => peer !== lead) }
}

const spansOf = ({ db }: SimulatedPeer): number => db.status().locks.spans

test('who waits on another peer reads what was written meanwhile; a deadlock across peers names both', async () => {
  const { cluster, lead, rest } = await three(1)
  const [one, two] = rest as [SimulatedPeer, SimulatedPeer]
  const holder = await cluster.run(one.db.begin())
  expect(await cluster.run(holder.get('a', forUpdate))).toBe(1)
  const waiting = two.db.transaction(async tx => tx.put('a', (await tx.get<number>('a', forUpdate))! + 1), {
    retries: 0,
  })
  await cluster.advance(300)
  expect(lead.db.status().locks).toMatchObject({ spans: 2, waiting: 1 })
  holder.put('a', 10)
  await cluster.run(holder.commit())
  await cluster.run(waiting)
  expect(await cluster.run(lead.db.get('a'))).toBe(11)
  await cluster.advance(100)
  expect(spansOf(lead)).toBe(0)

  const [x, y] = [await cluster.run(one.db.begin()), await cluster.run(two.db.begin())]
  await cluster.run(x.get('x', forUpdate))
  await cluster.run(y.get('y', forUpdate))
  const closing = Promise.allSettled([x.get('y', forUpdate), y.get('x', forUpdate)])
  const [first, second] = await cluster.run(closing)
  expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected'])
  const { reason } = (first.status === 'rejected' ? first : second) as PromiseRejectedResult
  expect(reason).toMatchObject({ code: 'DEADLOCK' })
  for (const { db } of rest) expect((reason as Error).message).toContain(db.cluster.status().self.slice(0, 8))
})

test('no lock outlives its tab: one that crashes, freezes or is cut off holds nobody up for long', async () => {
  for (const how of ['crash', 'freeze', 'cut'] as const) {
    const { cluster, peers, lead, rest } = await three(2)
    const [gone, other] = rest as [SimulatedPeer, SimulatedPeer]
    const tx = await cluster.run(gone.db.begin({ timeoutMs: 60_000 }))
    await cluster.run(tx.get('a', forUpdate))
    const waiting = other.db.transaction(async inner => inner.put('a', await inner.get('a', forUpdate)))
    await cluster.advance(500)
    expect(lead.db.status().locks.waiting, how).toBe(1)
    const since = cluster.nowMs
    if (how === 'crash') gone.crash()
    else if (how === 'freeze') gone.freeze()
    else cluster.isolate(`p${peers.indexOf(gone)}`)
    await cluster.run(waiting)
    expect(cluster.nowMs - since, how).toBeLessThan(5000)
    await cluster.advance(100)
    expect(spansOf(lead), how).toBe(0)
  }
})

test('no lock outlives its leader: who waits asks the next one, and gets it there', async () => {
  const { cluster, peers, lead, rest } = await three(3)
  const [one, two] = rest as [SimulatedPeer, SimulatedPeer]
  const holder = await cluster.run(one.db.begin({ timeoutMs: 60_000 }))
  await cluster.run(holder.get('a', forUpdate))
  const waiting = two.db.transaction(async tx => tx.put('a', (await tx.get<number>('a', forUpdate))! + 1))
  await cluster.advance(500)
  lead.crash()
  await cluster.run(waiting)
  // It lost its lock with the leader, and must not overwrite what another one wrote under it.
  holder.put('a', 100)
  await expect(cluster.run(holder.commit())).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(await cluster.run(one.db.get('a'))).toBe(2)
  await cluster.advance(4000)
  expect(spansOf(leaderOf(peers.filter(peer => peer !== lead)))).toBe(0)
})

test.each(deadlockPolicies)(
  'transfers under %s while leaders crash, tabs freeze and links break: the sum stays, and everybody gets through',
  { timeout: 120_000 },
  async (deadlocks: DeadlockPolicy) => {
    for (const seed of fewerSeeds(50)) {
      const cluster = simulate(`locks ${deadlocks} ${seed}`, { network: { delayMsMax: 30 } })
      const peers = (await cluster.peers(3)) as Three
      const accounts = ['a', 'b', 'c', 'd']
      await cluster.run(peers[0].db.batch(accounts.map(key => ({ type: 'put', key, value: 100 }))))
      let done = 0
      const transfer = async ({ db }: SimulatedPeer, i: number): Promise<void> => {
        const from = accounts[i % 4]!
        const to = accounts[(i + 1 + (i % 3)) % 4]!
        try {
          await db.transaction(
            async tx => {
              const had = (await tx.get<number>(from))!
              const has = (await tx.get<number>(to, forUpdate))!
              tx.put(from, had - 1)
              tx.put(to, has + 1)
            },
            { locking: 'pessimistic', deadlocks, timeoutMs: 30_000, retries: 1000 },
          )
          done++
        } catch (error) {
          if (!isHarmonyError(error)) throw error
        }
      }
      const some = () => peers.flatMap(peer => Array.from({ length: 8 }, (_, i) => transfer(peer, i)))
      const first = some()
      await cluster.advance(20 + (seed % 7) * 30)
      const victim = peers[seed % 3]!
      if (seed % 2 === 0) cluster.isolate(`p${seed % 3}`)
      else victim.freeze()
      await cluster.advance(4000)
      if (seed % 2 === 0) cluster.heal()
      else victim.thaw()
      await cluster.run(Promise.all([...first, ...some()]), 120_000)
      const lead = leaderOf(peers)
      lead.crash()
      await lead.open()
      await lead.join()
      await cluster.run(Promise.all(some()), 120_000)
      const values = await cluster.run(peers[0].db.getMany<number>(accounts))
      expect(
        values.reduce<number>((sum, value) => sum + value!, 0),
        `seed ${seed}`,
      ).toBe(400)
      expect(done, `seed ${seed}`).toBeGreaterThan(40)
      await cluster.advance(4000)
      for (const peer of peers) expect(spansOf(peer), `seed ${seed}`).toBe(0)
    }
  },
)
