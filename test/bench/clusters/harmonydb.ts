/** Three processes that are a HarmonyDB cluster, and signalling in this one. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Package from '../../../platform/node/entry.ts'
import type { Opening, Standing } from '../replication-asks.ts'
import { NotInstalled } from '../stores/store.ts'
import { transactionPolicies } from '../stores/transaction-policies.ts'
import { Asked } from './asked.ts'
import { type Cluster, type ClusterOptions, until } from './cluster.ts'

export const size = 3

export interface Members {
  /** Those that are there. */
  readonly all: readonly Asked[]
  /** One more, on this folder or a new one. */
  start(folder?: string): Promise<Asked>
  freshFolder(): string
  folderOf(member: Asked): string
  leader(): Promise<Asked>
  follower(): Promise<Asked>
  /** It is going, or gone: it is not asked any more. */
  forget(member: Asked): void
  /** All of them vote, are linked and have a leader. */
  settled(): Promise<void>
  end(): Promise<void>
}

/** How members are started. */
export interface Starting {
  readonly execArgv?: readonly string[]
  readonly joins?: 'meanwhile'
  readonly checkpointBytes?: number
}

/** @throws NotInstalled */
export async function startMembers(
  { dir, childScript, modulePath }: ClusterOptions,
  { execArgv, ...more }: Starting = {},
): Promise<Members> {
  if (!existsSync(modulePath)) throw new NotInstalled(`${modulePath} is not there: npm run build`)
  const { startSignalingServer, generateSecret } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const server = await startSignalingServer({ port: 0 })
  const secret = generateSecret()
  const members: Asked[] = []
  let made = 0

  const entry = { room: 'bench', secret, signaling: server.url }
  const openingOf = (folder: string): Opening => ({
    engine: 'harmonydb',
    modulePath,
    dir: folder,
    join: entry,
    ...more,
  })
  const folders = new Map<Asked, string>()
  const standings = (): Promise<Standing[]> => Promise.all(members.map(async one => (await one.ask('standing', null))!))
  const freshFolder = (): string => join(dir, `member-${made++}`)
  return {
    all: members,
    freshFolder,
    async start(folder = freshFolder()) {
      const member = new Asked(childScript, execArgv)
      members.push(member)
      folders.set(member, folder)
      await member.ask('open', openingOf(folder))
      return member
    },
    folderOf: member => folders.get(member)!,
    leader: async () => members[(await standings()).findIndex(({ leads }) => leads)]!,
    follower: async () => members[(await standings()).findIndex(({ leads }) => !leads)]!,
    forget: member => void members.splice(members.indexOf(member), 1),
    settled: () =>
      until(async () => {
        const all = await standings()
        const whole = all.every(({ voters, connected, lag }) => voters === size && connected === size && lag === 0)
        return whole && all.filter(({ leads }) => leads).length === 1
      }, 'three voters that are linked and have a leader'),
    async end() {
      await Promise.all(members.map(member => member.kill()))
      await server.close()
    },
  }
}

export async function startHarmony(options: ClusterOptions): Promise<Cluster> {
  const members = await startMembers(options)
  /** It will be missing, and what is to come back is in this folder. */
  let missing: string | undefined
  const lose = async (keepsFolder: boolean): Promise<Asked> => {
    const lost = await members.leader()
    members.forget(lost)
    missing = keepsFolder ? members.folderOf(lost) : members.freshFolder()
    return lost
  }

  while (members.all.length < size) await members.start()
  await members.settled()
  return {
    async callers() {
      const atLeader = await members.leader()
      const policies = Object.fromEntries(Object.keys(transactionPolicies).map(name => [name, atLeader]))
      return { ...policies, 'harmonydb-follower': await members.follower() }
    },
    writer: () => members.follower(),
    loseLeader: {
      'failover-kill': async () => (await lose(true)).kill(),
      'failover-close': async () => void (await (await lose(true)).ask('close', null)),
      'failover-leave': async () => {
        const lost = await lose(false)
        await lost.ask('leave', null)
        await lost.ask('close', null)
      },
    },
    async restore() {
      if (missing !== undefined) await members.start(missing)
      missing = undefined
      await members.settled()
    },
    end: () => members.end(),
  }
}
