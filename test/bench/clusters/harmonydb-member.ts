/** A member of a HarmonyDB cluster as programs have it: the built package, a directory of its own, everything else by default. */
import { pathToFileURL } from 'node:url'
import type * as Package from '../../../platform/node/entry.ts'
import type { DatabaseEvent } from '../../../src/database/types.ts'
import type { Joining } from '../endurance-asks.ts'
import type { Opening, Replica } from '../replication-asks.ts'
import { harmonyStore, harmonyTransact } from '../stores/harmonydb-store.ts'
import { transactionPolicies } from '../stores/transaction-policies.ts'
import { ownLinks } from './owned-links.ts'

/** A state's bytes are looked at so often. */
const lookMs = 5

const nowMs = (): number => performance.timeOrigin + performance.now()

export async function harmonyMember({
  modulePath,
  dir,
  join,
  joins,
  checkpointBytes,
}: Extract<Opening, { engine: 'harmonydb' }>): Promise<Replica> {
  const links = joins === undefined ? undefined : ownLinks()
  const { open } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const told: { -readonly [K in keyof Joining]: Joining[K] } & { problems: string[] } = {
    receivedBytes: 0,
    begunAnew: 0,
    begunMs: undefined,
    receivedMs: undefined,
    installedMs: undefined,
    joinedMs: undefined,
    snapshots: 0,
    frameBytes: 0,
    problems: [],
  }
  const onEvent = (event: DatabaseEvent): void => {
    if (event.type === 'snapshot') {
      told.frameBytes = db.status().frames.bytesReceived
      told.installedMs = nowMs()
      told.snapshots++
    }
    if (event.type === 'error') told.problems.push(String(event.error))
    if (event.type === 'snapshotRefused' || event.type === 'paused') told.problems.push(event.message)
  }
  const db = await open({
    name: 'bench',
    storage: { dir },
    ...(joins === undefined && { cluster: join }),
    onEvent,
    // It is no option of programs; tests have it.
    ...(checkpointBytes !== undefined && { checkpointBytes }),
  })
  if (joins !== undefined) {
    let before = 0
    const looking = setInterval(() => {
      const { receivedBytes } = db.status().log
      if (receivedBytes === undefined) return
      if (receivedBytes > 0) told.begunMs ??= nowMs()
      if (receivedBytes < before) told.begunAnew++
      before = receivedBytes
      if (receivedBytes > told.receivedBytes) told.receivedMs = nowMs()
      told.receivedBytes = Math.max(told.receivedBytes, receivedBytes)
    }, lookMs)
    db.cluster.join(join).then(
      () => {
        told.joinedMs = nowMs()
        clearInterval(looking)
      },
      (error: unknown) => told.problems.push(String(error)),
    )
  }
  const { put, get, batch, close, lockWaits } = harmonyStore(db)
  return {
    put,
    get,
    batch,
    close,
    ...(lockWaits !== undefined && { lockWaits }),
    transactAs: engine => harmonyTransact(db, transactionPolicies[engine]),
    getLocal: key => db.get<Uint8Array>(key, { consistency: 'local' }),
    standing() {
      const { self, role, lag, health } = db.cluster.status()
      const members = db.cluster.members()
      return {
        self,
        leads: role === 'leader' && health === 'ok',
        voters: members.filter(member => member.role === 'voter').length,
        connected: members.filter(({ state }) => state === 'self' || state === 'connected').length,
        lag,
      }
    },
    leave: () => db.cluster.leave(),
    ...(links !== undefined && { enduring: { db, dir, links, joining: () => told } }),
  }
}
