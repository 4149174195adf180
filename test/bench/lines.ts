/** What a suite prints: one line for each case and engine, medians over the rounds. */
import { type Measured, median } from './measure.ts'

export interface More {
  /** Of `disk`: what the files take, and how long they are. */
  readonly bytes?: number
  readonly fileBytes?: number
  /** Of transactions: how often one was tried again, for each that was committed, and how often one waited for a lock. */
  readonly retriesPerOp?: number
  readonly waitsPerOp?: number
  /** Of the suite `endurance`: what each case has found, by name. */
  readonly found?: Readonly<Record<string, number>>
}

export interface Measurement {
  readonly case: string
  readonly engine: string
  readonly measured: Measured & More
}

/** One line of `--json`, in which what was `found` stands beside the rest. */
export interface Line extends Omit<More, 'found'> {
  readonly suite: string
  readonly case: string
  readonly engine: string
  readonly opsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly records: number
  readonly rounds: number
  /** Of the fastest and the slowest round. */
  readonly opsPerSecondMin: number
  readonly opsPerSecondMax: number
}

/** What is done once in a round; its figure is how long that took. */
export const isOnce = (name: string): boolean => name === 'disk' || isStart(name)
export const isStart = (name: string): boolean =>
  name === 'start' || name === 'crash-start' || name.startsWith('failover-')

export interface Suite {
  readonly suite: string
  readonly records: number
  /** In the order of the report. */
  readonly caseNames: readonly string[]
}

export function linesOf({ suite, records, caseNames }: Suite, results: readonly Measurement[]): Line[] {
  const lines: Line[] = []
  for (const name of caseNames) {
    const ofCase = results.filter(result => result.case === name)
    for (const engine of new Set(ofCase.map(result => result.engine))) {
      const rounds = ofCase.filter(result => result.engine === engine).map(result => result.measured)
      const rates = rounds.map(({ opsPerSecond }) => opsPerSecond)
      const bytes = rounds.flatMap(one => one.bytes ?? [])
      const fileBytes = rounds.flatMap(one => one.fileBytes ?? [])
      const retries = rounds.flatMap(one => one.retriesPerOp ?? [])
      const waits = rounds.flatMap(one => one.waitsPerOp ?? [])
      lines.push({
        suite,
        case: name,
        engine,
        opsPerSecond: rounded(median(rates)),
        p50Ms: rounded(median(rounds.map(({ p50Ms }) => p50Ms))),
        // One figure a round: the worst round stands for the worst in a hundred.
        p99Ms: rounded(isOnce(name) ? Math.max(...rounds.map(one => one.p99Ms)) : median(rounds.map(one => one.p99Ms))),
        records,
        rounds: rounds.length,
        opsPerSecondMin: rounded(Math.min(...rates)),
        opsPerSecondMax: rounded(Math.max(...rates)),
        ...(bytes.length > 0 && { bytes: median(bytes), fileBytes: median(fileBytes) }),
        ...(retries.length > 0 && { retriesPerOp: rounded(median(retries)) }),
        ...(waits.length > 0 && { waitsPerOp: rounded(median(waits)) }),
        ...foundOf(rounds),
      })
    }
  }
  return lines
}

function foundOf(rounds: readonly More[]): Record<string, number> {
  const names = Object.keys(rounds[0]?.found ?? {})
  return Object.fromEntries(
    names.map(name => [name, rounded(median(rounds.flatMap(({ found }) => found?.[name] ?? [])))]),
  )
}

/** Four digits are more than a benchmark knows. */
const rounded = (value: number): number => (value >= 1000 ? Math.round(value) : Number(value.toPrecision(4)))
