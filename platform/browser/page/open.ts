/**
 * `open` in a browser: starts the worker (or runs the core on the page), keeps the page's part of WebRTC, and sees to it that nothing
 * outlives its use.
 *
 *  O1  Whatever fails on the way, the worker is ended and the page's parts are closed before `open` rejects.
 *  O2  A worker that dies is noticed: the page asks for a Web Lock that the worker holds while it lives. Then everything pending
 *      and everything later rejects with CLOSED.
 *  O3  `pagehide` closes: a document in the back/forward cache may lose its locks, and others count on hearing that a tab is gone.
 *      A page that comes back from there finds its database closed, and opens it again.
 *  O4  Nothing here is touched when the module is imported: a server may import it.
 *
 * The page's files import what they need from where it is, not from `src/index.ts`: bundlers put whatever that file reaches, the whole
 * peer, into the chunk that the page loads.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Core } from '../../../src/database/core.ts'
import { createDatabase } from '../../../src/database/database.ts'
import { leaseDriftMaxOf, openOptions } from '../../../src/database/open-options.ts'
import type { Database, OpenOptions } from '../../../src/database/types.ts'
import { connectCore, type Peek } from '../../../src/rpc/connect.ts'
import type { RpcPort } from '../../../src/rpc/protocol.ts'
import type { HostPort } from '../../network/rtc-host-wire.ts'
import type { BrowserAbout, BrowserRequest } from '../worker/open-core.ts'
import { createLocalPorts, createRtcHost, type RtcHost } from './rtc-host.ts'

/** A worker that says nothing for so long after it was asked to open is no worker of ours. Loading its script counts. */
const firstWordMsMax = 30_000

/** Slots that open databases of this document hold, by name: a second `open` of a name does not wait for the first one's. */
const slotsInUse = new Map<string, Set<number>>()

/**
 * Opens the database of this name: this tab's own durable copy, alone until it joins a room.
 * @throws HarmonyError VALIDATION, LOCKED, CORRUPT, QUOTA, STORAGE_LOST, VERSION_MISMATCH.
 */
export async function open(nameOrOptions: string | OpenOptions): Promise<Database> {
  if (typeof addEventListener !== 'function') {
    throw invalid(
      'this is the build for browsers; on a server, import "harmonydb" with the condition "node", or open on the client only',
    )
  }
  const options = openOptions(nameOrOptions)
  const { name, storage = 'auto', cacheBytes, durability = 'strict', worker = 'auto', onEvent, cluster } = options
  const { adopt = true, leaseReads } = options
  if (typeof storage === 'object')
    throw invalid('storage: { dir } is for Node; browsers have "opfs", "indexeddb" and "memory"')
  if (worker !== 'auto' && worker !== false && typeof worker !== 'function') {
    throw invalid('worker must be "auto", false, or a function that makes a Worker')
  }
  const inUse = slotsInUse.get(name) ?? new Set<number>()
  slotsInUse.set(name, inUse)
  const [hostPort, rtcPort] = worker === false ? createLocalPorts() : messagePorts()
  const rtc = createRtcHost(hostPort)
  const undo: (() => void)[] = []
  // Links first: a worker that is terminated leaves the channels that were given to it open at the other end.
  const end = () => {
    rtc.close()
    for (const step of undo.splice(0).reverse()) step()
  }
  try {
    const request: BrowserRequest = {
      name,
      storage,
      leaseDriftMax: leaseDriftMaxOf(leaseReads),
      ...(cacheBytes === undefined ? {} : { cacheBytes }),
      durability,
      adopt,
      // A core on the page itself needs no other way to its own memory.
      shared: worker !== false && globalThis.crossOriginIsolated === true,
      ownSlots: rememberedSlots(name).filter(slot => !inUse.has(slot)),
      rtcPort,
    }
    const { core, about } =
      worker === false ? await openHere(request, rtc) : await openInWorker(worker, request, undo, rtc)
    const { slot } = about
    if (slot !== undefined) {
      inUse.add(slot)
      undo.push(() => inUse.delete(slot))
      rememberSlot(name, slot)
      askToPersist()
    }
    if (onEvent !== undefined) core.events(onEvent)
    const db = createDatabase(core, end)
    const onPageHide = () => void db.close()
    addEventListener('pagehide', onPageHide)
    undo.push(() => removeEventListener('pagehide', onPageHide))
    if (cluster !== undefined) {
      await db.cluster.join(cluster).catch(async error => {
        await db.close()
        throw error
      })
    }
    return db
  } catch (error) {
    end()
    throw error
  }
}

/** The page's own time: deadlines and pauses of transactions, whose functions run here. */
const pageClock: Core['clock'] = {
  now: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}

interface Opened {
  readonly core: Core
  readonly about: BrowserAbout
}

async function openHere(request: BrowserRequest, rtc: RtcHost): Promise<Opened> {
  const { openBrowserCore } = await import('../worker/open-core.ts')
  return openBrowserCore(request, rtc.lend)
}

function messagePorts(): [HostPort, HostPort] {
  const { port1, port2 } = new MessageChannel()
  return [port1, port2]
}

async function openInWorker(
  choice: 'auto' | (() => unknown),
  request: BrowserRequest,
  undo: (() => void)[],
  rtc: RtcHost,
): Promise<Opened> {
  const worker = await startWorker(choice)
  undo.push(() => worker.terminate())
  let lost: (reason: string) => void = () => {}
  // Only until it is open: a script that cannot be loaded or is refused. Later errors are the worker's own to survive or not.
  let failed: string | undefined
  const fail = (reason: string) => {
    failed = reason
    lost('its worker could not be started')
  }
  const onError = (event: ErrorEvent) => fail(event.message ?? '')
  const silence = setTimeout(fail, firstWordMsMax, 'it does not answer; its script must import "harmonydb/worker"')
  worker.addEventListener('error', onError)
  worker.addEventListener('message', () => clearTimeout(silence), { once: true })
  const watch = (report: (reason: string) => void) => {
    lost = report
  }
  try {
    const connected = await connectCore(worker as unknown as RpcPort, {
      request,
      clock: pageClock,
      transfer: [request.rtcPort],
      watch,
      peekWith,
      lend: connection => rtc.lend(asConnection(connection)),
    })
    const about = connected.about as BrowserAbout
    const gone = () => {
      rtc.close()
      lost('its worker ended')
    }
    undo.push(watchLock(about.lockName, gone))
    return { core: connected.core, about }
  } catch (error) {
    if (failed === undefined) throw error
    throw invalid(
      `the worker could not be started${failed === '' ? '' : ` (${failed})`}; under a Content-Security-Policy give the worker yourself: open({ name, worker: () => new Worker(new URL('harmonydb/worker', import.meta.url), { type: 'module' }) })`,
    )
  } finally {
    clearTimeout(silence)
    worker.removeEventListener('error', onError)
  }
}

/** The reading of shared pages is loaded where there are any. */
async function peekWith(about: unknown): Promise<Peek | undefined> {
  const { pool } = about as BrowserAbout
  return pool === undefined ? undefined : (await import('../../../src/rpc/peek.ts')).createPeek(pool)
}

async function startWorker(choice: 'auto' | (() => unknown)): Promise<Worker> {
  if (choice === 'auto') return (await import('./inlined-worker.ts')).startInlinedWorker()
  const worker = choice() as Worker
  if (typeof worker?.postMessage === 'function' && typeof worker.addEventListener === 'function') return worker
  throw invalid('the function given as worker must return a Worker')
}

/** Calls `gone` when whoever holds the lock has let go of it. @returns Stops waiting. */
function watchLock(lockName: string | undefined, gone: () => void): () => void {
  if (lockName === undefined) return () => {}
  const controller = new AbortController()
  navigator.locks.request(lockName, { signal: controller.signal }, gone).catch(() => {})
  return () => controller.abort()
}

function asConnection(connection: unknown): RTCPeerConnection {
  if (connection instanceof RTCPeerConnection) return connection
  throw invalid('adopt takes an RTCPeerConnection here')
}

/** Survives a reload of this tab, and is copied where the tab is duplicated. */
const slotsKey = (name: string) => `harmonydb/${name}/slots`
const slotsRememberedMax = 16

function rememberedSlots(name: string): number[] {
  try {
    const slots: unknown = JSON.parse(sessionStorage.getItem(slotsKey(name)) ?? '[]')
    if (!Array.isArray(slots)) return []
    return slots.filter(slot => Number.isSafeInteger(slot) && slot >= 0).slice(0, slotsRememberedMax)
  } catch {
    return [] // Storage that is blocked or spoilt: this tab is a new one.
  }
}

function rememberSlot(name: string, slot: number): void {
  const slots = rememberedSlots(name)
  if (slots.includes(slot)) return
  try {
    sessionStorage.setItem(slotsKey(name), JSON.stringify([slot, ...slots].slice(0, slotsRememberedMax)))
  } catch {
    // As above.
  }
}

/** Once per document. What the browser decides shows in its own settings; without it, it may evict the origin when space is short. */
let askedToPersist = false
function askToPersist(): void {
  if (askedToPersist) return
  askedToPersist = true
  navigator.storage?.persist?.().catch(() => {})
}

function invalid(message: string): HarmonyError {
  return new HarmonyError('VALIDATION', message)
}
