/**
 * Storage slots: which of the peers that live in this profile this realm is. A peer is its storage, so no two realms may run one slot.
 *
 * A slot n of the database `name` is the IndexedDB database `harmonydb/<name>/<n>`, or the directory of that name in the origin private file system
 * (`storage/store-place.ts`), and the right to touch it is the Web Lock of the same name.
 *
 *  T1  The lock is held by the realm that does the reading and writing, from before it reads a byte until it has closed. It dies with that
 *      realm and not before, so whoever gets the lock finds nobody writing any more.
 *  T2  A reloaded tab gets its own slot back: it names the slots that it had, and waits a moment for the realm of its former document
 *      to go. A duplicated tab names the same ones, waits in vain and gets another.
 *  T3  Otherwise: the lowest free slot that has a store, else the lowest that nobody holds.
 *
 * Caveats: a frozen tab keeps its lock. Without `indexedDB.databases` (old Firefox) T3 is the lowest free number.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import { databaseNames, namesAt, opfsPathOf } from './storage/store-place.ts'

const ownSlotWaitMs = 500
const slotsMax = 256

export interface Slot {
  readonly index: number
  /** Of the database and of the lock. */
  readonly storeName: string
  release(): void
}

/**
 * @param own Slots that this tab had before, best first.
 * @throws HarmonyError VALIDATION where there are no Web Locks; LOCKED where every slot is taken.
 */
export async function claimSlot(name: string, own: readonly number[]): Promise<Slot> {
  if (typeof navigator === 'undefined' || navigator.locks === undefined) {
    const message =
      'durable storage in a browser needs Web Locks, which only secure contexts have: serve the page over https or from localhost'
    throw new HarmonyError('VALIDATION', message)
  }
  for (const [i, index] of own.entries()) {
    const slot = await take(name, index, i === 0 ? ownSlotWaitMs : 0)
    if (slot !== undefined) return slot
  }
  for (const index of await candidates(name)) {
    const slot = await take(name, index, 0)
    if (slot !== undefined) return slot
  }
  throw new HarmonyError('LOCKED', `all ${slotsMax} storage slots of "${name}" are in use; close some of its tabs`)
}

export const storeNameOf = (name: string, index: number): string => `harmonydb/${name}/${index}`

/** Undefined if somebody else holds it (still, after the wait). */
function take(name: string, index: number, waitMs: number): Promise<Slot | undefined> {
  const storeName = storeNameOf(name, index)
  return new Promise((resolve, reject) => {
    const options = waitMs > 0 ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true }
    navigator.locks
      .request(storeName, options, lock => {
        if (lock === null) return resolve(undefined)
        return new Promise<void>(release => resolve({ index, storeName, release }))
      })
      .catch(error => {
        // The time-out comes as a rejection; after the lock was granted nothing rejects.
        if (error instanceof DOMException && (error.name === 'TimeoutError' || error.name === 'AbortError'))
          resolve(undefined)
        else reject(new HarmonyError('LOCKED', `the storage lock of "${name}" could not be asked for: ${error}`))
      })
  })
}

async function candidates(name: string): Promise<number[]> {
  const prefix = storeNameOf(name, 0).slice(0, -1)
  const stores = (await databaseNames()).flatMap(one => (one.startsWith(prefix) ? [one.slice(prefix.length)] : []))
  const known = [...new Set([...stores, ...(await namesAt(opfsPathOf(name)))].map(Number))]
    .filter(index => Number.isInteger(index) && index >= 0 && index < slotsMax)
    .sort((a, b) => a - b)
  const others = Array.from({ length: slotsMax }, (_, index) => index).filter(index => !known.includes(index))
  return [...known, ...others]
}
