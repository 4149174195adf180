/** `harmonydb check`: is a recorded history what a model allows? The format is that of platform/histories/events.ts, in `--help` in short. */
import { checkCalls, type HistoryModel } from '../../histories/check.ts'
import { type Finding, History, type Report } from '../../histories/events.ts'
import type { CheckedLevel } from '../../histories/list-append.ts'
import { CommandExit, exitStatus, systemFailure, usage } from './exit-status.ts'
import { openSource } from './import-command.ts'
import { linesOf } from './lines.ts'
import type { Output } from './output.ts'

export interface CheckCommandOptions {
  readonly model: HistoryModel
  readonly level: CheckedLevel
  readonly states: number
  readonly json: boolean
}

const lineBytesMax = 16 * 1024 * 1024
/** Between two words of progress. */
const progressMs = 2_000

/** @throws CommandExit: `failed` where the history is not what the model allows, `unavailable` where that is undecided, `usage` where it cannot be read. */
export async function check(file: string, options: CheckCommandOptions, output: Output): Promise<void> {
  const { model, level, states, json } = options
  const source = await openSource(file)
  const say = atTimes(output)
  const history = new History()
  try {
    for await (const line of linesOf(source.chunks, lineBytesMax)) {
      const problem = 'problem' in line ? line.problem : history.add(line.number, line.text)
      if (problem !== undefined) throw usage(`${file}, line ${line.number}: ${problem}`)
      say(() => `${line.number} lines read`)
    }
  } catch (cause) {
    if (cause instanceof CommandExit) throw cause
    throw systemFailure(`${file} cannot be read on`, cause)
  }
  const progress = (done: number, total: number): void => say(() => `${done} of ${total} keys checked`)
  const report = checkCalls(history, { model, level, statesMax: states, progress })
  if (!report.ok) throw usage(`${file}, ${report.problem}`)
  if (json) await output.line(JSON.stringify(report.value))
  else for (const line of linesOfReport(report.value)) await output.line(line)
  if (report.value.verdict === 'violated') throw new CommandExit(exitStatus.failed, '')
  if (report.value.verdict === 'undecided') throw new CommandExit(exitStatus.unavailable, '')
}

function atTimes(output: Output): (text: () => string) => void {
  let next = Date.now() + progressMs
  return text => {
    if (Date.now() < next) return
    output.note(text())
    next = Date.now() + progressMs
  }
}

function linesOfReport({ model, verdict, calls, findings }: Report): string[] {
  const words = { holds: 'holds', violated: 'VIOLATED', undecided: 'UNDECIDED' }
  return [...findings.flatMap(linesOfFinding), `${words[verdict]}: ${model}, ${calls} calls`]
}

const linesOfFinding = ({ kind, allowed, explanation: [first = '', ...rest] }: Finding): string[] => [
  `${kind}${allowed ? ' (allowed at this level)' : ''}: ${first}`,
  ...rest.map(line => `  ${line}`),
]
