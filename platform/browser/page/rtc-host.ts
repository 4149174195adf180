/**
 * The page's half of WebRTC in browsers: owns the RTCPeerConnections and does what the transport in the worker tells it
 * (`network/rtc-host-wire.ts` has the protocol and how the port is handed over).
 *
 * Facts that shaped it
 *  - An RTCDataChannel can be transferred to a dedicated worker only in the task that created it; later, or to a shared worker,
 *    it is a DataCloneError. Then, and where the browser does not know how, its messages go over the port ('bridge').
 *  - `pagehide` closes every connection, so that the others know within milliseconds; otherwise they would wait for time-outs.
 *    A page that comes back from the back/forward cache finds them ended and connects again.
 *  - Back-pressure of a bridged channel: the page tells how much has left its buffer (`left`), the worker counts the rest.
 *  - A throw of `send` on an open channel means that its buffer is full (Chromium: 16 MiB), not that it is broken.
 */
import type { Lane } from '../../../src/platform.ts'
import { claimForAdoption } from '../../network/adoption.ts'
import { channelIds } from '../../network/channel-ids.ts'
import type { RtcIntroduction } from '../../network/introduction.ts'
import type { FromHost, HostPort, LentConnection, ToHost } from '../../network/rtc-host-wire.ts'
import type { RtcOptions } from '../../network/rtc-transport.ts'

export interface RtcHostOptions {
  /** Default 'auto': as they are within a realm, else transferred, and bridged where that does not work. 'bridge' always bridges. */
  readonly handover?: 'auto' | 'bridge'
}

export interface RtcHost {
  /**
   * Keeps the application's own connection for `adopt` in the worker, which is given the result. It is not closed by us.
   * @throws HarmonyError VALIDATION for one that was lent before.
   */
  lend(connection: RTCPeerConnection): LentConnection
  /** Ends every link, then stops listening to the port. Before `worker.terminate()`, which would leave channels open. */
  close(): void
}

const lanes: readonly Lane[] = ['consensus', 'bulk']
const lowWaterBytes = 65_536
const retryMs = 50

interface Link {
  introduce(message: RtcIntroduction): void
  send(slot: number, lane: Lane, bytes: Uint8Array<ArrayBuffer>): void
  /** Makes the channels of a slot. */
  openSlot(slot: number): void
  closeSlot(slot: number): void
  /** Lets go of the connection without a word to the worker. */
  drop(): void
}

export function createRtcHost(port: HostPort, { handover = 'auto' }: RtcHostOptions = {}): RtcHost {
  const links = new Map<number, Link>()
  const lent = new Map<number, RTCPeerConnection>()
  let lentCount = 0
  let closed = false
  // Found out by the first attempt to transfer.
  let transferable = handover === 'auto'

  const post = (message: FromHost, transfer: object[] = []): void => port.postMessage(message, transfer)

  /** Returns false if the channels stayed here and have to be bridged. */
  function handOver(id: number, slot: number, channels: readonly RTCDataChannel[], takesChannels: boolean): boolean {
    if (port.local === true && handover !== 'bridge') {
      post({ op: 'channels', id, slot, channels })
      return true
    }
    if (transferable && takesChannels) {
      try {
        post({ op: 'channels', id, slot, channels }, [...channels])
        return true
      } catch {
        transferable = false
      }
    }
    post({ op: 'channels', id, slot, channels: [] })
    return false
  }

  function end(id: number, reason: string): void {
    const link = links.get(id)
    if (link === undefined) return
    links.delete(id)
    // Before the channels close: so the worker hears this reason first.
    post({ op: 'ended', id, reason })
    link.drop()
  }

  function start(
    { id, takesChannels }: { readonly id: number; readonly takesChannels: boolean },
    make: () => RTCPeerConnection,
    initiator: boolean,
    adopted: boolean,
  ): void {
    try {
      const link = createLink({
        id,
        connection: make(),
        initiator,
        adopted,
        post,
        handOver: (slot, channels) => handOver(id, slot, channels, takesChannels),
        end: reason => end(id, reason),
      })
      links.set(id, link)
    } catch (error) {
      post({ op: 'ended', id, reason: messageOf(error) })
    }
  }

  function onMessage(message: ToHost): void {
    if (closed) return
    switch (message.op) {
      case 'connect':
        return start(message, () => new RTCPeerConnection(configuration(message.rtc)), message.initiator, false)
      case 'adopt': {
        const connection = lent.get(message.lent)
        lent.delete(message.lent)
        if (connection === undefined)
          return post({ op: 'ended', id: message.id, reason: 'no such connection was lent' })
        return start(message, () => connection, false, true)
      }
      case 'introduction':
        return links.get(message.id)?.introduce(message.message)
      case 'send':
        return links.get(message.id)?.send(message.slot, message.lane, message.bytes as Uint8Array<ArrayBuffer>)
      case 'slot':
        return links.get(message.id)?.openSlot(message.slot)
      case 'closeSlot':
        return links.get(message.id)?.closeSlot(message.slot)
      case 'close':
        links.get(message.id)?.drop()
        links.delete(message.id)
    }
  }

  function endAll(reason: string): void {
    for (const id of [...links.keys()]) end(id, reason)
  }

  const onPageHide = (): void => endAll('the page was left')
  addEventListener('pagehide', onPageHide)
  port.onmessage = (event: { readonly data: ToHost }) => onMessage(event.data)

  return {
    lend(connection) {
      claimForAdoption(connection)
      const id = ++lentCount
      lent.set(id, connection)
      return { harmonydbLent: id }
    },
    close() {
      if (closed) return
      endAll('the page closed the database')
      closed = true
      lent.clear()
      removeEventListener('pagehide', onPageHide)
      port.onmessage = null
      port.close()
    },
  }
}

function configuration(rtc: RtcOptions = {}): RTCConfiguration {
  return {
    ...(rtc.iceTransportPolicy === undefined ? {} : { iceTransportPolicy: rtc.iceTransportPolicy }),
    iceServers: (rtc.iceServers ?? []).map(({ urls, ...rest }) => ({
      ...rest,
      urls: typeof urls === 'string' ? urls : [...urls],
    })),
  }
}

function createLink({
  id,
  connection,
  initiator,
  adopted,
  post,
  handOver,
  end,
}: {
  readonly id: number
  readonly connection: RTCPeerConnection
  readonly initiator: boolean
  readonly adopted: boolean
  readonly post: (message: FromHost, transfer?: object[]) => void
  readonly handOver: (slot: number, channels: readonly RTCDataChannel[]) => boolean
  readonly end: (reason: string) => void
}): Link {
  /** By slot, in the order of `lanes`. */
  const bridges = new Map<number, Bridge[]>()
  const watching = new AbortController()
  const { signal } = watching
  /** Descriptions and candidates are applied one after the other. */
  let applying: Promise<void> = Promise.resolve()
  let waiting: RtcIntroduction[] = []

  /** In one task with handing them over: later they cannot be transferred any more. */
  function createChannels(slot: number): void {
    const ids = channelIds(adopted, slot)
    const channels = lanes.map(lane =>
      connection.createDataChannel(lane, { negotiated: true, id: ids[lane], ordered: true }),
    )
    if (handOver(slot, channels)) return
    bridges.set(
      slot,
      channels.map((channel, i) => bridge(id, slot, lanes[i]!, channel, post)),
    )
  }

  function closeSlot(slot: number): void {
    for (const bridged of bridges.get(slot) ?? []) bridged.close()
    bridges.delete(slot)
  }

  function tellDescriptions(): void {
    const local = connection.localDescription?.sdp
    const remote = connection.remoteDescription?.sdp
    if (local && remote) post({ op: 'described', id, local, remote })
  }

  /** Makes the description that the state asks for. */
  async function makeDescription(): Promise<void> {
    await connection.setLocalDescription()
    const { type, sdp } = connection.localDescription ?? {}
    if ((type === 'offer' || type === 'answer') && sdp !== undefined) {
      post({ op: 'introduction', id, message: { type, sdp } })
    }
  }

  async function apply(message: RtcIntroduction): Promise<void> {
    if (signal.aborted) return
    if (message.type === 'candidate') {
      if (connection.remoteDescription === null) waiting.push(message)
      else await connection.addIceCandidate({ candidate: message.candidate.replace(/^a=/, ''), sdpMid: message.mid })
      return
    }
    await connection.setRemoteDescription(message)
    if (message.type === 'offer') await makeDescription()
    tellDescriptions()
    const early = waiting
    waiting = []
    for (const candidate of early) await apply(candidate)
  }

  function enqueue(task: () => Promise<void>): void {
    applying = applying.then(task).catch((error: unknown) => {
      if (!signal.aborted) post({ op: 'refused', id, reason: messageOf(error) })
    })
  }

  if (!adopted) createChannels(0)
  connection.addEventListener(
    'connectionstatechange',
    () => {
      const state = connection.connectionState
      if (state === 'failed' || state === 'closed') end(`connection ${state}`)
    },
    { signal },
  )
  if (adopted) {
    // The application describes; we only look.
    connection.addEventListener('signalingstatechange', tellIfStable, { signal })
    connection.addEventListener('connectionstatechange', tellIfStable, { signal })
    tellIfStable()
  } else {
    connection.addEventListener(
      'icecandidate',
      ({ candidate }) => {
        if (candidate === null || candidate.candidate === '' || candidate.sdpMid === null) return
        post({
          op: 'introduction',
          id,
          message: { type: 'candidate', candidate: candidate.candidate, mid: candidate.sdpMid },
        })
      },
      { signal },
    )
    if (initiator) enqueue(makeDescription)
  }

  function tellIfStable(): void {
    if (connection.signalingState === 'stable') tellDescriptions()
  }

  return {
    introduce: message => enqueue(() => apply(message)),
    openSlot(slot) {
      try {
        createChannels(slot)
      } catch {
        // The application has a channel there itself, or its connection is closed.
        post({ op: 'closed', id, slot, lane: 'consensus' })
      }
    },
    closeSlot,
    send(slot, lane, bytes) {
      bridges.get(slot)?.[lanes.indexOf(lane)]?.send(bytes)
    },
    drop() {
      watching.abort()
      for (const slot of [...bridges.keys()]) closeSlot(slot)
      if (!adopted) connection.close()
    },
  }
}

interface Bridge {
  send(bytes: Uint8Array<ArrayBuffer>): void
  close(): void
}

/** Carries one channel's messages over the port. */
function bridge(
  id: number,
  slot: number,
  lane: Lane,
  channel: RTCDataChannel,
  post: (message: FromHost, transfer?: object[]) => void,
): Bridge {
  let queued: Uint8Array<ArrayBuffer>[] = []
  let queuedBytes = 0
  let takenBytes = 0
  let retry: ReturnType<typeof setTimeout> | undefined

  function offer(bytes: Uint8Array<ArrayBuffer>): boolean {
    try {
      channel.send(bytes)
      return true
    } catch {
      return channel.readyState !== 'open'
    }
  }

  /** The mark is the low-water mark while there is more than that, then zero: so the worker hears of both. */
  function mark(): void {
    channel.bufferedAmountLowThreshold = channel.bufferedAmount > lowWaterBytes ? lowWaterBytes : 0
    if (queued.length === 0 || retry !== undefined) return
    retry = setTimeout(() => {
      retry = undefined
      relieve()
    }, retryMs)
  }

  function relieve(): void {
    let sent = 0
    for (const bytes of queued) {
      if (!offer(bytes)) break
      sent++
      queuedBytes -= bytes.length
    }
    if (sent > 0) queued = queued.slice(sent)
    mark()
    post({ op: 'left', id, slot, lane, bytes: takenBytes - queuedBytes - channel.bufferedAmount })
  }

  channel.binaryType = 'arraybuffer'
  channel.onopen = () => post({ op: 'opened', id, slot, lane })
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    post({ op: 'message', id, slot, lane, data }, data instanceof ArrayBuffer ? [data] : [])
  }
  channel.onbufferedamountlow = relieve
  channel.onclose = () => post({ op: 'closed', id, slot, lane })
  if (channel.readyState === 'open') channel.onopen(new Event('open'))

  return {
    send(bytes) {
      takenBytes += bytes.length
      if (queued.length > 0 || !offer(bytes)) {
        queued.push(bytes)
        queuedBytes += bytes.length
      }
      mark()
    },
    close() {
      clearTimeout(retry)
      channel.onopen = channel.onmessage = channel.onbufferedamountlow = channel.onclose = null
      channel.close()
    },
  }
}

/**
 * Two ends of a port within one page, for a core that runs there: objects go across as they are, so channels need no
 * transfer. Messages come on a later microtask, in order, as from a MessagePort.
 */
export function createLocalPorts(): [HostPort, HostPort] {
  const ends: HostPort[] = []
  let open = true
  for (const other of [1, 0]) {
    ends.push({
      local: true,
      onmessage: null,
      postMessage(message) {
        queueMicrotask(() => {
          if (open) ends[other]!.onmessage?.({ data: message } as never)
        })
      },
      close() {
        // What was posted before still arrives.
        queueMicrotask(() => {
          open = false
        })
      },
    })
  }
  return [ends[0]!, ends[1]!]
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
