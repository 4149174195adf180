/**
 * The suite `storage`, and what is embedded of the suite `transactions`: engines take turns, round by round, each time in a process of their own, so that none profits from what the machine
 * did meanwhile; medians over the rounds. Which engines take part is found out first: those not installed are left out, and it is said.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { linesOf } from './lines.ts'
import { caseNames } from './storage-cases.ts'
import { type Report, rawCases, type Task } from './storage-child.ts'
import { type Outcome, type SuiteOptions, turnOf } from './suite-options.ts'
import { isTransaction, transactionCaseNames } from './transaction-cases.ts'

type Measurement = Extract<Report, { type: 'measured' }>

/** The process under way: ended with this one. */
let running: ChildProcess | undefined
export const endRunning = (): void => void running?.kill('SIGKILL')

const childMsMax = 30 * 60_000

export const runStorage = (options: SuiteOptions): Promise<Outcome> => runEngines('storage', caseNames, options)
export const runEmbeddedTransactions = (options: SuiteOptions): Promise<Outcome> =>
  runEngines('transactions', transactionCaseNames, options)

async function runEngines(
  suite: 'storage' | 'transactions',
  caseNames: readonly string[],
  options: SuiteOptions,
): Promise<Outcome> {
  const { progress, records, rounds } = options
  const results: Measurement[] = []
  let failures = 0
  const engines: string[] = []
  for (const engine of options.engines) {
    const report = await run(options, { engine, kind: 'probe', cases: [], round: 0 })
    if (report.type === 'ready') engines.push(engine)
    else {
      progress(`${engine} is left out: ${report.message}`)
      if (options.isChosen || !report.notInstalled) failures++
    }
  }
  for (let round = 1; round <= rounds; round++) {
    for (const engine of turnOf(engines, round)) {
      const cases = options.cases.filter(name => engine !== 'raw' || rawCases.includes(name))
      if (cases.length === 0) continue
      progress(`round ${round} of ${rounds}, ${records} records: ${engine}`)
      const report = await runRound(options, engine, cases, round, results)
      if (report.type === 'ready') continue
      failures++
      progress(`${engine} failed: ${report.message}`)
    }
  }
  return { lines: linesOf({ suite, records, caseNames }, results), failures }
}

type Ending = Extract<Report, { type: 'ready' | 'failed' }>

async function runRound(
  options: SuiteOptions,
  engine: string,
  cases: readonly string[],
  round: number,
  results: Measurement[],
): Promise<Ending> {
  const onMeasured = (measurement: Measurement): void => {
    results.push(measurement)
    const { opsPerSecond, bytes, retriesPerOp } = measurement.measured
    const retries = retriesPerOp === undefined ? '' : `, ${retriesPerOp.toFixed(3)} retries each`
    const figure = bytes === undefined ? `${Math.round(opsPerSecond)}/s${retries}` : `${bytes} bytes`
    options.progress(`  ${measurement.engine} ${measurement.case}: ${figure}`)
  }
  const task = { engine, cases, round }
  if (cases.some(isTransaction)) return run(options, { ...task, kind: 'transact' }, onMeasured)
  if (cases.some(name => name !== 'crash-start')) {
    const report = await run(options, { ...task, kind: 'measure' }, onMeasured)
    if (report.type === 'failed') return report
  }
  if (!cases.includes('crash-start')) return { type: 'ready' }
  const report = await run(options, { ...task, kind: 'write-until-killed' })
  return report.type === 'failed' ? report : run(options, { ...task, kind: 'reopen' }, onMeasured)
}

/** Resolves when the process is gone. One that is ready to be killed is. */
function run(
  options: SuiteOptions,
  task: Pick<Task, 'engine' | 'kind' | 'cases' | 'round'>,
  onMeasured?: (measurement: Measurement) => void,
): Promise<Ending> {
  const { root, modulePath, records, seconds } = options
  const engineDir = join(options.dir, task.engine)
  const dir = task.kind === 'reopen' || task.kind === 'write-until-killed' ? join(engineDir, 'crashed') : engineDir
  if (task.kind !== 'reopen') rmSync(engineDir, { recursive: true, force: true })
  const whole: Task = { ...task, dir, root, modulePath, records, seconds }
  return new Promise(resolve => {
    const child = fork(options.childScript, [JSON.stringify(whole)], { stdio: ['ignore', 2, 2, 'ipc'] })
    running = child
    let ending: Ending | undefined
    const timer = setTimeout(() => child.kill('SIGKILL'), childMsMax)
    child.on('message', message => {
      const report = message as Report
      if (report.type === 'measured') onMeasured?.(report)
      if (report.type === 'ready' || report.type === 'failed') ending = report
      if (report.type === 'ready' && task.kind === 'write-until-killed') child.kill('SIGKILL')
    })
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      running = undefined
      if (task.kind !== 'write-until-killed') rmSync(engineDir, { recursive: true, force: true })
      const message = `its process ended with ${signal ?? `status ${status}`}`
      resolve(ending ?? { type: 'failed', message, notInstalled: false })
    })
  })
}
