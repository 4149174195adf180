/**
 * The suite `replication`: three nodes, each a process with a directory of its own, of HarmonyDB and of etcd. The systems take turns, round by round, each with
 * new nodes; medians over the rounds. Reads come before writes: what a store is busy with after a burst of them is not the reads' affair.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { killAsked } from './clusters/asked.ts'
import { type Cluster, type ClusterOptions, until } from './clusters/cluster.ts'
import { killEtcd, startEtcd } from './clusters/etcd.ts'
import { startHarmony } from './clusters/harmonydb.ts'
import { isStart, linesOf, type Measurement } from './lines.ts'
import { summary } from './measure.ts'
import { type FailoverName, failovers, type LoadName, loads, replicationCaseNames } from './replication-cases.ts'
import { NotInstalled } from './stores/store.ts'
import { transactionPolicies } from './stores/transaction-policies.ts'
import { type Outcome, type SuiteOptions, turnOf } from './suite-options.ts'
import { threeCaseNames, threeOf, transactionCaseNames } from './transaction-cases.ts'

/** Which engines each system is measured as. */
const systems: Readonly<
  Record<string, { readonly engines: readonly string[]; start(options: ClusterOptions): Promise<Cluster> }>
> = {
  harmonydb: { engines: [...Object.keys(transactionPolicies), 'harmonydb-follower'], start: startHarmony },
  etcd: { engines: ['etcd'], start: startEtcd },
}
export const replicationEngineNames: readonly string[] = ['harmonydb', 'harmonydb-follower', 'etcd']
export const threeEngineNames: readonly string[] = Object.values(systems).flatMap(({ engines }) => engines)

/** How often the leader goes in a round. */
const lossesEachRound = 2
/** So long after the leader went the longest gap has been seen, if writes go on by then. */
const lossMs = 2500

export const endReplication = (): void => {
  killAsked()
  killEtcd()
}

export const runReplication = (options: SuiteOptions): Promise<Outcome> =>
  runSystems('replication', replicationCaseNames, options)
export const runThreeTransactions = (options: SuiteOptions): Promise<Outcome> =>
  runSystems('transactions', threeCaseNames, options)

async function runSystems(suite: string, caseNames: readonly string[], options: SuiteOptions): Promise<Outcome> {
  const { progress, records, rounds } = options
  const results: Measurement[] = []
  let failures = 0
  const names = Object.keys(systems).filter(name => systems[name]!.engines.some(one => options.engines.includes(one)))
  const absent = new Set<string>()
  for (let round = 1; round <= rounds; round++) {
    for (const name of turnOf(names, round)) {
      if (absent.has(name)) continue
      progress(`round ${round} of ${rounds}, ${records} records: ${name}`)
      try {
        await runRound(options, name, round, results)
      } catch (error) {
        if (error instanceof NotInstalled) absent.add(name)
        if (!(error instanceof NotInstalled) || options.isChosen) failures++
        progress(`${name} ${error instanceof NotInstalled ? 'is left out' : 'failed'}: ${String(error)}`)
      }
      endReplication()
    }
  }
  return { lines: linesOf({ suite, records, caseNames }, results), failures }
}

async function runRound(options: SuiteOptions, name: string, round: number, results: Measurement[]): Promise<void> {
  const { modulePath, progress } = options
  const dir = join(options.dir, name)
  rmSync(dir, { recursive: true, force: true })
  const childScript = join(options.childScript, '..', 'replication-child.mjs')
  const cluster = await systems[name]!.start({ dir, childScript, modulePath })
  const add = (measurement: Measurement): void => {
    const { opsPerSecond, p50Ms, p99Ms } = measurement.measured
    const figures = isStart(measurement.case)
      ? `${Math.round(p50Ms)} ms`
      : `${Math.round(opsPerSecond)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`
    progress(`  ${measurement.engine} ${measurement.case}: ${figures}`)
    results.push(measurement)
  }
  try {
    await measureLoads(options, cluster, round, add)
    for (const failover of failovers) {
      if (!options.cases.includes(failover) || !options.engines.includes(name)) continue
      if (cluster.loseLeader[failover] === undefined) continue
      for (let loss = 0; loss < lossesEachRound; loss++) {
        const gapMs = await measureLoss(cluster, failover, options.records)
        add({ case: failover, engine: name, measured: summary(Float32Array.of(gapMs), gapMs / 1000, 1) })
        await cluster.restore()
      }
    }
  } finally {
    await cluster.end()
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 })
  }
}

async function measureLoads(
  { cases, engines, records, seconds }: SuiteOptions,
  cluster: Cluster,
  round: number,
  add: (measurement: Measurement) => void,
): Promise<void> {
  const names = (Object.keys(loads) as LoadName[]).filter(name => cases.includes(name))
  const transactions = transactionCaseNames.filter(name => cases.includes(threeOf(name)))
  if (names.length === 0 && transactions.length === 0) return
  const callers = Object.entries(await cluster.callers()).filter(([engine]) => engines.includes(engine))
  await callers[0]?.[1].ask('load', { records })
  for (const name of names) {
    for (const [engine, caller] of turnOf(callers, round)) {
      add({ case: name, engine, measured: await caller.ask('measure', { name, round, seconds, records }) })
    }
  }
  let increments = 0
  for (const name of transactions) {
    for (const [engine, caller] of turnOf(callers, round)) {
      const measured = await caller.ask('transact', { name, engine, round, seconds, records })
      increments += measured.increments
      add({ case: threeOf(name), engine, measured })
    }
  }
  if (transactions.length > 0) await callers[0]![1].ask('checkSum', { records, increments })
}

/** From the last write that was acknowledged before to the first one after, in milliseconds. */
async function measureLoss(cluster: Cluster, failover: FailoverName, records: number): Promise<number> {
  const writer = await cluster.writer()
  await writer.ask('beginWrites', { records })
  await until(async () => (await writer.ask('gap', null)).since > 0, 'writes')
  await new Promise(resolve => setTimeout(resolve, 300))
  await writer.ask('endWrites', null)
  await writer.ask('beginWrites', { records })
  const goneMs = performance.now()
  await cluster.loseLeader[failover]!()
  let longestMs = 0
  await until(async () => {
    const gap = await writer.ask('gap', null)
    longestMs = gap.longestMs
    return performance.now() - goneMs > lossMs && gap.since > 0
  }, 'writes without the leader')
  await writer.ask('endWrites', null)
  return longestMs
}
