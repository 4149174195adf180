/** What a command works on: a running `serve` that holds the directory, or else the directory itself, opened in this process. */
import { stat } from 'node:fs/promises'
import { createDatabase, type Database, type HarmonyError, isHarmonyError } from '../../../src/index.ts'
import { directoryOf, openNodeCore } from '../open.ts'
import { connectControl } from './control-client.ts'
import { usage } from './exit-status.ts'
import { readServeFile } from './serve-file.ts'

export interface Place {
  readonly name: string
  readonly dir: string | undefined
}

export interface Target {
  readonly db: Database
  readonly through: 'peer' | 'directory'
  readonly dir: string
  close(): Promise<void>
}

/** A `serve` that is starting holds the directory before it can be reached. */
const startingMsMax = 3_000
const startingPollMs = 100

export function placeOf({ name, dir }: Place): string {
  return directoryOf(dir === undefined ? { name } : { name, storage: { dir } }) as string // never memory
}

/**
 * @param create Whether a directory that is not there is made: a misspelt one should not become a database by being read.
 * @throws CommandExit, HarmonyError
 */
export async function openTarget(place: Place, create: boolean, note: (text: string) => void): Promise<Target> {
  const dir = placeOf(place)
  if (!create && !(await isDirectory(dir))) {
    throw usage(`there is no database in ${dir}; name one with --dir or --name, or write to it first`)
  }
  const deadline = performance.now() + startingMsMax
  for (;;) {
    const running = await reach(dir)
    if (running !== undefined) return running
    try {
      const core = await openNodeCore({
        name: place.name,
        storage: { dir },
        // One command more or less should not make another peer of it; `serve` and applications do.
        refuseDamaged: true,
        onEvent: event => {
          if (event.type === 'repaired') note(`repaired: ${event.message}`)
        },
      })
      const db = createDatabase(core)
      return { db, dir, through: 'directory', close: () => db.close() }
    } catch (error) {
      if (!isHarmonyError(error, 'LOCKED') || performance.now() > deadline) throw error as HarmonyError
    }
    await new Promise(resolve => setTimeout(resolve, startingPollMs))
  }
}

async function reach(dir: string): Promise<Target | undefined> {
  const address = await readServeFile(dir)
  const core = address && (await connectControl(address))
  if (core === undefined) return undefined
  const db = createDatabase(core)
  return { db, dir, through: 'peer', close: () => db.close() }
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true
}
