/**
 * Reader threads, both ends: `serveReads` in the thread answers from the shared pages what `createReadThreads` asks of it. The core has passed its
 * read barrier before it asks, so a thread needs to know one thing: the applied index that its state must have reached.
 *
 * A call goes to the thread with the fewest calls under way; where all have many, it is declined. A thread that dies declines what it was asked and gets nothing any more.
 */
import type { CoreEntry, CorePage } from '../database/core.ts'
import { type PageRequest, visitPage } from '../database/page-read.ts'
import type { ReadThreads } from '../database/read-threads.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import { SharedTreeReader } from '../storage/shared-reader.ts'
import { EntryPacker, packKeys, type ReadOrder, type ReadReply, unpackEntries, unpackKeys } from './read-wire.ts'

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

  const ask = async (order: (id: number) => ReadOrder): Promise<{ entries: Uint8Array; done: boolean } | undefined> => {
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
      return reply && unpackEntries(reply.entries)
    },
    async page(request: PageRequest, applied): Promise<Omit<CorePage, 'snapshot'> | undefined> {
      const reply = await ask(id => ({ id, kind: 'page', request, applied }))
      return reply && { entries: unpackEntries(reply.entries) as CoreEntry[], done: reply.done }
    },
    close() {
      for (const { lane, onGone } of lanes) {
        onGone()
        lane.thread.end()
      }
    },
  }
}

/** In the thread: answers one order at a time. `reply` may take the bytes over. */
export function serveReads(
  pool: SharedPool,
  slot: number,
  reply: (reply: ReadReply) => void,
): (order: ReadOrder) => void {
  const reader = new SharedTreeReader(pool, { attemptsMax, maySleep: true, slot })
  const packer = new EntryPacker()
  return order => {
    const { id } = order
    try {
      if (order.kind === 'getMany') {
        const keys = unpackKeys(order.keys)
        const answer = reader.read(view => {
          packer.clear()
          for (const key of keys) {
            const stored = view.get(key)
            if (stored === undefined) packer.absent()
            else packer.add(key, stored, false)
          }
        }, order.applied)
        return reply({ id, entries: answer.state === 'read' ? packer.finish() : undefined, done: true })
      }
      const { request } = order
      const answer = reader.read(view => {
        packer.clear()
        return visitPage(view, request, (key, stored) => {
          const before = packer.bytes
          packer.add(key, stored, request.keysOnly)
          return packer.bytes - before
        })
      }, order.applied)
      if (answer.state !== 'read' || answer.applied !== order.applied)
        return reply({ id, entries: undefined, done: false })
      reply({ id, entries: packer.finish(), done: answer.value })
    } catch {
      // Damage: the core's own reading finds it, and says what it is.
      reply({ id, entries: undefined, done: false })
    }
  }
}
