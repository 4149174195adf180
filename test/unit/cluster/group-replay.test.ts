/** What a restart makes of a log that begins behind a checkpoint, and the core of a state that is newer than its term. */
import { expect, it } from 'vitest'
import { clusterId, index, lsn, term, timestamp } from '../../../src/base/ids.ts'
import { GroupReplay, group0 } from '../../../src/cluster/group-replay.ts'
import { defaultLimits } from '../../../src/cluster/peer-types.ts'
import { Raft } from '../../../src/raft/raft.ts'
import { configurationOf, idOf } from '../raft/model-node.ts'

const base = { index: index(5), term: term(3), configuration: configurationOf([1, 2]) }
const machine = {
  cluster: clusterId('c'.repeat(32)),
  applied: index(5),
  timestamp: timestamp(8),
  everWritten: true,
  gaveWay: false,
  fingerprint: 1,
  sessions: { sessions: [], keys: [] },
  idle: { behind: index(0), writes: [] },
  prepared: { kept: [], decided: [] },
}
const data = new Uint8Array(0)

it('entries that the checkpoint has are passed over, those behind it are the log', () => {
  const replay = new GroupReplay({ log: { from: lsn(100), base, term: term(3), vote: undefined }, machine })
  for (let at = 4; at <= 7; at++) {
    const record = { type: 'entry', group: group0, index: index(at), term: term(3), kind: 0, data } as const
    expect(replay.visit(record, { lsn: lsn(100 + at * 30), bytes: 30 })).toBeUndefined()
  }
  const restored = replay.result()
  expect(restored?.log).toMatchObject({ base, lastIndex: 7, termRuns: [{ from: 6, term: 3 }] })
  expect(restored?.positions.firstIndex).toBe(6)
})

it('a state of a later term brings its term along', () => {
  const hardState = { term: term(1), vote: idOf(2), commit: index(0) }
  const start = { index: index(0), term: term(0), configuration: configurationOf([1, 2]) }
  const restored = { hardState, base: start, lastIndex: index(0), termRuns: [], configurations: [] }
  const raft = new Raft({ id: idOf(1), limits: defaultLimits, random: () => 1, restored })
  raft.restore(base)
  expect(raft.status()).toMatchObject({ term: 3, vote: undefined, commit: 5, firstIndex: 6 })
  // It is written before anything that is said in that term.
  expect(raft.ready().hardState).toMatchObject({ term: 3 })
})
