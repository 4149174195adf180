/** A thread of `writers.test.ts` in Node: the owner, or one that the owner starts. */
import { fileURLToPath } from 'node:url'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { type OwnerOrder, own, serveReader, serveWriter, type Thread, type ThreadOrder } from './writers-threads.ts'

const order = workerData as ThreadOrder | (OwnerOrder & { readonly role?: undefined })
const post = (message: unknown): void => parentPort?.postMessage(message)

function start(threadOrder: ThreadOrder): Thread {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: threadOrder })
  const messages: unknown[] = []
  let wake = (): void => {}
  worker.on('message', message => {
    messages.push(message)
    wake()
  })
  return {
    post: message => worker.postMessage(message),
    next: async () => {
      while (messages.length === 0) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      return messages.shift()
    },
  }
}

if (order.role === undefined) own(order, start).then(post)
else if (order.role === 'reader') serveReader(order, post)
else parentPort?.on('message', serveWriter(order, post))
