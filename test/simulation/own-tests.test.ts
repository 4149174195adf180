/** `harmonydb/simulation` as an application uses it: whole databases, promises, virtual time. The first test is the README's. */
import { expect, test } from 'vitest'
import { type PeerOptions, type SimulatedPeer, simulate } from '../../platform/simulation/entry.ts'
import { isHarmonyError } from '../../src/base/errors.ts'
import type { Database, DatabaseEvent } from '../../src/database/types.ts'

const buy = (db: Database, name: string) =>
  db.transaction(async tx => {
    if ((await tx.get('seat 12')) !== undefined) throw new Error('sold')
    tx.put('seat 12', name)
  })

test('a seat is sold once, also under a partition', async () => {
  const cluster = simulate(42)
  const [ada, bob, eve] = (await cluster.peers(3)) as [SimulatedPeer, SimulatedPeer, SimulatedPeer]
  cluster.partition(['p0'], ['p1', 'p2'])
  const bought = await cluster.run(Promise.allSettled([buy(ada.db, 'ada'), buy(bob.db, 'bob'), buy(eve.db, 'eve')]))
  cluster.heal()
  const owner = await cluster.run(() => bob.db.get('seat 12'))
  expect(bought.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  expect(['bob', 'eve']).toContain(owner)
})

test('the same seed is the same run', async () => {
  const run = async (seed: number): Promise<string> => {
    const cluster = simulate(seed)
    const peers = await cluster.peers(3)
    for (const [i, { db }] of peers.entries()) await cluster.run(db.put(['k', i], i))
    peers[0]!.crash()
    await cluster.run(peers[1]!.db.put('after', 1))
    await peers[0]!.open()
    await peers[0]!.join()
    expect(await cluster.run(peers[0]!.db.get('after'))).toBe(1)
    return `${cluster.hash} ${cluster.nowMs}`
  }
  expect(await run(7)).toBe(await run(7))
  expect(await run(8)).not.toBe(await run(7))
})

test('pitfall 31: peers of one profile go on for those that crashed, and give them back', async () => {
  const cluster = simulate(5)
  const told: DatabaseEvent[] = []
  const options: PeerOptions = { profile: 'browser', onEvent: event => told.push(event) }
  const [ada, bob, eve] = (await cluster.peers(3, options)) as [SimulatedPeer, SimulatedPeer, SimulatedPeer]
  const ids = [ada, bob].map(({ db }) => db.cluster.status().self)
  await cluster.run(ada.db.put('seat', 'ada'))
  ada.crash()
  bob.crash()
  await cluster.advance(15_000)
  await cluster.run(eve.db.put('after', 1))
  expect(await cluster.run(eve.db.get('seat'))).toBe('ada')
  expect([...eve.db.status().adopted].sort()).toEqual([...ids].sort())
  await ada.open()
  await ada.join()
  expect(ada.db.cluster.status().self).toBe(ids[0])
  expect(await cluster.run(ada.db.get('after'))).toBe(1)
  expect(eve.db.status().adopted).toEqual([ids[1]])
  const adoptions = told.filter(({ type }) => type === 'adopted' || type === 'returned')
  expect(adoptions).toContainEqual({ type: 'returned', id: ids[0], message: 'its owner is back' })
  await eve.close()
  await bob.open()
  await bob.join()
  expect(await cluster.run(bob.db.get('seat'))).toBe('ada')
})

test('increments from all peers add up, whatever crashes, freezes and is cut off', { timeout: 60_000 }, async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const cluster = simulate(seed, { network: { delayMsMax: 40 } })
    const peers = await cluster.peers(3)
    const add = ({ db }: SimulatedPeer) =>
      db.transaction(async tx => tx.put('n', ((await tx.get<number>('n')) ?? 0) + 1), { timeoutMs: 20_000 })
    let certain = 0
    let perhaps = 0
    const count = async (work: Promise<unknown>): Promise<void> => {
      try {
        await work
        certain++
      } catch (error) {
        if (!isHarmonyError(error)) throw error
        if (error.maybeCommitted) perhaps++
      }
    }
    const all = () => Promise.all(peers.flatMap(peer => [count(add(peer)), count(add(peer))]))
    await cluster.run(all())
    cluster.isolate('p1')
    await cluster.run(all())
    cluster.heal()
    peers[2]!.freeze()
    await cluster.run(count(add(peers[0]!)))
    peers[2]!.thaw()
    await cluster.run(all())
    peers[1]!.crash()
    await cluster.run(count(add(peers[0]!)))
    await peers[1]!.open()
    await peers[1]!.join()
    await cluster.run(all())
    const n = await cluster.run(peers[1]!.db.get<number>('n'))
    expect(n, `seed ${seed}`).toBeGreaterThanOrEqual(certain)
    expect(n, `seed ${seed}`).toBeLessThanOrEqual(certain + perhaps)
    expect(certain).toBeGreaterThan(15)
  }
})

test('a watch goes on through a change of the leader', async () => {
  const cluster = simulate(3)
  const [first, second, third] = (await cluster.peers(3)) as [SimulatedPeer, SimulatedPeer, SimulatedPeer]
  const seen: unknown[] = []
  const reading = (async () => {
    for await (const { events } of third.db.watch({ prefix: 'k' })) {
      for (const { value } of events) seen.push(value)
      if (seen.length === 10) return
    }
  })()
  for (let i = 0; i < 5; i++) await cluster.run(second.db.put(['k', i], i))
  first.crash()
  for (let i = 5; i < 10; i++) await cluster.run(second.db.put(['k', i], i))
  await cluster.run(reading)
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
})

test('what a peer that crashed was asked ends with TIMEOUT of virtual time, and what was synced is there again', async () => {
  const cluster = simulate('a name')
  const peer = cluster.peer('solo', { cacheBytes: 1024 * 1024 })
  const db = await peer.open()
  expect(await peer.open()).toBe(db)
  await cluster.run(db.put('a', 1))
  const lost = db.put('b', 1)
  peer.crash()
  expect(() => peer.db).toThrowError(expect.objectContaining({ code: 'CLOSED' }))
  await expect(cluster.run(lost, 5000)).rejects.toMatchObject({ code: 'TIMEOUT' })
  await peer.open()
  expect(await cluster.run(peer.db.get('a'))).toBe(1)
  const before = cluster.nowMs
  await cluster.advance(60_000)
  expect(cluster.nowMs - before).toBeGreaterThanOrEqual(60_000)
  peer.diskFull = true
  await expect(cluster.run(peer.db.put('c', new Uint8Array(100_000)))).rejects.toMatchObject({ code: 'QUOTA' })
  peer.crash('kept')
  peer.diskFull = false
  await peer.open()
  expect(await cluster.run(peer.db.get('a'))).toBe(1)
  await peer.close()
  expect(await cluster.run((await peer.open()).get('a'))).toBe(1)
})
