import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, test } from 'vitest'
import { HarmonyError, isHarmonyError } from '../../../src/base/errors.ts'
import type { Core, CoreJoin, CoreMirror } from '../../../src/database/core.ts'
import { createDatabase } from '../../../src/database/database.ts'
import type { DatabaseEvent, Signaling } from '../../../src/database/types.ts'
import { connectCore } from '../../../src/rpc/connect.ts'
import { exposeCore } from '../../../src/rpc/expose.ts'
import { protocolVersion, type RpcPort } from '../../../src/rpc/protocol.ts'
import { MemoryCore, testClock } from '../../conformance/memory-core.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup()
})

function channel(): { near: MessagePort; far: MessagePort } {
  const { port1, port2 } = new MessageChannel()
  cleanups.push(
    () => port1.close(),
    () => port2.close(),
  )
  return { near: port1, far: port2 }
}

const asPort = (port: MessagePort) => port as unknown as RpcPort
const read = { consistency: 'local', maxStalenessMs: 0, timeoutMs: 1000 } as const
const put = { ops: [{ type: 'put', key: Uint8Array.of(0x51), value: Uint8Array.of(1, 1) }], checks: [] } as const
const write = { ...put, idempotencyKey: undefined, timeoutMs: 1000 }

async function connected(core: Core = new MemoryCore()) {
  const { near, far } = channel()
  exposeCore(asPort(far), async () => ({ core, about: 'hello' }))
  let lost: (reason: string) => void = () => {}
  const { core: remote } = await connectCore(asPort(near), {
    request: {},
    clock: testClock,
    watch: report => {
      lost = report
    },
  })
  return { remote, near, far, lost: (reason: string) => lost(reason) }
}

const codeOf = (promise: unknown) =>
  Promise.resolve(promise).then(
    () => 'resolved',
    error => (isHarmonyError(error) ? `${error.code}${error.maybeCommitted ? ' maybe' : ''}` : `? ${error}`),
  )

describe('opening', () => {
  test('hands the request over, ports included', async () => {
    const { near, far } = channel()
    const inner = channel()
    const core = new MemoryCore()
    let got: unknown
    exposeCore(asPort(far), async request => {
      got = request
      return { core, about: { slot: 3 } }
    })
    const request = { name: 'x', port: inner.far }
    const { about } = await connectCore(asPort(near), { request, clock: testClock, transfer: [inner.far] })
    expect(about).toEqual({ slot: 3 })
    expect(got).toMatchObject({ name: 'x' })
    const { port } = got as { port: MessagePort }
    const heard = new Promise(resolve => port.addEventListener('message', event => resolve(event.data)))
    port.start()
    inner.near.postMessage('hello')
    expect(await heard).toBe('hello')
    port.close()
  })

  test('fails with the error that the other side failed with', async () => {
    const { near, far } = channel()
    exposeCore(asPort(far), async () => {
      throw new HarmonyError('LOCKED', 'another tab has it')
    })
    const error = await connectCore(asPort(near), { request: {}, clock: testClock }).catch(caught => caught)
    expect(isHarmonyError(error, 'LOCKED')).toBe(true)
    expect(error.message).toBe('another tab has it')
  })

  test('of another build is VERSION_MISMATCH', async () => {
    const { near, far } = channel()
    exposeCore(asPort(far), async () => ({ core: new MemoryCore(), about: undefined }))
    // What a page of another version would send: comlink's own call with another number in it.
    const { wrap } = await import('comlink')
    const service = wrap<{ open(protocol: number, request: unknown): Promise<{ error: { code: string } }> }>(near)
    expect((await service.open(99, {})).error.code).toBe('VERSION_MISMATCH')
  })
})

describe('errors', () => {
  test('cross with code, retryable, maybeCommitted and message', async () => {
    const core = new MemoryCore()
    core.write = async () => {
      throw new HarmonyError('NO_QUORUM', 'no majority', { maybeCommitted: true, retryable: false })
    }
    const { remote } = await connected(core)
    const error = await remote.write(write).catch(caught => caught)
    expect(error).toBeInstanceOf(HarmonyError)
    expect(error).toMatchObject({ code: 'NO_QUORUM', message: 'no majority', maybeCommitted: true, retryable: false })
  })

  test('that are bugs reject too, with their stack', async () => {
    const core = new MemoryCore()
    core.getMany = async () => {
      throw new TypeError('x is not a function')
    }
    const { remote } = await connected(core)
    await expect(remote.getMany([], read)).rejects.toThrow(/worker failed: TypeError: x is not a function/)
  })
})

describe('R1 nothing hangs', () => {
  test('when the other side is reported lost', async () => {
    const core = new MemoryCore()
    const { remote, lost } = await connected(core)
    core.hold = new Promise(() => {})
    const calls = [
      codeOf(remote.getMany([Uint8Array.of(0x51)], read)),
      codeOf(remote.write(write)),
      codeOf(remote.leave()),
    ]
    lost('its worker died')
    expect(await Promise.all(calls)).toEqual(['CLOSED', 'CLOSED maybe', 'CLOSED'])
    expect(await codeOf(remote.write(write))).toBe('CLOSED')
    await expect(remote.getMany([], read)).rejects.toThrow(/its worker died/)
    await remote.close()
  })

  test('when the port closes', async () => {
    const core = new MemoryCore()
    const { remote, far } = await connected(core)
    core.hold = new Promise(() => {})
    const call = codeOf(remote.write(write))
    far.close()
    expect(await call).toBe('CLOSED maybe')
    expect(await codeOf(remote.getMany([], read))).toBe('CLOSED')
  })

  test('when it is closed here, and the core is closed with it', async () => {
    const core = new MemoryCore()
    const { remote } = await connected(core)
    core.hold = new Promise(() => {})
    const call = codeOf(remote.write(write))
    await Promise.all([remote.close(), remote.close()])
    expect(await call).toMatch(/^CLOSED/)
    expect(await codeOf(remote.write(write))).toBe('CLOSED')
    core.hold = undefined
    expect(await codeOf(core.getMany([], read))).toBe('CLOSED')
  })

  test('when the page goes, the core is closed', async () => {
    const core = new MemoryCore()
    const { near } = await connected(core)
    near.close()
    await expect.poll(() => codeOf(core.getMany([], read))).toBe('CLOSED')
  })

  test('while it dies during the opening', async () => {
    const { near, far } = channel()
    exposeCore(asPort(far), () => new Promise(() => {}))
    const opening = codeOf(connectCore(asPort(near), { request: {}, clock: testClock }))
    far.close()
    expect(await opening).toBe('CLOSED')
  })

  test('pitfall 26: while garbage is collected during a call', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const core = new MemoryCore()
    let release = () => {}
    core.hold = new Promise(resolve => {
      release = resolve
    })
    const call = (async () => codeOf((await connected(core)).remote.write(write)))()
    for (let i = 0; i < 10; i++) {
      collect()
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    release()
    expect(await call).toBe('resolved')
  })
})

describe('R2 pushed state', () => {
  test('is merged while the page is busy', async () => {
    const core = new MemoryCore()
    const { remote, near } = await connected(core)
    let pushes = 0
    near.addEventListener('message', ({ data }) => {
      if (data.harmonydb === 'push') pushes++
    })
    const seen: CoreMirror[] = []
    remote.subscribe(mirror => seen.push(mirror))
    // All in one turn of this event loop, which is the page's too.
    for (let i = 0; i < 500; i++) core.partition(i % 2 === 0)
    await core.write(write)
    await expect.poll(() => remote.mirror().status.storage.keys).toBe(1)
    expect(remote.mirror()).toEqual(core.mirror())
    expect(pushes).toBeLessThan(10)
    expect(seen.at(-1)).toEqual(core.mirror())
  })

  test('events arrive in order, errors as errors, the early ones too', async () => {
    const core = new MemoryCore()
    const { remote } = await connected(core)
    core.emit({ type: 'opened', storage: 'memory' })
    core.emit({ type: 'error', error: new HarmonyError('QUOTA', 'full') })
    await new Promise(resolve => setTimeout(resolve, 20))
    const seen: DatabaseEvent[] = []
    const stop = remote.events(event => seen.push(event))
    core.emit({ type: 'health', health: 'ok' })
    await expect.poll(() => seen.length).toBe(3)
    expect(seen.map(event => event.type)).toEqual(['opened', 'error', 'health'])
    const error = seen[1]?.type === 'error' ? seen[1].error : undefined
    expect(isHarmonyError(error, 'QUOTA')).toBe(true)
    stop()
    core.emit({ type: 'health', health: 'solo' })
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(seen).toHaveLength(3)
  })

  test('a page that does not read finds a bounded number of events', async () => {
    const core = new MemoryCore()
    const { near, far } = channel()
    exposeCore(asPort(far), async () => ({ core, about: 'hello' }))
    const { wrap } = await import('comlink')
    // Opens and never acknowledges.
    await wrap<{ open(protocol: number, request: unknown): Promise<unknown> }>(near).open(protocolVersion, {})
    const counts: number[] = []
    near.addEventListener('message', ({ data }) => {
      if (data.harmonydb === 'push') counts.push(data.events.length)
    })
    await new Promise(resolve => setTimeout(resolve, 20))
    // Over many turns, each of which would be a message.
    for (let i = 0; i < 5000; i++) {
      core.emit({ type: 'role', role: 'leader', term: i })
      if (i % 100 === 0) await new Promise(resolve => setTimeout(resolve, 0))
    }
    near.postMessage({ harmonydb: 'acknowledged' })
    await expect.poll(() => counts.at(-1)).toBe(1000)
    expect(counts.length).toBeLessThanOrEqual(2)
  })
})

describe('an own signaling', () => {
  test('on the page is reached from the core', async () => {
    const core = new MemoryCore()
    const { remote } = await connected(core)
    const log: unknown[] = []
    let deliver: (from: string, message: unknown) => void = () => {}
    const own: Signaling = {
      connect: async (room, self, on) => {
        log.push(['connect', room, self])
        deliver = on
        return { send: (to, message) => log.push(['send', to, message]), close: () => log.push(['close']) }
      },
    }
    const options: CoreJoin = {
      room: 'r',
      secret: 's',
      signaling: undefined,
      ownSignaling: own,
      rtc: undefined,
      role: 'auto',
      bootstrap: 'auto',
      onConflict: 'fail',
    }
    await remote.join(options)
    const { ownSignaling, ...rest } = core.joins[0]!
    expect(rest).toEqual({ ...options, ownSignaling: undefined })
    const heard: unknown[] = []
    const session = await ownSignaling!.connect('r', 'me', (from, message) => heard.push([from, message]))
    session.send('*', { hello: 1 })
    deliver('you', { hi: 2 })
    await expect.poll(() => heard).toEqual([['you', { hi: 2 }]])
    session.close()
    await expect.poll(() => log).toEqual([['connect', 'r', 'me'], ['send', '*', { hello: 1 }], ['close']])
  })

  test('that fails to connect fails in the core', async () => {
    const core = new MemoryCore()
    const { remote } = await connected(core)
    const db = createDatabase(remote)
    await db.cluster.join({
      room: 'r',
      secret: 'long enough',
      signaling: { connect: () => Promise.reject(new Error('no such relay')) },
    })
    await expect(core.joins[0]?.ownSignaling?.connect('r', 'me', () => {})).rejects.toThrow('no such relay')
  })
})
