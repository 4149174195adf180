/** Which checkers there are, by name, and text to verdict in one call. */

import { type Decoded, History, type Report } from './events.ts'
import { checkBank, checkCounter, checkSet } from './invariants.ts'
import { checkKeyValue } from './key-value.ts'
import { type CheckedLevel, checkListAppend } from './list-append.ts'

export const historyModels = ['key-value', 'list-append', 'bank', 'set', 'counter'] as const
export type HistoryModel = (typeof historyModels)[number]

export interface CheckOptions {
  readonly model?: HistoryModel
  /** Of `list-append`. Default: strict-serializable. */
  readonly level?: CheckedLevel
  /** Of `key-value`: states remembered for one key, about 100 bytes each, before it is undecided. Default: 2,000,000. */
  readonly statesMax?: number
  readonly progress?: (done: number, total: number) => void
}

const statesMaxDefault = 2_000_000

/** A history of JSON lines (events.ts has the format). Never throws: what cannot be read is a problem that names its line. */
export function checkHistory(text: string, options: CheckOptions = {}): Decoded<Report> {
  const history = new History()
  let line = 0
  for (const one of text.split('\n')) {
    const problem = history.add(++line, one)
    if (problem !== undefined) return { ok: false, problem: `line ${line}: ${problem}` }
  }
  return checkCalls(history, options)
}

export function checkCalls({ calls }: History, options: CheckOptions): Decoded<Report> {
  switch (options.model ?? 'key-value') {
    case 'key-value':
      return checkKeyValue(calls, options.statesMax ?? statesMaxDefault, options.progress)
    case 'list-append':
      return checkListAppend(calls, options.level ?? 'strict-serializable')
    case 'bank':
      return checkBank(calls)
    case 'set':
      return checkSet(calls)
    case 'counter':
      return checkCounter(calls)
  }
}
