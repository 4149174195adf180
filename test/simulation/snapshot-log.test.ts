/** What a replica's log is when it takes a received state over. */
import { expect, it } from 'vitest'
import { World } from '../../platform/simulation/world.ts'
import { ByteWriter } from '../../src/base/bytes.ts'
import { crc32c } from '../../src/base/checksum.ts'
import { index, peerId, term, timestamp } from '../../src/base/ids.ts'
import { encodeText } from '../../src/base/text.ts'
import { defaultLimits } from '../../src/cluster/peer-types.ts'
import { openStore, type Store } from '../../src/cluster/store.ts'
import type { Directory, LogFile } from '../../src/platform.ts'
import type { Entry, Message } from '../../src/raft/types.ts'
import { encodeNote } from '../../src/shard/apply-note.ts'
import { Replica } from '../../src/shard/replica.ts'
import type { SnapshotPiece } from '../../src/shard/snapshot-wire.ts'

const leader = peerId('1'.repeat(32))
const base = 5

function opened(world: World): Store {
  const { platform, directory } = world.process('p')
  let store: Store | undefined
  openStore({ directory, platform, cacheBytes: 65_536 }, result => {
    if (!result.ok) throw result.error
    store = result.value
  })
  world.runUntil(() => store !== undefined)
  return store as Store
}

/** `synced` comes before the owner of the file `incoming` hears of a sync. */
function watched(directory: Directory, synced: () => void): Directory {
  const watch = (file: LogFile): LogFile =>
    new Proxy(file, {
      get: (target, name) => {
        if (name === 'sync') {
          const sync: LogFile['sync'] = done =>
            target.sync(error => {
              synced()
              done(error)
            })
          return sync
        }
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  return new Proxy(directory, {
    get: (target, name) => {
      const openLog: Directory['openLog'] = (file, done) =>
        target.openLog(file, result => done(result.ok ? { ok: true, value: watch(result.value) } : result))
      const value: unknown = name === 'openLog' ? openLog : Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function replicaOf(world: World, store: Store, synced: () => void, refused: string[] = []): Replica {
  const { platform, directory } = world.process('p')
  return new Replica(store.identity.id, defaultLimits, () => 7, store.restored, {
    clock: platform.clock,
    directory: watched(directory, synced),
    wal: store.wal,
    engine: store.engine,
    checkpointBytes: 1024,
    leaseMs: 0,
    send: () => {},
    sendAsk: () => {},
    sendPiece: () => {},
    onInstalled: () => {},
    onRefused: problem => refused.push(problem),
    onApplied: () => {},
    onReadIndex: () => {},
    onProgress: () => {},
    mayWrite: () => true,
    onFatal: error => {
      throw error
    },
  })
}

function pieceOf({ restored: { cluster, log } }: Store): SnapshotPiece {
  const value = new Uint8Array(20)
  // As `mvcc/versioned.ts` has it.
  value[0] = 1
  const rows = new ByteWriter(64).bytes(encodeText('key')).bytes(value).finish()
  const note = encodeNote({
    cluster,
    applied: index(base),
    timestamp: timestamp(9),
    everWritten: true,
    gaveWay: false,
    fingerprint: 1,
    sessions: { sessions: [], keys: [] },
    idle: { behind: index(0), writes: [] },
    prepared: { kept: [], decided: [] },
  })
  const { configuration } = log.base
  const at = { index: index(base), term: term(1), configuration }
  return { snapshot: 3, base: at, after: undefined, last: true, note, rows, crc: crc32c(rows) }
}

const noops = (from: number, through: number): Entry[] =>
  Array.from({ length: through - from + 1 }, (_, i) => {
    return { index: index(from + i), term: term(1), kind: 'noop', data: new Uint8Array(0) }
  })

it('entries that came in the same moment are in the log before a checkpoint relies on them', () => {
  for (const reads of ['synchronous', 'asynchronous'] as const) {
    const world = new World(1, { disk: { reads } })
    const store = opened(world)
    const common = { from: leader, to: store.identity.id, term: term(1) }
    const append: Message = {
      type: 'append',
      ...common,
      prevIndex: index(0),
      prevTerm: term(0),
      entries: noops(1, base + 2),
      commit: index(0),
    }
    const replica = replicaOf(world, store, () => replica.step(append))
    replica.step({ type: 'snapshot', ...common, index: index(base) })
    world.run(10)
    replica.snapshotArrived(pieceOf(store))
    expect(world.runUntil(() => store.engine.status().pages.checkpoints > 0, 10_000)).toBe(true)
    world.process('p').crash('lost')
    world.process('p').restart()
    const again = opened(world)
    expect(replicaOf(world, again, () => {}).applied).toBe(base)
  }
})

it('nothing comes into the log between a state and its checkpoint', () => {
  const world = new World(2)
  const store = opened(world)
  const common = { from: leader, to: store.identity.id, term: term(1), commit: index(0) }
  const replica = replicaOf(world, store, () => {})
  replica.step({ type: 'snapshot', ...common, index: index(base) })
  world.run(10)
  replica.snapshotArrived(pieceOf(store))
  expect(world.runUntil(() => store.engine.checkpointing, 10_000)).toBe(true)
  const whole = { prevIndex: index(0), prevTerm: term(0), entries: noops(1, base + 2) }
  replica.step({ type: 'append', ...common, ...whole })
  expect(world.runUntil(() => replica.status().commit === base, 10_000)).toBe(true)
  const rest = { prevIndex: index(base), prevTerm: term(1), entries: noops(base + 1, base + 3) }
  replica.step({ type: 'append', ...common, ...rest })
  world.run(100)
  world.process('p').crash('lost')
  world.process('p').restart()
  const again = replicaOf(world, opened(world), () => {})
  expect(again.applied).toBe(base)
  expect(again.status()).toMatchObject({ firstIndex: base + 1, lastIndex: base + 3 })
})

it('a state that makes no sense is refused: the replica goes on, and takes a sound one later', () => {
  const world = new World(3)
  const store = opened(world)
  const refused: string[] = []
  const replica = replicaOf(world, store, () => {}, refused)
  const needed: Message = { type: 'snapshot', from: leader, to: store.identity.id, term: term(1), index: index(base) }
  replica.step(needed)
  world.run(10)
  const sound = pieceOf(store)
  replica.snapshotArrived({ ...sound, note: (sound.note as Uint8Array).subarray(0, 40) })
  world.run(100)
  expect(refused).toHaveLength(1)
  expect([replica.applied, replica.receivedBytes]).toEqual([0, undefined])
  world.run(30_000)
  replica.step(needed)
  world.run(10)
  replica.snapshotArrived(sound)
  expect(world.runUntil(() => replica.applied === base, 10_000)).toBe(true)
  expect(refused).toHaveLength(1)
})

it('who comes to lead while it gets a state gets it no more', () => {
  const world = new World(4)
  const store = opened(world)
  const replica = replicaOf(world, store, () => {})
  replica.step({ type: 'snapshot', from: leader, to: store.identity.id, term: term(1), index: index(base) })
  world.run(10)
  replica.snapshotArrived({ ...pieceOf(store), last: false })
  expect(world.runUntil(() => (replica.receivedBytes ?? 0) > 0, 10_000)).toBe(true)
  replica.campaign()
  expect(world.runUntil(() => replica.status().role === 'leader', 10_000)).toBe(true)
  replica.tick()
  expect(replica.receivedBytes).toBeUndefined()
})
