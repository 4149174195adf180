/** `Database.prepared` and the options of `prepare`: what is checked before anything is sent. */
import { unlessAborted } from './abort.ts'
import type { Core, CorePrepare } from './core.ts'
import { invalid, record, shown, signalOf, timeoutOf } from './options.ts'
import type { Committed, DecideOptions, PreparedTransaction, PreparedTransactions, PrepareOptions } from './types.ts'

const holdMsDefault = 60_000
const holdMsMax = 24 * 60 * 60_000
const idLengthMax = 256

/** @throws VALIDATION */
export function prepareOptions(options: PrepareOptions | undefined): CorePrepare {
  const { id, holdMs = holdMsDefault } = record(options, 'options')
  if (typeof holdMs !== 'number' || !(holdMs >= 1 && holdMs <= holdMsMax))
    throw invalid(`holdMs must be 1 to ${holdMsMax} milliseconds (a day), not ${shown(holdMs)}`)
  return { id: id === undefined ? undefined : idOf(id), holdMs: Math.ceil(holdMs) }
}

/** @throws VALIDATION: no entry of the log may have it. */
export function idOf(id: string): string {
  if (typeof id === 'string' && id.length > 0 && id.length <= idLengthMax) return id
  throw invalid(`the id of a prepared transaction is a string of 1 to ${idLengthMax} characters, not ${shown(id)}`)
}

export class PreparedFacade implements PreparedTransactions {
  private readonly core: Core
  private readonly assertOpen: () => void

  constructor(core: Core, assertOpen: () => void) {
    this.core = core
    this.assertOpen = assertOpen
  }

  /** Those that nobody has decided, in the order in which they were prepared; by a linearizable read. @throws NO_QUORUM, TIMEOUT, ABORTED, CLOSED. */
  async list(options?: DecideOptions): Promise<PreparedTransaction[]> {
    this.assertOpen()
    const given = record(options, 'options')
    const timeoutMs = timeoutOf(given)
    const found = await unlessAborted(this.core.prepared(timeoutMs), signalOf(given), false)
    return found.map(({ id, keys, preparedAtMs, holdMs }) => ({ id, keys, preparedAtMs, holdMs }))
  }

  /**
   * Does what was prepared, all of it, at one moment. Doing it again does nothing more and has the same answer.
   * @throws CONFLICT, not retryable, where it was rolled back; VALIDATION where no such id is known; and as `Database.put`.
   */
  async commit(id: string, options?: DecideOptions): Promise<Committed> {
    return { version: await this.decide(id, true, options) }
  }

  /** Gives up what was prepared. @throws CONFLICT, not retryable, where it was committed; and as `commit`. */
  async rollback(id: string, options?: DecideOptions): Promise<void> {
    await this.decide(id, false, options)
  }

  private async decide(id: string, commit: boolean, options: DecideOptions | undefined): Promise<string> {
    this.assertOpen()
    const given = record(options, 'options')
    const request = { id: idOf(id), commit, timeoutMs: timeoutOf(given) }
    const signal = signalOf(given)
    return (await unlessAborted(this.core.decide(request), signal, true)).version
  }
}
