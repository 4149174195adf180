/** The page: does a task itself, or has a worker do it. */
import { runTask } from './run.ts'
import type { BenchPage, BrowserReport, BrowserTask, Ending } from './task.ts'

export type FromWorker = { readonly report: BrowserReport } | { readonly ending: Ending }

const page = globalThis as unknown as BenchPage

page.runTask = task => (task.place === 'page' ? runTask(task, report => page.tell(report)) : inWorker(task))

function inWorker(task: BrowserTask): Promise<Ending> {
  const worker = new Worker('/bench/worker.js', { type: 'module' })
  return new Promise<Ending>(resolve => {
    worker.onerror = event => resolve({ type: 'failed', message: `the worker: ${event.message}` })
    worker.onmessage = event => {
      const message = event.data as FromWorker
      if ('ending' in message) resolve(message.ending)
      else void page.tell(message.report)
    }
    worker.postMessage(task)
  }).finally(() => worker.terminate())
}
