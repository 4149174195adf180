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
 *  T3  Otherwise: the lowest free slot that has a store, else one that another tab has adopted, else the lowest that nobody holds.
 *  T4  A slot that another tab has adopted (`orphan-slots.ts`) is asked back by whoever claims it. Who answers is closing it, and is waited for;
 *      of several that ask, those who come too late hear that it is taken, and look further.
 *  T5  Nobody steals a lock. If somebody does all the same, who held it hears `onLost`.
 *
 * Caveats: a frozen tab keeps its lock. Without `indexedDB.databases` (old Firefox) T3 is the lowest free number.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import { databaseNames, namesAt, opfsPathOf } from './storage/store-place.ts'

const ownSlotWaitMs = 500
/** Once an adopter has said that it is closing. */
const handBackMsMax = 10_000
const askAgainMs = 200
const slotsMax = 256

export interface Slot {
  readonly index: number
  /** Of the database and of the lock. */
  readonly storeName: string
  /** The lock is gone though it was not released. */
  onLost: () => void
  release(): void
}

/** What claimers and adopters say to each other, on a BroadcastChannel of the database's. */
export type SlotMessage = { readonly wanted: number } | { readonly closing: number } | { readonly taken: number }

export const slotChannelName = (name: string): string => `harmonydb:slots:${name}`
export const storeNameOf = (name: string, index: number): string => `harmonydb/${name}/${index}`
/** Held beside the slot's lock by a tab that has adopted it. */
export const adoptedNameOf = (name: string, index: number): string => `${storeNameOf(name, index)}/adopted`

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
  const adopted = await adoptedSlots(name)
  for (const [i, index] of own.entries()) {
    const slot = await (i === 0 || adopted.includes(index) ? claim(name, index) : takeSlot(name, index))
    if (slot !== undefined) return slot
  }
  const stores = await slotsWithStore(name)
  for (const index of stores) {
    const slot = await takeSlot(name, index)
    if (slot !== undefined) return slot
  }
  for (const index of adopted) {
    const slot = await claim(name, index)
    if (slot !== undefined) return slot
  }
  for (let index = 0; index < slotsMax; index++) {
    const slot = stores.includes(index) ? undefined : await takeSlot(name, index)
    if (slot !== undefined) return slot
  }
  throw new HarmonyError('LOCKED', `all ${slotsMax} storage slots of "${name}" are in use; close some of its tabs`)
}

/** At once; undefined if somebody else holds it or waits for it. */
export const takeSlot = (name: string, index: number): Promise<Slot | undefined> =>
  request(name, index, { ifAvailable: true })

/** Waits a moment, and as long as it takes if an adopter is closing it. */
async function claim(name: string, index: number): Promise<Slot | undefined> {
  const waiting = new AbortController()
  const channel = new BroadcastChannel(slotChannelName(name))
  let patience = setTimeout(() => waiting.abort(), ownSlotWaitMs)
  let answered = false
  channel.onmessage = ({ data }: MessageEvent<SlotMessage>) => {
    // Somebody else asked for it, too, and came first.
    if ('taken' in data && data.taken === index) return waiting.abort()
    if (answered || !('closing' in data) || data.closing !== index) return
    answered = true
    clearTimeout(patience)
    patience = setTimeout(() => waiting.abort(), handBackMsMax)
  }
  // It may be in the middle of adopting.
  const ask = () => channel.postMessage({ wanted: index } satisfies SlotMessage)
  const asking = setInterval(ask, askAgainMs)
  const asked = request(name, index, { signal: waiting.signal })
  ask()
  try {
    const slot = await asked
    if (slot !== undefined) channel.postMessage({ taken: index } satisfies SlotMessage)
    return slot
  } finally {
    clearTimeout(patience)
    clearInterval(asking)
    channel.close()
  }
}

/** Undefined if somebody else holds it, at the end of the wait. */
function request(name: string, index: number, options: LockOptions): Promise<Slot | undefined> {
  const storeName = storeNameOf(name, index)
  return new Promise((resolve, reject) => {
    let given: Slot | undefined
    navigator.locks
      .request(storeName, options, lock => {
        if (lock === null) return resolve(undefined)
        return new Promise<void>(release => {
          given = { index, storeName, onLost: () => {}, release }
          resolve(given)
        })
      })
      .catch(error => {
        // Once it was granted, only a lock that is stolen rejects; before, the end of the wait does.
        if (given !== undefined) given.onLost()
        else if (error instanceof DOMException && error.name === 'AbortError') resolve(undefined)
        else reject(new HarmonyError('LOCKED', `the storage lock of "${name}" could not be asked for: ${error}`))
      })
  })
}

/** Slots that other tabs run for their owners, lowest first. */
async function adoptedSlots(name: string): Promise<number[]> {
  const { held = [] } = await navigator.locks.query()
  const names = new Set(held.map(lock => lock.name))
  return slotNumbers(index => names.has(adoptedNameOf(name, index)))
}

/** Lowest first. */
export async function slotsWithStore(name: string): Promise<number[]> {
  const prefix = storeNameOf(name, 0).slice(0, -1)
  const stores = (await databaseNames()).flatMap(one => (one.startsWith(prefix) ? [one.slice(prefix.length)] : []))
  const known = new Set([...stores, ...(await namesAt(opfsPathOf(name)))].map(Number))
  return slotNumbers(index => known.has(index))
}

const slotNumbers = (which: (index: number) => boolean): number[] =>
  Array.from({ length: slotsMax }, (_, index) => index).filter(which)
