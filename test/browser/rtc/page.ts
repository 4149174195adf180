/** What the link tests find on the page: a driver here or in a worker, and the host of its connections. */
import { createLocalPorts, createRtcHost, type RtcHost } from '../../../platform/browser/page/rtc-host.ts'
import { answer, Driver, type StartOptions } from './driver.ts'

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
    const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()]
    connections = [a, b]
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
