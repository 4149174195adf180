import { describe, expect, test } from 'vitest'
import { cityTable, loadCities, loadedCities } from '../../../demo/city-loader.ts'
import type { CityFile } from '../../../demo/city-records.ts'
import type { Session } from '../../../demo/session.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { createDatabase } from '../../../src/database/database.ts'
import type { Database } from '../../../src/database/types.ts'
import { MemoryCore } from '../../conformance/memory-core.ts'

const cities: CityFile = {
  count: 2_300,
  city: i => ({
    id: i,
    name: `Town ${i % 700}`,
    country: 'XX',
    region: '',
    population: 9_000 - i,
    latitude: 0,
    longitude: 0,
  }),
}

type BatchArguments = Parameters<Database['batch']>

/** The part of a session that a loader uses; `fault` may fail a batch before or after it was carried out. */
function sessionOver(db: Database, fault: (n: number, write: () => Promise<unknown>) => Promise<unknown>): Session {
  let batches = 0
  const faulty: Database = Object.assign(Object.create(db) as Database, {
    batch: (...given: BatchArguments) => fault(batches++, () => db.batch(...given)),
    getEntry: db.getEntry.bind(db),
  })
  return {
    db: faulty,
    alive: true,
    kill() {},
    run: async operation => ({ value: await operation(faulty), ms: 0 }),
  }
}

const sound = (_: number, write: () => Promise<unknown>): Promise<unknown> => write()
const forever = new AbortController().signal
const open = (): Database => createDatabase(new MemoryCore())

async function idsIn(db: Database): Promise<number[]> {
  const entries = await db.scan({ prefix: [cityTable] }, { keysOnly: true }).toArray()
  return entries.map(entry => Number(entry.key[3])).sort((a, b) => a - b)
}

const firstIds = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

describe('loading the cities', () => {
  test('writes exactly the first so many, and says how far it is', async () => {
    const db = open()
    const seen: number[] = []
    const outcome = await loadCities(sessionOver(db, sound), cities, 1_234, forever, p => seen.push(p.loaded))
    expect(outcome).toBe('complete')
    expect(await idsIn(db)).toEqual(firstIds(1_234))
    expect(await loadedCities(db, 'linearizable')).toBe(1_234)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(seen.at(-1)).toBe(1_234)
  })

  test('paused, it goes on where it stopped, in this tab or another', async () => {
    const db = open()
    const stop = new AbortController()
    const pausing = sessionOver(db, async (n, write) => {
      if (n === 1) stop.abort()
      return write()
    })
    expect(await loadCities(pausing, cities, 2_300, stop.signal, () => {})).toBe('paused')
    expect(await loadedCities(db, 'local')).toBe(1_000)
    let batches = 0
    const other = sessionOver(db, (_, write) => {
      batches++
      return write()
    })
    expect(await loadCities(other, cities, 2_300, forever, () => {})).toBe('complete')
    expect(batches).toBe(3)
    expect(await idsIn(db)).toEqual(firstIds(2_300))
  })

  test('two tabs at once share the work and write nothing twice', async () => {
    const db = open()
    let written = 0
    const counting = async (_: number, write: () => Promise<unknown>): Promise<unknown> => {
      const done = await write()
      written++
      return done
    }
    await Promise.all([1, 2].map(() => loadCities(sessionOver(db, counting), cities, 2_300, forever, () => {})))
    expect(await idsIn(db)).toEqual(firstIds(2_300))
    expect(written).toBe(5)
  })

  test('a batch whose outcome is unknown is looked up, not repeated; without a quorum it waits', async () => {
    const db = open()
    const waits: string[] = []
    const shaky = sessionOver(db, async (n, write) => {
      if (n === 1) throw new HarmonyError('NO_QUORUM', 'not now')
      const done = await write()
      if (n === 2) throw new HarmonyError('COMMIT_UNKNOWN', 'the answer was lost')
      return done
    })
    await loadCities(shaky, cities, 2_000, forever, p => waits.push(p.waiting))
    expect(await idsIn(db)).toEqual(firstIds(2_000))
    expect(waits.some(text => text.startsWith('NO_QUORUM'))).toBe(true)
    expect(waits.some(text => text.startsWith('COMMIT_UNKNOWN'))).toBe(true)
  })

  test('without a quorum at the very beginning it waits, and a pause ends the wait', async () => {
    const db = open()
    const sessionOf = (refusals: number): Session => {
      const session = sessionOver(db, sound)
      const read = session.db.getEntry
      return {
        ...session,
        run: operation =>
          session.run(inner =>
            operation(
              Object.assign(Object.create(inner), {
                getEntry: (...given: Parameters<typeof read>) =>
                  refusals-- > 0 ? Promise.reject(new HarmonyError('NO_QUORUM', 'not now')) : read(...given),
              }),
            ),
          ),
      }
    }
    expect(await loadCities(sessionOf(1), cities, 600, forever, () => {})).toBe('complete')
    expect(await idsIn(db)).toEqual(firstIds(600))
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 50)
    expect(await loadCities(sessionOf(1_000), cities, 700, stop.signal, () => {})).toBe('paused')
    expect(await idsIn(db)).toEqual(firstIds(600))
  })

  test('an error that waiting cannot help against ends it', async () => {
    const full = sessionOver(open(), () => Promise.reject(new HarmonyError('QUOTA', 'the disk is full')))
    await expect(loadCities(full, cities, 1_000, forever, () => {})).rejects.toMatchObject({ code: 'QUOTA' })
  })
})
