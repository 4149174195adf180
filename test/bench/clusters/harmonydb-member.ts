/** A member of a HarmonyDB cluster as programs have it: the built package, a directory of its own, everything else by default. */
import { pathToFileURL } from 'node:url'
import type * as Package from '../../../platform/node/entry.ts'
import type { Opening, Replica } from '../replication-asks.ts'
import { harmonyStore, harmonyTransact } from '../stores/harmonydb-store.ts'
import { transactionPolicies } from '../stores/transaction-policies.ts'

export async function harmonyMember({
  modulePath,
  dir,
  join,
}: Extract<Opening, { engine: 'harmonydb' }>): Promise<Replica> {
  const { open } = (await import(pathToFileURL(modulePath).href)) as typeof Package
  const db = await open({ name: 'bench', storage: { dir }, cluster: join })
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
  }
}
