/** Runs in the page: what `open.spec.ts` does there, through the public entry. */
import { isHarmonyError, open } from '../../platform/browser/page/entry.ts'
import type { Database, DatabaseEvent, OpenOptions, Signaling } from '../../src/database/types.ts'
import { databaseSuite } from '../conformance/database-suite.ts'
import { lockingSuite } from '../conformance/locking-suite.ts'
import { preparedSuite } from '../conformance/prepared-suite.ts'
import { transactionSuite } from '../conformance/transaction-suite.ts'
import { watchSuite } from '../conformance/watch-suite.ts'
import { type Outcome, runAll } from './vitest-in-page.ts'

const databases: Database[] = []
const workers: Worker[] = []
export const events: DatabaseEvent[] = []

/** A worker of the test's own, so that the test can end it. */
const ownWorker = () => {
  const worker = new Worker(new URL('../../platform/browser/worker/entry.ts', import.meta.url), { type: 'module' })
  workers.push(worker)
  return worker
}

/** As in a browser that has the file system without synchronous access to it. */
const olderWorker = () => {
  const entry = new URL('../../platform/browser/worker/entry.ts', import.meta.url).href
  const source = `delete FileSystemFileHandle.prototype.createSyncAccessHandle\nawait import(${JSON.stringify(entry)})`
  // What comes before the import is done is not lost: the page's first message waits in a queue that the entry opens.
  const early = `const early = []; const keep = e => early.push(e); addEventListener('message', keep)\n`
  const late = `\nremoveEventListener('message', keep); for (const { data, ports } of early) dispatchEvent(new MessageEvent('message', { data, ports: [...ports] }))`
  return new Worker(URL.createObjectURL(new Blob([early + source + late], { type: 'text/javascript' })), {
    type: 'module',
  })
}

export type Choice = 'auto' | 'page' | 'own' | 'older' | 'missing' | 'nothing' | 'silent'

export async function start(options: Omit<OpenOptions, 'worker'>, choice: Choice = 'auto'): Promise<string> {
  const worker = {
    auto: 'auto' as const,
    page: false as const,
    own: ownWorker,
    older: olderWorker,
    missing: () => new Worker(new URL('/no-such-worker.js', location.href), { type: 'module' }),
    nothing: () => undefined,
    silent: () => new Worker(URL.createObjectURL(new Blob([''], { type: 'text/javascript' }))),
  }[choice]
  const db = await open({ ...options, worker, onEvent: event => events.push(event) })
  databases.push(db)
  return db.cluster.status().self
}

/** As `start`, for failures: their code and message. */
export async function startFailing(options: Omit<OpenOptions, 'worker'>, choice: Choice = 'auto') {
  try {
    await start(options, choice)
  } catch (error) {
    return isHarmonyError(error) ? `${error.code}: ${error.message}` : `? ${error}`
  }
  return 'opened'
}

const database = (at = 0) => databases.at(at)!

export const put = async (key: string, value: unknown, at?: number) => void (await database(at).put(key, value))
export const get = (key: string, at?: number) => database(at).get(key)
export const close = (at?: number) => database(at).close()
export const slots = (name: string) => JSON.parse(sessionStorage.getItem(`harmonydb/${name}/slots`) ?? '[]') as number[]

export const kind = (at?: number) => database(at).status().storage.kind
/** 1: the log was never cut. */
export const logBegins = (at?: number) => database(at).status().log.firstIndex
export const checkpoints = (at?: number) => database(at).status().storage.checkpoints
export const databaseNames = async () => (await indexedDB.databases()).map(({ name }) => name)

/** Enough for a checkpoint when it is closed. */
export async function fill(count: number): Promise<void> {
  for (let from = 0; from < count; from += 100) {
    const ops = Array.from({ length: Math.min(100, count - from) }, (_, i) => ({
      type: 'put' as const,
      key: ['row', from + i],
      value: { n: from + i, text: 'x'.repeat(1000) },
    }))
    await database(-1).batch(ops)
  }
}

export async function filled(): Promise<number> {
  const rows = await database(-1).scan<{ n: number; text: string }>({ prefix: 'row' }).toArray()
  for (const [i, { value }] of rows.entries()) {
    if (value.n !== i || value.text.length !== 1000) throw new Error(`row ${i} is another one`)
  }
  return rows.length
}

/** Begins to open, and ends the worker after a while, whatever it is doing. */
export async function startAndKill(options: Omit<OpenOptions, 'worker'>, afterMs: number): Promise<void> {
  // Nobody tells the page that the worker is gone as long as it has not said its first word: that takes half a minute.
  open({ ...options, worker: ownWorker }).then(
    db => db.close(),
    () => {},
  )
  await new Promise(resolve => setTimeout(resolve, afterMs))
  workers.pop()?.terminate()
}

/** Writes until the worker is ended; how many writes were acknowledged. */
export async function putUntilKilled(afterMs: number): Promise<number> {
  const db = database(-1)
  let acknowledged = 0
  let alive = true
  const writer = (async () => {
    while (alive) {
      try {
        await db.put(['row', acknowledged], { n: acknowledged, text: 'x'.repeat(1000) })
      } catch {
        return
      }
      acknowledged++
    }
  })()
  await new Promise(resolve => setTimeout(resolve, afterMs))
  workers.pop()?.terminate()
  await writer
  alive = false
  return acknowledged
}

/** An application's own way to introduce peers: here, another BroadcastChannel. */
const ownSignaling: Signaling = {
  connect: async (room, self, on) => {
    const channel = new BroadcastChannel(`own ${room}`)
    channel.onmessage = ({ data: { to, from, message } }) => {
      if (to === self || (to === '*' && from !== self)) on(from, message)
    }
    return {
      send: (to, message) => channel.postMessage({ to, from: self, message }),
      close: () => channel.close(),
    }
  },
}

export async function join(room: string, own: boolean) {
  await database().cluster.join({ room, secret: 'the secret of the room', ...(own ? { signaling: ownSignaling } : {}) })
  return database().cluster.status()
}

/** Links the first two databases of this page over a connection of the page's own, and by nothing else. */
export async function joinByOwnConnection(room: string): Promise<number> {
  const silent: Signaling = { connect: async () => ({ send() {}, close() {} }) }
  const [first, second] = [new RTCPeerConnection(), new RTCPeerConnection()]
  first.onicecandidate = ({ candidate }) => void second.addIceCandidate(candidate ?? undefined)
  second.onicecandidate = ({ candidate }) => void first.addIceCandidate(candidate ?? undefined)
  first.createDataChannel("the application's own")
  await first.setLocalDescription()
  await second.setRemoteDescription(first.localDescription!)
  await second.setLocalDescription()
  await first.setRemoteDescription(second.localDescription!)
  const [a, b] = [database(0).cluster, database(1).cluster]
  await a.adopt(b.status().self, first)
  const early = await codeOf(a.adopt(b.status().self, first))
  const options = { room, secret: 'the secret of the room', signaling: silent }
  await a.join({ ...options, bootstrap: true })
  const joining = b.join({ ...options, bootstrap: false })
  await b.adopt(a.status().self, second)
  await joining
  const again = [early, await codeOf(b.adopt(a.status().self, second))]
  if (again.some(code => code !== 'VALIDATION')) throw new Error(`adopted twice: ${again}`)
  return b.members().length
}

/** The code of its failure. */
export const adoptNothing = () => codeOf(database(0).cluster.adopt('a'.repeat(32), { close: 1 }))

export const adopted = () => [...database().status().adopted].sort()
/** What can be cloned of the events. */
export const told = () => events.map(event => (event.type === 'error' ? { type: event.type } : event))

/** Takes the lock by force; the outcomes of writes, each once, until they fail for good. */
export async function stealLock(name: string): Promise<string[]> {
  const stolen = new Promise<void>(resolve => {
    navigator.locks.request(name, { steal: true }, () => {
      resolve()
      return new Promise(() => {})
    })
  })
  await stolen
  const codes = new Set<string>()
  while (!codes.has('STORAGE_LOST')) codes.add(await codeOf(database().put('lamp', 4)))
  return [...codes, await codeOf(database().get('lamp', { consistency: 'local' }))]
}

export const members = () => database().cluster.members()
export const status = () => database().cluster.status()

/** The code of a call's failure, and whether the call may have taken effect. */
const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => 'done',
    error => (isHarmonyError(error) ? `${error.code}${error.maybeCommitted ? ' maybe' : ''}` : `? ${error}`),
  )

export async function killWorker() {
  const db = database()
  const pending = [codeOf(db.put('late', 1)), codeOf(db.get('late'))]
  workers[0]?.terminate()
  return { pending: await Promise.all(pending), later: [await codeOf(db.put('k', 1)), await codeOf(db.get('k'))] }
}

export async function leavePage() {
  dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))
  return [await codeOf(database().get('k'))]
}

export const peek = (key: string, at?: number) => database(at).peek(key)

/** Peeks at a counter while the worker counts, and at keys that come and go beside it. Tells what was seen, and what was wrong with it. */
export async function peekWhileWriting(ms: number) {
  const db = database()
  const found = { peeks: 0, undefineds: 0, puts: 0, wrong: [] as string[] }
  const endMs = performance.now() + ms
  const long = 'long '.repeat(5000)
  let acknowledged = 0
  await db.put('counter', { n: 0, text: '' })
  const write = async () => {
    for (let n = 1; performance.now() < endMs; n++) {
      await db.batch([
        { type: 'put', key: 'counter', value: { n, text: n % 3 === 0 ? long : 'x'.repeat(n % 200) } },
        { type: n % 2 === 0 ? 'put' : 'delete', key: ['beside', n % 300], value: n },
      ])
      acknowledged = n
      found.puts = n
    }
  }
  const read = async () => {
    let newest = 0
    while (performance.now() < endMs) {
      for (let i = 0; i < 200; i++) {
        const least = acknowledged
        const entry = db.peek<{ n: number; text: string }>('counter')
        found.peeks++
        if (entry === undefined) {
          found.undefineds++
          continue
        }
        if (entry === null) found.wrong.push('it is absent')
        else {
          const { n, text } = entry.value
          if (n < least || n < newest) found.wrong.push(`${n} was seen after ${newest}, ${least} was acknowledged`)
          if (n > 0 && text !== (n % 3 === 0 ? long : 'x'.repeat(n % 200))) found.wrong.push(`the text of ${n} is torn`)
          newest = n
        }
      }
      await new Promise(resolve => setTimeout(resolve))
    }
  }
  await Promise.all([write(), read()])
  return found
}

/** More than the smallest cache: what `peek` finds of it. */
export async function peekAtMuch(count: number) {
  const db = database()
  for (let from = 0; from < count; from += 500) {
    const ops = Array.from({ length: 500 }, (_, i) => ({
      type: 'put' as const,
      key: ['much', from + i],
      value: crypto.getRandomValues(new Uint8Array(900)).fill((from + i) & 0xff, 0, 10),
    }))
    await db.batch(ops)
  }
  const found = { right: 0, undefineds: 0, wrong: 0 }
  for (let i = 0; i < count; i++) {
    const entry = db.peek<Uint8Array>(['much', i])
    if (entry === undefined) found.undefineds++
    else if (entry?.value[0] === (i & 0xff) && entry.value.length === 900) found.right++
    else found.wrong++
  }
  return found
}

export const locksHeld = async () =>
  ((await navigator.locks.query()).held ?? []).flatMap(({ name = '' }) => (name.startsWith('harmonydb/') ? [name] : []))

let suites = 0

const rules = {
  'the database': databaseSuite,
  transactions: (name: string, opened: () => Promise<Database>) => transactionSuite(name, opened, 10),
  locks: lockingSuite,
  'prepared transactions': preparedSuite,
  watches: watchSuite,
}

export function suite(
  what: keyof typeof rules,
  storage: 'memory' | 'indexeddb' | 'opfs',
  where: 'worker' | 'page',
): Promise<Outcome[]> {
  const worker = where === 'worker' ? 'auto' : false
  rules[what](`${what}: ${storage}, in the ${where}`, () => open({ name: `suite ${suites++}`, storage, worker }))
  return runAll()
}
