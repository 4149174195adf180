/**
 * The public surface, names written out. `open` is added by each host's entry file (`platform/node`, `platform/browser/page`), because
 * opening is where hosts differ; the last block is what those files build it from, and not for users.
 */
export { type ErrorCode, errorCodes, HarmonyError, isHarmonyError } from './base/errors.ts'
export { generateSecret as secretFrom } from './base/secret.ts'
export { storeFileKind } from './cluster/store-files.ts'
export { type Finding, type StoreReport, type VerifyProgress, verifyStore } from './cluster/verify.ts'
export type { Core, CoreJoin } from './database/core.ts'
export { createDatabase } from './database/database.ts'
export { isPacked, type PackedEntries } from './database/entries.ts'
export { keyBytesMax } from './database/key.ts'
export { LocalCore, openLocalCore } from './database/local-core.ts'
export type { LocalCoreOptions } from './database/local-core-options.ts'
export { leaseDriftMaxOf, openOptions } from './database/open-options.ts'
export { rendezvousOf } from './database/own-signaling.ts'
export { batchBytesMax, batchOpsMax } from './database/own-writes.ts'
export { getManyKeysMax } from './database/reader.ts'
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
} from './database/types.ts'
export { valueBytesMax } from './database/value-format.ts'
export { type Connected, type ConnectOptions, connectCore } from './rpc/connect.ts'
export { exposeCore, type OpenedCore } from './rpc/expose.ts'
export type { RpcPort } from './rpc/protocol.ts'
export { createReadThreads, type ReadOrder, type ReadReply, type ReadThread, serveReads } from './rpc/read-threads.ts'
export { createMemoryDirectory } from './storage/memory-directory.ts'
export { helpToWrite, type WriteHelpers, type WriteOrder } from './storage/parallel-batch.ts'
export type { SharedPool } from './storage/pool-memory.ts'
