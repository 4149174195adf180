/** What the command line tells a suite. */
import type { Line } from './lines.ts'

export interface SuiteOptions {
  readonly root: string
  /** The bundle that a child process runs. */
  readonly childScript: string
  readonly modulePath: string
  /** For the data; emptied afterwards. */
  readonly dir: string
  readonly engines: readonly string[]
  /** Engines that were asked for by name: it is an error if they are missing. */
  readonly isChosen: boolean
  readonly cases: readonly string[]
  readonly records: number
  readonly rounds: number
  readonly seconds: number
  progress(text: string): void
}

export interface Outcome {
  readonly lines: readonly Line[]
  /** Each said on stderr already. */
  readonly failures: number
}

/** Another engine begins in each round. */
export const turnOf = <T>(engines: readonly T[], round: number): T[] =>
  engines.map((_, i) => engines[(i + round - 1) % engines.length]!)
