/** Several jobs share the seeds of `harmonydb simulate`: processes of the same command, each with a stretch of its own, that print JSON lines. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { CommandExit, exitStatus } from './exit-status.ts'

export interface Jobs {
  readonly jobs: number
  readonly from: number
  readonly seeds: number
  /** The file of the command. */
  readonly script: string
  /** Arguments of each job besides its seeds. */
  readonly rest: readonly string[]
  /** How many lines a job prints for a seed. */
  readonly linesOfSeed: number
}

/** @param onReport Hears of every line. @throws CommandExit where a job ends before it has told everything. */
export async function inJobs<T>(
  { jobs, from, seeds, script, rest, linesOfSeed }: Jobs,
  onReport: (report: T) => Promise<void>,
): Promise<void> {
  const job = async (first: number, end: number): Promise<void> => {
    const args = ['simulate', '--from', `${first}`, '--seeds', `${end - first}`, '--jobs', '1', ...rest]
    const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
    const ended = new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', () => resolve())
    })
    let heard = 0
    for await (const line of createInterface({ input: child.stdout })) {
      heard++
      await onReport(JSON.parse(line) as T)
    }
    await ended
    if (heard >= (end - first) * linesOfSeed) return
    const seed = first + Math.floor(heard / linesOfSeed)
    throw new CommandExit(exitStatus.failed, `a job ended at seed ${seed} without a word of it`)
  }
  const edge = (n: number): number => from + Math.floor((seeds * n) / jobs)
  await Promise.all(Array.from({ length: jobs }, (_, n) => job(edge(n), edge(n + 1))))
}
