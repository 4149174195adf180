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

const size = 3

export async function startHarmony({ dir, childScript, modulePath }: ClusterOptions): Promise<Cluster> {
  if (!existsSync(modulePath)) throw new NotInstalled(`${modulePath} is not there: npm run build`)
  const { startSignalingServer, generateSecret } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const server = await startSignalingServer({ port: 0 })
  const secret = generateSecret()
  const members: Asked[] = []
  let made = 0

  const entry = { room: 'bench', secret, signaling: server.url }
  const openingOf = (folder: string): Opening => ({ engine: 'harmonydb', modulePath, dir: folder, join: entry })
  const folders = new Map<Asked, string>()
  const start = async (folder: string): Promise<void> => {
    const member = new Asked(childScript)
    members.push(member)
    folders.set(member, folder)
    await member.ask('open', openingOf(folder))
  }
  const freshFolder = (): string => join(dir, `member-${made++}`)
  const standings = (): Promise<Standing[]> => Promise.all(members.map(async one => (await one.ask('standing', null))!))
  const settled = (): Promise<void> =>
    until(async () => {
      const all = await standings()
      const whole = all.every(({ voters, connected, lag }) => voters === size && connected === size && lag === 0)
      return whole && all.filter(({ leads }) => leads).length === 1
    }, 'three voters that are linked and have a leader')
  const leader = async (): Promise<Asked> => members[(await standings()).findIndex(({ leads }) => leads)]!
  const follower = async (): Promise<Asked> => members[(await standings()).findIndex(({ leads }) => !leads)]!
  /** It will be missing, and what is to come back is in this folder. */
  let missing: string | undefined
  const lose = async (keepsFolder: boolean): Promise<Asked> => {
    const lost = await leader()
    members.splice(members.indexOf(lost), 1)
    missing = keepsFolder ? folders.get(lost)! : freshFolder()
    return lost
  }

  while (members.length < size) await start(freshFolder())
  await settled()
  return {
    async callers() {
      const atLeader = await leader()
      const policies = Object.fromEntries(Object.keys(transactionPolicies).map(name => [name, atLeader]))
      return { ...policies, 'harmonydb-follower': await follower() }
    },
    writer: follower,
    loseLeader: {
      'failover-kill': async () => (await lose(true)).kill(),
      'failover-close': async () => (await lose(true)).ask('close', null),
      'failover-leave': async () => {
        const lost = await lose(false)
        await lost.ask('leave', null)
        await lost.ask('close', null)
      },
    },
    async restore() {
      if (missing !== undefined) await start(missing)
      missing = undefined
      await settled()
    },
    async end() {
      await Promise.all(members.map(member => member.kill()))
      await server.close()
    },
  }
}
