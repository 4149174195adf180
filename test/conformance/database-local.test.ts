/** The database's rules over a real peer in this realm, alone and in memory. */
import { createDatabase } from '../../src/database/database.ts'
import { openLocalCore } from '../../src/database/local-core.ts'
import type { Clock, Random, Transport } from '../../src/platform.ts'
import { connectCore } from '../../src/rpc/connect.ts'
import { exposeCore } from '../../src/rpc/expose.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { createMemoryDirectory } from '../../src/storage/memory-directory.ts'
import { databaseSuite } from './database-suite.ts'
import { lockingSuite } from './locking-suite.ts'
import { preparedSuite } from './prepared-suite.ts'
import { transactionSuite } from './transaction-suite.ts'
import { watchSuite } from './watch-suite.ts'

const clock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, Math.ceil(delayMs) + 1)
    return () => clearTimeout(timer)
  },
  soon: run => queueMicrotask(run),
}
const random: Random = { fill: bytes => void crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>) }
/** A peer that is alone connects to nobody. */
const transport: Transport = {
  connect: () => ({ introduce() {}, close() {} }),
  adopt: () => ({ introduce() {}, close() {} }),
  assertAdoptable() {},
  close() {},
}

const localCore = () =>
  openLocalCore({
    platform: { kind: 'node', clock, random, transport, foundingLock: undefined },
    directory: createMemoryDirectory(),
    storageKind: 'memory',
    durability: 'relaxed',
    rendezvous: () => [],
  })

const here = async () => createDatabase(await localCore())
const behindPort = async () => {
  const { port1, port2 } = new MessageChannel()
  exposeCore(port1 as unknown as RpcPort, async () => ({ core: await localCore(), about: undefined }))
  const { core } = await connectCore(port2 as unknown as RpcPort, { request: {}, clock })
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
