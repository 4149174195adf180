/** The worker of a database, with a cache and checkpoints that are far smaller than the data. */
import { type BrowserRequest, openBrowserCore } from '../../platform/browser/worker/open-core.ts'
import { exposeCore, type RpcPort } from '../../src/index.ts'

exposeCore(self as unknown as RpcPort, request =>
  openBrowserCore({ ...(request as BrowserRequest), cacheBytes: 256 * 1024, checkpointBytes: 96 * 1024 }),
)
