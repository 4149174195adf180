/** `npm run bench -- SUITE [options]`: reads the arguments, runs the suite, prints what it found. */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { endEndurance, enduranceCaseNames, enduranceEngineNames, runEndurance } from './endurance.ts'
import type { Line } from './lines.ts'
import { endReplication, replicationEngineNames, runReplication } from './replication.ts'
import { replicationCaseNames } from './replication-cases.ts'
import { table } from './report.ts'
import { endRunning, runStorage } from './storage.ts'
import { browserCaseNames, browserEngineNames, endBrowser, runStorageBrowser } from './storage-browser.ts'
import { caseNames } from './storage-cases.ts'
import { engineNames } from './storage-child.ts'
import type { Outcome, SuiteOptions } from './suite-options.ts'
import { endThreads, runThreads, threadCaseNames, threadEngineNames } from './threads.ts'
import { endTransactions, runTransactions, transactionsCaseNames, transactionsEngineNames } from './transactions.ts'

interface Suite {
  readonly caseNames: readonly string[]
  readonly engineNames: readonly string[]
  readonly records: number
  readonly seconds: number
  /** Default: 3. */
  readonly rounds?: number
  /** Of HarmonyDB, in the checkout; empty: it is in the suite. */
  readonly modulePath: string
  /** What the others are compared with. */
  readonly compared: string
  run(options: SuiteOptions): Promise<Outcome>
  end(): void
}

const suites: Readonly<Record<string, Suite>> = {
  storage: {
    caseNames,
    engineNames,
    records: 100_000,
    seconds: 1,
    modulePath: 'dist/node/index.js',
    compared: 'HarmonyDB',
    run: runStorage,
    end: endRunning,
  },
  'storage-browser': {
    caseNames: browserCaseNames,
    engineNames: browserEngineNames,
    records: 10_000,
    seconds: 0.3,
    modulePath: 'dist/browser/index.js',
    compared: 'HarmonyDB',
    run: runStorageBrowser,
    end: endBrowser,
  },
  transactions: {
    caseNames: transactionsCaseNames,
    engineNames: transactionsEngineNames,
    records: 10_000,
    seconds: 2,
    modulePath: 'dist/node/index.js',
    compared: 'HarmonyDB',
    run: runTransactions,
    end: endTransactions,
  },
  threads: {
    caseNames: threadCaseNames,
    engineNames: threadEngineNames,
    records: 100_000,
    seconds: 1,
    modulePath: '',
    compared: 'the owner',
    run: runThreads,
    end: endThreads,
  },
  replication: {
    caseNames: replicationCaseNames,
    engineNames: replicationEngineNames,
    records: 10_000,
    seconds: 2,
    modulePath: 'dist/node/index.js',
    compared: 'HarmonyDB',
    run: runReplication,
    end: endReplication,
  },
  endurance: {
    caseNames: enduranceCaseNames,
    engineNames: enduranceEngineNames,
    records: 100_000,
    seconds: 10,
    rounds: 1,
    modulePath: 'dist/node/index.js',
    compared: 'HarmonyDB',
    run: runEndurance,
    end: endEndurance,
  },
}

const help = `npm run bench -- SUITE [options]

  storage           HarmonyDB (the build in dist/) and other embedded stores in Node
  storage-browser   the same in Chromium, each on an on-disk profile of its own
  transactions      HarmonyDB's transactions, optimistic and with locks, and those of other embedded stores
Each through its public interface, all with durable writes.
  threads           HarmonyDB's tree in memory (of these sources, no build): its owner alone, and several threads that write at once
  replication       three nodes of HarmonyDB over WebRTC, and three of etcd, durable: reads, writes, and how long there are none when the leader goes
  endurance         three nodes of HarmonyDB: a follower that was away for long returns while writes go on; one that is dead for good. Fails where a promise is broken

  --json            one JSON line for each case and engine: suite, case, engine, opsPerSecond, p50Ms, p99Ms, and more
  --records N       records in the store (default ${suites.storage!.records}, in Chromium of transactions and of three nodes ${suites['storage-browser']!.records}; may be given again)
  --all             100000 and 1000000 records
  --case NAME       only this case (may be given again; --cases NAME,NAME too)
  --engine NAME     only this engine (may be given again; --engines NAME,NAME too)
  --rounds N        rounds; figures are medians over them (default 3, of endurance 1)
  --seconds N       how long each case is measured in a round (default 1, in Chromium ${suites['storage-browser']!.seconds}, of transactions and of three nodes ${suites.replication!.seconds}), after a quarter of that to warm up
  --dir DIR         where the data goes (default: a folder in node_modules/.cache; not a RAM disk, or durable writes cost nothing)
  --module FILE     the HarmonyDB to measure (default: dist/node/index.js, dist/browser/index.js)
  --help            this

storage
  Engines: ${engineNames.join(', ')}
    Those that are not installed are left out. better-sqlite3: npm ci --prefix test/bench/peers (fetches a binary, or compiles one).
    better-sqlite3-transaction: 64 callers' puts in a hand-made transaction. raw: write + fdatasync into a file that is already there.
  Cases: ${caseNames.join(', ')}

storage-browser
  Engines: ${browserEngineNames.join(', ')}
    All but the first two: npm ci --prefix test/bench/browser-peers. Those that are not installed are left out.
    sqlite-wasm-transaction, indexeddb-transaction: 64 callers' puts in a hand-made transaction.
  Cases: as above without disk, and with start: from opening to the first answered get, in a new page.
    They are measured from the page; with -in-worker behind their name, in the worker that the engine runs in:
    get-in-worker, put-64-in-worker and so on (not start and crash-start).
  Chromium: CHROMIUM_PATH, or where systems put it.

transactions
  Engines: ${transactionsEngineNames.join(', ')}
    harmonydb: optimistic, as by default; the next three read forUpdate (locking: 'pessimistic'), with each policy for deadlocks.
  Cases: ${transactionsCaseNames.join(', ')}
    increment-N, transfer-N: N callers; a transaction reads one counter and writes it, or two, taking from one and giving to the other. Any counters, or (-hot) the same 16.
    three-…: on three nodes, as in replication; the callers in the leader's process, or in a follower's (harmonydb-follower); etcd by compare-and-swap.
    retriesPerOp: attempts that failed for each that was committed; waitsPerOp: how often one waited for a lock. The sum of all counters is checked.

threads
  Engines: ${threadEngineNames.join(', ')}
  Cases: get-100000, put-10000 (new records; each thread its share), batch-1000, batch-10000 (a batch that the owner makes with so many threads, itself one of them)

replication
  Engines: ${replicationEngineNames.join(', ')}
    harmonydb: callers in the process of the leader; harmonydb-follower: in that of a follower. etcd: callers of its JavaScript client (etcd3), in a
    process of their own, at the leader. There has to be an etcd (apt-get install etcd-server, or ETCD_PATH); without it, it is left out.
  Cases: ${replicationCaseNames.join(', ')}
    put-N, get-N: N callers; gets are linearizable, or of what the node has that is asked (get-local-N).
    failover-kill: kill -9 of the leader, from the last acknowledged write before to the first after it, of one caller at another node.
    failover-close: as well, the leader closing (etcd: SIGTERM). failover-leave: as well, the leader leaving for good.

endurance
  Cases: ${enduranceCaseNames.join(', ')}
    return: a follower is away for as many puts as there are records, of 1,000 bytes (and for as many more as it takes to cut the log), and gets the state while 64 callers write;
      its links are cut three times. Rates are measured for --seconds before and after.
    dead-follower: ten times as many puts as there are records, from 256 callers, while one of three is dead: memory and log of the leader.

Cases
  put-1, put-64     durable puts of new records, from 1 caller and from 64
  bulk-load         all records in batches of 1000, eight under way; each is durable
  get, get-absent   one caller, uniform keys that are there, and that are not
  scan-100          the 100 records from a key on, materialised
  ycsb-a … ycsb-f   64 callers, Zipf keys (0.99), durable writes
  get-8x            as get, with a cache of an eighth of the data (lmdb cannot be told: it maps the whole file)
  crash-start       kill -9 (of the browser) while 64 callers write; from opening to the first answered get
  disk              bytes that the files take after loading and closing (the times are those of closing)

Keys have 16 bytes, values 100 that compress to about half. Every value that is read is checked.`

/** A browser that is being killed may still write. */
const removing = { recursive: true, force: true, maxRetries: 10 } as const

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
  if (parsed === undefined) {
    console.log(help)
    return 0
  }
  const { values, suite } = parsed
  const progress = (text: string): void => console.error(text)
  const modulePath = resolve(root, values.module ?? suite.modulePath)
  if (values.module === undefined && suite.modulePath !== '') warnIfStale(root, modulePath, progress)
  const dir = values.dir === undefined ? join(scratchDir, 'data') : join(resolve(values.dir), 'harmonydb-bench')
  const onSignal = (): never => {
    suite.end()
    rmSync(dir, removing)
    rmSync(scratchDir, removing)
    process.exit(1)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  let failures = 0
  const all: Line[] = []
  for (const records of parsed.records) {
    const outcome = await suite.run({
      root,
      childScript,
      modulePath,
      dir,
      engines: parsed.engines ?? suite.engineNames,
      isChosen: parsed.engines !== undefined,
      cases: parsed.cases ?? suite.caseNames,
      records,
      rounds: parsed.rounds,
      seconds: parsed.seconds,
      progress,
    })
    failures += outcome.failures
    all.push(...outcome.lines)
    if (values.json === true) for (const line of outcome.lines) console.log(JSON.stringify(line))
    else if (outcome.lines.length > 0) {
      console.log(`\n${records} records, medians of ${parsed.rounds}; (n×): ${suite.compared} is n times as good\n`)
      console.log(table(outcome.lines))
    }
  }
  rmSync(dir, removing)
  if (all.length === 0) progress('nothing was measured')
  return failures === 0 && all.length > 0 ? 0 : 1
}

/** @returns What is wrong, or undefined for help. */
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
        cases: { type: 'string', multiple: true },
        engine: { type: 'string', multiple: true },
        engines: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        dir: { type: 'string' },
        module: { type: 'string' },
      },
    })
    if (values.help === true) return undefined
    const [suiteName] = positionals
    if (suiteName === undefined || positionals.length !== 1) return `name one suite: ${Object.keys(suites).join(', ')}`
    const suite = Object.hasOwn(suites, suiteName) ? suites[suiteName] : undefined
    if (suite === undefined) return `there is no suite ${suiteName}; there is: ${Object.keys(suites).join(', ')}`
    const cases = listed(values.case, values.cases)
    for (const name of cases ?? []) {
      if (!suite.caseNames.includes(name)) return `there is no case ${name}; there are: ${suite.caseNames.join(', ')}`
    }
    const engines = listed(values.engine, values.engines)
    for (const name of engines ?? []) {
      if (!suite.engineNames.includes(name))
        return `there is no engine ${name}; there are: ${suite.engineNames.join(', ')}`
    }
    const records = values.all === true ? [100_000, 1_000_000] : (values.records?.map(Number) ?? [suite.records])
    const rounds = Number(values.rounds ?? suite.rounds ?? 3)
    const seconds = Number(values.seconds ?? suite.seconds)
    if (!records.every(n => Number.isInteger(n) && n >= 100 && n <= recordsMax)) {
      return `--records takes whole numbers from 100 to ${recordsMax}`
    }
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) return '--rounds takes a whole number from 1 to 100'
    if (!(seconds >= 0.01 && seconds <= 3600)) return '--seconds takes a number from 0.01 to 3600'
    return { values, suite, cases, engines, records, rounds, seconds }
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** `--case a --case b` and `--cases a,b`; undefined for none given. */
function listed(one: readonly string[] | undefined, many: readonly string[] | undefined): string[] | undefined {
  if (one === undefined && many === undefined) return undefined
  return [...(one ?? []), ...(many ?? []).flatMap(list => list.split(','))]
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
