/**
 * Prepared transactions of a peer in this realm: requests and outcomes of its clients, as `Core` says them. Ids are looked at once more: they come over a socket or a port, too, and one that
 * is malformed would be an entry that no peer can read.
 */
import { HarmonyError, isHarmonyError } from '../base/errors.ts'
import type { Clients } from '../cluster/clients.ts'
import { decisionOf } from '../cluster/prepared-deadlines.ts'
import { noRanges } from '../shard/command.ts'
import { fitsAlone } from '../shard/prepared.ts'
import { tooLargeToPrepare } from './conflicts.ts'
import type { CoreDecide, CorePrepared, CoreWrite } from './core.ts'
import { settled } from './local-write.ts'
import { idOf } from './prepared.ts'

type Way = Pick<Clients, 'write' | 'prepared'>

export async function prepareIn(
  clients: Way,
  request: CoreWrite,
  as: { readonly id: string; readonly holdMs: number },
): Promise<{ readonly id: string }> {
  const { ops, checks, ranges = noRanges } = request
  const id = idOf(as.id)
  const phase = { type: 'prepare', id, holdMs: as.holdMs } as const
  const write = { ops, checks, ranges, idempotencyKey: undefined, phase }
  if (!fitsAlone(write)) throw tooLargeToPrepare()
  const what = `it may be prepared as ${JSON.stringify(id)}: prepared.rollback gives it up, prepared.commit goes on`
  await explained(settled(clients, write, request.timeoutMs, id), what)
  return { id }
}

export async function decideIn(
  clients: Way,
  { id: of, commit, timeoutMs }: CoreDecide,
): Promise<{ readonly version: string }> {
  const id = idOf(of)
  const deciding = settled(clients, decisionOf(id, commit ? 'committed' : 'rolledBack'), timeoutMs, id)
  return explained(deciding, 'ask again, the first decision counts and is remembered')
}

export function preparedIn(clients: Way, timeoutMs: number): Promise<readonly CorePrepared[]> {
  return new Promise((resolve, reject) => {
    clients.prepared(timeoutMs, found => {
      if (found instanceof HarmonyError) return reject(found)
      const all = found.map(({ sinceMs, write: { ops, phase } }): CorePrepared => {
        return { id: phase.id, keys: ops.length, preparedAtMs: sinceMs, holdMs: phase.holdMs }
      })
      resolve(all)
    })
  })
}

/** Whoever does not know what came of it can find out, and needs the id for that, drawn or not. */
async function explained<T>(work: Promise<T>, what: string): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!isHarmonyError(error) || !error.maybeCommitted) throw error
    const { code, retryable, maybeCommitted } = error
    throw new HarmonyError(code, `${error.message}. Of this one: ${what}`, { retryable, maybeCommitted, cause: error })
  }
}
