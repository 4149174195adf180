/** The public API over a directory on a file system of the test's choice, with checkpoints as often as the test wants. */
import { nodeClock, nodeRandom } from '../../platform/node/host.ts'
import { openDirectory } from '../../platform/node/storage/directory.ts'
import { type Files, systemFiles } from '../../platform/node/storage/files.ts'
import { createDatabase, type Database, openLocalCore } from '../../src/index.ts'
import type { Directory, Transport } from '../../src/platform.ts'

/** A peer that is alone connects to nobody. */
const transport: Transport = {
  connect: () => ({ introduce() {}, close() {} }),
  adopt: () => ({ introduce() {}, close() {} }),
  assertAdoptable() {},
  close() {},
}

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
}

export async function openLocal(dir: string, options: LocalOptions = {}): Promise<Database> {
  const { files = systemFiles, ...sizes } = options
  const directory = await new Promise<Directory>((resolve, reject) => {
    openDirectory(dir, opened => (opened.ok ? resolve(opened.value) : reject(opened.error)), files)
  })
  const platform = { kind: 'node', clock: nodeClock, random: nodeRandom, transport, foundingLock: undefined } as const
  const rendezvous = () => []
  return createDatabase(
    await openLocalCore({ platform, directory, storageKind: dir, durability: 'strict', rendezvous, ...sizes }),
  )
}
