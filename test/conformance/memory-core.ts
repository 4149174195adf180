/**
 * A `Core` that is nothing but its contract: an ordered list of entries in memory, copied at every write, so that every state is
 * also a snapshot. It lets the API layer and the worker boundary be tested apart from storage, Raft and the mesh.
 */
import { compareBytes } from '../../src/base/bytes.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { peerId, term } from '../../src/base/ids.ts'
import { Locks } from '../../src/cluster/locks.ts'
import type {
  Core,
  CoreDecide,
  CoreJoin,
  CoreLock,
  CoreMirror,
  CorePage,
  CorePrepare,
  CorePrepared,
  CoreReadOptions,
  CoreScan,
  CoreSnapshot,
  CoreWatch,
  CoreWatching,
  CoreWrite,
} from '../../src/database/core.ts'
import { EntryPacker, type PackedEntries } from '../../src/database/entries.ts'
import type { DatabaseEvent } from '../../src/database/types.ts'
import { type CoreBatch, packBatches } from '../../src/database/watch-batches.ts'
import { MemoryPrepared } from './memory-prepared.ts'

const statesKept = 16

export const testClock: Core['clock'] = {
  now: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}

interface CoreEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly version: string
}

const numberOf = (version: string): number => Number.parseInt(version, 16)

function packed(entries: readonly (CoreEntry | undefined)[]): PackedEntries {
  const packer = new EntryPacker()
  for (const entry of entries) {
    if (entry === undefined) packer.absent()
    else {
      const { key, value, version } = entry
      packer.add(key, key.length, numberOf(version), value, 0, value.length)
    }
  }
  return packer.finish()
}

export class MemoryCore implements Core {
  readonly clock = testClock
  /** What arrived, for tests that look at what the API layer sends. */
  readonly reads: CoreReadOptions[] = []
  readonly joins: CoreJoin[] = []
  readonly transfers: (string | undefined)[] = []
  /** While set, reads and writes wait for it. */
  hold: Promise<void> | undefined
  private entries: readonly CoreEntry[] = []
  private readonly states = new Map<string, readonly CoreEntry[]>()
  private readonly heldStates = new Map<string, readonly CoreEntry[]>()
  private readonly answered = new Map<string, string>()
  private version = 0
  private readonly commits: CoreBatch[] = []
  private readonly watching = new Map<
    string,
    { readonly request: CoreWatch; place: number; wake: (() => void) | undefined }
  >()
  private nextHeld = 1
  private readonly locks = new Locks({
    clock: testClock,
    random: { fill: bytes => bytes.fill(7) },
    self: peerId('a'.repeat(32)),
    leader: () => peerId('a'.repeat(32)),
    leads: () => term(1),
    send: () => {},
  })
  private readonly waiting = new MemoryPrepared()
  private cut = false
  private closed = false
  private readonly pending = new Set<(error: HarmonyError) => void>()
  private readonly mirrorListeners = new Set<(mirror: CoreMirror) => void>()
  private readonly eventListeners = new Set<(event: DatabaseEvent) => void>()

  getMany(keys: readonly Uint8Array[], options: CoreReadOptions): Promise<PackedEntries> {
    return this.run(() => {
      this.reads.push(options)
      const state = options.snapshot === undefined ? this.entries : this.held(options.snapshot)
      return packed(keys.map(key => state.find(entry => compareBytes(entry.key, key) === 0)))
    })
  }

  snapshot(options: CoreReadOptions): Promise<CoreSnapshot> {
    return this.run(() => {
      this.reads.push(options)
      const version = versionText(this.version)
      const name = `held ${this.nextHeld++} ${version}`
      this.heldStates.set(name, this.entries)
      return { name, version }
    })
  }

  release(snapshot: string): void {
    this.heldStates.delete(snapshot)
  }

  private held(name: string): readonly CoreEntry[] {
    const state = this.heldStates.get(name) ?? this.states.get(name)
    if (state === undefined) throw new HarmonyError('SNAPSHOT_TOO_OLD', 'this state is no longer kept')
    return state
  }

  peek(key: Uint8Array): PackedEntries {
    if (this.closed) throw new HarmonyError('CLOSED', 'closed')
    return packed([this.entries.find(entry => compareBytes(entry.key, key) === 0)])
  }

  scan(request: CoreScan): Promise<CorePage> {
    return this.run(() => {
      this.reads.push(request)
      const name = request.continuation?.snapshot ?? request.snapshot
      const state = name === undefined ? this.entries : this.held(name)
      const snapshot = name ?? versionText(this.version)
      if (!this.heldStates.has(snapshot)) this.states.set(snapshot, state)
      const { from, to, reverse, limit, keysOnly, continuation } = request
      const all = state.filter(({ key }) => {
        if (from !== undefined && compareBytes(key, from) < 0) return false
        if (to !== undefined && compareBytes(key, to) >= 0) return false
        if (continuation === undefined) return true
        const order = compareBytes(key, continuation.after)
        return reverse ? order < 0 : order > 0
      })
      if (reverse) all.reverse()
      const entries = all.slice(0, limit).map(entry => (keysOnly ? { ...entry, value: new Uint8Array(0) } : entry))
      return { entries: packed(entries), snapshot, done: all.length <= limit }
    })
  }

  write(request: CoreWrite): Promise<{ readonly version: string }> {
    return this.run(() => {
      const answer = request.idempotencyKey === undefined ? undefined : this.answered.get(request.idempotencyKey)
      if (answer !== undefined) return { version: answer }
      this.validate(request)
      this.waiting.assertFree(request)
      const version = this.execute(request.ops)
      if (request.idempotencyKey !== undefined) this.answered.set(request.idempotencyKey, version)
      return { version }
    })
  }

  prepare(write: CoreWrite, as: CorePrepare): Promise<{ readonly id: string }> {
    return this.run(() => {
      this.validate(write)
      const expire = (id: string): void => void this.decide({ id, commit: false, timeoutMs: 1 }).catch(() => {})
      const id = this.waiting.add(write, as, expire)
      this.push()
      return { id }
    })
  }

  decide({ id, commit }: CoreDecide): Promise<{ readonly version: string }> {
    return this.run(() => {
      const version = this.waiting.decide(id, commit, ops => this.execute(ops))
      this.push()
      return { version }
    })
  }

  prepared(): Promise<readonly CorePrepared[]> {
    return this.run(() => this.waiting.list())
  }

  private validate(request: CoreWrite): void {
    for (const { key, at } of request.checks) {
      const found = this.entries.find(entry => compareBytes(entry.key, key) === 0)?.version ?? '0'
      if (numberOf(found) !== at) throw new HarmonyError('CONFLICT', 'a check failed', { retryable: false })
    }
    for (const { from, to, at, count } of request.ranges ?? []) {
      const inside = this.entries.filter(
        ({ key }) =>
          (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0),
      )
      if (inside.length === count && inside.every(entry => numberOf(entry.version) <= at)) continue
      throw new HarmonyError('CONFLICT', 'a range has changed', { retryable: false })
    }
  }

  private execute(ops: CoreWrite['ops']): string {
    this.version++
    const version = versionText(this.version)
    let entries = [...this.entries]
    for (const op of ops) {
      entries = entries.filter(entry => compareBytes(entry.key, op.key) !== 0)
      if (op.type === 'put') entries.push({ key: op.key, value: op.value, version })
    }
    this.commits.push({ version: this.version, resync: false, ops })
    for (const one of this.watching.values()) one.wake?.()
    this.entries = entries.sort((a, b) => compareBytes(a.key, b.key))
    for (const name of this.states.keys()) if (this.states.size > statesKept) this.states.delete(name)
    this.push()
    return version
  }

  watch(request: CoreWatch): Promise<CoreWatching> {
    return this.run(() => {
      const watch = `${this.nextHeld++}`
      const since = request.since === undefined ? this.version : Number.parseInt(request.since, 16)
      this.watching.set(watch, { request, place: since, wake: undefined })
      return { watch, version: versionText(since) }
    })
  }

  async watched(watch: string): Promise<Uint8Array> {
    for (;;) {
      const one = this.watching.get(watch)
      if (one === undefined || this.closed) throw new HarmonyError('CLOSED', 'this watch has ended')
      const found: CoreBatch[] = []
      for (const commit of this.commits) {
        if (commit.version <= one.place) continue
        const ops = commit.ops.filter(({ key }) => one.request.ranges.some(range => isWithin(key, range)))
        const last = ops.filter(({ key }, i) => !ops.slice(i + 1).some(other => compareBytes(other.key, key) === 0))
        if (last.length > 0) found.push({ ...commit, ops: last })
      }
      one.place = this.version
      if (found.length > 0) return packBatches(found)
      await new Promise<void>(resolve => {
        one.wake = resolve
      })
    }
  }

  lock({ timeoutMs, ...wish }: CoreLock): Promise<{ readonly age: number }> {
    return new Promise((resolve, reject) => {
      this.run(() => {
        const cancel = testClock.after(timeoutMs + 1, () => this.locks.tick())
        this.locks.lock(wish, timeoutMs, answer => {
          cancel()
          this.push()
          if (answer instanceof HarmonyError) reject(answer)
          else resolve(answer)
        })
        this.push()
      }).catch(reject)
    })
  }

  unlock(transaction: number): void {
    this.locks.unlock(transaction)
    this.push()
  }

  unwatch(watch: string): void {
    const wake = this.watching.get(watch)?.wake
    this.watching.delete(watch)
    wake?.()
  }

  join(options: CoreJoin): Promise<void> {
    return this.run(() => {
      this.joins.push(options)
      this.emit({ type: 'health', health: 'ok' })
    })
  }

  leave(): Promise<void> {
    return this.run(() => {})
  }

  adopt(): Promise<void> {
    return this.run(() => undefined)
  }

  transferLeadership(to: string | undefined): Promise<void> {
    return this.run(() => {
      this.transfers.push(to)
    })
  }

  compact(): Promise<{ readonly bytesBefore: number; readonly bytesAfter: number }> {
    return this.run(() => ({ bytesBefore: 0, bytesAfter: 0 }))
  }

  order(): Promise<void> {
    return this.run(() => {
      throw new HarmonyError('VALIDATION', 'no such member')
    })
  }

  recover(): Promise<void> {
    return this.run(() => {
      throw new HarmonyError('VALIDATION', 'this peer is the only member of its cluster')
    })
  }

  partition(cut: boolean): void {
    this.cut = cut
    this.push()
  }

  mirror(): CoreMirror {
    const id = 'a'.repeat(32)
    const bytes = this.entries.reduce((sum, entry) => sum + entry.key.length + entry.value.length, 0)
    return {
      cluster: {
        health: this.cut ? 'no-quorum' : 'solo',
        self: id,
        clusterId: 'c'.repeat(32),
        room: undefined,
        role: 'leader',
        leader: id,
        term: 1,
        commitIndex: this.version,
        appliedIndex: this.version,
        lastIndex: this.version,
        lag: 0,
      },
      members: [
        {
          id,
          role: 'voter',
          state: 'self',
          kind: 'node',
          leader: true,
          self: true,
          rttMs: undefined,
          matchIndex: this.version,
        },
      ],
      status: {
        storage: {
          kind: 'memory',
          logBytes: 0,
          keys: this.entries.length,
          bytes,
          pageBytes: 0,
          fileBytes: 0,
          usedBytes: 0,
          checkpoints: 0,
          durability: 'relaxed',
        },
        cache: {
          bytesMax: 0,
          bytes: 0,
          dirtyBytes: 0,
          hits: 0,
          misses: 0,
          evictions: 0,
          writeBacks: 0,
          filterBytes: 0,
          readsSpared: 0,
          falsePositives: 0,
        },
        log: { firstIndex: 1, receivedBytes: undefined, lastIndex: this.version, cachedBytes: 0, syncs: 0, records: 0 },
        writers: { threads: 0, changes: 0 },
        snapshots: { held: 0, bytes: 0, givenUp: 0 },
        readers: { threads: 0, answered: 0, declined: 0 },
        adopted: [],
        queues: { pendingWrites: 0, pendingReads: 0, bytes: 0, bytesMax: 1 },
        locks: this.locks.status,
        prepared: {
          transactions: this.waiting.list().length,
          keys: this.waiting.list().reduce((sum, { keys }) => sum + keys, 0),
          bytes: 0,
        },
        frames: { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0, bytesInFlight: 0 },
      },
    }
  }

  subscribe(listener: (mirror: CoreMirror) => void): () => void {
    this.mirrorListeners.add(listener)
    listener(this.mirror())
    return () => this.mirrorListeners.delete(listener)
  }

  events(listener: (event: DatabaseEvent) => void): () => void {
    this.eventListeners.add(listener)
    return () => this.eventListeners.delete(listener)
  }

  emit(event: DatabaseEvent): void {
    for (const listener of this.eventListeners) listener(event)
  }

  async close(): Promise<void> {
    this.closed = true
    for (const reject of this.pending) reject(new HarmonyError('CLOSED', 'closed'))
    for (const { wake } of this.watching.values()) wake?.()
    this.waiting.close()
  }

  get listeners(): number {
    return this.mirrorListeners.size + this.eventListeners.size
  }

  private run<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.pending.add(reject)
      const start = async () => {
        await this.hold
        if (this.closed) throw new HarmonyError('CLOSED', 'closed')
        return work()
      }
      start()
        .then(resolve, reject)
        .finally(() => this.pending.delete(reject))
    })
  }

  private push(): void {
    for (const listener of this.mirrorListeners) listener(this.mirror())
  }
}

function isWithin(key: Uint8Array, { from, to }: CoreWatch['ranges'][number]): boolean {
  return (from === undefined || compareBytes(key, from) >= 0) && (to === undefined || compareBytes(key, to) < 0)
}

const versionText = (version: number): string => version.toString(16).padStart(14, '0')
