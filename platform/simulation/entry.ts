/** What `import 'harmonydb/simulation'` is: deterministic clusters for an application's own tests. Importing it runs nothing. */
export { isHarmonyError } from '../../src/index.ts'
export { type CheckOptions, checkHistory, type HistoryModel } from '../histories/check.ts'
export type { Decoded, Finding, Report } from '../histories/events.ts'
export {
  checkLinearizable,
  type Model,
  type Operation,
  registerModel,
  type Verdict,
} from '../histories/linearizability.ts'
export type { CheckedLevel } from '../histories/list-append.ts'
export { type ClusterOptions, type PeerOptions, SimulatedCluster, SimulatedPeer, simulate } from './cluster.ts'
export type { LossyOptions, NetworkOptions } from './conditions.ts'
export type { DiskOptions } from './disk.ts'
export type {
  StateEvent,
  TracedCall,
  TracedEntry,
  TracedFault,
  TracedMessage,
  TracedState,
  TraceEvent,
  TraceLine,
} from './trace.ts'
