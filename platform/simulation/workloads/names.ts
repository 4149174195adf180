/** What `harmonydb simulate --workload` and `--isolation` can be told; alone, so that the command line knows them without the simulated world. */
import type { Isolation } from '../../../src/index.ts'

export const workloadNames = [
  'list-append',
  'bank',
  'long-fork',
  'range-insert',
  'counter',
  'prepared-bank',
  'prepared-list-append',
] as const
export type WorkloadName = (typeof workloadNames)[number]

export const isolations = ['serializable', 'snapshot', 'read-committed'] as const satisfies readonly Isolation[]
