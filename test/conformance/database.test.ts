import { createDatabase } from '../../src/database/database.ts'
import { connectCore } from '../../src/rpc/connect.ts'
import { exposeCore } from '../../src/rpc/expose.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { databaseSuite } from './database-suite.ts'
import { lockingSuite } from './locking-suite.ts'
import { MemoryCore, testClock } from './memory-core.ts'
import { preparedSuite } from './prepared-suite.ts'
import { transactionSuite } from './transaction-suite.ts'
import { watchSuite } from './watch-suite.ts'

const here = async () => createDatabase(new MemoryCore())
const behindPort = async () => {
  const { port1, port2 } = new MessageChannel()
  exposeCore(port1 as unknown as RpcPort, async () => ({ core: new MemoryCore(), about: undefined }))
  const { core } = await connectCore(port2 as unknown as RpcPort, { request: {}, clock: testClock })
  return createDatabase(core)
}

databaseSuite('the database over a core in memory', here)
databaseSuite('the database over a core behind a port', behindPort)
transactionSuite('transactions over a core in memory', here)
transactionSuite('transactions over a core behind a port', behindPort)
lockingSuite('locks over a core in memory', here)
lockingSuite('locks over a core behind a port', behindPort)
watchSuite('watching over a core in memory', here)
watchSuite('watching over a core behind a port', behindPort)
preparedSuite('prepared transactions over a core in memory', here)
preparedSuite('prepared transactions over a core behind a port', behindPort)
