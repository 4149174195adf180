/**
 * A peer's storage at start: the superblock says who it is, the write-ahead log what it knows. Opening replays the log once
 * and hands back everything that a `Replica` needs; a new store is born as a cluster of one.
 */

import { hexEncode } from '../base/bytes.ts'
import { HarmonyError } from '../base/errors.ts'
import {
  type ClusterId,
  clusterId,
  groupId,
  type Index,
  index,
  lsn,
  type PeerId,
  type Term,
  term,
} from '../base/ids.ts'
import type { Clock, Completion, Directory, Done, PageFile, Random } from '../platform.ts'
import { decodeConfiguration, encodeConfiguration } from '../raft/configuration.ts'
import type { Configuration, HardState } from '../raft/types.ts'
import { Positions } from '../shard/positions.ts'
import { kindOf, type RestoredGroup } from '../shard/replica.ts'
import type { Engine } from '../storage/engine.ts'
import { PageStore } from '../storage/page-store.ts'
import { PagedEngine } from '../storage/paged-engine.ts'
import { openSuperblock, type Superblock, type SuperblockStore } from '../storage/superblock.ts'
import { Wal } from '../storage/wal.ts'
import type { Position, WalRecord } from '../storage/wal-types.ts'
import { makeIdentity } from './identity.ts'
import type { Identity } from './mesh-types.ts'

/** Names of the files in a store's directory. */
export const storeFiles = { pages: 'pages', log: 'log' } as const

/** The one group of now; more will come when the key space is cut into shards. */
export const group0 = groupId(0)

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
}

/** Collects one group's records, in log order. */
export class GroupReplay {
  private group: { cluster: ClusterId; birth: Configuration } | undefined
  private hardState: HardState = { term: term(0), vote: undefined, commit: index(0) }
  private positions = new Positions()
  private termRuns: { from: Index; term: Term }[] = []
  private configurations: { index: Index; configuration: Configuration }[] = []
  private lastIndex = 0

  /** Returns what is wrong with the record, if anything. */
  visit(record: WalRecord, position: Position): string | undefined {
    switch (record.type) {
      case 'birth': {
        const birth = decodeConfiguration(record.birth)
        if (!birth.ok) return 'its first configuration is malformed'
        this.group = { cluster: record.cluster, birth: birth.value }
        this.hardState = { term: term(0), vote: undefined, commit: index(0) }
        this.positions = new Positions()
        this.termRuns = []
        this.configurations = []
        this.lastIndex = 0
        return undefined
      }
      case 'hardState':
        this.hardState = { term: record.term, vote: record.vote, commit: record.commit }
        return undefined
      case 'entry':
        return this.entry(record, position)
    }
  }

  private entry(record: WalRecord & { type: 'entry' }, position: Position): string | undefined {
    if (record.index < 1 || record.index > this.lastIndex + 1)
      return `entry ${record.index} follows entry ${this.lastIndex}`
    const kind = kindOf(record.kind)
    if (kind === undefined) return `entry ${record.index} has the unknown kind ${record.kind}`
    while (this.termRuns.length > 0 && this.termRuns[this.termRuns.length - 1]!.from >= record.index)
      this.termRuns.pop()
    while (
      this.configurations.length > 0 &&
      this.configurations[this.configurations.length - 1]!.index >= record.index
    ) {
      this.configurations.pop()
    }
    if (this.termRuns[this.termRuns.length - 1]?.term !== record.term)
      this.termRuns.push({ from: record.index, term: record.term })
    if (kind === 'configuration') {
      const configuration = decodeConfiguration(record.data)
      if (!configuration.ok) return `the configuration in entry ${record.index} is malformed`
      this.configurations.push({ index: record.index, configuration: configuration.value })
    }
    this.positions.set(record.index, position)
    this.lastIndex = record.index
    return undefined
  }

  result(): RestoredGroup | undefined {
    if (this.group === undefined) return undefined
    const lastIndex = index(this.lastIndex)
    // The commit index is written lazily and may speak of entries that a later record replaced only in a damaged log.
    const hardState = { ...this.hardState, commit: index(Math.min(this.hardState.commit, lastIndex)) }
    const { termRuns, configurations, positions } = this
    const log = { hardState, lastIndex, termRuns, configurations, birth: this.group.birth }
    return { group: group0, cluster: this.group.cluster, log, positions }
  }
}

const sole = (id: PeerId): Configuration => ({ voters: [id], outgoing: [], learners: [], learnersNext: [] })
export const nobody: Configuration = { voters: [], outgoing: [], learners: [], learnersNext: [] }

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
export function writeBirth(wal: Wal, cluster: ClusterId, birth: Configuration): void {
  wal.append({ type: 'birth', group: group0, cluster, birth: encodeConfiguration(birth) })
}

export interface StoreOptions {
  readonly directory: Directory
  readonly platform: { readonly clock: Pick<Clock, 'now' | 'after'>; readonly random: Random }
  /** Memory for pages, in bytes. */
  readonly cacheBytes: number
  /** Pages in memory that other threads can map. */
  readonly shared?: boolean
}

/** Opens or creates. Errors: CORRUPT, VERSION_MISMATCH, QUOTA, STORAGE_LOST. */
export function openStore(
  { directory, platform, cacheBytes, shared = false }: StoreOptions,
  done: Completion<Store>,
): void {
  openLog(directory, platform.random, opened => {
    if (!opened.ok) return done(opened)
    const { pages, superblock } = opened.value
    PageStore.open(pages, superblock, {}, store => {
      if (!store.ok) return done(store)
      PagedEngine.open({ opened: store.value, cacheBytes, shared, clock: platform.clock }, engine => {
        if (engine.ok) done({ ok: true, value: { ...opened.value, engine: engine.value } })
        else done(engine)
      })
    })
  })
}

type Logged = Omit<Store, 'engine'>

function lost(what: string): { readonly ok: false; readonly error: HarmonyError } {
  const remedy = 'Restore this store from a backup, or delete it and let the peer join again as a new one.'
  return { ok: false, error: new HarmonyError('CORRUPT', `${what}: it was lost or replaced. ${remedy}`) }
}

/** Who this is, and what its log holds; both are begun where there are none. */
function openLog(directory: Directory, random: Random, done: Completion<Logged>): void {
  directory.openPages(storeFiles.pages, pages => {
    if (!pages.ok) return done(pages)
    openSuperblock(pages.value, opened => {
      if (!opened.ok) return done(opened)
      const { current, store } = opened.value
      directory.openLog(storeFiles.log, log => {
        if (!log.ok) return done(log)
        const replay = new GroupReplay()
        let damage: HarmonyError | undefined
        const visit = (record: WalRecord, position: Position): void => {
          const wrong = damage === undefined ? replay.visit(record, position) : undefined
          if (wrong === undefined) return
          damage = new HarmonyError(
            'CORRUPT',
            `the log record at ${position.lsn} is not what HarmonyDB writes: ${wrong}`,
          )
        }
        Wal.open(log.value, { durableMark: current?.durableLsn ?? lsn(0), visit }, wal => {
          if (!wal.ok) return done(wal)
          if (damage !== undefined) return done({ ok: false, error: damage })
          const repairs =
            wal.value.cutBytes === 0
              ? []
              : [
                  `cut ${wal.value.cutBytes} bytes of an unfinished write from the end of the log, at offset ${wal.value.cutFrom}`,
                ]
          const base = { directory, wal: wal.value.wal, superblock: store, pages: pages.value, repairs }
          const restored = replay.result()
          if (current !== undefined && restored !== undefined) {
            return done({ ok: true, value: { ...base, identity: makeIdentity(current.identitySeed), restored } })
          }
          // A founding writes the superblock first, and no checkpoint before the log has its beginning.
          if (current !== undefined && (current.durableLsn > 0 || current.root !== undefined)) {
            return done(lost('the log is empty though the superblock says that it was written'))
          }
          if (restored !== undefined) return done(lost('the page file is empty though the log is not'))
          found(base, current, random, done)
        })
      })
    })
  })
}

/**
 * A new store: identity first, then a cluster of one, so that a crash in between leaves a store that is simply founded again; then the
 * mark in the superblock that there is a log, so that one that is lost later is not taken for one that never was.
 */
function found(
  base: Omit<Logged, 'identity' | 'restored'>,
  current: Superblock | undefined,
  random: Random,
  done: Completion<Logged>,
): void {
  const seed = current?.identitySeed ?? new Uint8Array(32)
  if (current === undefined) random.fill(seed)
  const identity = makeIdentity(seed)
  const cluster = clusterId(randomId(random))
  const fields = { identitySeed: seed, peerId: identity.id, clean: false }
  base.superblock.write({ ...fields, durableLsn: lsn(0) }, error => {
    if (error !== undefined) return done({ ok: false, error })
    const birth = sole(identity.id)
    writeBirth(base.wal, cluster, birth)
    base.wal.flush(failed => {
      if (failed !== undefined) return done({ ok: false, error: failed })
      const hardState: HardState = { term: term(0), vote: undefined, commit: index(0) }
      const log = { hardState, lastIndex: index(0), termRuns: [], configurations: [], birth }
      const restored = { group: group0, cluster, log, positions: new Positions() }
      base.superblock.write({ ...fields, durableLsn: base.wal.durableLsn }, unmarked => {
        if (unmarked !== undefined) done({ ok: false, error: unmarked })
        else done({ ok: true, value: { ...base, identity, restored } })
      })
    })
  })
}

/** Writes the mark through which the log must be whole, then closes everything in order. */
export function closeStore(store: Store, done: Done): void {
  store.engine.close()
  store.wal.flush(flushed => {
    const superblock = {
      identitySeed: store.identity.seed,
      peerId: store.identity.id,
      durableLsn: store.wal.durableLsn,
      clean: true,
    }
    const finish = (first: HarmonyError | undefined): void =>
      store.wal.close(() => store.pages.close(() => store.directory.close(last => done(first ?? last))))
    if (flushed !== undefined) finish(flushed)
    else store.superblock.write(superblock, finish)
  })
}
