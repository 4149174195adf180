/** What a peer says when it cannot do what it was asked, and why. */
import { HarmonyError } from '../base/errors.ts'

export function noQuorumError(voters: number, inRoom: boolean, maybeCommitted: boolean): HarmonyError {
  const how = inRoom ? 'it goes on by itself once a majority is reachable' : 'join the room to reach the others'
  const message = `no majority of the ${voters} voters can be reached; ${how}. Reads with consistency 'local' still answer`
  return new HarmonyError('NO_QUORUM', message, { maybeCommitted })
}

/** An error that ends the peer. What is no HarmonyError is a bug (an assertion) or a host that broke its port's rules. */
export const fatalError = (error: unknown): HarmonyError =>
  error instanceof HarmonyError
    ? error
    : new HarmonyError('STORAGE_LOST', `this peer stopped: ${String(error)}`, { cause: error })
