/** The cases of the suite `replication`. */
import type { Work } from './measure.ts'
import type { Records } from './records.ts'
import { Inserted, workOf } from './storage-cases.ts'
import type { Store, Transact } from './stores/store.ts'

/** Callers of each. In the order in which they are measured: after a long burst of writes a store may be busy with itself. */
export const loads = {
  'get-local-1': 1,
  'get-local-64': 64,
  'get-1': 1,
  'get-64': 64,
  'put-1': 1,
  'put-16': 16,
  'put-64': 64,
  'put-256': 256,
} as const
export type LoadName = keyof typeof loads

export const failovers = ['failover-kill', 'failover-close', 'failover-leave'] as const
export type FailoverName = (typeof failovers)[number]

export const replicationCaseNames: readonly string[] = [...Object.keys(loads), ...failovers]

/** A replicated store as one of its clients sees it. */
export interface ReplicatedStore extends Pick<Store, 'put' | 'get' | 'batch' | 'close' | 'lockWaits'> {
  /** Perhaps not the newest. */
  getLocal: Store['get']
  /** As this engine does them. */
  transactAs(engine: string): Transact<Buffer>
}

export function loadWork(name: LoadName, store: ReplicatedStore, records: Records, seed: number): Work {
  const whole: Store = {
    ...store,
    get: name.startsWith('get-local') ? store.getLocal : store.get,
    scan: notMeasured,
    row: notMeasured,
  }
  const stage = { store: whole, records, inserted: new Inserted(records), seed }
  return workOf(name.startsWith('get') ? 'get' : 'put-64', stage, whole.put)
}

function notMeasured(): never {
  throw new Error('this suite scans nothing')
}
