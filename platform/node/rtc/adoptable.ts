/** What `adopt` takes in Node. Without the native library: it may not be there yet, or not at all, when it is asked. */
import type { PeerConnection } from 'node-datachannel'
import { HarmonyError } from '../../../src/base/errors.ts'
import { assertNotAdopted } from '../../network/adoption.ts'

/** By shape: an application may hold another copy of the library. @throws HarmonyError VALIDATION, also for one that was adopted before. */
export function asAdoptable(value: unknown): PeerConnection {
  const verbs = ['createDataChannel', 'localDescription', 'remoteDescription']
  const fits =
    typeof value === 'object' &&
    value !== null &&
    verbs.every(verb => typeof (value as Record<string, unknown>)[verb] === 'function')
  if (!fits) throw new HarmonyError('VALIDATION', 'adopt takes a PeerConnection of node-datachannel here')
  assertNotAdopted(value)
  return value as PeerConnection
}
