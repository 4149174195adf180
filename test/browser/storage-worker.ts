/** Appends and syncs for ever, and says after each sync how far it got: to be killed at any moment. */

import { openDirectory } from '../../platform/browser/worker/storage/directory.ts'
import type { Directory, Result } from '../../src/platform.ts'
import { answer, pollUntil } from '../conformance/rule.ts'
import { openLog, openPages, pattern, success, synced } from '../conformance/storage-harness.ts'

const waiting = { until: pollUntil, dispose: async () => {} }

addEventListener('message', async event => {
  const directory = await success(
    answer<Result<Directory>>(waiting, 'open', done => openDirectory(event.data as string, done)),
  )
  const log = await openLog(waiting, directory)
  const pages = await openPages(waiting, directory)
  for (let round = 0; ; round++) {
    for (let i = 0; i < 20; i++) log.append(pattern(round * 20 + i, 1_000))
    pages.write((round % 50) * pages.pageBytesPreferred, pattern(round, pages.pageBytesPreferred))
    await Promise.all([synced(waiting, log), synced(waiting, pages)])
    postMessage(round)
  }
})
