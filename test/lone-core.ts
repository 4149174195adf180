/** A peer that is alone, in memory, in this process. */
import { nodeClock, nodeRandom } from '../platform/node/host.ts'
import { type LocalCore, openLocalCore } from '../src/database/local-core.ts'
import type { Transport } from '../src/platform.ts'
import { createMemoryDirectory } from '../src/storage/memory-directory.ts'

/** It connects to nobody. */
export const loneTransport: Transport = {
  connect: () => ({ introduce() {}, close() {} }),
  adopt: () => ({ introduce() {}, close() {} }),
  assertAdoptable() {},
  close() {},
}

export const openLoneCore = (): Promise<LocalCore> =>
  openLocalCore({
    platform: {
      kind: 'node',
      clock: nodeClock,
      random: nodeRandom,
      transport: loneTransport,
      foundingLock: undefined,
    },
    directory: createMemoryDirectory(),
    storageKind: 'memory',
    durability: 'relaxed',
    rendezvous: () => [],
  })
