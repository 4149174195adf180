/**
 * Run as a process of its own, to be killed: `DIR SEED COUNT FROM CACHEBYTES CHECKPOINTBYTES` goes on with a script
 * (`simulation/crash-script.ts`) behind its first FROM writes; prints `open`, the number of writes that are acknowledged whenever that
 * grows, and `done`.
 */
import { writeSync } from 'node:fs'
import { openNodeCore } from '../../platform/node/open.ts'
import { createDatabase } from '../../src/index.ts'
import { makeScript } from '../simulation/crash-script.ts'
import { writeScript } from './local-kit.ts'

const [dir = '', ...numbers] = process.argv.slice(2)
const [seed = 0, count = 0, from = 0, cacheBytes = 0, checkpointBytes = 0] = numbers.map(Number)
const script = makeScript(seed, count)

// Told to the system before the next step: what a killed process was told is not what it told.
const tell = (text: string): void => void writeSync(1, `${text}\n`)

const db = createDatabase(await openNodeCore({ name: 'killed', storage: { dir }, cacheBytes, checkpointBytes }))
tell('open')
await writeScript(db, script, from, count, { onSubmitted() {}, onAcknowledged: writes => tell(String(writes)) })
tell('done')
await db.close()
