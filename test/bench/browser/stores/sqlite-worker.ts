/** The worker of sqlite-wasm for a page: does what a message asks, and answers with another. */
import type { Store } from '../../stores/store.ts'
import type { SqliteAnswer, SqliteRequest } from './sqlite.ts'
import { openSqliteHere } from './sqlite-here.ts'

let store: Store<Uint8Array>

async function answer({ op, given }: SqliteRequest): Promise<unknown> {
  if (op !== 'open') return (store[op] as (...given: readonly unknown[]) => unknown)(...given)
  store = await openSqliteHere(given[0] as string)
  return undefined
}

addEventListener('message', async event => {
  const request = event.data as SqliteRequest
  let reply: SqliteAnswer
  try {
    reply = { id: request.id, result: await answer(request) }
  } catch (error) {
    reply = { id: request.id, error: String(error) }
  }
  postMessage(reply)
})
