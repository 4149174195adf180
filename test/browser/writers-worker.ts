/** A thread of `writers.spec.ts` in a browser: the owner, which the page starts, or one that the owner starts. The first message is its order. */
import {
  type OwnerOrder,
  own,
  serveReader,
  serveWriter,
  type Thread,
  type ThreadOrder,
} from '../node/writers-threads.ts'

type Order = ThreadOrder | (OwnerOrder & { readonly role?: undefined })

const post = (message: unknown): void => postMessage(message)

function start(threadOrder: ThreadOrder): Thread {
  const worker = new Worker(new URL('./writers-worker.ts', import.meta.url), { type: 'module' })
  const messages: unknown[] = []
  let wake = (): void => {}
  worker.onmessage = ({ data }) => {
    messages.push(data)
    wake()
  }
  worker.onerror = ({ message }) => {
    messages.push({ failure: message, failures: [message] })
    wake()
  }
  worker.postMessage(threadOrder)
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

addEventListener(
  'message',
  ({ data }: MessageEvent<Order>) => {
    if (data.role === undefined) own(data, start).then(post)
    else if (data.role === 'reader') serveReader(data, post)
    else {
      const serve = serveWriter(data, post)
      addEventListener('message', ({ data: section }) => serve(section))
    }
  },
  { once: true },
)
