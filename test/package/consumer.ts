/** What the consumers of the packed package look like: their files, as texts. */

export const manifest = JSON.stringify({ name: 'consumer', private: true, type: 'module' })

/** Opens, writes, reads, closes, opens again: durable, and through the public surface alone. */
export const nodeProgram = `
import { isHarmonyError, open } from 'harmonydb'

const db = await open({ name: 'shop' })
const { version } = await db.put(['stock', 'lamp'], { count: 3, at: new Date(0), tags: new Set(['a']) })
try {
  await db.put(['stock', 'lamp'], 0, { ifVersion: null })
} catch (error) {
  if (!isHarmonyError(error, 'CONFLICT')) throw error
}
await db.batch([{ type: 'put', key: ['stock', 'desk'], value: 1n }], { check: [{ key: ['stock', 'lamp'], version }] })
await db.close()

const again = await open('shop')
const lamp = await again.get(['stock', 'lamp'])
const entries = await again.scan({ prefix: 'stock' }).toArray()
await again.close()
console.log(JSON.stringify({
  count: lamp.count, at: lamp.at.getTime(), tag: lamp.tags.has('a'),
  keys: entries.map(({ key }) => key), desk: String(entries[0].value),
}))
`

/** A partition, on virtual time, twice the same. */
export const simulatedProgram = `
import { isHarmonyError, simulate } from 'harmonydb/simulation'

async function run() {
  const cluster = simulate(1)
  const [a, b] = await cluster.peers(3)
  await cluster.run(a.db.put('k', 1))
  cluster.isolate('p0')
  await cluster.advance(5000)
  const refused = await cluster.run(a.db.put('k', 0)).catch(error => (isHarmonyError(error) ? error.code : 'other'))
  await cluster.run(b.db.put('k', 2))
  cluster.heal()
  await cluster.advance(60_000)
  return { refused, value: await cluster.run(a.db.get('k')), hash: cluster.hash }
}
const [{ hash, ...first }, second] = [await run(), await run()]
console.log(JSON.stringify({ ...first, again: hash === second.hash }))
`

/** In memory nothing native is needed; what is durable says what it needs. */
export const withoutNativePackages = `
import { open } from 'harmonydb'

const db = await open({ name: 'fleeting', storage: 'memory' })
await db.put('a', 1)
const value = await db.get('a')
const joined = await db.cluster.join({ room: 'r', secret: 's'.repeat(32), signaling: 'ws://127.0.0.1:1' }).catch(e => e)
await db.close()
const durable = await open('durable').catch(e => e)
console.log(JSON.stringify({
  value, joining: [joined.code, joined.message], opening: [durable.code, durable.message],
}))
process.exit()
`

export const typedProgram = `
import {
  type Database, type Entry, type HarmonyError, isHarmonyError, type Key, open, type OpenOptions, type Prepared, type PreparedTransaction,
} from 'harmonydb'

interface User { readonly name: string }

export async function main(options: OpenOptions): Promise<User | undefined> {
  await using db: Database = await open(options)
  const key: Key = ['user', 1]
  await db.put(key, { name: 'Ada' } satisfies User)
  const entry: Entry<User> | undefined = await db.getEntry<User>(key)
  for await (const { key: found, version } of db.scan({ prefix: 'user' })) console.log(found.length, version.length)
  try {
    await db.cluster.join({ room: 'r', secret: 's', signaling: ['ws://localhost:1'], bootstrap: false })
  } catch (error) {
    if (isHarmonyError(error, 'NO_QUORUM')) console.log(error.retryable, error.code satisfies string)
  }
  // @ts-expect-error a key has no objects in it
  await db.get([{ a: 1 }])
  // @ts-expect-error there is no such level
  await db.get('a', { consistency: 'wishful' })
  // @ts-expect-error a version is a string
  await db.put('a', 1, { ifVersion: 3 })
  // @ts-expect-error the room is missing
  await db.cluster.join({ secret: 's' })
  // @ts-expect-error there is no such code
  isHarmonyError(new Error('x'), 'NO_SUCH_CODE')
  const tx = await db.begin()
  tx.put(key, { name: 'Eve' } satisfies User)
  const { id }: Prepared = await tx.prepare({ holdMs: 1000 })
  const waiting: PreparedTransaction[] = await db.prepared.list()
  const version: string = waiting.length > 1 ? '' : (await db.prepared.commit(id)).version
  // @ts-expect-error the function's transaction is committed by it, and not prepared
  await db.transaction(inner => inner.prepare())
  console.log(version)
  const stopped: Promise<void> = db.close()
  await stopped
  const values: (number | undefined)[] = await db.getMany<number>(['a', ['b', 2n, true, new Uint8Array(1)]])
  console.log(values, db.status().storage.keys, db.cluster.members().map(member => member.id))
  return entry?.value
}

export type Same = HarmonyError
declare const console: { log(...values: unknown[]): void }
`

export const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>consumer</title><link rel="icon" href="data:,"></head>
<body><script type="module" src="/main.js"></script></body></html>
`

/** The same page with the policy of a careful site: no blob, no eval. */
export const strictPage = page.replace(
  '<title>',
  `<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src data:"><title>`,
)

const browserProgram = (imports: string, options: string): string => `
import { isHarmonyError, open } from 'harmonydb'
${imports}
async function run() {
  const db = await open(${options})
  const before = await db.get(['visits'])
  await db.put(['visits'], (before ?? 0) + 1)
  const after = await db.get(['visits'])
  const refused = await db.put('f', () => {}).catch(error => isHarmonyError(error, 'INVALID_VALUE'))
  const { storage } = db.status()
  await db.close()
  return { before: before ?? null, after, refused, storage: storage.kind }
}
run().then(
  result => { document.title = JSON.stringify(result) },
  error => { document.title = 'failed: ' + (error.stack ?? error) },
)
`

export const pages: Readonly<Record<string, { readonly html: string; readonly main: string }>> = {
  'the inlined worker': { html: page, main: browserProgram('', `{ name: 'app' }`) },
  'a worker of its own, under script-src self': {
    html: strictPage,
    main: browserProgram(
      `import DatabaseWorker from 'harmonydb/worker?worker'`,
      `{ name: 'app', worker: () => new DatabaseWorker() }`,
    ),
  },
  'no worker': { html: strictPage, main: browserProgram('', `{ name: 'app', worker: false }`) },
}
