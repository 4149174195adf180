/**
 * `harmonydb simulate --workload NAME`: transactions on clusters under faults, in virtual time, one run for each seed, workload and isolation level. What a run does is in
 * `platform/simulation/workloads`.
 */
import { availableParallelism } from 'node:os'
import type { Isolation } from '../../../src/index.ts'
import type { Plan } from '../../simulation/runs/plan.ts'
import { kindOf, shrinkPlanAsync } from '../../simulation/runs/shrink.ts'
import { isolations, type WorkloadName, workloadNames } from '../../simulation/workloads/names.ts'
import { drawWorkloadPlan, runWorkload, type WorkloadRun } from '../../simulation/workloads/run.ts'
import { CommandExit, exitStatus, usage } from './exit-status.ts'
import type { Output } from './output.ts'
import {
  isOneRun,
  LineFile,
  noteEveryMs,
  printCounts,
  readPlan,
  type SimulateOptions,
  seconds,
  shapeArguments,
} from './simulate-command.ts'
import { inJobs } from './simulation-jobs.ts'

interface WorkloadOptions extends SimulateOptions {
  readonly workload: WorkloadName | 'all'
  readonly isolation: Isolation | 'all'
}

interface Case {
  readonly workload: WorkloadName
  readonly isolation: Isolation
}

/** @param script The file of this command, for further processes; undefined: everything in this one. */
export async function simulateWorkloads(
  options: WorkloadOptions,
  output: Output,
  script: string | undefined,
): Promise<void> {
  const { seed, schedule, history, shrink, trace, diagram } = options
  if (trace !== undefined || diagram !== undefined) throw usage('--trace and --diagram go without --workload')
  const isSingle = isOneRun(options, '--history and --shrink')
  const cases = casesOf(options)
  if (history !== undefined && cases.length > 1) throw usage('--history takes one --workload and one --isolation')
  if (!isSingle) return many(options, cases, output, script)
  const plan = schedule === undefined ? planOf(options, seed ?? 1) : readPlan(schedule)
  const file = history === undefined ? undefined : new LineFile(history)
  const broken: Case[] = []
  for (const one of cases) if (!(await single(one, plan, shrink, output, options.json, file))) broken.push(one)
  await file?.end()
  if (broken.length > 0) throw new CommandExit(exitStatus.failed, `seed ${plan.seed} broke a promise`)
}

const planOf = ({ peers, duration }: SimulateOptions, seed: number): Plan =>
  drawWorkloadPlan(seed, { peers, faultMs: duration === undefined ? undefined : duration * 1000 })

function casesOf(options: WorkloadOptions): Case[] {
  const names = options.workload === 'all' ? workloadNames : [options.workload]
  const levels = options.isolation === 'all' ? isolations : [options.isolation]
  return names.flatMap(workload => levels.map(isolation => ({ workload, isolation })))
}

/** False: a promise was broken. */
async function single(
  { workload, isolation }: Case,
  drawn: Plan,
  shrinks: boolean,
  output: Output,
  json: boolean,
  history: LineFile | undefined,
): Promise<boolean> {
  let plan = drawn
  let run = await runWorkload(plan, workload, isolation)
  const broken = run.violations[0]
  if (shrinks && broken !== undefined) {
    const kind = kindOf(broken)
    plan = await shrinkPlanAsync(plan, async shorter => {
      const { violations } = await runWorkload(shorter, workload, isolation)
      return violations.some(other => kindOf(other) === kind)
    })
    run = await runWorkload(plan, workload, isolation)
  }
  if (history !== undefined) await runWorkload(plan, workload, isolation, line => history.addText(line))
  const isClean = run.violations.length === 0
  if (json) {
    await output.line(JSON.stringify({ ...run, plan }))
    return isClean
  }
  await output.line(`seed ${run.seed}, ${workload}, ${isolation}: ${isClean ? 'clean' : 'BROKEN'}`)
  for (const violation of run.violations) await output.line(`  ${violation}`)
  await output.line(
    `${run.calls} calls: ${run.answered} answered, ${run.refused} refused, ${run.unknown} with unknown outcome; ${seconds(run.virtualMs)}, hash ${run.hash}`,
  )
  if (Object.keys(run.anomalies).length > 0) await printCounts('Anomalies that the level allows', run.anomalies, output)
  await printCounts('Faults', run.faults, output)
  if (isClean) return true
  await output.line('Plan (store it in a file; run it again by: harmonydb simulate --workload … --schedule FILE):')
  await output.line(JSON.stringify(plan))
  return false
}

interface Total {
  runs: number
  calls: number
  answered: number
  unknown: number
  broken: number
  /** Of each anomaly, in how many runs it was seen. */
  readonly anomalies: Record<string, number>
}

async function many(
  options: WorkloadOptions,
  cases: readonly Case[],
  output: Output,
  script: string | undefined,
): Promise<void> {
  const { from, seeds = 100 } = options
  const jobs = script === undefined ? 1 : Math.min(seeds, options.jobs ?? availableParallelism())
  const totals = new Map<string, Total>()
  const faults: Record<string, number> = {}
  const again: string[] = []
  let runs = 0
  let virtualMs = 0
  const startedMs = performance.now()
  let notedMs = startedMs
  const onReport = async (run: WorkloadRun): Promise<void> => {
    runs++
    virtualMs += run.virtualMs
    count(totals, run)
    for (const [name, times] of Object.entries(run.faults)) faults[name] = (faults[name] ?? 0) + times
    if (options.json) await output.line(JSON.stringify(run))
    const [broken] = run.violations
    if (broken !== undefined) {
      const command = replay(run, options)
      again.push(command)
      output.note(`seed ${run.seed}, ${run.workload}, ${run.isolation} BROKEN: ${broken}`)
      output.note(`  again: ${command}`)
    }
    if (options.json || performance.now() - notedMs < noteEveryMs) return
    notedMs = performance.now()
    output.note(`${runs} of ${seeds * cases.length} runs, ${again.length} broken`)
  }
  if (jobs === 1) {
    for (let seed = from; seed < from + seeds; seed++) {
      for (const { workload, isolation } of cases) {
        await onReport(await runWorkload(planOf(options, seed), workload, isolation))
        // Signals are heard between two runs.
        await new Promise(resolve => setImmediate(resolve))
      }
    }
  } else {
    const what = ['--workload', options.workload, '--isolation', options.isolation]
    const rest = [...what, ...shapeArguments(options), '--json']
    await inJobs<WorkloadRun>({ jobs, from, seeds, script: script ?? '', rest, linesOfSeed: cases.length }, onReport)
  }
  if (!options.json) {
    const took = (performance.now() - startedMs) / 1000
    await output.line(
      `${runs} runs of ${seeds} seeds from ${from}: ${again.length === 0 ? 'clean' : `${again.length} BROKEN`}; ${seconds(virtualMs)} simulated in ${took.toFixed(1)} s`,
    )
    for (const [name, total] of totals) await output.line(rowOf(name, total))
    await printCounts('Faults', faults, output)
    for (const command of again) await output.line(`again: ${command}`)
  }
  if (again.length > 0) throw new CommandExit(exitStatus.failed, `${again.length} runs broke a promise`)
}

function count(totals: Map<string, Total>, run: WorkloadRun): void {
  const name = `${run.workload}, ${run.isolation}`
  const total = totals.get(name) ?? { runs: 0, calls: 0, answered: 0, unknown: 0, broken: 0, anomalies: {} }
  totals.set(name, total)
  total.runs++
  total.calls += run.calls
  total.answered += run.answered
  total.unknown += run.unknown
  if (run.violations.length > 0) total.broken++
  for (const kind of Object.keys(run.anomalies)) total.anomalies[kind] = (total.anomalies[kind] ?? 0) + 1
}

function rowOf(name: string, { runs, calls, answered, unknown, broken, anomalies }: Total): string {
  const verdict = broken === 0 ? 'clean' : `${broken} BROKEN`
  const seen = Object.entries(anomalies).map(([kind, times]) => `${kind} in ${times}`)
  const allowed = seen.length === 0 ? 'nothing' : seen.join(', ')
  return `  ${name.padEnd(29)} ${verdict}; ${calls} calls, ${answered} answered, ${unknown} unknown; found, and allowed: ${allowed}${seen.length === 0 ? '' : ` of ${runs} runs`}`
}

const replay = ({ seed, workload, isolation }: WorkloadRun, options: SimulateOptions): string =>
  [
    'harmonydb simulate --workload',
    workload,
    '--isolation',
    isolation,
    '--seed',
    seed,
    ...shapeArguments(options),
    '--shrink',
  ].join(' ')
