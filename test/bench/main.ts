/** `npm run bench -- SUITE [options]`: reads the arguments, runs the suite, prints what it found. */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from './report.ts'
import { endRunning, type Line, runStorage } from './storage.ts'
import { type CaseName, caseNames } from './storage-cases.ts'
import { engineNames } from './storage-child.ts'

const help = `npm run bench -- storage [options]

Compares HarmonyDB (the build in dist/) with other embedded stores in Node, each through its public interface, all with durable writes.

  --json            one JSON line for each case and engine: suite, case, engine, opsPerSecond, p50Ms, p99Ms, and more
  --records N       records in the store (default 100000; may be given again)
  --all             100000 and 1000000 records
  --case NAME       only this case (may be given again)
  --engine NAME     only this engine (may be given again)
  --rounds N        rounds; figures are medians over them (default 3)
  --seconds N       how long each case is measured in a round (default 1), after a quarter of that to warm up
  --dir DIR         where the data goes (default: a folder in node_modules/.cache; not a RAM disk, or durable writes cost nothing)
  --module FILE     the HarmonyDB to measure (default: dist/node/index.js)
  --help            this

Engines: ${engineNames.join(', ')}
  Those that are not installed are left out. better-sqlite3: npm ci --prefix test/bench/peers (fetches a binary, or compiles one).
  better-sqlite3-transaction: 64 callers' puts in a hand-made transaction. raw: write + fdatasync into a file that is already there.

Cases: ${caseNames.join(', ')}
  put-1, put-64     durable puts of new records, from 1 caller and from 64
  bulk-load         all records in batches of 1000, eight under way; each is durable
  get, get-absent   one caller, uniform keys that are there, and that are not
  scan-100          the 100 records from a key on, materialised
  ycsb-a … ycsb-f   64 callers, Zipf keys (0.99), durable writes
  crash-start       kill -9 while 64 callers write; from opening to the first answered get
  disk              bytes that the files take after loading and closing (the times are those of closing)
  Not there yet: a data set eight times the cache. HarmonyDB has no cacheBytes to set.

Keys have 16 bytes, values 100 that compress to about half. Every value that is read is checked.`

const suites: readonly string[] = ['storage']
const recordsMax = 10_000_000

export interface Surroundings {
  /** The checkout. */
  readonly root: string
  readonly childScript: string
  /** A folder of this run's own. */
  readonly scratchDir: string
}

/** @returns The exit status. */
export async function main({ root, childScript, scratchDir }: Surroundings, args: readonly string[]): Promise<number> {
  const parsed = parse(args)
  if (typeof parsed === 'string') {
    console.error(`${parsed}\nnpm run bench -- --help tells more`)
    return 2
  }
  const { values } = parsed
  if (values.help === true) {
    console.log(help)
    return 0
  }
  const progress = (text: string): void => console.error(text)
  const modulePath = resolve(root, values.module ?? 'dist/node/index.js')
  if (values.module === undefined) warnIfStale(root, modulePath, progress)
  const dir = values.dir === undefined ? join(scratchDir, 'data') : join(resolve(values.dir), 'harmonydb-bench')
  const onSignal = (): never => {
    endRunning()
    rmSync(dir, { recursive: true, force: true })
    rmSync(scratchDir, { recursive: true, force: true })
    process.exit(1)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  let failures = 0
  const all: Line[] = []
  for (const records of parsed.records) {
    const outcome = await runStorage({
      root,
      childScript,
      modulePath,
      dir,
      engines: values.engine ?? engineNames,
      isChosen: values.engine !== undefined,
      cases: (values.case as CaseName[] | undefined) ?? caseNames,
      records,
      rounds: parsed.rounds,
      seconds: parsed.seconds,
      progress,
    })
    failures += outcome.failures
    all.push(...outcome.lines)
    if (values.json === true) for (const line of outcome.lines) console.log(JSON.stringify(line))
    else if (outcome.lines.length > 0) {
      console.log(`\n${records} records, medians of ${parsed.rounds}; (n×): HarmonyDB is n times as good\n`)
      console.log(table(outcome.lines))
    }
  }
  rmSync(dir, { recursive: true, force: true })
  if (all.length === 0) progress('nothing was measured')
  return failures === 0 && all.length > 0 ? 0 : 1
}

function parse(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        all: { type: 'boolean' },
        records: { type: 'string', multiple: true },
        case: { type: 'string', multiple: true },
        engine: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        dir: { type: 'string' },
        module: { type: 'string' },
      },
    })
    if (values.help !== true) {
      if (positionals.length !== 1) return `name one suite: ${suites.join(', ')}`
      if (!suites.includes(positionals[0]!))
        return `there is no suite ${positionals[0]}; there is: ${suites.join(', ')}`
    }
    for (const name of values.case ?? []) {
      if (!(caseNames as readonly string[]).includes(name))
        return `there is no case ${name}; there are: ${caseNames.join(', ')}`
    }
    for (const name of values.engine ?? []) {
      if (!engineNames.includes(name)) return `there is no engine ${name}; there are: ${engineNames.join(', ')}`
    }
    const records = (values.all === true ? ['100000', '1000000'] : (values.records ?? ['100000'])).map(Number)
    const rounds = Number(values.rounds ?? 3)
    const seconds = Number(values.seconds ?? 1)
    if (!records.every(n => Number.isInteger(n) && n >= 100 && n <= recordsMax)) {
      return `--records takes whole numbers from 100 to ${recordsMax}`
    }
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) return '--rounds takes a whole number from 1 to 100'
    if (!(seconds >= 0.01 && seconds <= 3600)) return '--seconds takes a number from 0.01 to 3600'
    return { values, records, rounds, seconds }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** A build of yesterday's source measures yesterday's code. */
function warnIfStale(root: string, modulePath: string, progress: (text: string) => void): void {
  const builtMs = statSync(modulePath, { throwIfNoEntry: false })?.mtimeMs
  if (builtMs === undefined) return
  for (const folder of ['src', 'platform']) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || statSync(join(entry.parentPath, entry.name)).mtimeMs <= builtMs) continue
      return progress(`${folder}/ is newer than dist/, which is what is measured: npm run build`)
    }
  }
}
