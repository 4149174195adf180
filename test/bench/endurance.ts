/**
 * The suite `endurance`: promises of replication that take long to try, on three nodes, each a process with a directory of its own. A promise that is broken is said, and
 * counts as a failure.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { killAsked } from './clusters/asked.ts'
import { type Members, size, startMembers } from './clusters/harmonydb.ts'
import { runDeadFollower } from './endurance-dead-follower.ts'
import { runReturn } from './endurance-return.ts'
import type { Trial } from './endurance-trial.ts'
import { linesOf, type Measurement } from './lines.ts'
import type { Outcome, SuiteOptions } from './suite-options.ts'

const trials: Readonly<Record<string, (members: Members, options: SuiteOptions) => Promise<Trial>>> = {
  return: (members, options) => runReturn(members, options, 'return'),
  'return-scattered': (members, options) => runReturn(members, options, 'return-scattered'),
  'dead-follower': runDeadFollower,
}
export const enduranceCaseNames: readonly string[] = Object.keys(trials)
export const enduranceEngineNames: readonly string[] = ['harmonydb']

/** Fewer puts than this do not fill a log of the usual size: it is made smaller, in proportion. */
const recordsUsual = 50_000
const checkpointBytesEach = 640
const checkpointBytesMin = 512 * 1024
const logOf = (records: number): { readonly checkpointBytes?: number } =>
  records >= recordsUsual ? {} : { checkpointBytes: Math.max(checkpointBytesMin, records * checkpointBytesEach) }

export const endEndurance = (): void => killAsked()

export async function runEndurance(options: SuiteOptions): Promise<Outcome> {
  const { modulePath, progress, records, rounds } = options
  const childScript = join(options.childScript, '..', 'replication-child.mjs')
  const results: Measurement[] = []
  let failures = 0
  for (let round = 1; round <= rounds; round++) {
    for (const name of options.cases) {
      progress(`round ${round} of ${rounds}, ${records} records: ${name}`)
      const dir = join(options.dir, name)
      rmSync(dir, { recursive: true, force: true })
      let members: Members | undefined
      try {
        members = await startMembers(
          { dir, childScript, modulePath },
          { execArgv: ['--expose-gc'], joins: 'meanwhile', ...logOf(records) },
        )
        while (members.all.length < size) await members.start()
        await members.settled()
        const { measured, broken } = await trials[name]!(members, options)
        results.push({ case: name, engine: 'harmonydb', measured })
        failures += broken.length
        for (const promise of broken) progress(`  ${name}: broken: ${promise}`)
      } catch (error) {
        failures++
        progress(`${name} failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
      }
      await members?.end()
      rmSync(dir, { recursive: true, force: true, maxRetries: 10 })
    }
  }
  return { lines: linesOf({ suite: 'endurance', records, caseNames: enduranceCaseNames }, results), failures }
}
