import { createDatabase } from '../../src/database/database.ts'
import { connectCore } from '../../src/rpc/connect.ts'
import { exposeCore } from '../../src/rpc/expose.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { databaseSuite } from './database-suite.ts'
import { MemoryCore } from './memory-core.ts'

databaseSuite('the database over a core in memory', async () => createDatabase(new MemoryCore()))

databaseSuite('the database over a core behind a port', async () => {
  const { port1, port2 } = new MessageChannel()
  exposeCore(port1 as unknown as RpcPort, async () => ({ core: new MemoryCore(), about: undefined }))
  const { core } = await connectCore(port2 as unknown as RpcPort, { request: {} })
  return createDatabase(core)
})
