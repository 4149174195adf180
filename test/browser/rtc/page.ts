/** What the link tests find on the page: a driver here or in a worker, and the host of its connections. */
import { createLocalPorts, createRtcHost, type RtcHost } from '../../../platform/browser/page/rtc-host.ts'
import type { HostPort } from '../../../platform/network/rtc-host-wire.ts'
import type { RuleOutcome } from '../../conformance/rule.ts'
import { answer, Driver, type StartOptions } from './driver.ts'
import { type Hosts, runLinkRules } from './rules.ts'

export interface Kit {
  /** 'worker': the core in a worker. 'page': on the page, over local ports. 'page-port': on the page, over a MessageChannel. */
  start(realm: 'worker' | 'page' | 'page-port', options: StartOptions, handover?: 'auto' | 'bridge'): void
  call(name: string, ...args: unknown[]): Promise<unknown>
  /** Makes two connected RTCPeerConnections on this page, as an application might, with a channel of its own. */
  makeConnections(): Promise<void>
  /** Adopts one of them: lent to a worker, or itself on the page. */
  adopt(which: 0 | 1, remote: string, initiator: boolean, lendIt: boolean): Promise<unknown>
  connectionStates(): string[]
  /** A connection as an application might make it with a peer elsewhere: its offer, with all candidates in it. */
  offer(): Promise<string>
  answer(sdp: string, candidates: readonly (readonly [string, string])[]): Promise<void>
  /** A second core, on this page, adopts the second connection. */
  adoptOtherEnd(options: StartOptions, remote: string): void
  callOtherEnd(name: string, ...args: unknown[]): Promise<unknown>
  /** The conformance rules of links, in a worker or here. */
  rules(realm: 'worker' | 'page', handover: 'auto' | 'bridge'): Promise<RuleOutcome[]>
  closeHost(): void
  terminateWorker(): void
  /** Keeps the page's main thread busy. */
  blockMs(ms: number): void
}

declare global {
  interface Window {
    kit: Kit
  }
}

let host: RtcHost | undefined
let worker: Worker | undefined
let local: Driver | undefined
let connections: RTCPeerConnection[] = []
let otherEnd: Driver | undefined
let calls = 0
const pending = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()

async function connect(): Promise<[RTCPeerConnection, RTCPeerConnection]> {
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()]
  a.onicecandidate = ({ candidate }) => void b.addIceCandidate(candidate ?? undefined)
  b.onicecandidate = ({ candidate }) => void a.addIceCandidate(candidate ?? undefined)
  const theirs = a.createDataChannel('theirs')
  await a.setLocalDescription()
  await b.setRemoteDescription(a.localDescription!)
  await b.setLocalDescription()
  await a.setRemoteDescription(b.localDescription!)
  await new Promise(resolve => {
    theirs.onopen = resolve
  })
  return [a, b]
}

/** Two hosts for one rule; what is left of an earlier rule is closed. */
function makeHosts(ports: readonly [HostPort, HostPort], handover: 'auto' | 'bridge'): Omit<Hosts, 'ports'> {
  const hosts = ports.map(port => createRtcHost(port, { handover }))
  const theirs: RTCPeerConnection[] = []
  return {
    async adoptable() {
      const pair = await connect()
      theirs.push(...pair)
      return [hosts[0]!.lend(pair[0]), hosts[1]!.lend(pair[1])]
    },
    dispose() {
      for (const thing of [...hosts, ...theirs]) thing.close()
    },
  }
}

function rulesHere(handover: 'auto' | 'bridge'): Promise<RuleOutcome[]> {
  return runLinkRules(async () => {
    const [pageA, coreA] = createLocalPorts()
    const [pageB, coreB] = createLocalPorts()
    return { ports: [coreA, coreB], ...makeHosts([pageA, pageB], handover) }
  })
}

function rulesInWorker(handover: 'auto' | 'bridge'): Promise<RuleOutcome[]> {
  const runner = new Worker(new URL('./rules-worker.ts', import.meta.url), { type: 'module' })
  let hosts: Omit<Hosts, 'ports'> | undefined
  return new Promise((resolve, reject) => {
    runner.onerror = event => reject(new Error(event.message))
    runner.onmessage = async ({ data }: MessageEvent<{ outcomes: RuleOutcome[] } | { question: string }>) => {
      if ('outcomes' in data) return resolve(data.outcomes)
      if (data.question === 'adoptable') return runner.postMessage(await hosts!.adoptable())
      if (data.question === 'dispose') return hosts!.dispose()
      const [a, b] = [new MessageChannel(), new MessageChannel()]
      hosts = makeHosts([a.port1, b.port1], handover)
      runner.postMessage([a.port2, b.port2], [a.port2, b.port2])
    }
  })
}

window.kit = {
  start(realm, options, handover = 'auto') {
    if (realm === 'page') {
      const [hostPort, corePort] = createLocalPorts()
      const made = createRtcHost(hostPort, { handover })
      host = made
      local = new Driver(corePort, options, connection => made.lend(connection))
      return
    }
    const { port1, port2 } = new MessageChannel()
    host = createRtcHost(port1, { handover })
    if (realm === 'page-port') {
      local = new Driver(port2, options)
      return
    }
    worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' })
    worker.onmessage = ({ data }: MessageEvent<{ call: number; value?: unknown; error?: string }>) => {
      const { resolve, reject } = pending.get(data.call)!
      pending.delete(data.call)
      if (data.error === undefined) resolve(data.value)
      else reject(new Error(data.error))
    }
    worker.postMessage({ options, rtcPort: port2 }, [port2])
  },
  call(name, ...args) {
    if (local !== undefined) return answer(local, name, args)
    return new Promise((resolve, reject) => {
      const call = ++calls
      pending.set(call, { resolve, reject })
      worker!.postMessage({ call, name, args })
    })
  },
  async makeConnections() {
    connections = await connect()
  },
  adopt(which, remote, initiator, lendIt) {
    const connection = connections[which]!
    return window.kit.call('adopt', lendIt ? host!.lend(connection) : connection, remote, initiator)
  },
  async offer() {
    const connection = new RTCPeerConnection()
    connections = [connection]
    connection.createDataChannel('theirs')
    await connection.setLocalDescription()
    await new Promise<void>(resolve => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve()
    })
    return connection.localDescription!.sdp
  },
  async answer(sdp, candidates) {
    const [connection] = connections
    await connection!.setRemoteDescription({ type: 'answer', sdp })
    for (const [candidate, sdpMid] of candidates) await connection!.addIceCandidate({ candidate, sdpMid })
  },
  adoptOtherEnd(options, remote) {
    const [hostPort, corePort] = createLocalPorts()
    const made = createRtcHost(hostPort)
    otherEnd = new Driver(corePort, options, connection => made.lend(connection))
    otherEnd.adopt(connections[1], remote, false)
  },
  callOtherEnd: (name, ...args) => answer(otherEnd!, name, args),
  connectionStates: () => connections.map(connection => connection.connectionState),
  rules: (realm, handover) => (realm === 'worker' ? rulesInWorker(handover) : rulesHere(handover)),
  closeHost() {
    host!.close()
  },
  terminateWorker() {
    worker!.terminate()
  },
  blockMs(ms) {
    const end = performance.now() + ms
    while (performance.now() < end);
  },
}
document.title = 'ready'
