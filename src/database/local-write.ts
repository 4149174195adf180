/** A write of a peer in this realm, until it is settled: what is done at once, prepared, or decided. */
import { withoutStack } from '../base/errors.ts'
import type { Clients } from '../cluster/clients.ts'
import type { WriteRequest } from '../cluster/writes.ts'
import { versionOf } from '../mvcc/versioned.ts'
import { refusalOf } from './conflicts.ts'

/** @param id Of the transaction that is prepared or decided. */
export function settled(
  clients: Pick<Clients, 'write'>,
  request: WriteRequest,
  timeoutMs: number,
  id?: string,
): Promise<{ readonly version: string }> {
  return new Promise((resolve, reject) => {
    clients.write(request, timeoutMs, result => {
      if ('error' in result) return reject(result.error)
      const { outcome } = result
      if (outcome.type === 'committed') resolve({ version: versionOf(outcome.at) })
      else reject(withoutStack(() => refusalOf(outcome, request.checks.length, id)))
    })
  })
}
