/**
 * `open` in Node: puts a peer together from a directory (or memory), native WebRTC and WebSocket signalling, in this process.
 *
 * The two native packages are optional dependencies and loaded when they are needed: a database in memory that joins nothing
 * needs neither, and a browser-only project that cannot install them still installs HarmonyDB. Where one is missing, what needs it
 * fails with VALIDATION and says which package to install.
 *
 * An open database does not keep the process up by itself; calls in flight and a room do (`keep-alive.ts`).
 *
 * Caveat: WebRTC works on the main thread only; in `worker_threads` a database stays solo.
 */
import { resolve } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import {
  type Core,
  type CoreJoin,
  createDatabase,
  createMemoryDirectory,
  type Database,
  type DatabaseEvent,
  HarmonyError,
  leaseDriftMaxOf,
  type OpenOptions,
  openLocalCore,
  openOptions,
  rendezvousOf,
} from '../../src/index.ts'
import type { Connection, ConnectionEvents, Directory, Platform, Rendezvous, Transport } from '../../src/platform.ts'
import { nodeClock, nodeRandom } from './host.ts'
import { KeepAlive } from './keep-alive.ts'
import { loadReaders, loadWriters } from './pool-threads.ts'
import { asAdoptable } from './rtc/adoptable.ts'
import { createNodeRendezvous } from './signaling/client.ts'

/**
 * Opens the database of this name in this process: durable in `./<name>.harmony` unless told otherwise, alone until it joins a room.
 * @throws HarmonyError LOCKED (another process has the directory open), CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST, VALIDATION.
 */
export async function open(nameOrOptions: string | OpenOptions): Promise<Database> {
  const options = openOptions(nameOrOptions)
  const { cluster } = options
  const core = await openNodeCore(options)
  const db = createDatabase(core)
  if (cluster === undefined) return db
  try {
    await db.cluster.join(cluster)
    return db
  } catch (error) {
    await db.close()
    throw error
  }
}

export interface NodeOpenOptions
  extends Pick<
    OpenOptions,
    'name' | 'storage' | 'cacheBytes' | 'durability' | 'readers' | 'writers' | 'leaseReads' | 'onEvent'
  > {
  /** For tools: a damaged store is CORRUPT, even where others have what was in it. */
  readonly refuseDamaged?: boolean
  /** For tests: makes a checkpoint whenever so much of the log would have to be applied again. */
  readonly checkpointBytes?: number
}

/** The core under `open`: for the command line, which also serves it to others. */
export async function openNodeCore(options: NodeOpenOptions): Promise<Core> {
  const {
    storage = 'auto',
    cacheBytes,
    checkpointBytes,
    refuseDamaged = false,
    durability = 'strict',
    readers = 0,
    writers = 0,
    leaseReads,
    onEvent,
  } = options
  const dir = directoryOf(options)
  const transport = createLateTransport()
  const keepAlive = new KeepAlive()
  const directory = dir === undefined ? createMemoryDirectory() : await openStorage(dir)
  const platform: Platform = {
    kind: 'node',
    clock: nodeClock,
    random: nodeRandom,
    transport,
    foundingLock: undefined,
  }
  const startReaders = readers > 0 ? await loadReaders(readers) : undefined
  const writeHelpers = writers > 0 ? await loadWriters(writers) : undefined
  // On failure the directory is closed by whoever failed.
  const core = await keepAlive.during(() =>
    openLocalCore({
      platform,
      directory,
      storageKind: dir ?? 'memory',
      ...(cacheBytes === undefined ? {} : { cacheBytes }),
      ...(checkpointBytes === undefined ? {} : { checkpointBytes }),
      leaseDriftMax: leaseDriftMaxOf(leaseReads),
      refuseDamaged,
      durability: storage === 'memory' ? 'relaxed' : durability,
      shared: readers > 0 || writers > 0,
      ...(startReaders === undefined ? {} : { readThreads: startReaders }),
      ...(writeHelpers === undefined ? {} : { writeHelpers }),
      rendezvous: join => {
        transport.configure(join.rtc)
        return rendezvousFor(join)
      },
    }),
  )
  if (onEvent !== undefined) core.events((event: DatabaseEvent) => onEvent(event))
  return hosted(core, keepAlive, () => transport.load())
}

/** Where a database of these options is kept; undefined for memory. @throws VALIDATION */
export function directoryOf({ name, storage = 'auto' }: Pick<OpenOptions, 'name' | 'storage'>): string | undefined {
  if (storage === 'memory') return undefined
  if (typeof storage === 'object') return resolve(storage.dir)
  if (storage !== 'auto') {
    throw invalid(`storage "${storage}" is for browsers; Node has "auto", "memory" and { dir }`)
  }
  return resolve(`${name}.harmony`)
}

async function openStorage(dir: string): Promise<Directory> {
  const { openDirectory } = await native(import('./storage/directory.ts'), 'fs-native-extensions', 'a durable database')
  return new Promise((done, fail) => {
    openDirectory(dir, result => (result.ok ? done(result.value) : fail(result.error)))
  })
}

function rendezvousFor(join: CoreJoin): readonly Rendezvous[] {
  if (join.ownSignaling !== undefined) return [rendezvousOf(join.ownSignaling, nodeClock)]
  // Who founds the room anyway may wait for others to bring the way: an adopted connection, or nothing yet.
  if (join.signaling === undefined && join.bootstrap !== true) {
    const message =
      'in Node a join needs signaling: the ws:// address of `harmonydb serve` or `harmonydb signal`, several of them, or an object with connect()'
    throw invalid(message)
  }
  return (join.signaling ?? []).map(url => createNodeRendezvous({ url, clock: nodeClock, random: nodeRandom }))
}

interface LateTransport extends Transport {
  /** Before a join. @throws HarmonyError VALIDATION where there is no WebRTC. */
  load(): Promise<void>
  /** ICE servers for connections from now on; those that stand go on as they are. */
  configure(rtc: CoreJoin['rtc']): void
}

/** The native transport, made at the first join: until then nothing needs it, and its ICE servers come with the join. */
function createLateTransport(): LateTransport {
  const made = new Set<Transport>()
  let make: ((rtc: CoreJoin['rtc']) => Transport) | undefined
  let current: { readonly transport: Transport; readonly rtc: string } | undefined
  const connect = (
    events: ConnectionEvents,
    start: (transport: Transport, events: ConnectionEvents) => Connection,
  ): Connection => {
    if (current !== undefined) return start(current.transport, events)
    nodeClock.soon(() => events.onFailed('no room was joined'))
    return { introduce() {}, close() {} }
  }
  return {
    async load() {
      if (make !== undefined) return
      if (!isMainThread) throw invalid('WebRTC in Node works on the main thread only: join from there, not in a worker')
      const { createNodeTransport } = await native(import('./rtc/transport.ts'), 'node-datachannel', 'joining a room')
      make = rtc => createNodeTransport({ clock: nodeClock, ...(rtc === undefined ? {} : { rtc }) })
    },
    configure(rtc) {
      if (make === undefined) throw invalid('the transport was not loaded')
      const asked = JSON.stringify(rtc ?? null)
      if (current?.rtc === asked) return
      current = { transport: make(rtc), rtc: asked }
      made.add(current.transport)
    },
    connect: (remote, initiator, events) =>
      connect(events, (transport, given) => transport.connect(remote, initiator, given)),
    adopt: (connection, initiator, events) =>
      connect(events, (transport, given) => transport.adopt(connection, initiator, given)),
    assertAdoptable: connection => void asAdoptable(connection),
    close() {
      for (const transport of made) transport.close()
      made.clear()
      current = undefined
    },
  }
}

/** The core, whose joins first load what they need, and which keeps the process up while it is needed (`keep-alive.ts`). */
function hosted(core: Core, keepAlive: KeepAlive, load: () => Promise<void>): Core {
  let leaveRoom: (() => void) | undefined
  core.subscribe(({ cluster }) => {
    if (cluster.room !== undefined) leaveRoom ??= keepAlive.hold()
    else {
      leaveRoom?.()
      leaveRoom = undefined
    }
  })
  return {
    clock: {
      now: () => core.clock.now(),
      after: (delayMs, run) => {
        const letGo = keepAlive.hold()
        const cancel = core.clock.after(delayMs, () => {
          letGo()
          run()
        })
        return () => {
          letGo()
          cancel()
        }
      },
    },
    snapshot: options => keepAlive.whileWaiting(core.snapshot(options)),
    release: snapshot => core.release(snapshot),
    lock: request => keepAlive.whileWaiting(core.lock(request)),
    unlock: transaction => core.unlock(transaction),
    watch: request => keepAlive.whileWaiting(core.watch(request)),
    watched: watch => keepAlive.whileWaiting(core.watched(watch)),
    unwatch: watch => core.unwatch(watch),
    getMany: (keys, options) => keepAlive.whileWaiting(core.getMany(keys, options)),
    scan: request => keepAlive.whileWaiting(core.scan(request)),
    write: request => keepAlive.whileWaiting(core.write(request)),
    prepare: (write, as) => keepAlive.whileWaiting(core.prepare(write, as)),
    decide: request => keepAlive.whileWaiting(core.decide(request)),
    prepared: timeoutMs => keepAlive.whileWaiting(core.prepared(timeoutMs)),
    peek: key => core.peek(key),
    join: options =>
      keepAlive.during(async () => {
        await load()
        await core.join(options)
      }),
    leave: () => keepAlive.during(() => core.leave()),
    adopt: (remote, connection) => core.adopt(remote, connection),
    order: (order, id) => keepAlive.during(() => core.order(order, id)),
    recover: () => keepAlive.during(() => core.recover()),
    transferLeadership: to => keepAlive.during(() => core.transferLeadership(to)),
    partition: cut => core.partition(cut),
    compact: () => keepAlive.during(() => core.compact()),
    mirror: () => core.mirror(),
    subscribe: listener => core.subscribe(listener),
    events: listener => core.events(listener),
    close: () =>
      keepAlive
        .during(() => core.close())
        .finally(() => {
          leaveRoom?.()
          leaveRoom = undefined
          keepAlive.close()
        }),
  }
}

/** @throws HarmonyError VALIDATION where the native package was not installed or does not load here. */
async function native<T>(loading: Promise<T>, name: string, need: string): Promise<T> {
  try {
    return await loading
  } catch (cause) {
    const message = `${need} needs the package ${name}, which does not load here (${messageOf(cause)}); install it: npm install ${name}`
    throw new HarmonyError('VALIDATION', message, { cause })
  }
}

const invalid = (message: string): HarmonyError => new HarmonyError('VALIDATION', message)

const messageOf = (cause: unknown): string =>
  cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : `${cause}`
