/** What `import 'harmonydb'` is in a browser. Importing it runs nothing; `open` loads what it needs. */
import type { HarmonyError as ThrownError } from '../../../src/base/errors.ts'

export { type ErrorCode, isHarmonyError } from '../../../src/base/errors.ts'
export { keyBytesMax } from '../../../src/database/key.ts'
export { batchBytesMax, batchOpsMax } from '../../../src/database/own-writes.ts'
export { getManyKeysMax } from '../../../src/database/reader.ts'
export type {
  AbortSignalLike,
  Check,
  Cluster,
  ClusterStatus,
  Committed,
  Consistency,
  Database,
  DatabaseEvent,
  DecideOptions,
  Entry,
  Health,
  IceConfiguration,
  Isolation,
  JoinOptions,
  Key,
  KeyPart,
  Member,
  Op,
  OpenOptions,
  OpenTransaction,
  Prepared,
  PreparedTransaction,
  PreparedTransactions,
  PrepareOptions,
  Range,
  Reader,
  ReadOptions,
  Scan,
  ScanOptions,
  Signaling,
  Snapshot,
  Status,
  Transaction,
  TransactionOptions,
  WatchBatch,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from '../../../src/database/types.ts'
export { valueBytesMax } from '../../../src/database/value-format.ts'
export { open } from './open.ts'
export { generateSecret } from './secret.ts'

/** What is thrown: a type only. `isHarmonyError` recognises it; `instanceof` would not, across workers and copies of the package. */
export type HarmonyError = ThrownError
