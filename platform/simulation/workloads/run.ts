/**
 * One seed, one workload, one isolation level: a cluster of whole databases under the faults of a plan, clients on every peer, and a history that the checkers of
 * `platform/histories` judge. What the level forbids is a broken promise; what it allows is counted, so that a quiet run, or a blind checker, is noticed.
 */
import { seededRandom } from '../../../src/base/random.ts'
import type { Isolation } from '../../../src/index.ts'
import { checkCalls } from '../../histories/check.ts'
import { Recorder } from '../../histories/recorder.ts'
import { type SimulatedCluster, type SimulatedPeer, simulate } from '../cluster.ts'
import { Nemesis } from '../runs/nemesis.ts'
import { drawPlan, type Plan, type Shape } from '../runs/plan.ts'
import { listWorkload } from './lists.ts'
import { Member, type RunOfWorkload } from './members.ts'
import type { WorkloadName } from './names.ts'
import { Bank, Counter } from './sums.ts'
import { deadlockPolicies, type Workload } from './workload.ts'

export interface WorkloadRun {
  readonly seed: number
  readonly workload: WorkloadName
  readonly isolation: Isolation
  readonly violations: readonly string[]
  /** What the level allows and happened, by the checker's name for it. */
  readonly anomalies: Readonly<Record<string, number>>
  readonly calls: number
  readonly answered: number
  readonly refused: number
  readonly unknown: number
  readonly faults: Readonly<Record<string, number>>
  readonly virtualMs: number
  /** Equal for equal runs. */
  readonly hash: string
}

const faultMsDefault = 6000
const settleMsMax = 60_000
/** Pages are written and read again. */
const cacheBytes = 1024 * 1024

export const drawWorkloadPlan = (seed: number, { faultMs = faultMsDefault, ...shape }: Shape = {}): Plan =>
  drawPlan(seed, { ...shape, faultMs })

function workloadOf(name: WorkloadName, seed: number, isolation: Isolation): Workload {
  const random = seededRandom(`${seed}/${name}/${isolation}`)
  const deadlocks = random.pick([...deadlockPolicies, undefined])
  const style = { random, isolation, deadlocks, prepares: name.startsWith('prepared-') }
  switch (name) {
    case 'bank':
    case 'prepared-bank':
      return new Bank(style)
    case 'counter':
      return new Counter(style)
    default:
      return listWorkload(name === 'prepared-list-append' ? 'list-append' : name, style)
  }
}

/** @param tell Hears of every line of the history, as `harmonydb check` reads it. */
export async function runWorkload(
  plan: Plan,
  name: WorkloadName,
  isolation: Isolation,
  tell?: (line: string) => void,
): Promise<WorkloadRun> {
  const { seed, peers, faultMs, checkpointBytes, messageBytesMax, schedule } = plan
  const cluster = simulate(seed)
  const workload = workloadOf(name, seed, isolation)
  const recorder = new Recorder(tell)
  const violations: string[] = []
  const sizes = { cacheBytes, checkpointBytes, ...(messageBytesMax > 0 ? { messageBytesMax } : {}) }
  const run: RunOfWorkload = {
    cluster,
    workload,
    recorder,
    random: seededRandom(`${seed}/clients`),
    stopped: false,
    violate: text => {
      if (violations.length < 20) violations.push(text)
    },
  }
  const members: Member[] = []
  const made = (): SimulatedPeer => {
    const at = members.length
    return cluster.peer(`p${at}`, { ...sizes, onEvent: event => members[at]?.hear(event) })
  }
  for (let n = 0; n < peers; n++) {
    const peer = made()
    await peer.open()
    await peer.join()
    members.push(new Member(run, peer, false))
  }
  const nemesis = new Nemesis<Member>({
    violate: text => run.violate(text),
    world: cluster.world,
    members,
    newcomer() {
      const member = new Member(run, made(), true)
      members.push(member)
      member.revive()
    },
  })
  await cluster.run(workload.setup(members[0]!.peer.db))
  for (const member of members) member.work()
  nemesis.start(schedule)
  await cluster.advance(faultMs)
  nemesis.heal()
  await cluster.advance(1500)
  run.stopped = true
  await finish(cluster, members, run)
  const anomalies = judge(run)
  const { ok, fail, info } = recorder.counts
  return {
    seed,
    workload: name,
    isolation,
    violations,
    anomalies,
    calls: recorder.history.calls.length,
    answered: ok,
    refused: fail,
    unknown: info,
    faults: nemesis.counts,
    virtualMs: cluster.nowMs,
    hash: cluster.hash,
  }
}

/** After all faults: everybody is back, every call is answered, everybody reads the same. */
async function finish(cluster: SimulatedCluster, members: readonly Member[], run: RunOfWorkload): Promise<void> {
  const untilMs = cluster.nowMs + settleMsMax
  const settled = async (what: string, holds: () => Promise<boolean>): Promise<boolean> => {
    while (!(await holds())) {
      if (cluster.nowMs >= untilMs) {
        run.violate(`${what} within a minute of healing`)
        return false
      }
      await cluster.advance(100)
    }
    return true
  }
  if (!(await settled('not every call was answered', async () => members.every(one => !one.busy)))) return
  const areWell = async (): Promise<boolean> => members.every(member => member.isWell)
  if (!(await settled('not everybody was well', areWell))) return
  const areFree = (): boolean => members.every(({ isWell, peer }) => isWell && peer.db.status().locks.spans === 0)
  await settled('locks outlived their transactions: none was let go of', async () => areFree())
  const areDecided = (): boolean =>
    members.every(({ isWell, peer }) => isWell && peer.db.status().prepared.transactions === 0)
  await settled('prepared transactions outlived their time: not all were decided', async () => areDecided())
  for (const member of members) {
    const lasts = run.recorder.counts.ok
    // Reading everything may be what finds damage; another peer begins anew then.
    const { rotten, misdirectedWrites } = member.process.disk.harm
    for (let left = rotten + misdirectedWrites > 0 ? 5 : 1; left > 0 && run.recorder.counts.ok === lasts; left--) {
      const { lifeNumber } = member
      let over = false
      const end = (): void => {
        over = true
      }
      member.call(`${member.name}.${lifeNumber} last ${left}`, run.workload.last()).then(end, error => {
        run.violate(`the last read of ${member.name}: ${String(error)}`)
        end()
      })
      await settled('a last read was not answered', async () => over || member.lifeNumber !== lifeNumber)
      if (!(await settled('not everybody was well again', areWell))) return
    }
    if (run.recorder.counts.ok === lasts) run.violate(`the last read of ${member.name} was not answered`)
  }
  const stateOf = async ({ name, peer }: Member): Promise<string> => {
    try {
      const entries = await cluster.run(peer.db.scan({}, { consistency: 'local' }).toArray())
      return JSON.stringify(entries)
    } catch (error) {
      return `${name}: ${String(error)}`
    }
  }
  await settled('not everybody came to the same state', async () => {
    const states = new Set<string>()
    for (const member of members) states.add(await stateOf(member))
    return states.size === 1
  })
}

function judge({ workload, recorder, violate }: RunOfWorkload): Record<string, number> {
  const anomalies: Record<string, number> = {}
  const report = checkCalls(recorder.history, workload.check)
  if (!report.ok) violate(`the history cannot be read: ${report.problem}`)
  else {
    for (const { kind, allowed, explanation } of report.value.findings) {
      if (allowed || workload.allowsAll) anomalies[kind] = (anomalies[kind] ?? 0) + 1
      else violate(`${kind}: ${explanation.join('; ')}`)
    }
    if (report.value.verdict === 'undecided') violate('undecided: the checker came to its bound')
  }
  const broken = workload.broken?.()
  if (broken !== undefined) violate(broken)
  return anomalies
}
