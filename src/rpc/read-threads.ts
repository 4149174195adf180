/**
 * Reader threads, both ends: `serveReads` in the thread answers from the shared pages what `createReadThreads` asks of it. The core has passed its
 * read barrier before it asks, so a thread needs to know one thing: the applied index that its state must have reached.
 *
 * A call goes to the thread with the fewest calls under way; where all have many, it is declined. A thread that dies declines what it was asked and gets nothing any more.
 */
import { EntryPacker, type PackedEntries } from '../database/entries.ts'
import { entriesOf, type Page, type PageRequest, pageOf } from '../database/page-read.ts'
import type { ReadThreads } from '../database/read-threads.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import { SharedTreeReader } from '../storage/shared-reader.ts'
import { packKeys, unpackKeys } from './pack.ts'

export type ReadOrder =
  | { readonly id: number; readonly kind: 'getMany'; readonly keys: Uint8Array; readonly applied: number }
  | { readonly id: number; readonly kind: 'page'; readonly request: PageRequest; readonly applied: number }

/** `entries` undefined: declined. */
export interface ReadReply {
  readonly id: number
  readonly entries: PackedEntries | undefined
  readonly done: boolean
}

/** One thread, as its host makes it. */
export interface ReadThread {
  post(order: ReadOrder): void
  /** Once, before anything is posted. `onGone`: it ended, or never began. */
  listen(onReply: (reply: ReadReply) => void, onGone: () => void): void
  end(): void
}

const pendingMax = 64
/** Of the reader's optimistic attempts; some milliseconds at most. */
const attemptsMax = 24

interface Lane {
  readonly thread: ReadThread
  readonly pending: Map<number, (reply: ReadReply | undefined) => void>
  gone: boolean
}

export function createReadThreads(threads: readonly ReadThread[]): ReadThreads {
  const counts = { answered: 0, declined: 0 }
  let nextId = 1
  const lanes = threads.map(thread => {
    const lane: Lane = { thread, pending: new Map(), gone: false }
    const onGone = (): void => {
      lane.gone = true
      for (const settle of lane.pending.values()) settle(undefined)
      lane.pending.clear()
    }
    thread.listen(reply => {
      const settle = lane.pending.get(reply.id)
      lane.pending.delete(reply.id)
      settle?.(reply)
    }, onGone)
    return { lane, onGone }
  })

  const ask = async (order: (id: number) => ReadOrder): Promise<Page | undefined> => {
    let least: Lane | undefined
    for (const { lane } of lanes) {
      if (!lane.gone && (least === undefined || lane.pending.size < least.pending.size)) least = lane
    }
    const lane = least
    let reply: ReadReply | undefined
    if (lane !== undefined && lane.pending.size < pendingMax) {
      const id = nextId++
      reply = await new Promise<ReadReply | undefined>(resolve => {
        lane.pending.set(id, resolve)
        lane.thread.post(order(id))
      })
    }
    const entries = reply?.entries
    counts[entries === undefined ? 'declined' : 'answered']++
    return entries === undefined ? undefined : { entries, done: reply?.done === true }
  }

  return {
    threads: threads.length,
    counts,
    async getMany(keys, applied) {
      const packed = packKeys(keys)
      const reply = await ask(id => ({ id, kind: 'getMany', keys: packed, applied }))
      return reply?.entries
    },
    page: (request, applied) => ask(id => ({ id, kind: 'page', request, applied })),
    close() {
      for (const { lane, onGone } of lanes) {
        onGone()
        lane.thread.end()
      }
    },
  }
}

/** In the thread: answers one order at a time. The bytes of a reply are in a buffer of their own, to be handed over. */
export function serveReads(
  pool: SharedPool,
  slot: number,
  reply: (reply: ReadReply) => void,
): (order: ReadOrder) => void {
  const reader = new SharedTreeReader(pool, { attemptsMax, maySleep: true, slot })
  const packer = new EntryPacker()
  const own = ({ count, bytes }: PackedEntries): PackedEntries => ({ count, bytes: bytes.slice() })
  const answer = (order: ReadOrder): Page | undefined => {
    if (order.kind === 'getMany') {
      const read = reader.read(entriesOf(packer, unpackKeys(order.keys)), order.applied)
      return read.state === 'read' ? { entries: own(read.value), done: true } : undefined
    }
    const read = reader.read(pageOf(packer, order.request), order.applied)
    if (read.state !== 'read' || read.applied !== order.applied) return undefined
    return { entries: own(read.value.entries), done: read.value.done }
  }
  return order => {
    const { id } = order
    let page: Page | undefined
    try {
      page = answer(order)
    } catch {
      // Damage: the core's own reading finds it, and says what it is.
    }
    reply({ id, entries: page?.entries, done: page?.done === true })
  }
}
