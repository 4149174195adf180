/** A task, in the realm from which the engine is called: `storage-child.ts` for browsers. */
import { summary } from '../measure.ts'
import { byteArrays, Records, randomOf, uniform } from '../records.ts'
import { load, measureCases, writersOfCrash } from '../storage-run.ts'
import { createDexieEngine } from './stores/dexie.ts'
import type { Engine } from './stores/engine.ts'
import { createHarmonyEngine } from './stores/harmonydb.ts'
import { createIndexedDbEngine } from './stores/indexeddb.ts'
import { createPgliteEngine } from './stores/pglite.ts'
import { createSqliteEngine } from './stores/sqlite.ts'
import type { BrowserReport, BrowserTask, Ending, Place } from './task.ts'

const engines: Readonly<Record<string, (place: Place) => Promise<Engine>>> = {
  harmonydb: createHarmonyEngine,
  indexeddb: createIndexedDbEngine,
  dexie: createDexieEngine,
  'sqlite-wasm': createSqliteEngine,
  pglite: createPgliteEngine,
}

const tasks = { load: loadAll, measure: measureLoaded, 'write-until-killed': writeUntilKilled, reopen }

type Tell = (report: BrowserReport) => Promise<void>

/** So many records are loaded for practice before loading is measured. */
const practiceRecords = 5000

export async function runTask(task: BrowserTask, tell: Tell): Promise<Ending> {
  try {
    const engine = await engines[task.engine]!(task.place)
    await tasks[task.kind](task, engine, tell)
    return { type: 'done' }
  } catch (error) {
    const { message = String(error), stack = '' } = error instanceof Error ? error : {}
    return { type: 'failed', message: stack.includes(message) ? stack : `${message}\n${stack}` }
  }
}

async function loadAll(task: BrowserTask, engine: Engine, tell: Tell): Promise<void> {
  const records = new Records(task.records, byteArrays)
  const isMeasured = task.cases.includes('bulk-load')
  if (isMeasured) {
    const practice = await engine.open('practice')
    await load(practice, records, Math.min(practiceRecords, records.count))
    await practice.close()
  }
  const store = await engine.open('store')
  const measured = await load(store, records, records.count)
  if (isMeasured) await tell({ type: 'measured', case: 'bulk-load', engine: task.engine, measured })
  await store.close()
}

async function measureLoaded(task: BrowserTask, engine: Engine, tell: Tell): Promise<void> {
  const { round, seconds } = task
  const store = await engine.open('store')
  await measureCases({
    store,
    records: new Records(task.records, byteArrays),
    round,
    seconds,
    wanted: name => task.cases.includes(name),
    isRaw: false,
    onMeasured: (name, measured, isTogether) =>
      tell({ type: 'measured', case: name, engine: isTogether ? `${task.engine}-transaction` : task.engine, measured }),
  })
  await store.close()
}

/** Never ends by itself. */
async function writeUntilKilled(task: BrowserTask, engine: Engine, tell: Tell): Promise<void> {
  const records = new Records(task.records, byteArrays)
  const store = await engine.open('store')
  await load(store, records, records.count)
  const pick = uniform(randomOf(task.round), records.count)
  const writer = async (): Promise<void> => {
    for (let version = 1; ; version++) {
      const record = pick()
      await store.put(records.key(record), records.value(record, version))
    }
  }
  const writers = Array.from({ length: writersOfCrash }, writer)
  setTimeout(() => void tell({ type: 'writing' }), 300)
  await Promise.all(writers)
}

async function reopen(task: BrowserTask, engine: Engine, tell: Tell): Promise<void> {
  const records = new Records(task.records, byteArrays)
  const begunMs = performance.now()
  const store = await engine.open('store')
  const value = await store.get(records.key(0))
  const duration = Float32Array.of(performance.now() - begunMs)
  records.check(0, value, true)
  for (let record = 0; record < records.count; record += Math.ceil(records.count / 500)) {
    records.check(record, await store.get(records.key(record)), true)
  }
  const measured = summary(duration, duration[0]! / 1000, 1)
  await tell({
    type: 'measured',
    case: task.cases.includes('crash-start') ? 'crash-start' : 'start',
    engine: task.engine,
    measured,
  })
  await store.close()
}
