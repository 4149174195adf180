/** `open` and `join` in Node over native WebRTC: peers of one process, and what a process does while it is in a room. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Database,
  isHarmonyError,
  type JoinOptions,
  open,
  type Signaling,
  type SignalingServer,
  startSignalingServer,
} from '../../platform/node/entry.ts'
import { type Bundle, bundle, runHere, runText, type TemporaryFolder, temporaryFolder } from './cli-kit.ts'
import { application, until } from './network-kit.ts'

const testMsMax = 60_000
const secret = 'correct horse battery staple'

let folder: TemporaryFolder
let server: SignalingServer
const opened: Database[] = []

beforeAll(async () => {
  server = await startSignalingServer({ port: 0 })
})
afterAll(() => server.close())
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map(db => db.close()))
  folder.remove()
})

const roomOf = (room: string, more: Partial<JoinOptions> = {}): JoinOptions => ({
  room,
  secret,
  signaling: server.url,
  ...more,
})

async function openIn(name: string, cluster?: JoinOptions): Promise<Database> {
  const storage = { dir: folder.in(name) }
  const db = await open(cluster === undefined ? { name, storage } : { name, storage, cluster })
  opened.push(db)
  return db
}

const voters = (db: Database): number => db.cluster.members().filter(({ role }) => role === 'voter').length
const healthOf = (db: Database): string => db.cluster.status().health

describe('joining a room', () => {
  test(
    '`cluster` in open: resolves as a member; both read what either wrote, also while a third leaves',
    async () => {
      const a = await openIn('a', roomOf('r1'))
      const b = await openIn('b', roomOf('r1'))
      const c = await openIn('c', roomOf('r1'))
      for (const db of [a, b, c]) {
        await until(() => db.cluster.members().length === 3, 'three members')
        expect(db.cluster.status()).toMatchObject({ health: 'ok', room: 'r1' })
        expect(new Set(db.cluster.members().map(member => member.kind))).toEqual(new Set(['node']))
      }
      const { version } = await b.put(['x'], 1)
      expect(await c.getEntry(['x'])).toEqual({ key: ['x'], value: 1, version })
      await expect(c.put(['x'], 2, { ifVersion: null })).rejects.toMatchObject({ code: 'CONFLICT' })
      await b.cluster.leave()
      await until(() => a.cluster.members().length === 2, 'two members')
      await c.put(['x'], 3)
      expect(await a.get(['x'])).toBe(3)
      expect(await b.get(['x'], { consistency: 'local' })).toBe(1)
      await expect(b.put(['x'], 4)).rejects.toMatchObject({ code: 'NOT_MEMBER' })
    },
    testMsMax,
  )

  test(
    'a member that was closed comes back as the same member, with what was written meanwhile',
    async () => {
      const a = await openIn('a', roomOf('r2'))
      const b = await openIn('b', roomOf('r2'))
      await b.put('before', 1)
      const { self } = b.cluster.status()
      await b.close()
      await a.put('meanwhile', 2)
      const again = await openIn('b', roomOf('r2'))
      expect(again.cluster.status().self).toBe(self)
      expect(await again.getMany(['before', 'meanwhile'])).toEqual([1, 2])
    },
    testMsMax,
  )

  test(
    'a wrong secret: open rejects with UNAUTHORIZED and lets go of the directory',
    async () => {
      await openIn('a', roomOf('r3'))
      const stranger = openIn('b', roomOf('r3', { secret: 'another secret altogether' }))
      await expect(stranger).rejects.toSatisfy(error => isHarmonyError(error, 'UNAUTHORIZED'))
      const b = await openIn('b')
      expect(healthOf(b)).toBe('solo')
    },
    testMsMax,
  )

  test(
    "an application's own signaling is a way to meet",
    async () => {
      const places = new Map<string, (from: string, message: unknown) => void>()
      let messages = 0
      const own: Signaling = {
        connect: async (room, self, on) => {
          expect(room).toBe('r4')
          places.set(self, on)
          return {
            send(to, message) {
              messages++
              const carried = JSON.parse(JSON.stringify(message)) as unknown
              for (const [id, deliver] of places) {
                if (id !== self && (to === '*' || to === id)) queueMicrotask(() => deliver(self, carried))
              }
            },
            close: () => void places.delete(self),
          }
        },
      }
      const a = await openIn('a', roomOf('r4', { signaling: own }))
      const b = await openIn('b', roomOf('r4', { signaling: own }))
      await a.put('x', 1)
      expect(await b.get('x')).toBe(1)
      expect(messages).toBeGreaterThan(0)
    },
    testMsMax,
  )

  test(
    "an application's own connection is a way to meet, without any signalling, adopted before or after joining",
    async () => {
      const silent: Signaling = { connect: async () => ({ send() {}, close() {} }) }
      const [pcA, pcB, connected] = application()
      const a = await openIn('a', roomOf('r6', { signaling: silent, bootstrap: true }))
      const b = await openIn('b')
      await until(connected, "the application's own channel")
      const [idA, idB] = [a, b].map(db => db.cluster.status().self) as [string, string]
      await expect(b.cluster.adopt(idA, { close: 1 })).rejects.toMatchObject({ code: 'VALIDATION' })
      await expect(b.cluster.adopt(idB, pcB)).rejects.toMatchObject({ code: 'VALIDATION' })
      await b.cluster.adopt(idA, pcB)
      await expect(b.cluster.adopt(idA, pcB)).rejects.toMatchObject({ code: 'VALIDATION' })
      const joining = b.cluster.join(roomOf('r6', { signaling: [], bootstrap: false }))
      await a.cluster.adopt(idB, pcA)
      await joining
      await a.put('x', 1)
      expect(await b.get('x')).toBe(1)
      await until(() => a.cluster.members().length === 2, 'two members')

      await expect(a.cluster.adopt('nobody', pcA)).rejects.toMatchObject({ code: 'VALIDATION' })
      await expect(a.cluster.adopt(idA, pcA)).rejects.toMatchObject({ code: 'VALIDATION' })
      await expect(a.cluster.adopt(idB, { close: 1 })).rejects.toMatchObject({ code: 'VALIDATION' })
      pcA.close()
      pcB.close()
    },
    testMsMax,
  )

  test(
    'bootstrap: false founds nothing, and can be given up; bootstrap: true needs nobody, not even signalling',
    async () => {
      const a = await openIn('a')
      const looking = a.cluster.join(roomOf('r5', { bootstrap: false }))
      const outcome = looking.then(
        () => 'joined',
        error => error.code,
      )
      const b = await openIn('b')
      const { signaling: _, ...alone } = roomOf('r5', { bootstrap: true })
      await b.cluster.join(alone)
      expect(b.cluster.status()).toMatchObject({ health: 'ok', room: 'r5' })
      await b.put('x', 1)
      // Longer than the time after which `auto` would have founded it.
      const first = await Promise.race([outcome, new Promise(resolve => setTimeout(resolve, 1_500, 'looking'))])
      expect(first).toBe('looking')
      await a.cluster.leave()
      expect(await outcome).toBe('ABORTED')
      await a.put('x', 1)
      expect(healthOf(a)).toBe('solo')
    },
    testMsMax,
  )
})

describe('a process', () => {
  let built: Bundle

  beforeAll(async () => {
    built = await bundle()
  })
  afterAll(() => built.remove())

  test(
    'that is in a room stays up until it leaves',
    async () => {
      const script = `
        const { open } = await import(${JSON.stringify(built.index)})
        const room = { room: 'r6', secret: ${JSON.stringify(secret)}, bootstrap: true }
        const db = await open({ name: 'x', storage: 'memory', cluster: room })
        setTimeout(() => { console.log('still up'); db.cluster.leave().then(() => console.log('left')) }, 1000).unref()`
      expect(await runText(script)).toEqual({ status: 0, out: 'still up\nleft\n', err: '' })
    },
    testMsMax,
  )
})

describe('a majority that is lost for good', () => {
  test(
    '`recover` and `harmonydb recover` make a new cluster of a survivor, which others join',
    async () => {
      const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(name => openIn(name, roomOf('lost'))))
      await a!.put('x', 1)
      for (const db of [a!, b!, c!]) await until(() => voters(db) === 3, 'three voters')
      await expect(a!.cluster.recover({ confirmDataLoss: true })).rejects.toMatchObject({ code: 'VALIDATION' })
      const { self, clusterId } = c!.cluster.status()
      // Gone at once, as processes that are killed: what they had is deleted.
      c!.cluster.partition(true)
      await Promise.all([b!.close(), a!.close()])
      await until(() => healthOf(c!) === 'no-quorum', 'no quorum')
      await c!.cluster.recover({ confirmDataLoss: true })
      await until(() => c!.cluster.status().leader !== undefined, 'a leader')
      const after = c!.cluster.status()
      expect(after).toMatchObject({ health: 'ok', room: 'lost', role: 'leader' })
      expect(after.self).not.toBe(self)
      expect(after.clusterId).not.toBe(clusterId)
      await c!.put('y', 2)
      const d = await openIn('d', roomOf('lost'))
      expect(await d.getMany(['x', 'y'])).toEqual([1, 2])
      await d.close()
      await c!.close()
      // And a, which was a survivor too, on the command line.
      const dir = folder.in('a')
      const plan = await runHere(['recover', dir])
      expect(plan).toMatchObject({ status: 2, out: '' })
      expect(plan.err).toContain(clusterId)
      const done = await runHere(['recover', dir, '--yes', '--json'])
      expect(done.status).toBe(0)
      expect(JSON.parse(done.out)).toMatchObject({ dir, before: { cluster: clusterId } })
      expect(await runHere(['recover', dir, '--yes'])).toMatchObject({ status: 2, out: '' })
      expect(await runHere(['get', 'x', '--dir', dir])).toMatchObject({ status: 0, out: '1\n' })
      expect(await runHere(['verify', dir])).toMatchObject({ status: 0 })
    },
    testMsMax,
  )
})
