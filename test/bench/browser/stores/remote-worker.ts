/** The worker of an engine that a page uses (`remote.ts`): does what a message asks, and answers with another. */
import type { Store } from '../../stores/store.ts'
import { openPgliteHere } from './pglite.ts'
import type { RemoteAnswer, RemoteRequest } from './remote.ts'
import { openSqliteHere } from './sqlite-here.ts'

const opens: Readonly<Record<string, (name: string) => Promise<Store<Uint8Array>>>> = {
  'sqlite-wasm': openSqliteHere,
  pglite: openPgliteHere,
}

let store: Store<Uint8Array>

async function answer({ op, given }: RemoteRequest): Promise<unknown> {
  if (op !== 'open') return (store[op] as (...given: readonly unknown[]) => unknown)(...given)
  const [engine, name] = given as [string, string]
  store = await opens[engine]!(name)
  return undefined
}

addEventListener('message', async event => {
  const request = event.data as RemoteRequest
  let reply: RemoteAnswer
  try {
    const result = await answer(request)
    // What a write answers with is of no use to the page, and may not be able to cross.
    reply = request.op === 'get' || request.op === 'scan' ? { id: request.id, result } : { id: request.id }
  } catch (error) {
    reply = { id: request.id, error: String(error) }
  }
  postMessage(reply)
})
