/**
 * The `Slots` of a browser's tab: storage slots whose tabs are gone, found by their Web Locks (`slot.ts` has the rules of slots).
 *
 * Who takes one holds a second lock beside it, which marks it as adopted: so a tab that is opened again knows from the browser itself, without a wait, which slots
 * it may ask back. Both go with the realm. It asks on a BroadcastChannel, and is answered that the slot is being closed.
 */
import { HarmonyError } from '../../../src/base/errors.ts'
import type { Completion, Directory, SlotEvents, Slots } from '../../../src/platform.ts'
import {
  adoptedNameOf,
  type Slot,
  type SlotMessage,
  slotChannelName,
  slotsWithStore,
  storeNameOf,
  takeSlot,
} from './slot.ts'

/** @param openStore Opens a slot's storage; on failure the slot is released here. */
export function createOrphanSlots(name: string, openStore: (slot: Slot) => Promise<Directory>): Slots {
  const taken = new Map<number, SlotEvents>()
  let channel: BroadcastChannel | undefined

  /** Open while there is something to give back. */
  function listen(): void {
    if (channel !== undefined) return
    const own = new BroadcastChannel(slotChannelName(name))
    channel = own
    own.onmessage = ({ data }: MessageEvent<SlotMessage>) => {
      const events = 'wanted' in data ? taken.get(data.wanted) : undefined
      if (!('wanted' in data) || events === undefined) return
      own.postMessage({ closing: data.wanted } satisfies SlotMessage)
      events.onWanted()
    }
  }

  function forget(index: number): void {
    taken.delete(index)
    if (taken.size > 0) return
    channel?.close()
    channel = undefined
  }

  async function take(index: number, events: SlotEvents): Promise<Directory | undefined> {
    const slot = await takeSlot(name, index)
    if (slot === undefined) return undefined
    taken.set(index, events)
    listen()
    const unmark = mark(adoptedNameOf(name, index))
    slot.onLost = () => {
      if (taken.get(index) !== events) return
      forget(index)
      unmark()
      events.onLost()
    }
    const release = () => {
      if (taken.get(index) === events) forget(index)
      unmark()
      slot.release()
    }
    return openStore({ ...slot, release }).catch(error => {
      release()
      throw error
    })
  }

  return {
    free: done => answer(freeSlots(name), done),
    take: (index, events, done) => answer(take(index, events), done),
  }
}

/** They have a store, and nobody has their lock or waits for it. */
async function freeSlots(name: string): Promise<number[]> {
  const stores = await slotsWithStore(name)
  const { held = [], pending = [] } = await navigator.locks.query()
  const busy = new Set([...held, ...pending].map(lock => lock.name))
  return stores.filter(index => !busy.has(storeNameOf(name, index)))
}

/** Holds a lock that means nothing but that it is held. @returns Lets go of it. */
function mark(lockName: string): () => void {
  let release: () => void = () => {}
  const released = new Promise<void>(resolve => {
    release = resolve
  })
  navigator.locks.request(lockName, () => released).catch(() => {})
  return release
}

function answer<T>(work: Promise<T>, done: Completion<T>): void {
  work.then(
    value => done({ ok: true, value }),
    error => {
      const what = error instanceof HarmonyError ? error : new HarmonyError('STORAGE_LOST', `a slot failed: ${error}`)
      done({ ok: false, error: what })
    },
  )
}
