/** Where a group's log stands, how far it may be cut, and what a checkpoint says of that. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clusterId, type Index, index, lsn, term, timestamp } from '../../../src/base/ids.ts'
import type { Configuration, Progress, RaftStatus } from '../../../src/raft/types.ts'
import { encodeNote } from '../../../src/shard/apply-note.ts'
import { decodeCheckpointNote, encodeCheckpointNote, type LogBegin } from '../../../src/shard/checkpoint-note.ts'
import { chooseBase } from '../../../src/shard/checkpoints.ts'
import { Positions } from '../../../src/shard/positions.ts'
import { damaged } from '../../damaged.ts'
import { anyConfiguration } from '../raft/arbitrary.ts'
import { configurationOf, idOf } from '../raft/model-node.ts'

describe('positions', () => {
  it('are those of a map, through replacements and cuts at the front', () => {
    const action = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({ type: fc.constant('append' as const), count: fc.nat(900), back: fc.nat(3) }),
      },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('compact' as const), part: fc.nat(100) }) },
    )
    fc.assert(
      fc.property(fc.nat(50), fc.array(action, { maxLength: 30 }), (base, actions) => {
        const positions = new Positions(index(base))
        const model = new Map<number, number>()
        let [first, last, at] = [base + 1, base, 16]
        for (const one of actions) {
          if (one.type === 'append') {
            last = Math.max(first - 1, last - one.back)
            for (let i = 0; i < one.count; i++) {
              positions.set(index(++last), { lsn: lsn(at), bytes: 30 })
              model.set(last, at)
              at += 30
            }
            if (one.count === 0) last = positions.lastIndex
          } else {
            first = Math.floor(first + ((last + 1 - first) * one.part) / 100)
            positions.compact(index(first - 1))
          }
          expect(positions.firstIndex).toBe(first)
          expect(positions.lastIndex).toBe(last)
          for (let i = first; i <= last; i += 7) expect(positions.get(index(i)).lsn).toBe(model.get(i))
          const place = model.get(Math.floor((first + last) / 2)) ?? 0
          let before = first - 1
          while (before < last && model.get(before + 1)! < place) before++
          expect(positions.before(place)).toBe(before)
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('what a checkpoint says of the log', () => {
  const machine = encodeNote({
    cluster: clusterId('c'.repeat(32)),
    applied: index(9),
    timestamp: timestamp(8),
    everWritten: true,
    gaveWay: false,
    fingerprint: 7,
    sessions: { sessions: [], keys: [] },
    idle: { behind: index(0), writes: [] },
    prepared: { kept: [], decided: [] },
  })
  const begin: fc.Arbitrary<LogBegin> = fc
    .tuple(
      fc.nat(2 ** 40),
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 1000 }),
      anyConfiguration,
      fc.boolean(),
    )
    .map(([from, at, of, configuration, voted]) => ({
      from: lsn(from),
      base: { index: index(at), term: term(of), configuration },
      term: term(of + 1),
      vote: voted ? idOf(3) : undefined,
    }))

  it('comes back as it was', () => {
    fc.assert(
      fc.property(begin, log => {
        const decoded = decodeCheckpointNote(encodeCheckpointNote(log, machine))
        expect(decoded).toMatchObject({ ok: true, value: { log, machine: { applied: 9, fingerprint: 7 } } })
      }),
    )
  })

  it('nothing, in a store of an earlier build', () => {
    expect(decodeCheckpointNote(machine)).toMatchObject({
      ok: true,
      value: { log: undefined, machine: { applied: 9 } },
    })
  })

  it('is a value or CORRUPT or VERSION_MISMATCH, whatever the bytes', () => {
    const changed = damaged(begin, log => encodeCheckpointNote(log, machine))
    fc.assert(
      fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 300 })), bytes => {
        const result = decodeCheckpointNote(bytes)
        if (!result.ok) expect(['CORRUPT', 'VERSION_MISMATCH']).toContain(result.error.code)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('how far the log may be cut', () => {
  const alone = configurationOf([1])
  const three = configurationOf([1, 2, 3])
  const follower = (match: number, active: boolean): Progress => ({
    id: idOf(2),
    match: index(match),
    next: index(match + 1),
    state: 'replicate',
    active,
  })
  /** Entries of 10 bytes, 1000 of them, 900 applied; a tail of 1000 bytes. */
  function chosen(
    status: Partial<Pick<RaftStatus, 'role' | 'progress' | 'firstIndex' | 'configuration'>>,
    held?: number,
    configuration: Configuration = three,
  ): number {
    return chooseBase({
      status: { firstIndex: index(1), applied: index(900), role: 'follower', progress: [], configuration, ...status },
      endLsn: lsn(10_000),
      before: at => Math.floor(at / 10) as Index,
      tailBytes: 1000,
      held: held === undefined ? undefined : index(held),
    })
  }

  it.each([
    ['alone: to what is applied', chosen({}, undefined, alone), 900],
    ['in company: a tail stays', chosen({}), 900],
    ['a longer tail than what is applied', chosen({ firstIndex: index(1) }, 950), 900],
    ['a living follower keeps what it needs', chosen({ role: 'leader', progress: [follower(700, true)] }), 700],
    ['not one that is too far behind', chosen({ role: 'leader', progress: [follower(400, true)] }), 900],
    ['not a dead one', chosen({ role: 'leader', progress: [follower(700, false)] }), 900],
    ['what a snapshot is followed by stays', chosen({}, 300), 300],
    ['never back', chosen({ firstIndex: index(801) }, 300), 800],
  ])('%s', (_what, base, expected) => {
    expect(base).toBe(expected)
  })
})
