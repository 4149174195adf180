/**
 * Run as a process of its own, to be killed: `DIR COUNT WRITERS [CHECKPOINTBYTES]` puts COUNT numbered keys into the database in DIR, each writer
 * waiting for one to be acknowledged before it puts its next, with a checkpoint every so many bytes; prints `open`, then the number of each key that was acknowledged, then `done`.
 */
import { writeSync } from 'node:fs'
import { openNodeCore } from '../../platform/node/open.ts'
import { createDatabase } from '../../src/index.ts'

const [dir = '', count = '', writers = '', checkpointBytes] = process.argv.slice(2)

// Told to the system before the next step: what a killed process was told is not what it told.
const tell = (text: string): void => void writeSync(1, `${text}\n`)

const options = checkpointBytes === undefined ? {} : { checkpointBytes: Number(checkpointBytes) }
const db = createDatabase(await openNodeCore({ name: 'killed', storage: { dir }, ...options }))
tell('open')
let next = 0
async function write(): Promise<void> {
  while (next < Number(count)) {
    const n = next++
    await db.put(['n', n], `value ${n} ${'x'.repeat(n % 500)}`)
    tell(String(n))
  }
}
await Promise.all(Array.from({ length: Number(writers) }, write))
tell('done')
await db.close()
