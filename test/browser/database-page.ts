/** Runs in the page: the database suite over what a browser has. */
import { createDatabase } from '../../src/database/database.ts'
import { connectCore } from '../../src/rpc/connect.ts'
import type { RpcPort } from '../../src/rpc/protocol.ts'
import { databaseSuite } from '../conformance/database-suite.ts'
import { type Outcome, runAll } from './vitest-in-page.ts'

export function overWorker(): Promise<Outcome[]> {
  databaseSuite('the database over a core in a real worker', async () => {
    const worker = new Worker(new URL('./memory-worker.ts', import.meta.url), { type: 'module' })
    const { core } = await connectCore(worker as unknown as RpcPort, { request: {} })
    return createDatabase(core, () => worker.terminate())
  })
  return runAll()
}
