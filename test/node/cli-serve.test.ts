/** `harmonydb serve` as users run it: processes, ports, rooms, and commands that go through a running peer. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { open } from '../../platform/node/entry.ts'
import {
  type Bundle,
  bundle,
  type Ended,
  eventOf,
  type Listening,
  type RunOptions,
  run,
  runHere,
  startServe,
  type TemporaryFolder,
  temporaryFolder,
  Watched,
} from './cli-kit.ts'

const testMsMax = 90_000
const secret = 'correct horse battery staple'

let built: Bundle
let folder: TemporaryFolder
const running: Watched[] = []

beforeAll(async () => {
  built = await bundle()
})
afterAll(() => built.remove())
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(async () => {
  for (const one of running.splice(0)) one.process.kill('SIGKILL')
  folder.remove()
})

const spawned = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
  run(built.cli, args, { cwd: folder.path, ...options })

const harmonydb = runHere

async function serve(name: string, ...args: readonly string[]): Promise<Watched & Listening> {
  const env = args.includes('--room') ? { HARMONYDB_SECRET: secret } : {}
  const started = await startServe(built.cli, ['--dir', folder.in(name), ...args], { env })
  running.push(started)
  return started
}

const joined = (peer: Watched): Promise<unknown> => peer.line(line => eventOf(line, 'joined'), 'joined', 60_000)

/** Asks a peer for its state until it is as wanted. */
async function statusOf(name: string, wanted: (status: Status) => boolean): Promise<Status> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const { out, err } = await harmonydb(['status', '--json', '--dir', folder.in(name)])
    const status = out === '' ? undefined : (JSON.parse(out) as Status)
    if (status !== undefined && wanted(status)) return status
    if (performance.now() > deadline) throw new Error(`${name} did not come to that: ${out}${err}`)
    await new Promise(resolve => setTimeout(resolve, 250))
  }
}

interface Status {
  readonly through: string
  readonly cluster: { readonly self: string; readonly health: string; readonly leader?: string; readonly room?: string }
  readonly members: readonly { readonly id: string; readonly role: string; readonly state: string }[]
}

const votersOf = ({ members }: Status): number => members.filter(member => member.role === 'voter').length

describe('serve alone', () => {
  test(
    'commands go through the running peer, which ends in order at SIGTERM',
    async () => {
      await using made = await open({ name: 'db', storage: { dir: folder.in('db') } })
      const tx = await made.begin()
      tx.put('prepared', 'before')
      await tx.prepare({ id: 'before it ran' })
      await made.close()
      const peer = await serve('db')
      const at = ['--dir', folder.in('db')]
      const waiting = JSON.parse((await harmonydb(['prepared', '--json', ...at])).out)
      expect(waiting).toMatchObject({ id: 'before it ran', keys: 1, holdMs: 60_000 })
      expect((await harmonydb(['prepared', 'commit', 'before it ran', ...at])).status).toBe(0)
      expect((await harmonydb(['prepared', 'rollback', 'before it ran', ...at])).status).toBe(7)
      expect((await harmonydb(['delete', 'prepared', ...at])).status).toBe(0)
      expect(await harmonydb(['put', '["user",1]', '{"name":"Ada"}', ...at])).toMatchObject({ status: 0, err: '' })
      expect((await harmonydb(['put', 'a', '1', '--if-absent', ...at])).status).toBe(0)
      expect(await harmonydb(['put', 'a', '2', '--if-absent', ...at])).toMatchObject({
        status: 7,
        err: expect.stringMatching(/^harmonydb: CONFLICT: /),
      })
      expect((await harmonydb(['get', '["user",1]', ...at])).out).toBe('{"name":"Ada"}\n')
      expect((await harmonydb(['get', 'nobody', ...at])).status).toBe(3)
      const stdin = Array.from({ length: 3_000 }, (_, n) => JSON.stringify({ key: ['n', n], value: n })).join('\n')
      expect((await spawned(['import', '-', ...at], { stdin })).status).toBe(0)
      const scanned = await harmonydb(['scan', '--prefix', 'n', '--keys-only', ...at])
      expect(scanned.out.trim().split('\n')).toHaveLength(3_000)
      expect((await harmonydb(['delete', 'a', ...at])).status).toBe(0)

      const status = await statusOf('db', () => true)
      expect(status).toMatchObject({ through: 'peer', cluster: { self: peer.peer, health: 'solo' } })
      const health = (await (await fetch(new URL('health', peer.url))).json()) as { self: string }
      expect(health).toMatchObject({ service: 'harmonydb', self: peer.peer, health: 'solo' })
      expect((await fetch(new URL('nothing', peer.url))).status).toBe(404)

      expect(await peer.stop('SIGTERM')).toBe(0)
      expect(peer.err).toBe('')
      expect(existsSync(folder.in('db/.serve.json'))).toBe(false)
      await using db = await open({ name: 'db', storage: { dir: folder.in('db') } })
      expect(await db.scan({}, { keysOnly: true }).toArray()).toHaveLength(3_001)
    },
    testMsMax,
  )

  test(
    'kill -9: what a command was told is stored is there, for a command and for the next serve',
    async () => {
      const peer = await serve('db')
      const at = ['--dir', folder.in('db')]
      expect((await harmonydb(['put', 'kept', '1', ...at])).status).toBe(0)
      await peer.stop('SIGKILL')
      expect(existsSync(folder.in('db/.serve.json'))).toBe(true)
      expect(await harmonydb(['get', 'kept', ...at])).toEqual({ status: 0, out: '1\n', err: '' })
      const next = await serve('db')
      expect(next.peer).toBe(peer.peer)
      expect(await harmonydb(['get', 'kept', ...at])).toEqual({ status: 0, out: '1\n', err: '' })
    },
    testMsMax,
  )

  test(
    'a second serve on the directory, or on the port, is LOCKED: status 5, and lets go of what it took',
    async () => {
      const peer = await serve('db')
      const port = new URL(peer.url).port
      const again = await spawned(['serve', '--dir', folder.in('db'), '--port', '0'])
      expect(again).toMatchObject({ status: 5, err: expect.stringMatching(/^harmonydb: LOCKED: /) })
      const taken = await spawned(['serve', '--dir', folder.in('other'), '--port', port])
      expect(taken).toMatchObject({ status: 5, err: expect.stringContaining(port) })
      expect((await harmonydb(['put', 'a', '1', '--dir', folder.in('other')])).status).toBe(0)
      expect((await spawned(['signal', '--port', port])).status).toBe(5)
      expect(await peer.stop('SIGINT')).toBe(0)
    },
    testMsMax,
  )

  test(
    'the control endpoint: a secret file of its owner, and nobody in without it',
    async () => {
      const peer = await serve('db')
      const path = folder.in('db/.serve.json')
      expect(statSync(path).mode & 0o777).toBe(0o600)
      const { url, token, pid } = JSON.parse(readFileSync(path, 'utf8')) as { url: string; token: string; pid: number }
      expect(pid).toBe(peer.process.pid)
      const good = { authorization: `Bearer ${token}` }
      expect(await tried(url, {})).toBe('401')
      expect(await tried(url, { authorization: `Bearer ${'0'.repeat(64)}` })).toBe('401')
      expect(await tried(url, { ...good, origin: 'https://evil.example' })).toBe('401')
      for (const frame of [
        Uint8Array.of(),
        Uint8Array.of(255),
        Uint8Array.of(1, 0, 0, 1, 255, 255, 255, 255),
        'text',
      ]) {
        expect(await tried(url, good, frame)).toBe('4400')
      }
      expect(await tried(url, good, new Uint8Array(25 * 1024 * 1024))).toBe('1009')
      expect((await harmonydb(['put', 'a', '1', '--dir', folder.in('db')])).status).toBe(0)
    },
    testMsMax,
  )

  test.skipIf(process.platform === 'win32')(
    'pitfall 17: on a full disk it refuses writes with QUOTA and goes on reading; with space again, every acknowledged record is there',
    async () => {
      const fileKibMax = 3_000 // the third segment of the log does not fit
      const dir = folder.in('db')
      const peer = await startServe(built.cli, ['--dir', dir], { fileKibMax })
      running.push(peer)
      const lines = Array.from({ length: 50_000 }, (_, n) => JSON.stringify({ key: ['n', n], value: 'x'.repeat(100) }))
      const { status, err } = await spawned(['import', '-', '--dir', dir], { stdin: lines.join('\n') })
      expect(status).toBe(1)
      const [, count = ''] = /^harmonydb: QUOTA: .*; (\d+) records were imported before that/m.exec(err) ?? []
      expect(Number(count), err).toBeGreaterThan(1_000)
      expect(await harmonydb(['put', 'more', '1', '--dir', dir])).toMatchObject({ status: 1, out: '' })
      const got = await harmonydb(['get', '["n",7]', '--dir', dir, '--consistency', 'local'])
      expect(got).toMatchObject({ status: 0, out: `"${'x'.repeat(100)}"\n` })
      expect(await peer.line(line => eventOf(line, 'paused'), 'a pause')).toMatchObject({ code: 'QUOTA' })
      await peer.stop()
      await using db = await open({ name: 'db', storage: { dir } })
      const kept = await db.scan({}, { keysOnly: true }).toArray()
      expect(kept.length).toBeGreaterThanOrEqual(Number(count))
      await db.put('more', 1)
    },
    testMsMax,
  )

  /** The status that the upgrade is refused with, or the code that the connection is closed with after `frame`. */
  function tried(url: string, headers: Record<string, string>, frame?: Uint8Array | string): Promise<string> {
    return new Promise(resolve => {
      const socket = new WebSocket(url, { headers })
      socket.on('unexpected-response', (_request, response) => {
        resolve(String(response.statusCode))
        socket.terminate()
      })
      socket.on('error', () => {})
      socket.on('open', () => (frame === undefined ? resolve('open') : socket.send(frame)))
      socket.on('close', code => resolve(String(code)))
    })
  }
})

describe('a peer that does not answer', () => {
  test(
    'ends a command with TIMEOUT, status 4: nothing ever hangs',
    async () => {
      const silent = net.createServer(() => {})
      await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
      const mute = new WebSocketServer({ port: 0, host: '127.0.0.1' })
      try {
        const ended = await Promise.all(
          [silent, mute].map(async (server, i) => {
            const name = `db${i}`
            await (await open({ name, storage: { dir: folder.in(name) } })).close()
            const { port } = server.address() as net.AddressInfo
            const url = `ws://127.0.0.1:${port}/control`
            writeFileSync(folder.in(`${name}/.serve.json`), JSON.stringify({ pid: 1, url, token: '0'.repeat(64) }))
            return harmonydb(['get', 'a', '--dir', folder.in(name)])
          }),
        )
        for (const { status, err } of ended) {
          expect(status).toBe(4)
          expect(err).toMatch(/^harmonydb: TIMEOUT: /)
        }
      } finally {
        silent.close()
        mute.close()
      }
    },
    testMsMax,
  )
})

describe('serves in one room', () => {
  test(
    'what is put through one is got through the other; who leaves takes nothing along',
    async () => {
      const first = await serve('a', '--room', 'shop')
      await joined(first)
      const second = await serve('b', '--room', 'shop', '--signaling', new URL(first.signal).origin)
      await joined(second)
      const both = ({ members }: Status): boolean => members.length === 2
      await statusOf('a', both)
      await statusOf('b', both)
      expect((await harmonydb(['put', 'x', '"from a"', '--dir', folder.in('a')])).status).toBe(0)
      expect((await harmonydb(['get', 'x', '--dir', folder.in('b')])).out).toBe('"from a"\n')
      expect((await harmonydb(['put', 'y', '"from b"', '--dir', folder.in('b')])).status).toBe(0)
      expect((await harmonydb(['get', 'y', '--dir', folder.in('a')])).out).toBe('"from b"\n')

      expect(await second.stop('SIGINT')).toBe(0)
      expect((await harmonydb(['put', 'z', '3', '--dir', folder.in('a')])).status).toBe(0)
      // The directory of a member, on its own: what it has, but nothing that would need the others.
      const alone = ['get', 'x', '--dir', folder.in('b')]
      expect((await harmonydb([...alone, '--consistency', 'local'])).out).toBe('"from a"\n')
      expect(await harmonydb(alone)).toMatchObject({ status: 4, err: expect.stringMatching(/^harmonydb: NO_QUORUM: /) })
    },
    testMsMax,
  )

  test(
    'a wrong secret: UNAUTHORIZED, status 8, and the room goes on',
    async () => {
      const first = await serve('a', '--room', 'shop')
      await joined(first)
      const args = ['serve', '--dir', folder.in('b'), '--port', '0', '--room', 'shop']
      const stranger = await spawned([...args, '--signaling', new URL(first.signal).origin], {
        env: { HARMONYDB_SECRET: 'another secret altogether' },
      })
      expect(stranger.status).toBe(8)
      expect(stranger.err).toMatch(/^harmonydb: UNAUTHORIZED: /m)
      expect((await harmonydb(['put', 'x', '1', '--dir', folder.in('a')])).status).toBe(0)
    },
    testMsMax,
  )

  test(
    'two databases with data: ROOM_CONFLICT, status 7; --discard-local takes what the room has',
    async () => {
      for (const name of ['a', 'b']) {
        await using db = await open({ name, storage: { dir: folder.in(name) } })
        await db.put('who', name)
      }
      const first = await serve('a', '--room', 'shop')
      await joined(first)
      const signaling = ['--signaling', new URL(first.signal).origin]
      const args = ['serve', '--dir', folder.in('b'), '--port', '0', '--room', 'shop', ...signaling]
      const refused = await spawned(args, { env: { HARMONYDB_SECRET: secret } })
      expect(refused).toMatchObject({ status: 7, err: expect.stringContaining('ROOM_CONFLICT') })
      expect((await harmonydb(['get', 'who', '--dir', folder.in('b')])).out).toBe('"b"\n')
      const second = await serve('b', '--room', 'shop', ...signaling, '--discard-local')
      await joined(second)
      expect((await harmonydb(['get', 'who', '--dir', folder.in('b')])).out).toBe('"a"\n')
    },
    testMsMax,
  )

  test(
    'a majority killed: NO_QUORUM, status 4, while local reads answer; they come back, and so does it',
    async () => {
      const first = await serve('a', '--room', 'shop')
      await joined(first)
      const signaling = ['--signaling', new URL(first.signal).origin]
      const others = [
        await serve('b', '--room', 'shop', ...signaling),
        await serve('c', '--room', 'shop', ...signaling),
      ]
      await Promise.all(others.map(joined))
      await statusOf('a', status => votersOf(status) === 3)
      expect((await harmonydb(['put', 'x', '1', '--dir', folder.in('a')])).status).toBe(0)
      for (const other of others) await other.stop('SIGKILL')
      await statusOf('a', ({ cluster }) => cluster.health === 'no-quorum')
      const write = await harmonydb(['put', 'x', '2', '--dir', folder.in('a')])
      expect(write).toMatchObject({ status: 4, err: expect.stringMatching(/^harmonydb: NO_QUORUM: /) })
      expect((await harmonydb(['get', 'x', '--dir', folder.in('a')])).status).toBe(4)
      expect((await harmonydb(['get', 'x', '--dir', folder.in('a'), '--consistency', 'local'])).out).toBe('1\n')
      await serve('b', '--room', 'shop', ...signaling)
      await statusOf('a', ({ cluster }) => cluster.health === 'ok')
      expect((await harmonydb(['put', 'x', '3', '--dir', folder.in('a')])).status).toBe(0)
      expect((await harmonydb(['get', 'x', '--dir', folder.in('b')])).out).toBe('3\n')
    },
    testMsMax,
  )
})

describe('signal', () => {
  test(
    'introduces two peers that know only it, and ends in order',
    async () => {
      const signal = new Watched(built.cli, ['signal', '--port', '0', '--json'])
      running.push(signal)
      const listening = await signal.line(line => eventOf(line, 'listening'), 'listening')
      const signaling = ['--signaling', String(listening.signal)]
      const peers = [await serve('a', '--room', 'r', ...signaling), await serve('b', '--room', 'r', ...signaling)]
      await Promise.all(peers.map(joined))
      await statusOf('a', ({ members }) => members.length === 2)
      await statusOf('b', ({ members }) => members.length === 2)
      expect((await harmonydb(['put', 'x', '1', '--dir', folder.in('b')])).status).toBe(0)
      expect((await harmonydb(['get', 'x', '--dir', folder.in('a')])).out).toBe('1\n')
      expect(await signal.stop('SIGTERM')).toBe(0)
    },
    testMsMax,
  )
})
