/**
 * The dedicated worker: waits for the page to say which database, opens it, and serves it over the worker's own port.
 * Package export `harmonydb/worker`, for bundlers that want to see it and for pages under a strict Content-Security-Policy:
 *
 *   open({ name, worker: () => new Worker(new URL('harmonydb/worker', import.meta.url), { type: 'module' }) })
 */
import { exposeCore, type RpcPort } from '../../../src/index.ts'
import { type BrowserRequest, openBrowserCore } from './open-core.ts'

exposeCore(self as unknown as RpcPort, request => openBrowserCore(request as BrowserRequest))
