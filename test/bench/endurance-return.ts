/**
 * `return`: one of three is killed, so much is written without it that the log does not reach back to it, and it returns while callers write as fast as they can. Its links are cut
 * three times meanwhile: closed under it (a network does that), and the process stopped until the others give it up (a laptop does that). What it had received must not come again,
 * the callers must be served at half their rate at least, and nothing that was acknowledged may be missing in the end.
 */
import type { Asked } from './clusters/asked.ts'
import { pause, until } from './clusters/cluster.ts'
import type { Members } from './clusters/harmonydb.ts'
import type { Joining, PutLoad, PutsMade } from './endurance-asks.ts'
import { inMiB, MiB, type Trial } from './endurance-trial.ts'
import { valueBytes } from './records.ts'
import type { SuiteOptions } from './suite-options.ts'

const callers = 64
/** A state that is sent in a moment cannot be cut three times. */
const stateBytesMin = 12 * MiB
const awayValueBytesMin = 1000
/** Callers change so many records while it returns, again and again. */
const livePart = 4
export const liveRecords = {
  /** All over the state, which is larger than the cache: nearly each put changes a page that is not in memory, and keeps the old one for who gets the state. */
  'return-scattered': 'user',
  /** Beside each other. */
  return: 'live',
} as const
const ratioMin = 0.5
/** Over less than this a rate tells nothing: it is not judged. */
/** What was received once does not come again: at a cut the piece that was under way is lost, twice perhaps. The rest is heads, pings and probes. */
const overheadPart = 0.05
const lostBytesMax = 1.5 * MiB
const secondsWarm = 1
const secondsJudged = 3
/** Nobody waits longer than this for a state of that size. */
const patienceMs = 600_000
/** A cut lasts so long at least. */
const cutMs = 1000
const cuts = [
  { at: 0.25, how: 'closed' },
  { at: 0.5, how: 'frozen' },
  { at: 0.75, how: 'closed' },
] as const

interface Cut {
  readonly fromMs: number
  readonly toMs: number
  /** Until the first byte came after that. */
  readonly resumedMs: number
}

const nowMs = (): number => performance.timeOrigin + performance.now()

export async function runReturn(
  members: Members,
  { progress, records, seconds }: SuiteOptions,
  name: keyof typeof liveRecords,
): Promise<Trial> {
  const leader = await members.leader()
  const follower = await members.follower()
  const folder = members.folderOf(follower)
  const awayBytes = 2 * Math.ceil(Math.max(awayValueBytesMin, stateBytesMin / records) / 2)
  const away: PutLoad = { records, valueBytes: awayBytes, prefix: 'user', from: 0, keys: records, callers }
  const keys = Math.ceil(records / livePart)
  const live: PutLoad = { records, valueBytes, prefix: liveRecords[name], from: records, keys, callers }

  await leader.ask('beginPuts', live)
  await pause(1000 * seconds)
  const { perSecond: withThree } = paceOver(await leader.ask('endPuts', null), [[0, Number.POSITIVE_INFINITY]])
  progress(`  three there: ${Math.round(withThree)} puts/s`)

  const { lastIndex: reached } = await leader.ask('condition', { collected: false })
  members.forget(follower)
  await follower.kill()
  const made = [await writeAway(leader, away, reached, progress)]

  await leader.ask('beginPuts', live)
  await pause(1000 * (secondsWarm + seconds))
  const { stateBytes } = await leader.ask('condition', { collected: false })
  const backMs = nowMs()
  const late = await members.start(folder)
  progress(`  it is back: the state has ${inMiB(stateBytes)}`)
  const { done, joining } = await returnUnderCuts(members, late, leader, stateBytes, progress)
  await pause(1000 * seconds)
  const written = await leader.ask('endPuts', null)
  made.push(written)
  const { begunMs, receivedMs, installedMs, joinedMs, frameBytes } = joining
  if (begunMs === undefined || receivedMs === undefined || installedMs === undefined || joinedMs === undefined) {
    throw new Error(`it came back without a state: ${JSON.stringify(joining)}`)
  }
  const over = (...times: (readonly [fromMs: number, toMs: number])[]): Pace => paceOver(written, times)
  const before = over([backMs - 1000 * seconds, backMs])
  const during = over([begunMs, installedMs])
  const linkedTimes = timesWithout(begunMs, receivedMs, done)
  const linked = over(...linkedTimes)
  const cut = over(...done.map(({ fromMs, resumedMs }) => [fromMs, resumedMs] as const))
  const takenOver = over([receivedMs, installedMs])
  const untilJoined = over([backMs, joinedMs])
  const after = over([joinedMs, Number.POSITIVE_INFINITY])
  const paces = {
    before,
    'during the return': during,
    'of that, while pieces came': linked,
    'of that, while links were cut': cut,
    'of that, while the state was taken over': takenOver,
    'until joined': untilJoined,
    after,
  }
  for (const [what, { perSecond, cpuMicros }] of Object.entries(paces)) {
    progress(
      `  ${what}: ${Math.round(perSecond)} puts/s, ${Math.round(cpuMicros)} µs of the leader's processor for each`,
    )
  }

  progress('  reading everything back')
  await settledAt(members)
  for (const one of made) await late.ask('verifyPuts', one)
  const digests = await Promise.all(members.all.map(member => member.ask('digest', null)))
  const broken: string[] = [...joining.problems]
  const expect = (holds: boolean, what: string): void => void (holds || broken.push(what))
  expect(done.length === cuts.length, `the links were cut ${done.length} times only: the state came too fast`)
  expect(joining.snapshots === 1, `it took over ${joining.snapshots} states`)
  expect(joining.begunAnew === 0, `the state was begun anew ${joining.begunAnew} times`)
  const frameBytesMax = joining.receivedBytes * (1 + overheadPart) + (cuts.length + 1) * lostBytesMax
  expect(frameBytes <= frameBytesMax, `${inMiB(frameBytes)} came, the state has ${inMiB(joining.receivedBytes)}`)
  expect(new Set(digests.map(one => JSON.stringify(one))).size === 1, `states differ: ${JSON.stringify(digests)}`)
  // A machine that does other things does now more of them and now less: the seconds beside those of the transfer count, too.
  const usual = Math.min(before.perSecond, cut.perSecond)
  for (const [what, { perSecond }] of Object.entries({ during, linked, untilJoined })) {
    const holds = seconds < secondsJudged || perSecond >= ratioMin * usual
    expect(holds, `${what}: ${Math.round(perSecond)} puts/s, else ${Math.round(usual)}`)
  }
  const measured = {
    ops: written.acknowledged,
    opsPerSecond: during.perSecond,
    p50Ms: written.p50Ms,
    p99Ms: written.p99Ms,
    found: {
      awayPuts: made[0]!.acknowledged,
      putsPerSecondThree: withThree,
      putsPerSecondBefore: before.perSecond,
      putsPerSecondLinked: linked.perSecond,
      putsPerSecondCut: cut.perSecond,
      putsPerSecondTakenOver: takenOver.perSecond,
      putsPerSecondUntilJoined: untilJoined.perSecond,
      putsPerSecondAfter: after.perSecond,
      ratio: during.perSecond / before.perSecond,
      ratioLinked: linked.perSecond / before.perSecond,
      ratioLinkedToCut: linked.perSecond / cut.perSecond,
      ratioUntilJoined: untilJoined.perSecond / before.perSecond,
      ratioAfter: after.perSecond / before.perSecond,
      cpuMicrosBefore: before.cpuMicros,
      cpuMicrosCut: cut.cpuMicros,
      cpuMicrosLinked: linked.cpuMicros,
      refused: written.refused,
      stateBytes,
      receivedBytes: joining.receivedBytes,
      frameBytes,
      transferMs: receivedMs - begunMs,
      linkedMs: linkedTimes.reduce((sum, [from, to]) => sum + to - from, 0),
      takeOverMs: installedMs - receivedMs,
      joinMs: joinedMs - backMs,
      cuts: done.length,
      resumeMs: Math.max(0, ...done.map(({ toMs, resumedMs }) => resumedMs - toMs)),
      begunAnew: joining.begunAnew,
    },
  }
  return { measured, broken }
}

/** As many puts as there are records, and more until the log no longer reaches back to who left. */
async function writeAway(
  leader: Asked,
  load: PutLoad,
  reached: number,
  progress: (text: string) => void,
): Promise<PutsMade> {
  await leader.ask('beginPuts', load)
  let toldMs = nowMs()
  await until(
    async () => {
      const { acknowledged } = await leader.ask('puts', null)
      const { firstIndex, logBytes } = await leader.ask('condition', { collected: false })
      if (nowMs() - toldMs > 5000) {
        progress(`  away: ${acknowledged} puts, log ${inMiB(logBytes)}`)
        toldMs = nowMs()
      }
      await pause(100)
      return acknowledged >= load.records && firstIndex > reached + 1
    },
    'as many puts as it takes to cut the log',
    patienceMs,
  )
  const made = await leader.ask('endPuts', null)
  progress(`  away for ${made.acknowledged} puts of ${load.valueBytes} bytes: the log begins behind what it has`)
  return made
}

/** Cuts the links of who returns as often as there is something to cut; resolves when it has joined. */
async function returnUnderCuts(
  members: Members,
  late: Asked,
  leader: Asked,
  stateBytes: number,
  progress: (text: string) => void,
): Promise<{ readonly done: readonly Cut[]; readonly joining: Joining }> {
  const done: Cut[] = []
  const received = async (): Promise<number> => (await late.ask('joining', null)).receivedBytes
  const lost = (): Promise<void> =>
    until(async () => (await leader.ask('standing', null))!.connected < members.all.length, 'a cut link')
  for (const { at, how } of cuts) {
    let joining = await late.ask('joining', null)
    await until(
      async () => {
        joining = await late.ask('joining', null)
        return joining.receivedBytes >= at * stateBytes || joining.installedMs !== undefined
      },
      `${Math.round(100 * at)} % of the state`,
      patienceMs,
    )
    if (joining.installedMs !== undefined) break
    const fromMs = nowMs()
    if (how === 'frozen') {
      late.freeze()
      await lost()
      late.thaw()
    } else {
      if ((await late.ask('cutLinks', null)) === 0) throw new Error('there was no link to cut')
      await lost()
      await pause(cutMs)
      await late.ask('mendLinks', null)
    }
    const toMs = nowMs()
    const there = await received()
    await until(async () => (await received()) > there, 'more of the state', patienceMs)
    done.push({ fromMs, toMs, resumedMs: nowMs() })
    progress(
      `  ${how} at ${inMiB(there)} for ${Math.round(toMs - fromMs)} ms; more came ${Math.round(nowMs() - toMs)} ms later`,
    )
  }
  let joining = await late.ask('joining', null)
  await until(
    async () => {
      joining = await late.ask('joining', null)
      return joining.joinedMs !== undefined || joining.problems.length > 0
    },
    'its joining',
    patienceMs,
  )
  return { done, joining }
}

async function settledAt(members: Members): Promise<void> {
  await members.settled()
  await until(async () => {
    const all = await Promise.all(members.all.map(member => member.ask('condition', { collected: false })))
    return new Set(all.map(({ appliedIndex }) => appliedIndex)).size === 1
  }, 'the same entry applied everywhere')
}

/** The transfer, without the times in which its links were cut. */
function timesWithout(fromMs: number, toMs: number, done: readonly Cut[]): [number, number][] {
  const edges = [fromMs, ...done.flatMap(cut => [cut.fromMs, cut.resumedMs]), toMs]
  return Array.from({ length: edges.length / 2 }, (_, i) => [edges[2 * i]!, edges[2 * i + 1]!])
}

interface Pace {
  readonly perSecond: number
  /** Of the leader's process, for each put. */
  readonly cpuMicros: number
}

function paceOver({ samples }: PutsMade, times: readonly (readonly [fromMs: number, toMs: number])[]): Pace {
  let [ms, puts, cpuMs] = [0, 0, 0]
  for (const [fromMs, toMs] of times) {
    const within = samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
    const [first, last] = [within[0], within.at(-1)]
    if (first === undefined || last === undefined) continue
    ms += last.atMs - first.atMs
    puts += last.acknowledged - first.acknowledged
    cpuMs += last.cpuMs - first.cpuMs
  }
  return { perSecond: (puts * 1000) / Math.max(1, ms), cpuMicros: (cpuMs * 1000) / Math.max(1, puts) }
}
