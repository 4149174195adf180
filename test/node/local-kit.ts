/** The public API over a directory on a file system of the test's choice, with checkpoints as often as the test wants. */
import { nodeClock, nodeRandom } from '../../platform/node/host.ts'
import { openDirectory } from '../../platform/node/storage/directory.ts'
import { type Files, systemFiles } from '../../platform/node/storage/files.ts'
import { type StoreReport, verifyStore } from '../../src/cluster/verify.ts'
import { createDatabase, type Database, openLocalCore } from '../../src/index.ts'
import type { Directory } from '../../src/platform.ts'
import { loneTransport } from '../lone-core.ts'
import { fingerprint, inFlightMax, type Script, stateText } from '../simulation/crash-script.ts'

/** Where no crash is meant, nobody has to wait for a disk. */
export const unsyncedFiles: Files = {
  ...systemFiles,
  datasync: (_file, done) => void setImmediate(done, undefined),
  datasyncNow() {},
  syncDirectory() {},
}

export interface LocalOptions {
  readonly files?: Files
  readonly cacheBytes?: number
  readonly checkpointBytes?: number
  readonly heldBytesMin?: number
}

const directoryAt = (dir: string, files: Files): Promise<Directory> =>
  new Promise((resolve, reject) => {
    openDirectory(dir, opened => (opened.ok ? resolve(opened.value) : reject(opened.error)), files)
  })

export async function openLocal(dir: string, options: LocalOptions = {}): Promise<Database> {
  const { files = systemFiles, ...sizes } = options
  const directory = await directoryAt(dir, files)
  const platform = {
    kind: 'node',
    clock: nodeClock,
    random: nodeRandom,
    transport: loneTransport,
    foundingLock: undefined,
  } as const
  const rendezvous = () => []
  return createDatabase(
    await openLocalCore({ platform, directory, storageKind: dir, durability: 'strict', rendezvous, ...sizes }),
  )
}

/** The offline check. @throws Error where it finds damage. */
export async function checkStore(dir: string): Promise<StoreReport> {
  const directory = await directoryAt(dir, systemFiles)
  const report = await new Promise<StoreReport>(done => verifyStore(directory, () => {}, done))
  await new Promise<void>(done => directory.close(() => done()))
  const damage = report.findings.filter(({ severity }) => severity === 'damage')
  if (damage.length > 0) throw new Error(`the check found: ${damage.map(({ message }) => message).join('; ')}`)
  return report
}

export interface ScriptProgress {
  /** So many writes of the script have gone out. */
  onSubmitted(writes: number): void
  onAcknowledged(writes: number): void
}

/** The script's writes from `from` on, up to `to`, in order, some at a time. Rejects with the first refusal. */
export async function writeScript(
  db: Database,
  script: Script,
  from: number,
  to: number,
  { onSubmitted, onAcknowledged }: ScriptProgress,
): Promise<void> {
  let next = from
  let refused = false
  const writer = async (): Promise<void> => {
    while (next < to && !refused) {
      const n = next++
      onSubmitted(next)
      try {
        await db.batch(script.writes[n] ?? [])
      } catch (error) {
        refused = true
        throw error
      }
      onAcknowledged(n + 1)
    }
  }
  const ended = await Promise.allSettled(Array.from({ length: inFlightMax }, writer))
  const failed = ended.find(one => one.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** As a script says it. */
export async function stateIn(db: Database): Promise<string> {
  const state = new Map<string, string>()
  for await (const { key, value } of db.scan<Uint8Array>()) state.set(String(key[0]), fingerprint(value))
  return stateText(state)
}
