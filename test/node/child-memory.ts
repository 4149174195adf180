/**
 * Run as a process of its own, whose memory is measured from outside: `DIR CACHEBYTES KEYS VALUEBYTES ROUNDS` opens a database of
 * KEYS keys (those of a fresh one are written first), then gets, puts and scans at random, some at a time; prints `filled` and `done`, and waits to be ended.
 */
import { writeSync } from 'node:fs'
import { openNodeCore } from '../../platform/node/open.ts'
import { seededRandom } from '../../src/base/random.ts'
import { createDatabase } from '../../src/index.ts'

const [dir = '', ...numbers] = process.argv.slice(2)
const [cacheBytes = 0, keys = 0, valueBytes = 0, rounds = 0] = numbers.map(Number)
const tell = (text: string): void => void writeSync(1, `${text}\n`)
const random = seededRandom('memory')

/** Nothing in it can be compressed. */
function value(): Uint8Array {
  const bytes = new Uint8Array(valueBytes)
  random.fill(bytes)
  return bytes
}

const db = createDatabase(
  await openNodeCore({ name: 'memory', storage: { dir }, cacheBytes, checkpointBytes: 4 * 1024 * 1024 }),
)
for (let n = 0; n < keys; n += 64) {
  const ops = Array.from({ length: Math.min(64, keys - n) }, (_, i) => ({
    type: 'put' as const,
    key: ['k', n + i],
    value: value(),
  }))
  await db.batch(ops)
}
tell('filled')
let left = rounds
async function work(): Promise<void> {
  while (left-- > 0) {
    const key = ['k', random.below(Math.max(1, keys))]
    const dice = random.below(20)
    if (dice < 12) await db.get(key)
    else if (dice < 19) await db.put(key, value())
    else for await (const _ of db.scan({ start: key }, { limit: 200 })) void _
  }
}
await Promise.all(Array.from({ length: 16 }, work))
tell(`done ${JSON.stringify(db.status())}`)
process.on('SIGTERM', () => void db.close().then(() => process.exit(0)))
setInterval(() => {}, 1000)
