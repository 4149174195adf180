/** A dedicated worker with a core that is nothing but its contract: the boundary alone is under test. */
import { exposeCore } from '../../src/rpc/expose.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { MemoryCore } from '../conformance/memory-core.ts'

exposeCore(self as unknown as RpcPort, async () => {
  await new Promise<void>(held => {
    navigator.locks.request('memory-worker', () => new Promise(() => held()))
  })
  return { core: new MemoryCore(), about: 'memory' }
})
