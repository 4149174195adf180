/**
 * One seed: a cluster of peers under faults, clients that read, write and compare-and-set a few keys, invariants at every step, and in the
 * end the question whether the whole history is linearizable and everybody came to the same state. No real time, no promises.
 */

import { checkKeyValue } from '../../histories/key-value.ts'
import type { TraceLine } from '../trace.ts'
import { keys, Member, Run } from './members.ts'
import { Nemesis } from './nemesis.ts'
import type { Coverage } from './observer.ts'
import { drawPlan, type Plan, type Shape, sizesOf } from './plan.ts'

export interface ClusterRun {
  readonly seed: number
  readonly violations: readonly string[]
  /** When the first of them happened. */
  readonly brokenMs: number | undefined
  /** When everybody had joined, and clients and faults began. */
  readonly faultsFromMs: number
  readonly operations: number
  readonly unknown: number
  readonly refused: number
  /** How often leadership changed, and what the nemesis did: a quiet run proves little. */
  readonly terms: number
  /** How often a peer got a whole state because it was behind the others' logs. */
  readonly snapshots: number
  readonly faults: Readonly<Record<string, number>>
  /** How often a run came to states that seldom happen. */
  readonly coverage: Coverage
  readonly events: number
  readonly virtualMs: number
  /** Equal for equal seeds. */
  readonly hash: string
}

export interface Listeners {
  /** Hears of every protocol event, see `trace.ts`. */
  readonly trace?: ((line: TraceLine) => void) | undefined
  /** Hears of every line of the clients' history, as `harmonydb check` reads it. */
  readonly history?: ((line: string) => void) | undefined
}

/** About 100 bytes each; runs under faults that were allowed to last need some thousands. */
const statesMax = 2_000_000

export const runCluster = (seed: number, shape: Shape = {}): ClusterRun => runPlan(drawPlan(seed, shape))

export function runPlan(plan: Plan, { trace, history }: Listeners = {}): ClusterRun {
  const { seed, peers } = plan
  const run = new Run(seed, sizesOf(plan), trace, history)
  const { random, world } = run
  for (let n = 0; n < peers; n++) run.members.push(new Member(run, `p${n}`, random.fork()))
  for (const member of run.members) world.after(random.below(1500), `start ${member.name}`, () => member.start())
  if (!run.until(60_000, () => run.members.every(member => member.joined)))
    run.violate('not everybody joined within a minute')
  const faultsFromMs = world.nowMs
  const nemesis = new Nemesis(run)
  if (run.violations.length === 0) {
    for (const member of run.members) member.work()
    run.observer.underFaults = true
    nemesis.start(plan.schedule)
    world.run(plan.faultMs)
    nemesis.heal()
    world.run(2000)
    run.clientsStopped = true
    finish(run)
  }
  judge(run)
  return {
    seed,
    violations: run.violations,
    brokenMs: run.brokenMs,
    faultsFromMs,
    operations: run.recorder.counts.ok + run.unknown,
    unknown: run.unknown,
    refused: run.refused,
    terms: run.invariants.terms,
    snapshots: run.snapshots,
    faults: nemesis.counts,
    coverage: run.coverage,
    events: world.events,
    virtualMs: world.nowMs,
    hash: world.hash,
  }
}

function judge(run: Run): void {
  const { calls } = run.recorder
  const report = checkKeyValue(calls, statesMax)
  if (!report.ok) return run.violate(`the history cannot be read: ${report.problem}`)
  for (const { kind, explanation, lines } of report.value.findings) {
    const what = kind === 'not-linearizable' ? 'linearizability' : kind
    const call = calls.find(({ line }) => line === lines[0])
    // Lines of the history count from 1.
    const at = call === undefined ? undefined : run.historyMs[(call.endLine ?? call.line) - 1]
    // Clients are called after their peer.
    const peer = call === undefined ? undefined : /^"(\w+)/.exec(call.client)?.[1]
    run.violate(`${what}: ${explanation.slice(0, 2).join('; ')}`, at, peer)
  }
}

/** After all faults: everybody comes back, to the same state, and reads what was acknowledged. */
function finish(run: Run): void {
  const settled = (): boolean => {
    // A last read would take the place of what a client still waits for, and the history would lack that.
    if (run.members.some(member => member.busy || member.failure !== undefined)) return false
    const states = run.members.map(member => member.peer?.status())
    const first = states[0]
    return states.every(
      state =>
        state !== undefined &&
        state.health === 'ok' &&
        state.raft.applied === first?.raft.applied &&
        state.fingerprint === first.fingerprint &&
        state.raft.commit === state.raft.lastIndex,
    )
  }
  if (!run.until(60_000, settled)) {
    const states = run.members.map(({ name, peer }) => {
      const status = peer?.status()
      return `${name} ${status?.health} ${status?.raft.role} t${status?.raft.term} ${status?.raft.applied}/${status?.raft.lastIndex}`
    })
    run.violate(`no common state within a minute of healing: ${states.join('; ')}`)
    return
  }
  let waiting = 0
  for (const member of run.members) {
    for (const key of keys) {
      waiting++
      const read = (): void => member.read(key, () => waiting--, `${member.name} last ${key}`)
      run.world.after(waiting * 20, 'last read', read)
    }
  }
  if (!run.until(30_000, () => waiting === 0)) run.violate('the last reads were not answered')
}
