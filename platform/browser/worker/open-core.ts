/** Puts a peer together from the browser's parts: in the worker, or on the page for `worker: false`. */
import { HarmonyError } from '../../../src/base/errors.ts'
import {
  type CoreJoin,
  createMemoryDirectory,
  type DatabaseEvent,
  type OpenedCore,
  openLocalCore,
  rendezvousOf,
  type SharedPool,
  storeFileKind,
} from '../../../src/index.ts'
import type { Directory, Platform, Rendezvous } from '../../../src/platform.ts'
import type { HostPort } from '../../network/rtc-host-wire.ts'
import { browserClock, browserRandom } from './host.ts'
import { createOrphanSlots } from './orphan-slots.ts'
import { createRtcTransport, type RtcTransportOptions } from './rtc-transport.ts'
import { createBroadcastRendezvous } from './signaling/broadcast.ts'
import { createFoundingLock } from './signaling/founding-lock.ts'
import { createWebSocketRendezvous } from './signaling/web-socket.ts'
import { claimSlot, type Slot } from './slot.ts'
import { openPlace, opfsPathOf } from './storage/store-place.ts'

export interface BrowserRequest {
  readonly name: string
  readonly storage: 'auto' | 'opfs' | 'indexeddb' | 'memory'
  readonly cacheBytes?: number
  /** For tests: makes a checkpoint whenever so much of the log would have to be applied again. */
  readonly checkpointBytes?: number
  readonly durability: 'strict' | 'relaxed'
  readonly leaseDriftMax: number | undefined
  /** Goes on for tabs of this profile that are gone. */
  readonly adopt: boolean
  /** The page can map the pages in memory, to `peek` at them: it is cross-origin isolated. */
  readonly shared: boolean
  /** Slots that this tab had before, best first. */
  readonly ownSlots: readonly number[]
  /** To the page's part of WebRTC (`network/rtc-host-wire.ts`). */
  readonly rtcPort: HostPort
}

export interface BrowserAbout {
  readonly slot: number | undefined
  /** A Web Lock that this realm holds as long as the core is open: whoever gets it knows that it is not, any more. */
  readonly lockName: string | undefined
  /** For `peek`, where memory is shared. */
  readonly pool: SharedPool | undefined
}

/**
 * @param lend On the page: the host's `lend`.
 * @throws HarmonyError LOCKED, CORRUPT, QUOTA, STORAGE_LOST, VERSION_MISMATCH, VALIDATION.
 */
export async function openBrowserCore(
  request: BrowserRequest,
  lend?: RtcTransportOptions['lend'],
): Promise<OpenedCore & { readonly about: BrowserAbout }> {
  const slot = request.storage === 'memory' ? undefined : await claimSlot(request.name, request.ownSlots)
  const lock = slot ?? (await holdLock())
  const { kind, directory, events } = await openStorage(request, slot, () => lock?.release())
  const transport = createRtcTransport(request.rtcPort, {
    clock: browserClock,
    ...(lend === undefined ? {} : { lend }),
  })
  const platform: Platform = {
    kind: 'tab',
    clock: browserClock,
    random: browserRandom,
    transport,
    foundingLock: createFoundingLock(),
  }
  // On failure the directory is closed by whoever failed, and the lock goes with it.
  const core = await openLocalCore({
    platform,
    directory,
    storageKind: kind,
    events,
    ...(request.cacheBytes === undefined ? {} : { cacheBytes: request.cacheBytes }),
    ...(request.checkpointBytes === undefined ? {} : { checkpointBytes: request.checkpointBytes }),
    leaseDriftMax: request.leaseDriftMax,
    durability: slot === undefined ? 'relaxed' : request.durability,
    shared: request.shared && globalThis.crossOriginIsolated === true,
    ...(slot === undefined || !request.adopt
      ? {}
      : { slots: createOrphanSlots(request.name, async one => (await openSlot(request, one)).directory) }),
    rendezvous: join => {
      transport.configure(join.rtc)
      return rendezvousFor(join)
    },
  })
  if (slot !== undefined) {
    const message = `the storage of "${request.name}" belongs to somebody else now: its Web Lock was taken away; open the database again`
    slot.onLost = () => core.lose(new HarmonyError('STORAGE_LOST', message))
  }
  return { core, about: { slot: slot?.index, lockName: lock?.storeName, pool: core.sharedPool } }
}

interface Opened {
  readonly kind: string
  readonly directory: Directory
  /** What there is to tell of it. */
  readonly events: readonly DatabaseEvent[]
}

async function openStorage(request: BrowserRequest, slot: Slot | undefined, release: () => void): Promise<Opened> {
  if (slot === undefined) {
    return { kind: 'memory', directory: releasing(createMemoryDirectory(), release), events: [] }
  }
  try {
    return await openSlot(request, slot)
  } catch (error) {
    release()
    throw error
  }
}

async function openSlot({ name, storage }: BrowserRequest, slot: Slot): Promise<Opened> {
  const path = [...opfsPathOf(name), String(slot.index)]
  const wish = storage === 'memory' ? 'auto' : storage
  const { kind, directory, movedFrom, notMoved } = await openPlace(slot.storeName, path, wish, storeFileKind)
  const events: DatabaseEvent[] = []
  if (movedFrom !== undefined) events.push({ type: 'moved', from: movedFrom, to: kind })
  if (notMoved !== undefined) events.push({ type: 'error', error: notMoved })
  return { kind, directory: releasing(directory, () => slot.release()), events }
}

/** The directory, whose closing also lets go of the lock (D4). */
export function releasing(directory: Directory, release: () => void): Directory {
  return {
    openLog: (name, done) => directory.openLog(name, done),
    openPages: (name, done) => directory.openPages(name, done),
    list: done => directory.list(done),
    remove: (name, done) => directory.remove(name, done),
    close: done =>
      directory.close(error => {
        release()
        done(error)
      }),
  }
}

/** Tabs of this browser always find each other without a server; an own signaling stands alone. */
function rendezvousFor({ ownSignaling, signaling = [] }: CoreJoin): readonly Rendezvous[] {
  if (ownSignaling !== undefined) return [rendezvousOf(ownSignaling, browserClock)]
  const sockets = signaling.map(url => createWebSocketRendezvous({ url, clock: browserClock, random: browserRandom }))
  return [createBroadcastRendezvous(), ...sockets]
}

/** For peers in memory, which have no slot: a lock of their own, so that the page notices their end all the same. */
async function holdLock(): Promise<Pick<Slot, 'storeName' | 'release'> | undefined> {
  if (navigator.locks === undefined) return undefined
  const name = Array.from(crypto.getRandomValues(new Uint32Array(4)), word => word.toString(36)).join('')
  const storeName = `harmonydb/memory/${name}`
  return new Promise(resolve => {
    navigator.locks.request(storeName, () => new Promise<void>(release => resolve({ storeName, release })))
  })
}
