/**
 * The worker's end: offers a core to whoever holds the other end of the port, and pushes its state and events there.
 *
 * The core lives until `close` is called over the port, or the port closes (where the host tells).
 */
import { type Endpoint, expose, proxy, type Remote, releaseProxy, transfer } from 'comlink'
import { copyBytes } from '../base/bytes.ts'
import { errorToRecord, HarmonyError } from '../base/errors.ts'
import type { Core, CoreMirror } from '../database/core.ts'
import type { PackedEntries } from '../database/entries.ts'
import type { DatabaseEvent, Signaling } from '../database/types.ts'
import { buffersOf, unpackKeys, unpackWrite } from './pack.ts'
import {
  type CoreService,
  type Envelope,
  enveloped,
  isAcknowledgement,
  opening,
  type Push,
  type PushedEvent,
  protocolVersion,
  type RemoteSession,
  type RemoteSignaling,
  type RpcPort,
} from './protocol.ts'

/** Events that wait for a page that does not read; beyond it the oldest go. */
const eventsMax = 1000

export interface OpenedCore {
  readonly core: Core
  /** Whatever the other side should know of what was opened; structured-clonable. */
  readonly about: unknown
}

/**
 * @param open Makes the core from what `connectCore` was given, once.
 */
export function exposeCore(port: RpcPort, open: (request: unknown) => Promise<OpenedCore>): void {
  let opened: Promise<OpenedCore> | undefined
  const core = async (): Promise<Core> => {
    if (opened === undefined) throw new HarmonyError('VALIDATION', 'open comes first')
    return (await opened).core
  }
  const service: CoreService = {
    open: (protocol, request) =>
      enveloped(async () => {
        port.postMessage(opening, [])
        if (protocol !== protocolVersion) {
          const message = `the worker is of another version of HarmonyDB (protocol ${protocolVersion}) than the page (${protocol}); clear caches and build again`
          throw new HarmonyError('VERSION_MISMATCH', message)
        }
        if (opened !== undefined) throw new HarmonyError('VALIDATION', 'this worker has a database already')
        opened = open(request)
        const made = await opened
        push(made.core, port)
        return { mirror: made.core.mirror(), about: made.about }
      }),
    getMany: async (keys, options) => {
      const answer = await enveloped(async () => owned(await (await core()).getMany(unpackKeys(keys), options)))
      return handedOver(answer, ({ bytes }) => bytes)
    },
    scan: async request => {
      const answer = await enveloped(async () => {
        const page = await (await core()).scan(request)
        return { ...page, entries: owned(page.entries) }
      })
      return handedOver(answer, page => page.entries.bytes)
    },
    snapshot: options =>
      enveloped(async () => {
        const { name, version } = await (await core()).snapshot(options)
        return { name, version }
      }),
    release: snapshot => enveloped(async () => (await core()).release(snapshot)),
    watch: request => enveloped(async () => (await core()).watch(request)),
    watched: async watch => {
      const answer = await enveloped(async () => (await core()).watched(watch))
      return handedOver(answer, bytes => bytes)
    },
    unwatch: watch => enveloped(async () => (await core()).unwatch(watch)),
    lock: request => enveloped(async () => (await core()).lock(request)),
    unlock: transaction => enveloped(async () => (await core()).unlock(transaction)),
    prepare: (write, as) => enveloped(async () => (await core()).prepare(unpackWrite(write), as)),
    decide: request => enveloped(async () => (await core()).decide(request)),
    prepared: timeoutMs => enveloped(async () => (await core()).prepared(timeoutMs)),
    write: request => enveloped(async () => (await core()).write(unpackWrite(request))),
    join: (options, own) =>
      enveloped(async () => {
        const ownSignaling = own === undefined ? undefined : signalingOf(own as unknown as Remote<RemoteSignaling>)
        await (await core()).join({ ...options, ownSignaling })
      }),
    leave: () => enveloped(async () => (await core()).leave()),
    adopt: (remote, lent) => enveloped(async () => (await core()).adopt(remote, lent)),
    transferLeadership: to => enveloped(async () => (await core()).transferLeadership(to)),
    order: (order, id) => enveloped(async () => (await core()).order(order, id)),
    recover: () => enveloped(async () => (await core()).recover()),
    partition: cut => enveloped(async () => (await core()).partition(cut)),
    compact: () => enveloped(async () => (await core()).compact()),
    close: () => enveloped(async () => (await core()).close()),
  }
  port.addEventListener('close', () => {
    opened?.then(made => made.core.close()).catch(() => {})
  })
  expose(service, port as unknown as Endpoint)
}

/** A view would be cloned, or handed over, with all that it looks into. */
const owned = ({ count, bytes }: PackedEntries): PackedEntries => ({ count, bytes: copyBytes(bytes) })

/** The buffer of the packed part goes over instead of being copied. */
function handedOver<T>(answer: Envelope<T>, packed: (value: T) => Uint8Array): Envelope<T> {
  return answer.ok ? transfer(answer, buffersOf(packed(answer.value)) as never) : answer
}

/** At most one push under way; what happens meanwhile is in the next one. */
function push(core: Core, port: RpcPort): void {
  let latest: CoreMirror | undefined
  let events: PushedEvent[] = []
  let underway = false
  let scheduled = false
  const send = () => {
    scheduled = false
    if (underway || (latest === undefined && events.length === 0)) return
    const message: Push = { harmonydb: 'push', mirror: latest ?? core.mirror(), events }
    latest = undefined
    events = []
    underway = true
    port.postMessage(message, [])
  }
  // The first change of a turn waits for the turn's end: a burst of events is one message.
  const schedule = () => {
    if (scheduled) return
    scheduled = true
    Promise.resolve().then(send)
  }
  port.addEventListener('message', ({ data }) => {
    if (!isAcknowledgement(data)) return
    underway = false
    schedule()
  })
  core.subscribe(mirror => {
    latest = mirror
    schedule()
  })
  core.events(event => {
    events.push(pushed(event))
    if (events.length > eventsMax) events.shift()
    schedule()
  })
}

function pushed(event: DatabaseEvent): PushedEvent {
  return event.type === 'error' ? { type: 'error', record: errorToRecord(event.error) } : event
}

/** The page's Signaling, as if it were here. What cannot be delivered is lost, as it may be in any rendezvous. */
function signalingOf(remote: Remote<RemoteSignaling>): Signaling {
  return {
    connect: async (room, self, on) => {
      const session = (await remote.connect(room, self, proxy(on))) as unknown as Remote<RemoteSession>
      return {
        send: (to, message) => {
          session.send(to, message).catch(() => {})
        },
        close: () => {
          session
            .close()
            .catch(() => {})
            .then(() => session[releaseProxy]())
        },
      }
    },
  }
}
