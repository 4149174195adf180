/** The database's rules over a real peer in this realm, alone and in memory. */
import { nodeClock } from '../../platform/node/host.ts'
import { createDatabase } from '../../src/database/database.ts'
import { connectCore } from '../../src/rpc/connect.ts'
import { exposeCore } from '../../src/rpc/expose.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { openLoneCore } from '../lone-core.ts'
import { databaseSuite } from './database-suite.ts'
import { lockingSuite } from './locking-suite.ts'
import { preparedSuite } from './prepared-suite.ts'
import { transactionSuite } from './transaction-suite.ts'
import { watchSuite } from './watch-suite.ts'

const here = async () => createDatabase(await openLoneCore())
const behindPort = async () => {
  const { port1, port2 } = new MessageChannel()
  exposeCore(port1 as unknown as RpcPort, async () => ({ core: await openLoneCore(), about: undefined }))
  const { core } = await connectCore(port2 as unknown as RpcPort, { request: {}, clock: nodeClock })
  return createDatabase(core)
}

databaseSuite('the database over a peer', here)
databaseSuite('the database over a peer behind a port', behindPort)
transactionSuite('transactions over a peer', here)
transactionSuite('transactions over a peer behind a port', behindPort)
lockingSuite('locks over a peer', here)
lockingSuite('locks over a peer behind a port', behindPort)
watchSuite('watching over a peer', here)
watchSuite('watching over a peer behind a port', behindPort)
preparedSuite('prepared transactions over a peer', here)
preparedSuite('prepared transactions over a peer behind a port', behindPort)
