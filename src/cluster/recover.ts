/**
 * A new cluster from one survivor, after the majority of the old one is lost for good. The survivor keeps its state, takes everything else in its log for committed, and
 * goes on as the only member of a cluster with a new id, and as a peer with a new id.
 *
 * What can be lost: what only the others had. What can appear: writes that were never acknowledged, because the log's end may hold some. (To drop that end would
 * lose writes that were.)
 *
 * The old majority, should it come back, has another cluster id: it understands nothing that this one says, and the other way round, and where both are in one room
 * they are two clusters with data (ROOM_CONFLICT). The old cluster's configuration names a peer that is no more, so no vote is ever given by one that forgot it.
 *
 * On disk: first the new identity, then one checkpoint that names the new cluster, and from which the log goes on. A crash in between leaves the old
 * cluster's log with a peer that is no member of it; it can be recovered again.
 */
import { HarmonyError } from '../base/errors.ts'
import { type ClusterId, clusterId, type Index, index, type PeerId, term } from '../base/ids.ts'
import { repeat } from '../base/repeat.ts'
import type { Completion, Random } from '../platform.ts'
import { membersOf } from '../raft/configuration.ts'
import type { Entry } from '../raft/types.ts'
import { ApplyMachine } from '../shard/apply.ts'
import { encodeCheckpointNote, type LogBegin } from '../shard/checkpoint-note.ts'
import { assertMeet, GroupLog } from '../shard/group-log.ts'
import { makeIdentity } from './identity.ts'
import { randomId, type Store, sole, writeSelf } from './store.ts'

const readBytes = 1024 * 1024

export interface Recovery {
  readonly from: { readonly cluster: ClusterId; readonly peer: PeerId; readonly voters: readonly PeerId[] }
  readonly to: { readonly cluster: ClusterId; readonly peer: PeerId }
  /** Of the new cluster's state. */
  readonly lastIndex: Index
  /** What was known to be committed; entries behind it may be some that nobody was told about. */
  readonly committedIndex: Index
}

/** What a recovery would go by; undefined: this peer shares its data with nobody, and there is nothing to recover. */
function recoverable({ restored, identity }: Pick<Store, 'restored' | 'identity'>): Recovery['from'] | undefined {
  const { configurations, base } = restored.log
  const { configuration } = configurations[configurations.length - 1] ?? base
  if (!membersOf(configuration).some(id => id !== identity.id)) return undefined
  return { cluster: restored.cluster, peer: identity.id, voters: configuration.voters }
}

/**
 * Over a store that nobody uses. Afterwards it is to be closed, and opened anew.
 * Errors: VALIDATION (there is nothing to recover), CORRUPT, and those of the storage.
 */
export function recoverStore(store: Store, random: Random, done: Completion<Recovery>): void {
  const from = recoverable(store)
  if (from === undefined)
    return done(refused('this peer is the only member of its cluster: there is no majority to lose'))
  let machine: ApplyMachine
  try {
    machine = new ApplyMachine(store.engine, store.restored.cluster)
    assertMeet(store.restored.log, machine.applied)
  } catch (error) {
    return done(failed(error))
  }
  applyRest(store, machine, applied => {
    if (applied !== undefined) return done({ ok: false, error: applied })
    if (!machine.hasData) return done(refused('this peer holds no data: give it a new directory and let it join again'))
    const seed = new Uint8Array(32)
    random.fill(seed)
    const identity = makeIdentity(seed)
    const to = { cluster: clusterId(randomId(random)), peer: identity.id }
    writeSelf({ ...store, identity }, undefined, unwritten => {
      if (unwritten !== undefined) return done({ ok: false, error: unwritten })
      const { hardState, lastIndex, termRuns, base } = store.restored.log
      const lastTerm = termRuns[termRuns.length - 1]?.term ?? base.term
      const begin: LogBegin = {
        from: store.wal.endLsn,
        base: { index: lastIndex, term: lastTerm, configuration: sole(identity.id) },
        // Nobody else is in this term, and nobody was.
        term: term(Math.max(hardState.term, lastTerm) + 1),
        vote: undefined,
      }
      const note = encodeCheckpointNote(begin, machine.note(to.cluster))
      store.engine.checkpoint(
        note,
        durable => store.wal.flush(durable),
        error => {
          if (error !== undefined) return done({ ok: false, error })
          store.wal.dropFront(begin.from)
          done({ ok: true, value: { from, to, lastIndex, committedIndex: hardState.commit } })
        },
      )
    })
  })
}

/** Everything that the log holds and the checkpoint does not. */
function applyRest(store: Store, machine: ApplyMachine, done: (error: HarmonyError | undefined) => void): void {
  const { restored, wal } = store
  const { lastIndex } = restored.log
  let ended = false
  const end = (error: HarmonyError | undefined): void => {
    if (ended) return
    ended = true
    done(error)
  }
  const log = new GroupLog({ wal, stopped: () => ended, failed: end }, restored)
  repeat(again => {
    if (machine.applied >= lastIndex) return end(undefined)
    const from = index(machine.applied + 1)
    log.read({ from, through: lastIndex, bytesMax: readBytes }, entries => {
      if (entries.length === 0) return end(new HarmonyError('CORRUPT', `entry ${from} is not in the log`))
      applyAll(machine, entries, error => (error === undefined ? again() : end(error)))
    })
  })
}

function applyAll(
  machine: ApplyMachine,
  entries: readonly Entry[],
  done: (error: HarmonyError | undefined) => void,
): void {
  let next = 0
  repeat(again => {
    if (next === entries.length) return done(undefined)
    try {
      machine.apply(entries, next, applied => {
        if (!applied.ok) return done(applied.error)
        next += applied.value.length
        again()
      })
    } catch (error) {
      done(failed(error).error)
    }
  })
}

const refused = (message: string) => ({ ok: false, error: new HarmonyError('VALIDATION', message) }) as const

const failed = (error: unknown) =>
  ({
    ok: false,
    error:
      error instanceof HarmonyError ? error : new HarmonyError('CORRUPT', `the state cannot be recovered: ${error}`),
  }) as const
