/**
 * `dead-follower`: one of three is killed for good, and the leader writes on, ten times as often as there are records. Its memory has to stay as it was once everything that is
 * bounded was full, and its log within its bound: it must keep nothing for who does not come back.
 */

import { pause, until } from './clusters/cluster.ts'
import type { Members } from './clusters/harmonydb.ts'
import type { Condition } from './endurance-asks.ts'
import { inMiB, MiB, type Trial } from './endurance-trial.ts'
import { valueBytes } from './records.ts'
import type { SuiteOptions } from './suite-options.ts'

const putsEachRecord = 10
const callers = 256
/** Then caches are full, and the log has been cut. */
const warmPart = 0.2
const steps = 20
const hourMs = 3_600_000
const lookMs = 50

/** What objects take after a collection comes and goes by what is under way just then: entries in flight, pages being written. */
const heapGrowthMax = 16 * MiB
/** The host's allocators keep some of what was given back, and the collector lets garbage stand. */
const rssGrowthMax = 64 * MiB
/** README.md: 64 MiB of log. On disk besides: what is written while a checkpoint is made, and segments that are allocated ahead. */
const logBytesMax = 64 * MiB + 16 * MiB
const logFileBytesMax = logBytesMax + 16 * MiB

export async function runDeadFollower(members: Members, { progress, records }: SuiteOptions): Promise<Trial> {
  const dead = await members.follower()
  const leader = await members.leader()
  members.forget(dead)
  await dead.kill()
  const total = putsEachRecord * records
  progress(`  a follower is dead: ${total} puts from ${callers} callers`)
  const conditions: Condition[] = []
  /** Of the log alone: garbage is in the rest. */
  const looks: Condition[] = []
  let warm: { readonly rss: number; readonly heap: number } | undefined
  const most = (of: (condition: Condition) => number, some = conditions): number => Math.max(...some.map(of))
  await leader.ask('beginPuts', { records, valueBytes, prefix: 'user', from: 0, keys: records, callers, total })
  const after: Condition[] = []
  for (let step = 1; step <= steps; step++) {
    const next = Math.floor((total * step) / steps)
    await until(
      async () => {
        looks.push(await leader.ask('condition', { collected: false }))
        await pause(lookMs)
        return (await leader.ask('puts', null)).acknowledged >= next
      },
      `${next} puts`,
      hourMs,
    )
    const condition = await leader.ask('condition', { collected: true })
    conditions.push(condition)
    if (step > warmPart * steps) after.push(condition)
    progress(`  ${next} puts: ${shown(condition)}`)
    if (step === warmPart * steps)
      warm = { rss: most(({ rssBytes }) => rssBytes), heap: most(({ heapBytes }) => heapBytes) }
  }
  const made = await leader.ask('endPuts', null)
  const [first, last] = [made.samples[0]!, made.samples.at(-1)!]
  const heapGrowth = most(({ heapBytes }) => heapBytes, after) - warm!.heap
  const rssGrowth = most(({ rssBytes }) => rssBytes, after) - warm!.rss
  const logBytes = most(one => one.logBytes, looks)
  const logFileBytes = most(one => one.logFileBytes, looks)
  const directoryBytes = most(one => one.directoryBytes, looks)
  progress('  reading everything back')
  await leader.ask('verifyPuts', made)
  const broken: string[] = []
  const within = (what: string, bytes: number, bytesMax: number): void => {
    if (bytes > bytesMax) broken.push(`${what} ${inMiB(bytes)}, more than ${inMiB(bytesMax)}`)
  }
  within('objects grew by', heapGrowth, heapGrowthMax)
  within('the process grew by', rssGrowth, rssGrowthMax)
  within('the log took', logBytes, logBytesMax)
  within("the log's files took", logFileBytes, logFileBytesMax)
  progress(
    `  since ${warmPart * total} puts: objects ${inMiB(heapGrowth)}, process ${inMiB(rssGrowth)}; the most: log ${inMiB(logBytes)}, its files ${inMiB(logFileBytes)}, directory ${inMiB(directoryBytes)}`,
  )
  const measured = {
    ops: made.acknowledged,
    opsPerSecond: (made.acknowledged * 1000) / (last.atMs - first.atMs),
    p50Ms: made.p50Ms,
    p99Ms: made.p99Ms,
    found: {
      puts: made.acknowledged,
      refused: made.refused,
      heapBytesWarm: warm!.heap,
      heapGrowthBytes: heapGrowth,
      rssBytesWarm: warm!.rss,
      rssGrowthBytes: rssGrowth,
      logBytesMost: logBytes,
      logFileBytesMost: logFileBytes,
      directoryBytesMost: directoryBytes,
    },
  }
  return { measured, broken }
}

const shown = ({ heapBytes, rssBytes, logBytes, logFileBytes, directoryBytes }: Condition): string =>
  `objects ${inMiB(heapBytes)}, process ${inMiB(rssBytes)}, log ${inMiB(logBytes)} (files ${inMiB(logFileBytes)}), directory ${inMiB(directoryBytes)}`
