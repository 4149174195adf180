/**
 * `harmonydb simulate`: clusters under faults, one run for each seed, in virtual time. What a run does is in `platform/simulation/runs`; here are the seeds, the
 * files and the report. Several jobs are processes of this same command, each with its own stretch of the seeds, that print JSON lines.
 */
import { createWriteStream, readFileSync, type WriteStream, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { page } from '../../simulation/runs/diagram/diagram.ts'
import { LineWindow, type Span } from '../../simulation/runs/diagram/window.ts'
import { decodePlan, drawPlan, type Plan } from '../../simulation/runs/plan.ts'
import { type ClusterRun, runPlan } from '../../simulation/runs/run.ts'
import { kindOf, shrinkPlan } from '../../simulation/runs/shrink.ts'
import { Story } from '../../simulation/runs/words.ts'
import { CommandExit, exitStatus, systemFailure, usage } from './exit-status.ts'
import type { Output } from './output.ts'
import { inJobs } from './simulation-jobs.ts'

export interface SimulateOptions {
  readonly seed?: number
  readonly seeds?: number
  readonly from: number
  readonly peers?: number
  /** In seconds. */
  readonly duration?: number
  readonly schedule?: string
  readonly shrink: boolean
  readonly trace?: string
  readonly history?: string
  readonly diagram?: string
  /** In seconds of virtual time. */
  readonly diagramFrom?: number
  readonly diagramFor?: number
  readonly jobs?: number
  readonly json: boolean
}

type Counts = Record<string, number>

interface Totals {
  runs: number
  operations: number
  virtualMs: number
  readonly coverage: Counts
  readonly faults: Counts
  readonly failed: { readonly seed: number; readonly violations: readonly string[] }[]
}

/** What a job says of one seed. */
type SeedReport = Pick<ClusterRun, 'seed' | 'violations' | 'operations' | 'virtualMs' | 'coverage' | 'faults' | 'hash'>

export const noteEveryMs = 5000

/** @param script The file of this command, for further processes; undefined: everything in this one. */
export async function simulate(options: SimulateOptions, output: Output, script: string | undefined): Promise<void> {
  if (isOneRun(options, '--trace, --history, --diagram and --shrink')) return await one(options, output)
  await many(options, output, script)
}

/** @param ofOneRun Options that say more of one run. @throws CommandExit for options that do not go together. */
export function isOneRun(
  { seed, seeds, schedule, trace, history, diagram, diagramFrom, diagramFor, shrink, peers, duration }: SimulateOptions,
  ofOneRun: string,
): boolean {
  const isOne = seed !== undefined || schedule !== undefined
  if (seed !== undefined && schedule !== undefined) throw usage('--schedule names its seed; leave --seed out')
  if (isOne && seeds !== undefined) throw usage('--seeds goes without --seed and --schedule')
  if (!isOne && (trace !== undefined || history !== undefined || diagram !== undefined || shrink))
    throw usage(`${ofOneRun} go with --seed or --schedule`)
  if (diagram === undefined && (diagramFrom !== undefined || diagramFor !== undefined))
    throw usage('--diagram-from and --diagram-for go with --diagram')
  if (schedule !== undefined && (peers !== undefined || duration !== undefined))
    throw usage('--schedule says how many peers and how long; leave --peers and --duration out')
  return isOne
}

const planOf = ({ peers, duration }: SimulateOptions, seed: number): Plan =>
  drawPlan(seed, { peers, faultMs: duration === undefined ? undefined : duration * 1000 })

/** One seed or stored plan, with everything that helps to understand it. */
async function one(options: SimulateOptions, output: Output): Promise<void> {
  let plan = options.schedule === undefined ? planOf(options, options.seed ?? 1) : readPlan(options.schedule)
  let run = runPlan(plan)
  const broken = run.violations[0]
  if (options.shrink && broken !== undefined) {
    const kind = kindOf(broken)
    plan = shrinkPlan(plan, shorter => runPlan(shorter).violations.some(other => kindOf(other) === kind))
    run = runPlan(plan)
  }
  const story = await writeFiles(options, plan, run)
  if (options.json) await output.line(JSON.stringify({ ...run, plan }))
  else {
    await output.line(`seed ${run.seed}: ${verdictOf(run)}`)
    for (const violation of run.violations) await output.line(`  ${violation}`)
    if (story !== undefined) {
      await output.line(
        'Before it was broken (virtual seconds; heartbeats are left out; --trace and --diagram have more):',
      )
      for (const line of story.lines) await output.line(`  ${line}`)
    }
    await output.line(`${run.operations} operations, ${run.terms} leaders, ${seconds(run.virtualMs)}, hash ${run.hash}`)
    await printCounts('Faults', run.faults, output)
    await printCounts('States reached', run.coverage, output)
    if (run.violations.length > 0) {
      await output.line('Plan (store it in a file; run it again by: harmonydb simulate --schedule FILE):')
      await output.line(JSON.stringify(plan))
    }
  }
  if (run.violations.length > 0) throw new CommandExit(exitStatus.failed, `seed ${run.seed} broke a promise`)
}

const verdictOf = ({ violations }: ClusterRun): string => (violations.length === 0 ? 'clean' : 'BROKEN')

/** Runs the plan once more, for what tells of it. @returns What led to the first violation, if there was one. */
async function writeFiles(options: SimulateOptions, plan: Plan, run: ClusterRun): Promise<Story | undefined> {
  const { brokenMs } = run
  const story = brokenMs === undefined ? undefined : new Story(brokenMs)
  const window = options.diagram === undefined ? undefined : new LineWindow(spanOf(options, plan, run))
  const trace = options.trace === undefined ? undefined : new LineFile(options.trace)
  const history = options.history === undefined ? undefined : new LineFile(options.history)
  const readers = [story, window, trace].filter(reader => reader !== undefined)
  if (readers.length === 0 && history === undefined) return undefined
  runPlan(plan, {
    trace: line => {
      for (const reader of readers) reader.add(line)
    },
    history: history && (line => history.addText(line)),
  })
  await trace?.end()
  await history?.end()
  if (window !== undefined && options.diagram !== undefined) {
    try {
      writeFileSync(options.diagram, page(window, `harmonydb simulate: seed ${run.seed}, ${verdictOf(run)}`))
    } catch (cause) {
      throw systemFailure(`${options.diagram} cannot be written`, cause)
    }
  }
  return story
}

/** What is asked for; else the stretch before the first violation, or the first seconds under faults. */
function spanOf({ diagramFrom, diagramFor }: SimulateOptions, { schedule }: Plan, run: ClusterRun): Span {
  const { brokenMs, faultsFromMs } = run
  const faultMs = faultsFromMs + (schedule[0]?.atMs ?? 0)
  const chosenMs = brokenMs === undefined ? faultMs - 200 : brokenMs - beforeBrokenMs
  const fromMs = Math.max(0, diagramFrom === undefined ? chosenMs : diagramFrom * 1000)
  const untilMs = brokenMs === undefined || diagramFrom !== undefined ? fromMs + cleanMs : brokenMs + afterBrokenMs
  return { fromMs, toMs: diagramFor === undefined ? untilMs : fromMs + diagramFor * 1000 }
}
const beforeBrokenMs = 1500
const afterBrokenMs = 300
const cleanMs = 2500

async function many(options: SimulateOptions, output: Output, script: string | undefined): Promise<void> {
  const { from, seeds = 100 } = options
  const jobs = script === undefined ? 1 : Math.min(seeds, options.jobs ?? availableParallelism())
  const totals: Totals = { runs: 0, operations: 0, virtualMs: 0, coverage: {}, faults: {}, failed: [] }
  const startedMs = performance.now()
  let notedMs = startedMs
  const onReport = async (report: SeedReport): Promise<void> => {
    count(totals, report)
    if (options.json) await output.line(JSON.stringify(report))
    if (report.violations.length > 0) {
      output.note(`seed ${report.seed} BROKEN: ${report.violations[0]}`)
      output.note(`  again: ${replay(report.seed, options)}`)
    }
    if (options.json || performance.now() - notedMs < noteEveryMs) return
    notedMs = performance.now()
    output.note(`${totals.runs} of ${seeds} seeds, ${totals.failed.length} broken`)
  }
  if (jobs === 1) {
    for (let seed = from; seed < from + seeds; seed++) {
      await onReport(reportOf(runPlan(planOf(options, seed))))
      // Signals are heard between two runs.
      await new Promise(resolve => setImmediate(resolve))
    }
  } else {
    const rest = [...shapeArguments(options), '--json']
    await inJobs<SeedReport>({ jobs, from, seeds, script: script ?? '', rest, linesOfSeed: 1 }, onReport)
  }
  const took = (performance.now() - startedMs) / 1000
  if (!options.json) {
    await output.line(
      `${totals.runs} seeds from ${from}: ${totals.failed.length === 0 ? 'clean' : `${totals.failed.length} BROKEN`}`,
    )
    const rate = Math.round(totals.virtualMs / 1000 / took)
    await output.line(
      `${totals.operations} operations; ${seconds(totals.virtualMs)} simulated in ${took.toFixed(1)} s by ${jobs} ${jobs === 1 ? 'job' : 'jobs'}: ${rate} s a second`,
    )
    await printCounts('Faults', totals.faults, output)
    await printCounts('States reached', totals.coverage, output)
    for (const { seed } of totals.failed) await output.line(`again: ${replay(seed, options)}`)
  }
  if (totals.failed.length > 0)
    throw new CommandExit(exitStatus.failed, `${totals.failed.length} seeds broke a promise`)
}

const reportOf = ({ seed, violations, operations, virtualMs, coverage, faults, hash }: ClusterRun): SeedReport => ({
  seed,
  violations,
  operations,
  virtualMs,
  coverage,
  faults,
  hash,
})

function count(totals: Totals, { seed, violations, operations, virtualMs, coverage, faults }: SeedReport): void {
  totals.runs++
  totals.operations += operations
  totals.virtualMs += virtualMs
  for (const [name, times] of Object.entries(coverage)) totals.coverage[name] = (totals.coverage[name] ?? 0) + times
  for (const [name, times] of Object.entries(faults)) totals.faults[name] = (totals.faults[name] ?? 0) + times
  if (violations.length > 0) totals.failed.push({ seed, violations })
}

export async function printCounts(title: string, counts: Readonly<Counts>, output: Output): Promise<void> {
  await output.line(`${title}:`)
  for (const [name, times] of Object.entries(counts)) {
    await output.line(`  ${String(times).padStart(7)}  ${name}${times === 0 ? '  (never)' : ''}`)
  }
}

const replay = (seed: number, options: SimulateOptions): string =>
  ['harmonydb simulate --seed', seed, ...shapeArguments(options), '--shrink'].join(' ')

export const shapeArguments = ({ peers, duration }: Pick<SimulateOptions, 'peers' | 'duration'>): string[] => [
  ...(peers === undefined ? [] : ['--peers', `${peers}`]),
  ...(duration === undefined ? [] : ['--duration', `${duration}`]),
]

export function readPlan(path: string): Plan {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw systemFailure(`${path} cannot be read`, cause)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw usage(`${path} is not JSON`)
  }
  const plan = decodePlan(value)
  if (typeof plan === 'string') throw usage(`${path}: ${plan}`)
  return plan
}

export const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`

/** JSON lines. What the system cannot take at once waits in memory: a run is some megabytes. */
export class LineFile {
  private readonly path: string
  private readonly stream: WriteStream
  private failure: unknown

  constructor(path: string) {
    this.path = path
    this.stream = createWriteStream(path)
    this.stream.on('error', error => {
      this.failure = error
    })
  }

  add(line: object): void {
    this.addText(JSON.stringify(line))
  }

  addText(line: string): void {
    this.stream.write(`${line}\n`)
  }

  async end(): Promise<void> {
    await new Promise<void>(resolve => {
      this.stream.once('close', resolve)
      this.stream.end()
    })
    if (this.failure !== undefined) throw systemFailure(`${this.path} cannot be written`, this.failure)
  }
}
