/**
 * A peer's storage at start: the superblock says who it is, the write-ahead log what it knows. Opening replays the log once
 * and hands back everything that a `Replica` needs; a new store is born as a cluster of one.
 */

import { hexEncode } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Lsn, lsn, type PeerId } from '../base/ids.ts'
import type { Clock, Completion, Directory, Done, LogFile, PageFile, Random } from '../platform.ts'
import { encodeConfiguration } from '../raft/configuration.ts'
import type { Configuration } from '../raft/types.ts'
import { decodeCheckpointNote } from '../shard/checkpoint-note.ts'
import { newGroup, type RestoredGroup } from '../shard/group-log.ts'
import { incomingFile } from '../shard/snapshot-sink.ts'
import type { Engine } from '../storage/engine.ts'
import { PageStore } from '../storage/page-store.ts'
import { PagedEngine } from '../storage/paged-engine.ts'
import type { WriteHelpers } from '../storage/parallel-batch.ts'
import type { SharedPool } from '../storage/pool-memory.ts'
import { openSuperblock, type SuperblockStore } from '../storage/superblock.ts'
import { Wal } from '../storage/wal.ts'
import { replayLog } from '../storage/wal-replay.ts'
import type { Position, WalRecord } from '../storage/wal-types.ts'
import { GroupReplay, group0, nobody } from './group-replay.ts'
import { makeIdentity } from './identity.ts'
import type { Identity } from './mesh-types.ts'
import { probeFile } from './space.ts'
import { namesOutside, pairOf, pairsIn, type StorePair } from './store-files.ts'

export interface Store {
  readonly directory: Directory
  readonly identity: Identity
  readonly wal: Wal
  readonly superblock: SuperblockStore
  readonly pages: PageFile
  /** As the newest checkpoint has it. */
  readonly engine: Engine
  readonly restored: RestoredGroup
  /** What recovery did, in words; empty where there was nothing to mend. */
  readonly repairs: readonly string[]
  /** Which pair of files it is. */
  readonly generation: number
}

export const sole = (id: PeerId): Configuration => ({ voters: [id], outgoing: [], learners: [], learnersNext: [] })

export function randomId(random: Random): string {
  const bytes = new Uint8Array(16)
  random.fill(bytes)
  return hexEncode(bytes)
}

export function randomUint32(random: Random): number {
  const bytes = new Uint8Array(4)
  random.fill(bytes)
  return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0
}

/** Begins a group anew in the log; the caller flushes before it lets anyone know. */
export function writeBirth(wal: Wal, cluster: ClusterId, birth: Configuration): Position {
  return wal.append({ type: 'birth', group: group0, cluster, birth: encodeConfiguration(birth) })
}

export interface StoreOptions {
  readonly directory: Directory
  readonly platform: { readonly clock: Pick<Clock, 'now' | 'after'>; readonly random: Random }
  /** Memory for pages, in bytes. */
  readonly cacheBytes: number
  /** Pages in memory that other threads can map. */
  readonly shared?: boolean
  /** Threads that help with large updates; `shared` is needed. */
  readonly writeHelpers?: ((pool: SharedPool) => WriteHelpers) | undefined
  /** A damaged store is CORRUPT, even where others have what was in it. */
  readonly refuseDamaged?: boolean
}

/**
 * Opens or creates. A damaged store of a peer that is a member of a cluster with others is put aside, and the peer begins anew, as another one, and waits to be
 * admitted: the others have everything (`repairs` says so). Errors: CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST.
 */
export function openStore(options: StoreOptions, done: Completion<Store>): void {
  options.directory.list(names => {
    if (!names.ok) return done(names)
    const leftovers = [incomingFile, probeFile].filter(name => names.value.includes(name))
    openNewest(options, pairsIn(names.value), leftovers, done)
  })
}

function openNewest(
  options: StoreOptions,
  [pair, next, ...older]: readonly [StorePair, ...StorePair[]],
  /** What was being received, or tried, when the peer was closed is of no use. */
  leftovers: readonly string[],
  done: Completion<Store>,
): void {
  const { directory, platform } = options
  directory.openPages(pair.pages, pages => {
    if (!pages.ok) return done(pages)
    const failed = closing([pages.value], done)
    openSuperblock(pages.value, opened => {
      if (!opened.ok) return failed(opened)
      const { current, store: superblock } = opened.value
      const isNew = current === undefined || (current.durableLsn === 0 && current.root === undefined)
      // A crash in the middle of beginning anew: the pair before it is the store.
      if (isNew && next !== undefined)
        return pages.value.close(() => openNewest(options, [next, ...older], leftovers, done))
      const company = current?.company
      const ending =
        (files: readonly Closable[]): Completion<Store> =>
        result => {
          const either = closing(files, done)
          if (result.ok || result.error.code !== 'CORRUPT' || company === undefined || options.refuseDamaged === true)
            either(result)
          else beginAnew(options, pair.generation, company, result.error, either)
        }
      directory.openLog(pair.log, log => {
        if (!log.ok) return ending([pages.value])(log)
        const end = ending([log.value, pages.value])
        const proceed = (self: Self): void =>
          removeAll(directory, [...leftovers], error => {
            if (error !== undefined) return end({ ok: false, error })
            const files = { directory, superblock, pages: pages.value, log: log.value, generation: pair.generation }
            openEngine(options, files, self, end)
          })
        if (current !== undefined) {
          const { identitySeed, durableLsn } = current
          return proceed({ identity: makeIdentity(identitySeed), durableLsn, isNew })
        }
        beSomebody(superblock, log.value, platform.random, identity => {
          if (identity.ok) proceed({ identity: identity.value, durableLsn: lsn(0), isNew: true })
          else end(identity)
        })
      })
    })
  })
}

/**
 * A new store in the next pair of files, of a new peer that has nothing and waits to be admitted to `cluster`. The damaged pair stays; one that was put aside before
 * it goes. The files of the damaged one may be open still.
 */
export function beginAnew(
  options: StoreOptions,
  damaged: number,
  cluster: ClusterId,
  why: HarmonyError,
  done: Completion<Store>,
): void {
  const { directory, platform } = options
  const pair = pairOf(damaged + 1)
  directory.list(names => {
    if (!names.ok) return done(names)
    removeAll(directory, [...namesOutside(names.value, generation => generation === damaged)], removed => {
      if (removed !== undefined) return done({ ok: false, error: removed })
      directory.openPages(pair.pages, pages => {
        if (!pages.ok) return done(pages)
        const failed = closing([pages.value], done)
        openSuperblock(pages.value, opened => {
          if (!opened.ok) return failed(opened)
          const { store: superblock } = opened.value
          directory.openLog(pair.log, log => {
            if (!log.ok) return failed(log)
            const end = closing([log.value, pages.value], done)
            beSomebody(superblock, log.value, platform.random, identity => {
              if (!identity.ok) return end(identity)
              const self: Self = { identity: identity.value, durableLsn: lsn(0), isNew: true, waitsFor: cluster }
              const files = { directory, superblock, pages: pages.value, log: log.value, generation: pair.generation }
              const old = pairOf(damaged)
              const message = `${why.message} This peer begins anew as ${identity.value.id} and gets everything from the other members of its cluster; what was damaged is kept in the files "${old.pages}" and "${old.log}"`
              openEngine(options, files, self, store => {
                end(store.ok ? { ok: true, value: { ...store.value, repairs: [message] } } : store)
              })
            })
          })
        })
      })
    })
  })
}

type Closable = Pick<LogFile | PageFile, 'close'>

/** Where it comes to nothing, nothing stays open: who tries again would find its own files in use, for ever. */
function closing<T>([file, ...others]: readonly Closable[], done: Completion<T>): Completion<T> {
  return result => {
    if (result.ok || file === undefined) done(result)
    else file.close(() => closing(others, done)(result))
  }
}

function removeAll(directory: Directory, names: string[], done: Done): void {
  const name = names.pop()
  if (name === undefined) return done(undefined)
  directory.remove(name, error => (error === undefined ? removeAll(directory, names, done) : done(error)))
}

interface Self {
  readonly identity: Identity
  /** As the superblock has it. */
  readonly durableLsn: Lsn
  /** The log may not have its beginning yet. */
  readonly isNew: boolean
  /** The cluster that a new store waits to be admitted to; without it, it is the first of its own. */
  readonly waitsFor?: ClusterId
}

interface Files extends Pick<Store, 'directory' | 'superblock' | 'pages' | 'generation'> {
  readonly log: LogFile
}

/** A new store: identity first, so that a crash in between leaves a store that is simply founded again. */
function beSomebody(superblock: SuperblockStore, log: LogFile, random: Random, done: Completion<Identity>): void {
  let records = 0
  const visit = (): void => void records++
  replayLog(log, { from: lsn(0), durableMark: lsn(0), visit }, replayed => {
    if (!replayed.ok) return done(replayed)
    if (records > 0) return done(lost('the page file is empty though the log is not'))
    const seed = new Uint8Array(32)
    random.fill(seed)
    const identity = makeIdentity(seed)
    superblock.write({ identitySeed: seed, peerId: identity.id, durableLsn: lsn(0), clean: false }, error => {
      done(error === undefined ? { ok: true, value: identity } : { ok: false, error })
    })
  })
}

function lost(what: string): { readonly ok: false; readonly error: HarmonyError } {
  const remedy = 'Restore this store from a backup, or delete it and let the peer join again as a new one.'
  return { ok: false, error: new HarmonyError('CORRUPT', `${what}: it was lost or replaced. ${remedy}`) }
}

/** The newest checkpoint, which says where the log goes on from it; then the log. */
function openEngine(options: StoreOptions, files: Files, self: Self, done: Completion<Store>): void {
  const { platform, cacheBytes, shared = false, writeHelpers } = options
  PageStore.open(files.pages, files.superblock, {}, store => {
    if (!store.ok) return done(store)
    PagedEngine.open({ opened: store.value, cacheBytes, shared, writeHelpers, clock: platform.clock }, engine => {
      if (!engine.ok) return done(engine)
      const { note } = engine.value
      const decoded = note === undefined ? undefined : decodeCheckpointNote(note)
      if (decoded?.ok === false) return done(decoded)
      replayWal(files.log, new GroupReplay(decoded?.value), self.durableLsn, replayed => {
        if (!replayed.ok) return done(replayed)
        const { directory, superblock, pages, generation } = files
        const { identity } = self
        const opened = { directory, superblock, pages, generation, identity, engine: engine.value, ...replayed.value }
        const { restored } = opened
        if (restored !== undefined) done({ ok: true, value: { ...opened, restored } })
        else if (self.isNew) found(opened, self.waitsFor, platform.random, done)
        else done(lost('the log is empty though the superblock says that it was written'))
      })
    })
  })
}

interface ReplayedWal extends Pick<Store, 'wal' | 'repairs'> {
  readonly restored: RestoredGroup | undefined
}

function replayWal(log: LogFile, replay: GroupReplay, durableMark: Lsn, done: Completion<ReplayedWal>): void {
  let damage: HarmonyError | undefined
  const visit = (record: WalRecord, position: Position): void => {
    const wrong = damage === undefined ? replay.visit(record, position) : undefined
    if (wrong === undefined) return
    damage = new HarmonyError('CORRUPT', `the log record at ${position.lsn} is not what HarmonyDB writes: ${wrong}`)
  }
  Wal.open(log, { from: replay.from, durableMark, visit }, opened => {
    if (!opened.ok) return done(opened)
    if (damage !== undefined) return done({ ok: false, error: damage })
    const { wal, cutBytes, cutFrom } = opened.value
    const cut = `cut ${cutBytes} bytes of an unfinished write from the end of the log, at offset ${cutFrom}`
    done({ ok: true, value: { wal, repairs: cutBytes === 0 ? [] : [cut], restored: replay.result() } })
  })
}

/** A cluster of one, or nobody yet; then the mark in the superblock that there is a log, so that one that is lost later is not taken for one that never was. */
function found(
  opened: Omit<Store, 'restored'>,
  waitsFor: ClusterId | undefined,
  random: Random,
  done: Completion<Store>,
): void {
  const { identity, wal } = opened
  const cluster = waitsFor ?? clusterId(randomId(random))
  const birth = waitsFor === undefined ? sole(identity.id) : nobody
  writeBirth(wal, cluster, birth)
  wal.flush(failed => {
    if (failed !== undefined) return done({ ok: false, error: failed })
    writeSelf(opened, undefined, unmarked => {
      if (unmarked !== undefined) done({ ok: false, error: unmarked })
      else done({ ok: true, value: { ...opened, restored: newGroup(group0, cluster, birth) } })
    })
  })
}

/** Who this peer is, how far its log is durable, and the cluster that it shares with others, for the next start. */
export function writeSelf(
  store: Omit<Store, 'restored'>,
  company: ClusterId | undefined,
  done: Done,
  clean = false,
): void {
  const { seed: identitySeed, id } = store.identity
  store.superblock.write({ identitySeed, peerId: id, durableLsn: store.wal.durableLsn, clean, company }, done)
}

/** Closes the files, whatever state they are in, and keeps the directory. */
export function closeFiles(store: Store, done: () => void): void {
  store.engine.close()
  store.wal.close(() => store.pages.close(() => done()))
}

/** Writes the mark through which the log must be whole, then closes everything in order. */
export function closeStore(store: Store, done: Done): void {
  store.engine.close()
  store.wal.flush(flushed => {
    const finish = (first: HarmonyError | undefined): void =>
      store.wal.close(() => store.pages.close(() => store.directory.close(last => done(first ?? last))))
    if (flushed !== undefined) finish(flushed)
    else writeSelf(store, store.superblock.company, finish, true)
  })
}
