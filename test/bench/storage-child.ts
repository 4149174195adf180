/**
 * One engine in one round, in a process of its own (`storage.ts` starts it and reads its messages): loads a store and measures the
 * cases on it; or loads one and writes until it is killed; or opens what a killed one left.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { More } from './lines.ts'
import { type Measured, measure, summary } from './measure.ts'
import { buffers, Records, randomOf, uniform } from './records.ts'
import { type CaseName, Inserted, workOf } from './storage-cases.ts'
import { load, measureCases, writersOfCrash } from './storage-run.ts'
import { openHarmony } from './stores/harmonydb.ts'
import { openLevel, openLmdb, openRaw, openSqlite } from './stores/peers.ts'
import { NotInstalled, type OpenedFrom, type Store } from './stores/store.ts'
import { transactionPolicies } from './stores/transaction-policies.ts'
import { checkSum, measureTransactions, transactionCaseNames } from './transaction-cases.ts'

type Opens = Readonly<Record<string, (from: OpenedFrom) => Store | Promise<Store>>>
const ofStorage: Opens = {
  harmonydb: from => openHarmony(from),
  lmdb: openLmdb,
  'better-sqlite3': openSqlite,
  'classic-level': openLevel,
  raw: openRaw,
}
const ofTransactions: Opens = {
  ...Object.fromEntries(
    Object.entries(transactionPolicies).map(([name, policy]) => [
      name,
      (from: OpenedFrom) => openHarmony(from, policy),
    ]),
  ),
  lmdb: openLmdb,
  'better-sqlite3': openSqlite,
}
const opens: Opens = { ...ofStorage, ...ofTransactions }
export const engineNames: readonly string[] = Object.keys(ofStorage)
export const embeddedEngineNames: readonly string[] = Object.keys(ofTransactions)

/** What `raw` can do, being no engine. */
export const rawCases: readonly string[] = ['put-1', 'put-64']

export interface Task extends OpenedFrom {
  readonly kind: 'probe' | 'measure' | 'transact' | 'write-until-killed' | 'reopen'
  readonly engine: string
  readonly cases: readonly string[]
  readonly records: number
  readonly round: number
  readonly seconds: number
}

export type Report =
  | { readonly type: 'progress'; readonly text: string }
  | { readonly type: 'measured'; readonly case: string; readonly engine: string; readonly measured: Measured & More }
  /** Nothing more comes; of `write-until-killed`: it may be killed from now on. */
  | { readonly type: 'ready' }
  | { readonly type: 'failed'; readonly message: string; readonly notInstalled: boolean }

/** Of a key and a value. */
const recordBytes = 116
/** The least that HarmonyDB takes. */
const cacheBytesMin = 1024 * 1024

const tell = (report: Report): Promise<void> => new Promise(resolve => process.send!(report, () => resolve()))

export async function runChild(task: Task): Promise<void> {
  try {
    await { probe, measure: measureAll, transact, 'write-until-killed': writeUntilKilled, reopen }[task.kind](task)
    await tell({ type: 'ready' })
  } catch (error) {
    const message = error instanceof Error ? (error instanceof NotInstalled ? error.message : error.stack) : undefined
    await tell({ type: 'failed', message: message ?? String(error), notInstalled: error instanceof NotInstalled })
  }
  // Native modules may keep the process.
  process.exit()
}

const openIn = (task: Task, dir: string): Store | Promise<Store> => {
  mkdirSync(dir, { recursive: true })
  return opens[task.engine]!({ ...task, dir })
}

async function probe(task: Task): Promise<void> {
  const store = await openIn(task, task.dir)
  await store.put(Buffer.alloc(16, 'k'), Buffer.alloc(100, 'v'))
  await store.close()
}

async function measureAll(task: Task): Promise<void> {
  const wanted = (name: CaseName): boolean => task.cases.includes(name)
  const records = new Records(task.records, buffers)
  const isRaw = task.engine === 'raw'
  if (!isRaw) {
    const scratch = join(task.dir, 'scratch')
    if (wanted('bulk-load')) {
      await (await loadIn(task, scratch, records, Math.min(10_000, records.count))).store.close()
      rmSync(scratch, { recursive: true, force: true })
    }
    const loaded = await loadIn(task, join(task.dir, 'store'), records, records.count)
    if (wanted('bulk-load')) await measured('bulk-load', task.engine, loaded.measured)
    const closingMs = performance.now()
    await loaded.store.close()
    const duration = Float32Array.of(performance.now() - closingMs)
    if (wanted('disk')) {
      const closed = summary(duration, duration[0]! / 1000, 1)
      await measured('disk', task.engine, { ...closed, ...sizeOf(join(task.dir, 'store')) })
    }
  }
  const store = await openIn(task, join(task.dir, 'store'))
  await measureCases({
    store,
    records,
    round: task.round,
    seconds: task.seconds,
    wanted,
    isRaw,
    onMeasured: (name, result, isTogether) =>
      measured(name, isTogether && !isRaw ? `${task.engine}-transaction` : task.engine, result),
  })
  await store.close()
  if (!isRaw && wanted('get-8x')) await measureWithSmallCache(task, records)
}

/** Gets from a store that may keep an eighth of its data in memory. The system's own cache is as large as it likes for all. */
async function measureWithSmallCache(task: Task, records: Records): Promise<void> {
  const cacheBytes = Math.max(cacheBytesMin, Math.floor((records.count * recordBytes) / 8))
  const store = await opens[task.engine]!({ ...task, dir: join(task.dir, 'store'), cacheBytes })
  const work = workOf('get', { store, records, inserted: new Inserted(records), seed: task.round }, store.put)
  await measured('get-8x', task.engine, await measure(work, 1, task.seconds))
  await store.close()
}

async function transact(task: Task): Promise<void> {
  const records = new Records(task.records, buffers)
  const { store } = await loadIn(task, task.dir, records, records.count)
  let increments = 0
  for (const [i, name] of transactionCaseNames.entries()) {
    if (!task.cases.includes(name)) continue
    const result = await measureTransactions(name, store, records, task.round * 1000 + i, task.seconds)
    increments += result.increments
    await measured(name, task.engine, result)
  }
  await checkSum(records, store.get, increments)
  await store.close()
}

const measured = (name: string, engine: string, result: Measured & More): Promise<void> =>
  tell({ type: 'measured', case: name, engine, measured: result })

async function loadIn(task: Task, dir: string, records: Records, count: number) {
  const store = await openIn(task, dir)
  return { store, measured: await load(store, records, count) }
}

function sizeOf(folder: string): { bytes: number; fileBytes: number } {
  let [bytes, fileBytes] = [0, 0]
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const { blocks, size } = statSync(join(entry.parentPath, entry.name))
    fileBytes += size
    // Where the system does not tell blocks, the length has to do.
    bytes += blocks > 0 ? blocks * 512 : size
  }
  return { bytes, fileBytes }
}

async function writeUntilKilled(task: Task): Promise<void> {
  const records = new Records(task.records, buffers)
  const { store } = await loadIn(task, task.dir, records, records.count)
  const pick = uniform(randomOf(task.round), records.count)
  const endMs = performance.now() + 300
  let isTold = false
  for (let version = 1; ; version++) {
    const putOne = async (): Promise<void> => {
      const record = pick()
      await store.put(records.key(record), records.value(record, version))
    }
    await Promise.all(Array.from({ length: writersOfCrash }, putOne))
    // Synchronous engines leave no turn otherwise.
    await new Promise(setImmediate)
    if (isTold || performance.now() < endMs) continue
    isTold = true
    await tell({ type: 'ready' })
  }
}

async function reopen(task: Task): Promise<void> {
  const records = new Records(task.records, buffers)
  // Its code is in memory before the clock runs, as in the program that crashed.
  const other = await openIn(task, join(task.dir, '..', `${task.engine}-warm`))
  await other.close()
  const begunMs = performance.now()
  const store = await openIn(task, task.dir)
  const value = await store.get(records.key(0))
  const duration = Float32Array.of(performance.now() - begunMs)
  records.check(0, value, true)
  for (let record = 0; record < records.count; record += Math.ceil(records.count / 5000)) {
    records.check(record, await store.get(records.key(record)), true)
  }
  await measured('crash-start', task.engine, summary(duration, duration[0]! / 1000, 1))
  await store.close()
}
