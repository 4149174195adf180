/** What `import 'harmonydb'` is in Node: the public surface and this host's `open`. Importing it loads no native module. */
import { secretFrom, type HarmonyError as ThrownError } from '../../src/index.ts'
import { nodeRandom } from './host.ts'

export {
  type AbortSignalLike,
  batchBytesMax,
  batchOpsMax,
  type Check,
  type Cluster,
  type ClusterStatus,
  type Committed,
  type Consistency,
  type Database,
  type DatabaseEvent,
  type DecideOptions,
  type Entry,
  type ErrorCode,
  getManyKeysMax,
  type Health,
  type IceConfiguration,
  type Isolation,
  isHarmonyError,
  type JoinOptions,
  type Key,
  type KeyPart,
  keyBytesMax,
  type Member,
  type Op,
  type OpenOptions,
  type OpenTransaction,
  type Prepared,
  type PreparedTransaction,
  type PreparedTransactions,
  type PrepareOptions,
  type Range,
  type Reader,
  type ReadOptions,
  type Scan,
  type ScanOptions,
  type Signaling,
  type Snapshot,
  type Status,
  type Transaction,
  type TransactionOptions,
  valueBytesMax,
  type WatchBatch,
  type WatchEvent,
  type WatchOptions,
  type WriteOptions,
} from '../../src/index.ts'
export { open } from './open.ts'
export {
  type SignalingLimits,
  type SignalingServer,
  type SignalingServerOptions,
  type SignalingStats,
  startSignalingServer,
} from './signaling/server.ts'

/** A new secret for a room: 130 random bits as text. Share it with those who may join, and only with them. */
export const generateSecret = (): string => secretFrom(nodeRandom)

/** What is thrown: a type only. `isHarmonyError` recognises it; `instanceof` would not, across workers and copies of the package. */
export type HarmonyError = ThrownError
