/** The suite `transactions`: first embedded, then on three nodes. */
import { endReplication, runThreeTransactions, threeEngineNames } from './replication.ts'
import { endRunning, runEmbeddedTransactions } from './storage.ts'
import { embeddedEngineNames } from './storage-child.ts'
import type { Outcome, SuiteOptions } from './suite-options.ts'
import { threeCaseNames, transactionCaseNames } from './transaction-cases.ts'

export const transactionsCaseNames: readonly string[] = [...transactionCaseNames, ...threeCaseNames]
export const transactionsEngineNames: readonly string[] = [...new Set([...embeddedEngineNames, ...threeEngineNames])]

export async function runTransactions(options: SuiteOptions): Promise<Outcome> {
  const parts = [
    { run: runEmbeddedTransactions, caseNames: transactionCaseNames, engineNames: embeddedEngineNames },
    { run: runThreeTransactions, caseNames: threeCaseNames, engineNames: threeEngineNames },
  ]
  const outcomes: Outcome[] = []
  for (const { run, caseNames, engineNames } of parts) {
    const cases = options.cases.filter(name => (caseNames as readonly string[]).includes(name))
    const engines = options.engines.filter(name => engineNames.includes(name))
    if (cases.length > 0 && engines.length > 0) outcomes.push(await run({ ...options, cases, engines }))
  }
  return {
    lines: outcomes.flatMap(({ lines }) => lines),
    failures: outcomes.reduce((sum, { failures }) => sum + failures, 0),
  }
}

export function endTransactions(): void {
  endRunning()
  endReplication()
}
