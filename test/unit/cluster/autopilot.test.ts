/** The autopilot as a table: what the leader sees, and who should vote. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { type ClusterView, defaultPolicy, type MemberView, planMembership } from '../../../src/cluster/autopilot.ts'

const id = (name: string) => peerId(name.padEnd(32, '0'))

interface Row {
  readonly title: string
  /** The first voter leads. */
  readonly voters: string
  readonly learners?: string
  readonly outgoing?: string
  /** Asking to be admitted. */
  readonly asking?: string
  readonly behind?: string
  /** Silent for a moment, but not long enough to be given up. */
  readonly quiet?: string
  readonly silent?: string
  /** Has not been here for long. */
  readonly fresh?: string
  readonly vanished?: string
  readonly demote?: string
  readonly remove?: string
  readonly wishLearner?: string
  readonly wishVoter?: string
  readonly tabs?: string
  readonly pending?: boolean
  /** Voters and learners after the change, or nothing to do. */
  readonly expected: readonly [string, string] | undefined
}

const rows: readonly Row[] = [
  { title: 'A2 one alone has nothing to do', voters: 'a', expected: undefined },
  {
    title: 'a second one listens: two voters would be no safer than one',
    voters: 'a',
    asking: 'b',
    expected: ['a', 'b'],
  },
  { title: 'A2, A3 the third makes three voters at once', voters: 'a', learners: 'bc', expected: ['abc', ''] },
  { title: 'A3 to fill a seat they do not wait', voters: 'a', learners: 'bc', fresh: 'bc', expected: ['abc', ''] },
  {
    title: 'A3 pitfall 30: the seat of a silent one is not for who has just come',
    voters: 'abc',
    learners: 'd',
    silent: 'c',
    fresh: 'd',
    expected: undefined,
  },
  {
    title: 'A3 the steady one of two takes it',
    voters: 'abc',
    learners: 'de',
    silent: 'c',
    fresh: 'd',
    expected: ['abe', 'cd'],
  },
  {
    title: 'A3 a Node peer that has just come lets the tabs vote',
    voters: 'abc',
    learners: 'd',
    tabs: 'abc',
    fresh: 'd',
    expected: undefined,
  },
  {
    title: 'A3 who closes leaves an empty seat',
    voters: 'abc',
    learners: 'd',
    demote: 'c',
    fresh: 'd',
    expected: ['abd', 'c'],
  },
  { title: 'A3 not before both have caught up', voters: 'a', learners: 'bc', behind: 'c', expected: undefined },
  { title: 'a fourth listens', voters: 'abc', asking: 'd', expected: ['abc', 'd'] },
  { title: 'five make five', voters: 'abc', learners: 'de', expected: ['abcde', ''] },
  { title: 'A2 never more than five', voters: 'abcde', learners: 'fg', expected: undefined },
  { title: 'A1 not while a change is pending', voters: 'a', learners: 'bc', pending: true, expected: undefined },
  { title: 'A1 not while the configuration is joint', voters: 'abc', outgoing: 'a', expected: undefined },
  {
    title: 'A4 a silent voter gives its seat to a learner',
    voters: 'abc',
    learners: 'd',
    silent: 'c',
    expected: ['abd', 'c'],
  },
  { title: 'A4 pitfall 30: not for a short silence', voters: 'abc', learners: 'd', quiet: 'c', expected: undefined },
  { title: 'A4 pitfall 30: not with nobody to take it', voters: 'abc', silent: 'c', expected: undefined },
  {
    title: 'A5 pitfall 30: never without a live majority',
    voters: 'abc',
    learners: 'de',
    silent: 'bc',
    expected: undefined,
  },
  {
    title: 'A4 two of five replaced by one learner: the other keeps its seat',
    voters: 'abcde',
    learners: 'f',
    silent: 'de',
    expected: ['abcdf', 'e'],
  },
  {
    title: 'A6 who closes keeps listening, its seat is filled',
    voters: 'abc',
    learners: 'd',
    demote: 'c',
    expected: ['abd', 'c'],
  },
  { title: 'A6 who leaves is gone', voters: 'abc', learners: 'd', remove: 'c', expected: ['abd', ''] },
  { title: 'A6 two left of three: one votes', voters: 'abc', remove: 'c', expected: ['a', 'b'] },
  { title: 'A6 the leader itself leaves', voters: 'abc', learners: 'd', remove: 'a', expected: ['bcd', ''] },
  {
    title: 'A6 the only voter leaves: the learner inherits',
    voters: 'a',
    learners: 'b',
    remove: 'a',
    expected: ['b', ''],
  },
  { title: 'A6 a leaving learner goes', voters: 'abc', learners: 'd', remove: 'd', expected: ['abc', ''] },
  {
    title: 'A7 a learner that vanished is removed',
    voters: 'abc',
    learners: 'd',
    vanished: 'd',
    expected: ['abc', ''],
  },
  { title: 'A7 one that is only silent stays', voters: 'abc', learners: 'd', silent: 'd', expected: undefined },
  {
    title: 'who wishes to listen only is not promoted',
    voters: 'a',
    learners: 'bc',
    wishLearner: 'c',
    expected: undefined,
  },
  {
    title: 'A8 who is promoted takes the seat of another',
    voters: 'abc',
    learners: 'd',
    wishVoter: 'd',
    expected: ['abd', 'c'],
  },
  {
    title: 'A8 not before it has caught up',
    voters: 'abc',
    learners: 'd',
    behind: 'd',
    wishVoter: 'd',
    expected: undefined,
  },
  { title: 'A8 the leader keeps its seat', voters: 'a', learners: 'b', wishVoter: 'b', expected: undefined },
  { title: 'A8 a Node peer votes before a tab', voters: 'abc', learners: 'd', tabs: 'abc', expected: ['abd', 'c'] },
  {
    title: 'A8 a tab does not take the seat of a tab',
    voters: 'abc',
    learners: 'd',
    tabs: 'abcd',
    expected: undefined,
  },
  {
    title: 'A8 pitfall 30: nor that of a Node peer, however quiet',
    voters: 'abc',
    learners: 'd',
    tabs: 'd',
    quiet: 'bc',
    expected: undefined,
  },
  {
    title: 'A8 tabs fill the seats that Node peers leave',
    voters: 'a',
    learners: 'bc',
    tabs: 'bc',
    expected: ['abc', ''],
  },
]

function viewOf(row: Row): ClusterView {
  const names = (text: string | undefined): string[] => [...(text ?? '')]
  const has = (text: string | undefined, name: string): boolean => (text ?? '').includes(name)
  const all = new Set([...names(row.voters), ...names(row.learners), ...names(row.asking)])
  const members = [...all].map(
    (name): MemberView => ({
      id: id(name),
      kind: has(row.tabs, name) ? 'tab' : 'node',
      silentMs: has(row.vanished, name)
        ? defaultPolicy.removeAfterMs + 1
        : has(row.silent, name)
          ? defaultPolicy.deadAfterMs + 1
          : has(row.quiet, name)
            ? defaultPolicy.deadAfterMs - 1
            : 0,
      steadyMs: has(row.fresh, name) ? defaultPolicy.steadyAfterMs - 1 : defaultPolicy.steadyAfterMs,
      caughtUp: !has(row.behind, name) && !has(row.asking, name),
      wish: has(row.wishLearner, name) ? 'learner' : has(row.wishVoter, name) ? 'voter' : 'auto',
      departing: has(row.demote, name) ? 'demote' : has(row.remove, name) ? 'remove' : 'no',
    }),
  )
  const configuration = {
    voters: names(row.voters).map(id),
    outgoing: names(row.outgoing).map(id),
    learners: names(row.learners).map(id),
    learnersNext: [],
  }
  return { leader: id(row.voters[0] as string), configuration, changePending: row.pending ?? false, members }
}

describe('autopilot', () => {
  for (const row of rows) {
    it(row.title, () => {
      const change = planMembership(viewOf(row))
      const short = (ids: readonly string[]): string => ids.map(one => one[0]).join('')
      expect(change === undefined ? undefined : [short(change.voters), short(change.learners)]).toEqual(row.expected)
    })
  }

  it('keeps its rules in every view, and comes to rest', () => {
    const flags = fc.record({
      role: fc.constantFrom('voter', 'learner', 'asking'),
      kind: fc.constantFrom('tab' as const, 'node' as const, 'unknown' as const),
      silentMs: fc.constantFrom(0, 2000, 6000, 70_000),
      steadyMs: fc.constantFrom(0, 5000),
      caughtUp: fc.boolean(),
      wish: fc.constantFrom('auto' as const, 'voter' as const, 'learner' as const),
      departing: fc.constantFrom('no' as const, 'no' as const, 'demote' as const, 'remove' as const),
    })
    fc.assert(
      fc.property(fc.array(flags, { minLength: 1, maxLength: 9 }), list => {
        const named = list.map((one, at) => ({ ...one, id: id(String.fromCharCode(97 + at)) }))
        const leader = { ...named[0]!, role: 'voter', silentMs: 0, caughtUp: true }
        const all = [leader, ...named.slice(1)]
        const ids = (role: string) => all.filter(one => one.role === role).map(one => one.id)
        const members = all.map(({ id: of, kind, silentMs, steadyMs, caughtUp, wish, departing }) => ({
          id: of,
          kind,
          silentMs,
          steadyMs,
          caughtUp,
          wish,
          departing,
        }))
        const configuration = { voters: ids('voter'), outgoing: [], learners: ids('learner'), learnersNext: [] }
        const change = planMembership({ leader: leader.id, configuration, changePending: false, members })
        if (change === undefined) return
        expect(change.voters.length % 2).toBe(1)
        expect(change.voters.length).toBeLessThanOrEqual(defaultPolicy.votersMax)
        expect(change.voters.filter(one => change.learners.includes(one))).toEqual([])
        const alive = (one: string) => members.some(m => m.id === one && m.silentMs <= defaultPolicy.aliveWithinMs)
        expect(change.voters.filter(alive).length * 2).toBeGreaterThan(change.voters.length)
        for (const one of change.voters) {
          const member = members.find(m => m.id === one)!
          if (!configuration.voters.includes(one))
            expect([member.caughtUp, member.wish !== 'learner', alive(one)]).toEqual([true, true, true])
          expect(member.departing).toBe('no')
        }
        // Nobody is displaced by who has just come.
        const staying = members.filter(m => configuration.voters.includes(m.id) && m.departing === 'no')
        const displaced = staying.some(m => m.wish !== 'learner' && !change.voters.includes(m.id))
        const come = members.filter(m => !configuration.voters.includes(m.id) && change.voters.includes(m.id))
        if (displaced) expect(come.filter(m => m.steadyMs < defaultPolicy.steadyAfterMs)).toEqual([])
        // Whatever it does, it is done after a few steps: no two rules undo each other.
        let next = change
        for (let steps = 0; steps < 4 && next.voters.includes(leader.id); steps++) {
          const left = members.filter(m => next.voters.includes(m.id) || next.learners.includes(m.id))
          const again = { voters: next.voters, outgoing: [], learners: next.learners, learnersNext: [] }
          const more = planMembership({ leader: leader.id, configuration: again, changePending: false, members: left })
          if (more === undefined) return
          next = more
        }
        expect(next.voters).not.toContain(leader.id)
      }),
      { numRuns: 5000 },
    )
  })
})
