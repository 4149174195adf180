/** The worker in which an engine runs together with what measures it. */
import type { FromWorker } from './page.ts'
import { runTask } from './run.ts'
import type { BrowserTask } from './task.ts'

const answer = (message: FromWorker): void => postMessage(message)

addEventListener(
  'message',
  async ({ data }) => answer({ ending: await runTask(data as BrowserTask, async report => answer({ report })) }),
  { once: true },
)
