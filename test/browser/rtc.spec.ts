/** WebRTC links and signalling in a real Chromium: between tabs (channels transferred, bridged, core on the page) and with Node. */
import { type BrowserContext, expect, type Page, test } from '@playwright/test'
import nodeDataChannel from 'node-datachannel'
import { createNodeTransport } from '../../platform/node/rtc/transport.ts'
import { createNodeRendezvous } from '../../platform/node/signaling/client.ts'
import { type SignalingServer, startSignalingServer } from '../../platform/node/signaling/server.ts'
import { hexEncode } from '../../src/base/bytes.ts'
import { peerId } from '../../src/base/ids.ts'
import type { Introduction, Lane } from '../../src/platform.ts'
import { clock, emptySide, eventsOf, random } from '../node/network-kit.ts'
import { type PageServer, startPageServer } from './page-server.ts'
import type { LinkState, StartOptions } from './rtc/driver.ts'

// The longest of the files: its tests share nothing but the two servers, which each worker starts for itself.
test.describe.configure({ mode: 'parallel' })

const [idA, idB, idC] = ['a', 'b', 'c'].map(digit => digit.repeat(32)) as [string, string, string]
let site: PageServer
let address: string
let signaling: SignalingServer
let rooms = 0
const newRoom = (): string => `room ${process.pid}-${rooms++}`

test.beforeAll(async () => {
  site = await startPageServer()
  address = new URL('rtc/page.html', site.url).href
  signaling = await startSignalingServer({ port: 0 })
})
test.afterAll(async () => {
  await signaling.close()
  await site.stop()
})

type Realm = 'worker' | 'page' | 'page-port'

/** One tab with its driver. */
class Tab {
  readonly page: Page
  constructor(page: Page) {
    this.page = page
  }

  static async open(
    context: BrowserContext,
    realm: Realm,
    options: StartOptions,
    handover: 'auto' | 'bridge' = 'auto',
  ): Promise<Tab> {
    const page = await context.newPage()
    page.on('pageerror', error => console.error('page error:', error))
    await page.goto(address)
    await expect(page).toHaveTitle('ready')
    await page.evaluate(([r, o, h]) => window.kit.start(r, o, h), [realm, options, handover] as const)
    return new Tab(page)
  }

  call(name: string, ...args: unknown[]): Promise<unknown> {
    return this.page.evaluate(([n, a]) => window.kit.call(n, ...a), [name, args] as const)
  }

  state(): Promise<LinkState> {
    return this.call('read') as Promise<LinkState>
  }

  async eventually(check: (state: LinkState) => boolean, what: string, timeoutMs = 15_000): Promise<LinkState> {
    let last: LinkState | undefined
    await expect
      .poll(
        async () => {
          last = await this.state()
          return check(last)
        },
        { message: what, timeout: timeoutMs, intervals: [10, 20, 50, 100] },
      )
      .toBe(true)
    return last!
  }
}

interface PairOptions {
  readonly realms?: readonly [Realm, Realm]
  readonly handover?: 'auto' | 'bridge'
  readonly signalUrl?: string
}

async function pair(context: BrowserContext, options: PairOptions = {}): Promise<[Tab, Tab]> {
  const { realms = ['worker', 'worker'], handover = 'auto', signalUrl } = options
  const start = { room: newRoom(), ...(signalUrl === undefined ? {} : { signalUrl }) }
  const a = await Tab.open(context, realms[0], { ...start, id: idA }, handover)
  const b = await Tab.open(context, realms[1], { ...start, id: idB }, handover)
  for (const tab of [a, b]) await tab.eventually(({ rendezvous }) => rendezvous.includes('open'), 'in the room')
  await b.call('connect', idA, false)
  await a.call('connect', idB, true)
  for (const tab of [a, b]) await tab.eventually(({ open }) => open, 'link open')
  return [a, b]
}

const ways: [string, PairOptions, string][] = [
  ['channels transferred to workers', {}, 'channels'],
  ['bridged through the pages', { handover: 'bridge' }, 'bridge'],
  ['cores on the pages', { realms: ['page', 'page'] }, 'channels'],
  ['cores on the pages, over a MessageChannel', { realms: ['page-port', 'page-port'] }, 'bridge'],
]

for (const [name, options, handedOver] of ways) {
  test.describe(`tab to tab, ${name}`, () => {
    test('E1 E3: both lanes both ways, in order, up to 64 KiB; one binding', async ({ context }) => {
      const [a, b] = await pair(context, options)
      const [stateA, stateB] = [await a.state(), await b.state()]
      expect(stateA.handedOver).toBe(handedOver)
      expect(stateA.binding).toMatch(/^[0-9a-f]{64}$/)
      expect(stateB.binding).toBe(stateA.binding)
      expect(stateA.messageBytesMax).toBe(65_536)
      for (const tab of [a, b]) {
        await tab.call('burst', 'consensus', 1_000, 200)
        await tab.call('burst', 'bulk', 20, 65_536)
        await tab.call('burst', 'consensus', 1, 65_536)
      }
      for (const tab of [a, b]) {
        const state = await tab.eventually(
          ({ received }) => received.consensus === 1_001 && received.bulk === 20,
          'all arrived',
        )
        expect(state.inOrder && state.wellFilled).toBe(true)
        expect(state.receivedBytes).toEqual({ consensus: 265_536, bulk: 1_310_720 })
      }
    })

    test('E2: bulk under back-pressure loses nothing and is drained', async ({ context }) => {
      const [a, b] = await pair(context, options)
      const pumped = (await a.call('pump', 'bulk', 600, 16_384)) as { highBytes: number; waits: number; ms: number }
      expect(pumped.waits).toBeGreaterThan(3)
      expect(pumped.highBytes).toBeLessThanOrEqual(262_144 + 16_384)
      const state = await b.eventually(({ received }) => received.bulk === 600, 'all arrived')
      expect(state.inOrder && state.wellFilled).toBe(true)
      await expect.poll(() => a.call('buffered')).toEqual([0, 0])
      expect((await a.state()).drained.every(lane => lane === 'bulk')).toBe(true)
    })

    test('E2: past 16 MiB it closes with "overflow", and both sides know', async ({ context }) => {
      const [a, b] = await pair(context, options)
      await a.call('burst', 'bulk', 600, 65_536)
      expect((await a.eventually(({ closed }) => closed.length > 0, 'closed')).closed).toEqual(['overflow'])
      await b.eventually(({ closed }) => closed.length === 1, 'the other side knows')
    })

    test('E4: close is told once on both sides', async ({ context }) => {
      const [a, b] = await pair(context, options)
      await a.call('closeEndpoint', 'enough')
      await a.call('closeEndpoint', 'again')
      await b.eventually(({ closed }) => closed.length > 0, 'the other side knows', 3_000)
      await b.call('closeEndpoint', 'late')
      await b.call('closeTransport')
      expect((await a.state()).closed).toEqual(['enough'])
      expect((await b.state()).closed).toHaveLength(1)
    })

    test('pitfall 21: leaving the page, closing its host or the tab ends the link at the other side within 3 s', async ({
      context,
    }) => {
      for (const leave of ['navigate', 'host', 'tab'] as const) {
        const [a, b] = await pair(context, options)
        if (leave === 'navigate') await b.page.goto('about:blank')
        else if (leave === 'tab') await b.page.close({ runBeforeUnload: true })
        else await b.page.evaluate(() => window.kit.closeHost())
        await a.eventually(({ closed }) => closed.length === 1, `after ${leave}`, 3_000)
        if (leave === 'host') expect((await b.state()).closed).toEqual(['the page closed the database'])
        await a.page.close()
      }
    })

    test('T2 T3: attempts that nobody answers time out; garbage fails them; closed ones are silent', async ({
      context,
    }) => {
      const realm = options.realms?.[0] ?? 'worker'
      const open = (timeoutMs: number): Promise<Tab> =>
        Tab.open(context, realm, { id: idA, room: newRoom(), timeoutMs }, options.handover)
      const lonely = await open(300)
      await lonely.call('connect', idB, true)
      expect((await lonely.eventually(({ failed }) => failed.length > 0, 'failed')).failed).toEqual(['timed out'])
      const silent = await open(300)
      await silent.call('connect', idB, true)
      await silent.call('closeConnection')
      const fingerprint = `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}\r\n`
      for (const garbage of [
        null,
        { type: 'offer', sdp: 'v=0' },
        { type: 'offer', sdp: `v=0\r\n${fingerprint}` },
        { type: 'answer', sdp: `v=0\r\n${fingerprint}` },
        { type: 'candidate', candidate: 'candidate:', mid: 0 },
      ]) {
        const tab = await open(10_000)
        await tab.call('connect', idB, false)
        await tab.call('introduce', garbage)
        const { failed } = await tab.eventually(state => state.failed.length > 0, 'failed')
        expect(failed).toHaveLength(1)
        expect(failed[0]).toMatch(/^introduction refused/)
        await tab.page.close()
      }
      expect((await silent.state()).failed).toEqual([])
    })

    test('T4: adopts connections that the application made, and leaves them open', async ({ context }) => {
      const realm = options.realms?.[0] ?? 'worker'
      const room = newRoom()
      const tab = await Tab.open(context, realm, { id: idA, room }, options.handover)
      await tab.page.evaluate(() => window.kit.makeConnections())
      await tab.page.evaluate(([to, lend]) => window.kit.adopt(0, to, true, lend), [idB, realm !== 'page'] as const)
      // Its channels are open here, and what they send is lost until the other side has made its own.
      await tab.page.waitForTimeout(300)
      expect((await tab.state()).open).toBe(false)
      await tab.page.evaluate(([id, r, to]) => window.kit.adoptOtherEnd({ id, room: r }, to), [idB, room, idA] as const)
      const other = (name: string, ...args: unknown[]): Promise<unknown> =>
        tab.page.evaluate(([n, a]) => window.kit.callOtherEnd(n, ...a), [name, args] as const)
      const otherState = (): Promise<LinkState> => other('read') as Promise<LinkState>
      const state = await tab.eventually(({ open, failed }) => open || failed.length > 0, 'open')
      expect(state.failed).toEqual([])
      await expect.poll(async () => (await otherState()).open).toBe(true)
      expect(state.binding).toMatch(/^[0-9a-f]{64}$/)
      expect((await otherState()).binding).toBe(state.binding)
      await tab.call('burst', 'consensus', 100, 1)
      await tab.call('burst', 'bulk', 100, 1_000)
      await other('burst', 'consensus', 100, 100)
      await expect.poll(async () => (await otherState()).received).toEqual({ consensus: 100, bulk: 100 })
      await tab.eventually(({ received, inOrder }) => received.consensus === 100 && inOrder, 'all arrived')
      await tab.call('closeEndpoint', 'enough')
      await expect.poll(async () => (await otherState()).closed).toHaveLength(1)
      expect(await tab.page.evaluate(() => window.kit.connectionStates())).toEqual(['connected', 'connected'])
    })
  })
}

for (const [realm, handover] of [
  ['worker', 'auto'],
  ['worker', 'bridge'],
  ['page', 'auto'],
  ['page', 'bridge'],
] as const) {
  test(`the rules of links (T1 to T4, E1 to E4), core in ${realm}, handover ${handover}`, async ({ page }) => {
    test.setTimeout(120_000)
    await page.goto(address)
    await expect(page).toHaveTitle('ready')
    const outcomes = await page.evaluate(([r, h]) => window.kit.rules(r, h), [realm, handover] as const)
    expect(outcomes.filter(({ state }) => state !== 'passed')).toEqual([])
    expect(new Set(outcomes.map(({ id }) => id))).toEqual(new Set(['T1', 'T2', 'T3', 'T4', 'E1', 'E2', 'E3', 'E4']))
  })
}

test('a busy page does not delay transferred channels', async ({ context }) => {
  const [a, b] = await pair(context)
  await b.call('setEcho')
  const blocked = b.page.evaluate(() => window.kit.blockMs(1_500))
  await a.call('burst', 'consensus', 10, 100)
  await a.eventually(({ received }) => received.consensus === 10, 'echoed while the page is busy', 1_200)
  await blocked
})

test('T4: adopts a connection with Node, whichever side does it first, whichever asks', async ({ context }) => {
  for (const [initiator, first, handover] of [
    ['tab', 'tab', 'auto'],
    ['tab', 'Node', 'auto'],
    ['Node', 'tab', 'auto'],
    ['Node', 'Node', 'auto'],
    ['tab', 'tab', 'bridge'],
    ['Node', 'Node', 'bridge'],
  ] as const) {
    const tab = await Tab.open(context, 'worker', { id: idA, room: newRoom() }, handover)
    const pc = new nodeDataChannel.PeerConnection('application', { iceServers: [] })
    const candidates: [string, string][] = []
    let answer = ''
    let open = false
    let theirs: unknown
    pc.onLocalCandidate((candidate, mid) => void candidates.push([candidate, mid]))
    pc.onLocalDescription(sdp => {
      answer = sdp
    })
    pc.onDataChannel(channel => {
      theirs = channel
      open = true
    })
    pc.setRemoteDescription(await tab.page.evaluate(() => window.kit.offer()), 'offer')
    await expect.poll(() => answer !== '' && pc.gatheringState() === 'complete').toBe(true)
    await tab.page.evaluate(([sdp, c]) => window.kit.answer(sdp, c), [answer, candidates] as const)
    await expect.poll(() => open && theirs !== undefined, { timeout: 10_000 }).toBe(true)

    const transport = createNodeTransport({ clock })
    const side = emptySide()
    const steps = [
      () => tab.page.evaluate(([to, asks]) => window.kit.adopt(0, to, asks, true), [idB, initiator === 'tab'] as const),
      async () => {
        side.connection = transport.adopt(
          pc,
          initiator === 'Node',
          eventsOf(side, () => {}),
        )
      },
    ]
    if (first === 'Node') steps.reverse()
    await steps[0]!()
    await tab.page.waitForTimeout(400)
    expect((await tab.state()).open || side.endpoint !== undefined).toBe(false)
    await steps[1]!()
    const { binding } = await tab.eventually(state => state.open, 'open')
    await expect.poll(() => side.endpoint !== undefined).toBe(true)
    expect(hexEncode(side.endpoint!.binding)).toBe(binding)
    await tab.call('burst', 'consensus', 50, 1)
    await tab.call('burst', 'bulk', 50, 1_000)
    for (let i = 0; i < 50; i++) side.endpoint!.send('consensus', Uint8Array.of(i & 1))
    await expect.poll(() => side.received.length).toBe(100)
    await tab.eventually(({ received }) => received.consensus === 50, 'all arrived')
    expect([(await tab.state()).failed, side.failed, side.closed]).toEqual([[], [], []])
    transport.close()
    pc.close()
    await tab.page.close()
  }
})

test('T4: adopt refuses what is no connection', async ({ context }) => {
  for (const realm of ['worker', 'page'] as const) {
    const tab = await Tab.open(context, realm, { id: idA, room: newRoom() })
    await tab.call('adopt', { close: 1 }, idB, true)
    expect((await tab.state()).threw).toBe('VALIDATION')
    await tab.call('adopt', { harmonydbLent: 77 }, idB, true)
    await tab.eventually(({ failed }) => failed[0] === 'no such connection was lent', 'failed')
  }
})

test('an introduction that the browser refuses fails an attempt, and does an open link no harm', async ({
  context,
}) => {
  const [a, b] = await pair(context)
  for (const tab of [a, b]) await tab.call('introduce', { type: 'candidate', candidate: 'candidate:x', mid: '0' })
  await a.call('burst', 'consensus', 1, 100)
  await b.eventually(({ received }) => received.consensus === 1, 'still works')
  expect((await b.state()).closed).toEqual([])
})

test('a mesh of a transferred, a bridged and a page core', async ({ context }) => {
  await pair(context, { realms: ['worker', 'page'] })
  await pair(context, { realms: ['page-port', 'worker'] })
})

test.describe('tab to Node', () => {
  for (const [initiator, handover] of [
    ['tab', 'auto'],
    ['Node', 'auto'],
    ['tab', 'bridge'],
  ] as const) {
    test(`the ${initiator} offers, ${handover}: both lanes both ways, one binding, close is seen`, async ({
      context,
    }) => {
      const room = newRoom()
      const side = emptySide()
      const transport = createNodeTransport({ clock })
      const session = createNodeRendezvous({ url: signaling.url, clock, random }).connect(room, peerId(idB), {
        onMessage: (_, message) => side.connection.introduce((message as { introduction: Introduction }).introduction),
        onState: () => {},
      })
      const tab = await Tab.open(context, 'worker', { id: idA, room, signalUrl: signaling.url }, handover)
      await tab.eventually(({ rendezvous }) => rendezvous.includes('open'), 'in the room')
      const join = (): void => {
        side.connection = transport.connect(
          peerId(idA),
          initiator === 'Node',
          eventsOf(side, introduction => session.send(idA, { introduction })),
        )
      }
      if (initiator === 'tab') {
        join()
        await tab.call('connect', idB, true)
      } else {
        await tab.call('connect', idB, false)
        join()
      }
      const { binding } = await tab.eventually(({ open }) => open, 'open')
      await expect.poll(() => side.endpoint !== undefined).toBe(true)
      expect(hexEncode(side.endpoint!.binding)).toBe(binding)

      await tab.call('burst', 'consensus', 500, 300)
      await tab.call('pump', 'bulk', 100, 65_536)
      await expect.poll(() => side.received.length, { timeout: 15_000 }).toBe(600)
      for (const lane of ['consensus', 'bulk'] as Lane[]) {
        const numbers = side.received.filter(m => m.lane === lane).map(m => Buffer.from(m.bytes).readUInt32BE(0))
        expect(numbers).toEqual(numbers.map((_, i) => i))
      }
      for (const { lane, bytes } of side.received.slice(0, 500)) side.endpoint!.send(lane, bytes)
      const echoed = await tab.eventually(({ received }) => received.consensus + received.bulk === 500, 'echoed')
      expect(echoed.inOrder && echoed.wellFilled).toBe(true)

      if (initiator === 'tab') {
        side.endpoint!.close('enough')
        await tab.eventually(({ closed }) => closed.length === 1, 'the tab knows', 3_000)
      } else {
        await tab.page.close({ runBeforeUnload: true })
        await expect.poll(() => side.closed.length, { timeout: 3_000 }).toBe(1)
      }
      session.close()
      transport.close()
    })
  }
})

test.describe('signalling in browsers', () => {
  for (const realm of ['worker', 'page'] as const) {
    test(`BroadcastChannel, core in ${realm}: to one, to all, rooms apart, junk ignored`, async ({ context }) => {
      const room = newRoom()
      const open = (id: string, where: string): Promise<Tab> => Tab.open(context, realm, { id, room: where })
      const [a, b, c, elsewhere] = [
        await open(idA, room),
        await open(idB, room),
        await open(idC, room),
        await open(idB, `${room}x`),
      ]
      for (const tab of [a, b, c]) await tab.eventually(({ rendezvous }) => rendezvous[0] === 'open', 'open')
      await a.page.evaluate(name => {
        const channel = new BroadcastChannel(`harmonydb:room:${name}`)
        for (const junk of [null, 7, 'x', {}, { to: '*' }, { to: '*', from: 'me', message: 1 }, [1]]) {
          channel.postMessage(junk)
        }
      }, room)
      await a.call('say', idB, { one: 1 })
      await a.call('say', '*', 'all')
      await b.eventually(({ heard }) => heard.length === 2, 'both')
      await c.eventually(({ heard }) => heard.length === 1, 'one')
      expect((await b.state()).heard).toEqual([
        [idA, { one: 1 }],
        [idA, 'all'],
      ])
      expect((await c.state()).heard).toEqual([[idA, 'all']])
      expect((await a.state()).heard).toEqual([])
      expect((await elsewhere.state()).heard).toEqual([])
      await b.call('leaveRoom')
      await a.call('say', '*', 'more')
      await c.eventually(({ heard }) => heard.length === 2, 'more')
      expect((await b.state()).heard).toHaveLength(2)
    })

    test(`WebSocket, core in ${realm}: relays, and comes back after the server restarted`, async ({ context }) => {
      const first = await startSignalingServer({ port: 0 })
      const start = { room: newRoom(), signalUrl: first.url }
      const a = await Tab.open(context, realm, { ...start, id: idA })
      const b = await Tab.open(context, realm, { ...start, id: idB })
      for (const tab of [a, b]) await tab.eventually(({ rendezvous }) => rendezvous.at(-1) === 'open', 'open')
      await a.call('say', '*', [1, 'ü'])
      await b.eventually(({ heard }) => heard.length === 1, 'relayed')
      await first.close()
      for (const tab of [a, b]) await tab.eventually(({ rendezvous }) => rendezvous.at(-1) === 'down', 'down')
      const second = await startSignalingServer({ port: first.port })
      for (const tab of [a, b]) await tab.eventually(({ rendezvous }) => rendezvous.at(-1) === 'open', 'open again')
      await b.call('say', idA, 'again')
      expect((await a.eventually(({ heard }) => heard.length === 1, 'relayed')).heard).toEqual([[idB, 'again']])
      await second.close()
    })
  }

  test('links over WebSocket signalling between two browser contexts', async ({ browser }) => {
    const [one, two] = [await browser.newContext(), await browser.newContext()]
    const start = { room: newRoom(), signalUrl: signaling.url }
    const a = await Tab.open(one, 'worker', { ...start, id: idA })
    const b = await Tab.open(two, 'worker', { ...start, id: idB })
    for (const tab of [a, b]) await tab.eventually(({ rendezvous }) => rendezvous.includes('open'), 'in the room')
    await b.call('connect', idA, false)
    await a.call('connect', idB, true)
    for (const tab of [a, b]) await tab.eventually(({ open }) => open, 'open')
    await one.close()
    await two.close()
  })
})

test('the founding lock has one holder per room among the tabs of an origin, and is free when that tab dies', async ({
  context,
}) => {
  const room = newRoom()
  const tabs: Tab[] = []
  for (const [i, realm] of (['worker', 'page', 'worker', 'page'] as const).entries()) {
    const tab = await Tab.open(context, realm, { id: String(i).repeat(32), room })
    tabs.push(tab)
    await tab.call('acquire', room)
    if (i === 0) await expect.poll(() => tab.call('holds')).toBe(true)
  }
  const [first, second, third, fourth] = tabs as [Tab, Tab, Tab, Tab]
  const other = await Tab.open(context, 'worker', { id: idC, room })
  await other.call('acquire', `${room}x`)
  await expect.poll(() => other.call('holds')).toBe(true)
  expect(await second.call('holds')).toBe(false)
  await first.call('letGo')
  await expect.poll(() => second.call('holds')).toBe(true)
  await third.call('stopWaiting')
  await second.page.close()
  await expect.poll(() => fourth.call('holds')).toBe(true)
  expect(await third.call('holds')).toBe(false)
})
