/**
 * Prepared transactions on clusters that lose leaders, links and whoever prepared: what is prepared survives them, is decided once, the same everywhere, and holds nobody up for
 * longer than it asked for. And what they are for: one transaction in two databases, whose coordinator may die anywhere.
 */
import { expect, test } from 'vitest'
import { type SimulatedCluster, type SimulatedPeer, simulate } from '../../platform/simulation/entry.ts'
import { isHarmonyError } from '../../src/base/errors.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import type { Database, DatabaseEvent, PrepareOptions, WatchBatch } from '../../src/database/types.ts'
import { fewerSeeds } from './seeds.ts'

type Three = [SimulatedPeer, SimulatedPeer, SimulatedPeer]

const leaderOf = (peers: readonly SimulatedPeer[]): SimulatedPeer | undefined =>
  peers.find(peer => isOpen(peer) && peer.db.cluster.status().role === 'leader')

function isOpen(peer: SimulatedPeer): boolean {
  try {
    return peer.db !== undefined
  } catch {
    return false
  }
}

async function three(seed: number | string, options = {}): Promise<{ cluster: SimulatedCluster; peers: Three }> {
  const cluster = simulate(seed)
  const peers = (await cluster.peers(3, options)) as Three
  await cluster.run(peers[0].db.put('seat', 'free'))
  return { cluster, peers }
}

/** Takes the seat for `by`, and waits for a decision. */
async function take(db: Database, by: string, options: PrepareOptions = {}): Promise<string> {
  const tx = await db.begin()
  if ((await tx.get('seat')) !== 'free') throw new Error('taken')
  tx.put('seat', by)
  return (await tx.prepare(options)).id
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    error => {
      if (isHarmonyError(error)) return error.code
      throw error
    },
  )

const heldUp = { code: 'CONFLICT', retryable: true } as const

test('what is prepared outlives its preparer, the leader and every process, and is decided on another peer', async () => {
  for (const seed of fewerSeeds(50)) {
    const { cluster, peers } = await three(`lives ${seed}`, { checkpointBytes: 4000 })
    const preparer = peers[seed % 3]!
    const id = await cluster.run(take(preparer.db, 'ada', { holdMs: 3_600_000 }))
    preparer.crash()
    const left = peers.filter(peer => peer !== preparer)
    await expect(cluster.run(left[0]!.db.put('seat', 'bob'))).rejects.toMatchObject(heldUp)
    await preparer.open()
    await preparer.join()
    const leader = leaderOf(peers)!
    leader.crash()
    await cluster.run(peers.find(peer => peer !== leader)!.db.put('other', 'x'.repeat(3000)), 60_000)
    await leader.open()
    await leader.join()
    // A checkpoint has it, and everybody starts from that.
    for (let i = 0; i < 4; i++) await cluster.run(peers[0].db.put(['fill', i], 'x'.repeat(3000)))
    await cluster.advance(4000)
    for (const peer of peers) peer.crash()
    for (const peer of peers) await peer.open()
    await Promise.all(peers.map(peer => cluster.run(peer.enter())))
    const other = peers[(seed + 1) % 3]!
    await expect(cluster.run(other.db.put('seat', 'bob'), 60_000)).rejects.toMatchObject(heldUp)
    expect(await cluster.run(other.db.prepared.list())).toMatchObject([{ id, keys: 1, holdMs: 3_600_000 }])
    expect(await cluster.run(other.db.get('seat'))).toBe('free')
    const { version } = await cluster.run(other.db.prepared.commit(id))
    for (const { db } of peers) {
      expect(await cluster.run(db.getEntry('seat'))).toMatchObject({ value: 'ada', version })
      expect(await cluster.run(db.prepared.commit(id))).toEqual({ version })
      await expect(cluster.run(db.prepared.rollback(id))).rejects.toMatchObject({ code: 'CONFLICT', retryable: false })
    }
  }
})

test('a preparer that dies, with or without the leader, holds nobody up for longer than it asked for', async () => {
  const holdMs = 4000
  for (const seed of fewerSeeds(50)) {
    const { cluster, peers } = await three(`dies ${seed}`)
    const preparer = peers[seed % 3]!
    await cluster.run(take(preparer.db, 'ada', { holdMs, id: 'theirs' }))
    const sinceMs = cluster.nowMs
    preparer.crash()
    const other = peers.find(peer => peer !== preparer)!
    const taken = other.db.transaction(
      async tx => {
        expect(await tx.get('seat')).toBe('free')
        tx.put('seat', 'bob')
      },
      { retries: 10_000, timeoutMs: 60_000 },
    )
    await cluster.run(taken)
    const tookMs = cluster.nowMs - sinceMs
    expect(tookMs).toBeGreaterThanOrEqual(holdMs)
    // A new leader counts anew; an election, a tick and a pause between attempts are on top.
    expect(tookMs).toBeLessThan(holdMs + 3000)
    await expect(cluster.run(other.db.prepared.commit('theirs'))).rejects.toMatchObject({
      code: 'CONFLICT',
      retryable: false,
      message: expect.stringContaining('holdMs'),
    })
  }
})

test('who hears no answer is told the id, and finds out what became of it', async () => {
  const { cluster, peers } = await three('unknown')
  const peer = peers.find(({ db }) => db.cluster.status().role !== 'leader')!
  const other = peers.find(one => one !== peer)!
  await cluster.run(peer.db.put('a write', 'before'))
  const tx = await cluster.run(peer.db.begin({ timeoutMs: 2500 }))
  await cluster.run(tx.get('seat'))
  tx.put('seat', 'ada')
  const asked = tx.prepare()
  // It leaves, and no answer comes.
  for (const { name } of peers) if (name !== peer.name) cluster.cut(name, peer.name)
  const error = await cluster.run(asked.catch(one => one))
  expect(error).toMatchObject({ maybeCommitted: true })
  const [, id] = /prepared as "([0-9a-f]{32})"/.exec((error as Error).message) as unknown as [string, string]
  cluster.heal()
  await cluster.advance(3000)
  const waiting = await cluster.run(other.db.prepared.list())
  expect(waiting).toMatchObject([{ id }])
  await cluster.run(other.db.prepared.commit(id))
  expect(await cluster.run(peer.db.get('seat'))).toBe('ada')
})

test('what is prepared outlives a recovery, is held once more, and is decided there', async () => {
  const { cluster, peers } = await three('recovery')
  const [survivor, ...lost] = peers
  const id = await cluster.run(take(survivor.db, 'ada', { holdMs: 3_600_000 }))
  const tx = await cluster.run(survivor.db.begin())
  tx.put('another', 'ada')
  await cluster.run(tx.prepare({ id: 'short', holdMs: 20_000 }))
  for (const peer of lost) peer.crash()
  await cluster.advance(6000)
  await cluster.run(survivor.db.cluster.recover({ confirmDataLoss: true }), 60_000)
  await expect(cluster.run(survivor.db.put('seat', 'bob'), 60_000)).rejects.toMatchObject(heldUp)
  expect(await cluster.run(survivor.db.prepared.list())).toMatchObject([{ id }, { id: 'short' }])
  const { version } = await cluster.run(survivor.db.prepared.commit(id))
  expect(await cluster.run(survivor.db.getEntry('seat'))).toMatchObject({ value: 'ada', version })
  await cluster.advance(18_000)
  expect(await cluster.run(survivor.db.prepared.list())).toMatchObject([{ id: 'short' }])
  await cluster.advance(3000)
  expect(await cluster.run(survivor.db.prepared.list())).toEqual([])
})

test('what is prepared is data: nobody gives it up who was not told to, and then it is gone', async () => {
  const { cluster, peers } = await three('a room')
  const newcomer = cluster.peer('newcomer')
  await newcomer.open()
  const tx = await cluster.run(newcomer.db.begin())
  tx.put('seat', 'ada')
  await cluster.run(tx.prepare({ id: 'ours', holdMs: 3_600_000 }))
  await expect(newcomer.join()).rejects.toMatchObject({ code: 'ROOM_CONFLICT' })
  expect(await cluster.run(newcomer.db.prepared.list())).toMatchObject([{ id: 'ours' }])
  await newcomer.join({ onConflict: 'discard-local' })
  for (const { db } of [newcomer, ...peers]) {
    expect(await cluster.run(db.prepared.list())).toEqual([])
    await expect(cluster.run(db.prepared.commit('ours'))).rejects.toMatchObject({ code: 'VALIDATION' })
  }
  await cluster.run(newcomer.db.put('seat', 'bob'))
})

test('a peer alone that starts again holds it once more, and then no longer', async () => {
  const cluster = simulate(4)
  const peer = cluster.peer('solo')
  await peer.open()
  await cluster.run(peer.db.put('seat', 'free'))
  await cluster.run(take(peer.db, 'ada', { holdMs: 2000, id: 'x' }))
  await cluster.advance(1500)
  peer.crash()
  await peer.open()
  await cluster.advance(1500)
  await expect(cluster.run(peer.db.put('seat', 'bob'))).rejects.toMatchObject(heldUp)
  await cluster.advance(700)
  await cluster.run(peer.db.put('seat', 'bob'))
  expect(peer.db.status().prepared).toEqual({ transactions: 0, keys: 0, bytes: 0 })
})

test('a group that rests ends it, too', async () => {
  const { cluster, peers } = await three('rest')
  await cluster.run(take(peers[1].db, 'ada'))
  await cluster.advance(58_000)
  expect(await cluster.run(peers[2].db.get('seat', { consistency: 'local' }))).toBe('free')
  for (const { db } of peers) expect(db.status().prepared.transactions).toBe(1)
  // Three signs of life of a group in which nothing happens.
  await cluster.advance(17_000)
  for (const { db } of peers) expect(db.status().prepared.transactions).toBe(0)
})

test('a commit that races the end of its time: one of them wins, everywhere', { timeout: 120_000 }, async () => {
  const ends: Record<string, number> = {}
  for (const seed of fewerSeeds(8)) {
    const random = seededRandom(seed)
    const { cluster, peers } = await three(`race ${seed}`)
    const [one, other] = [random.pick(peers), random.pick(peers)]
    const id = await cluster.run(take(one.db, 'ada', { holdMs: 1000 }))
    const between = random.chance(0.3)
    await cluster.advance(between ? 950 + random.below(150) : 1000 + random.below(60))
    if (random.chance(0.3))
      leaderOf(peers)
        ?.db.cluster.transferLeadership()
        .catch(() => {})
    const end = await cluster.run(codeOf(other.db.prepared.commit(id)))
    expect(['done', 'CONFLICT']).toContain(end)
    ends[end] = (ends[end] ?? 0) + 1
    await cluster.advance(3000)
    for (const { db } of peers) {
      expect(await cluster.run(db.get('seat')), `seed ${seed}`).toBe(end === 'done' ? 'ada' : 'free')
      expect(await cluster.run(codeOf(db.prepared.commit(id))), `seed ${seed}`).toBe(end)
      expect(db.status().prepared.transactions).toBe(0)
    }
  }
  if (fewerSeeds(8).length >= 20) {
    expect(ends.done).toBeGreaterThan(2)
    expect(ends.CONFLICT).toBeGreaterThan(2)
  }
})

test('who gets the whole state has what is prepared, and can lead and decide', async () => {
  for (const seed of fewerSeeds(100)) {
    const events: DatabaseEvent[] = []
    const { cluster, peers } = await three(`state ${seed}`, {
      checkpointBytes: 8 * 1024,
      messageBytesMax: 2000,
      onEvent: (event: DatabaseEvent) => void events.push(event),
    })
    const late = peers.find(peer => peer.db.cluster.status().role !== 'leader')!
    const others = peers.filter(peer => peer !== late)
    cluster.isolate(late.name)
    await cluster.advance(20_000)
    const id = await cluster.run(take(others[0]!.db, 'ada', { holdMs: 3_600_000 }))
    await cluster.run(others[0]!.db.put('decided', 1))
    const gone = await cluster.run(others[0]!.db.begin())
    gone.put('gone', 1)
    const { id: rolledBack } = await cluster.run(gone.prepare())
    await cluster.run(others[0]!.db.prepared.rollback(rolledBack))
    for (let i = 0; i < 40; i++) await cluster.run(others[0]!.db.put(['fill', i], 'x'.repeat(1000)))
    cluster.heal()
    await cluster.advance(20_000)
    expect(events.some(({ type }) => type === 'snapshot')).toBe(true)
    await cluster.run(leaderOf(peers)!.db.cluster.transferLeadership(late.db.cluster.status().self))
    await cluster.advance(1000)
    expect(leaderOf(peers)).toBe(late)
    expect(await cluster.run(late.db.prepared.list())).toMatchObject([{ id }])
    await expect(cluster.run(others[1]!.db.put('seat', 'bob'))).rejects.toMatchObject(heldUp)
    await expect(cluster.run(others[1]!.db.prepared.commit(rolledBack))).rejects.toMatchObject({ code: 'CONFLICT' })
    await cluster.run(others[1]!.db.prepared.commit(id))
    for (const { db } of peers) expect(await cluster.run(db.get('seat'))).toBe('ada')
  }
})

test('pitfall 28: a watcher sees each commit once, through changes of the leader, live and from the log', async () => {
  for (const seed of fewerSeeds(50)) {
    const { cluster, peers } = await three(`watch ${seed}`)
    const watched = peers[2]
    const { version: since } = await cluster.run(watched.db.put('n', 0))
    const seen: WatchBatch[] = []
    const rounds = 6
    const watching = (async () => {
      for await (const batch of watched.db.watch({ prefix: 'n' }, { since })) {
        seen.push(batch)
        if (seen.length === rounds) return
      }
    })()
    const committed: string[] = []
    for (let round = 1; round <= rounds; round++) {
      const by = peers[round % 3]!
      const tx = await cluster.run(by.db.begin({ timeoutMs: 60_000 }))
      tx.put('n', round)
      tx.put(['n', round], 'x')
      const { id } = await cluster.run(tx.prepare({ holdMs: 600_000 }))
      if (round % 2 === 0) {
        const lead = leaderOf(peers)
        lead?.db.cluster.transferLeadership().catch(() => {})
        if (seed % 2 === 0 && lead !== undefined && lead !== watched) {
          lead.crash()
          await cluster.advance(2500)
          await lead.open()
          await lead.join()
        }
      }
      const decider = peers[(round + 1) % 3]!
      const { version } = await cluster.run(decider.db.prepared.commit(id, { timeoutMs: 60_000 }))
      // Again, from elsewhere: it is no second commit.
      await cluster.run(by.db.prepared.commit(id, { timeoutMs: 60_000 }))
      committed.push(version)
    }
    await cluster.run(watching)
    expect(seen.map(({ version }) => version)).toEqual(committed)
    expect(seen.map(({ events }) => events.map(({ value }) => value))).toEqual(committed.map((_, i) => [i + 1, 'x']))
    expect(seen.some(({ resync }) => resync)).toBe(false)
    const again: WatchBatch[] = []
    const reading = (async () => {
      for await (const batch of peers[0].db.watch({ prefix: 'n' }, { since })) {
        again.push(batch)
        if (again.length === rounds) return
      }
    })()
    await cluster.run(reading)
    expect(again).toEqual(seen)
  }
})

/** A bank in two databases: who transfers prepares at home first, then abroad, and decides at home. */
const accounts = 4
const opening = 100
/** At home the end of its time decides; abroad it must not, before somebody has asked at home. */
const [homeMs, abroadMs] = [3000, 24 * 3_600_000]

class Died extends Error {}

interface Side {
  readonly peers: readonly SimulatedPeer[]
  readonly any: () => Database
}

/** Adds to an account, and says for which transfer. Undefined: there is not enough. */
async function move(
  db: Database,
  id: string,
  account: number,
  by: number,
  holdMs: number,
): Promise<'prepared' | undefined> {
  const tx = await db.begin({ timeoutMs: 8000 })
  try {
    const has = (await tx.get<number>(['account', account])) ?? 0
    if (has + by < 0) return undefined
    tx.put(['account', account], has + by)
    tx.put(['done', id], by)
    await tx.prepare({ id, holdMs })
    return 'prepared'
  } finally {
    await tx.rollback()
  }
}

/** `diesAt`: the call, counted from one, that it makes and hears no more of. */
async function transfer(home: Side, abroad: Side, id: string, random: SeededRandom, diesAt: number): Promise<void> {
  let calls = 0
  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    const working = work()
    if (++calls !== diesAt) return working
    working.catch(() => {})
    throw new Died()
  }
  const amount = (1 + random.below(60)) * random.pick([1, -1])
  const at = random.below(accounts)
  const to = random.below(accounts)
  if ((await call(() => move(home.any(), id, at, -amount, homeMs))) === undefined) return
  try {
    const isThere = await call(() => move(abroad.any(), id, to, amount, abroadMs))
    if (isThere === undefined) throw new Error('not enough')
    await call(() => home.any().prepared.commit(id, { timeoutMs: 8000 }))
  } catch (error) {
    if (error instanceof Died) throw error
    // Whatever became of it: the home's word counts, and is asked for below, or by somebody else.
  }
  await call(() => settle(home, abroad, id))
}

/** The rule that everybody follows who finds something prepared abroad: what was not committed at home is rolled back there; then as at home. */
async function settle(home: Side, abroad: Side, id: string): Promise<void> {
  const options = { timeoutMs: 8000 }
  let isCommitted = false
  try {
    await home.any().prepared.rollback(id, options)
  } catch (error) {
    if (!isHarmonyError(error, 'CONFLICT')) throw error
    isCommitted = true
  }
  const decide = isCommitted ? 'commit' : 'rollback'
  await abroad.any().prepared[decide](id, options)
}

async function twoBanks(seed: number): Promise<{ died: number; moved: number }> {
  const random = seededRandom(seed)
  const cluster = simulate(`banks ${seed}`, { network: { delayMsMax: random.pick([5, 40]) } })
  const side = async (name: string): Promise<Side> => {
    const peers = Array.from({ length: 3 }, (_, i) => cluster.peer(`${name}${i}`))
    for (const peer of peers) {
      await peer.open()
      await peer.join({ room: name })
    }
    const all = Array.from({ length: accounts }, (_, account) => account)
    await cluster.run(
      peers[0]!.db.batch(all.map(account => ({ type: 'put', key: ['account', account], value: opening }) as const)),
    )
    return { peers, any: () => random.pick(peers.filter(isOpen)).db }
  }
  const [a, b] = [await side('a'), await side('b')]
  let died = 0
  const client = async (name: string, own: SeededRandom): Promise<void> => {
    for (let n = 0; n < 8; n++) {
      const [home, abroad] = own.chance(0.5) ? [a, b] : [b, a]
      const id = `${home === a ? 'a' : 'b'} ${name}.${n}`
      try {
        await transfer(home, abroad, id, own, own.chance(0.5) ? 1 + own.below(5) : 0)
      } catch (error) {
        if (error instanceof Died) died++
        else if (!isHarmonyError(error)) throw error
      }
    }
  }
  const clients = [1, 2, 3].map(n => client(`${n}`, random.fork()))
  let over = false
  const work = Promise.all(clients).finally(() => {
    over = true
  })
  work.catch(() => {})
  // Faults that answer everybody: a peer that dies answers nobody, and its coordinator would never go on; that is what `diesAt` is for.
  while (!over && cluster.nowMs < 400_000) {
    const peer = random.pick([...a.peers, ...b.peers])
    const isFrozen = random.chance(0.4)
    if (isFrozen) peer.freeze()
    else cluster.isolate(peer.name)
    await cluster.advance(random.between(200, 3000))
    if (isFrozen) peer.thaw()
    else cluster.heal()
    await cluster.advance(random.between(200, 3000))
  }
  await cluster.run(work)
  for (const { peers } of [a, b]) {
    const lead = leaderOf(peers)
    lead?.crash()
    await cluster.advance(3000)
    await lead?.open()
    await lead?.join({ room: peers === a.peers ? 'a' : 'b' })
  }
  // Somebody comes by later, and asks.
  for (let round = 0; round < 20; round++) {
    let left = 0
    for (const [abroad, home, letter] of [
      [b, a, 'a'],
      [a, b, 'b'],
    ] as const) {
      for (const { id } of await cluster.run(abroad.any().prepared.list())) {
        left++
        if (id.startsWith(letter)) await cluster.run(codeOf(settle(home, abroad, id)))
      }
    }
    if (left === 0) break
    await cluster.advance(1000)
  }
  let total = 0
  const done: string[][] = []
  for (const { peers } of [a, b]) {
    for (const { db } of peers) expect(await cluster.run(db.prepared.list()), `seed ${seed}`).toEqual([])
    const found = await cluster.run(peers[0]!.db.scan<number>({ prefix: 'account' }).toArray())
    for (const { value } of found) {
      expect(value).toBeGreaterThanOrEqual(0)
      total += value
    }
    const records = await cluster.run(peers[0]!.db.scan({ prefix: 'done' }).toArray())
    done.push(records.map(({ key }) => String(key[1])))
  }
  expect(total, `seed ${seed}`).toBe(2 * accounts * opening)
  expect(done[0], `seed ${seed}`).toEqual(done[1])
  return { died, moved: done[0]!.length }
}

test('a transfer between two databases is done in both or in neither, wherever its coordinator dies', {
  timeout: 240_000,
}, async () => {
  let [died, moved] = [0, 0]
  const seeds = fewerSeeds(25)
  for (const seed of seeds) {
    const told = await twoBanks(seed)
    died += told.died
    moved += told.moved
  }
  // Both happen, in a run or two at least.
  expect(died).toBeGreaterThan(seeds.length)
  if (seeds.length > 4) expect(moved).toBeGreaterThan(seeds.length)
})
