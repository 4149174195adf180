import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { index } from '../../../src/base/ids.ts'
import {
  ConfigurationHistory,
  decodeConfiguration,
  encodeConfiguration,
  leaveJoint,
  nextConfiguration,
} from '../../../src/raft/configuration.ts'
import { majorityReached, tally, tallyJoint } from '../../../src/raft/quorum.ts'
import type { Configuration } from '../../../src/raft/types.ts'
import { configurationOf, idOf } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

const change = (voters: number[], learners: number[] = []) => ({
  voters: voters.map(idOf),
  learners: learners.map(idOf),
})

describe('from a change to a configuration', () => {
  test.each([
    ['one voter more', [1, 2], [], [1, 2, 3], [], false],
    ['one voter less', [1, 2, 3], [], [1, 2], [], false],
    ['a learner promoted', [1, 2], [3], [1, 2, 3], [], false],
    ['a voter demoted', [1, 2, 3], [], [1, 2], [3], false],
    ['learners only', [1], [2, 3], [1], [4], false],
    ['one voter for another', [1, 2, 3], [], [1, 2, 4], [], true],
    ['two voters more', [1], [], [1, 2, 3], [], true],
    ['everybody else', [1, 2], [], [3, 4], [1], true],
  ])('%s', (_, voters, learners, nextVoters, nextLearners, joint) => {
    const next = nextConfiguration(configurationOf(voters, learners), change(nextVoters, nextLearners))!
    expect(next.outgoing).toEqual(joint ? voters.map(idOf) : [])
    expect(decodeConfiguration(encodeConfiguration(next)).ok).toBe(true)
    const final = joint ? leaveJoint(next) : next
    expect(final).toEqual(configurationOf(nextVoters, nextLearners))
  })

  test('what is asked for is reached, in any order of names, over well-formed configurations', () => {
    const roles = fc.array(fc.constantFrom('voter', 'learner', 'out'), { minLength: 8, maxLength: 8 })
    const draw = (given: string[], role: string): number[] => given.flatMap((r, i) => (r === role ? [i + 1] : []))
    fc.assert(
      fc.property(roles, roles, fc.boolean(), (before, after, reverse) => {
        fc.pre(before.includes('voter') && after.includes('voter') && before.join() !== after.join())
        const old = configurationOf(draw(before, 'voter'), draw(before, 'learner'))
        const wished = change(draw(after, 'voter'), draw(after, 'learner'))
        if (reverse) wished.voters.reverse()
        const next = nextConfiguration(old, wished)!
        expect(decodeConfiguration(encodeConfiguration(next)).ok).toBe(true)
        const final = next.outgoing.length > 0 ? leaveJoint(next) : next
        expect(final).toEqual(configurationOf(draw(after, 'voter'), draw(after, 'learner')))
      }),
    )
  })

  test('any majority of the old configuration meets any majority of the next', () => {
    const wins = ({ voters, outgoing }: Configuration, yes: ReadonlySet<number>): boolean =>
      tallyJoint(voters, outgoing, new Map([...yes].map(n => [idOf(n), true]))) === 'won'
    const subsets = Array.from(
      { length: 1 << 5 },
      (_, bits) => new Set([1, 2, 3, 4, 5].filter(n => bits & (1 << (n - 1)))),
    )
    const groups = subsets.filter(set => set.size > 0).map(set => [...set])
    for (const before of groups) {
      for (const after of groups) {
        const old = configurationOf(before)
        const next = nextConfiguration(old, change(after))
        if (next === undefined) continue
        const winners = subsets.filter(set => wins(old, set))
        const others = subsets.filter(set => wins(next, set))
        const meet = winners.every(a => others.every(b => [...a].some(n => b.has(n))))
        expect(meet, `${before} to ${after}`).toBe(true)
      }
    }
  })

  test('nobody, someone twice, both roles at once, no change, a change of a joint one: refused', () => {
    const old = configurationOf([1, 2], [3])
    const joint = nextConfiguration(old, change([4, 5]))!
    expect(nextConfiguration(old, change([]))).toBeUndefined()
    expect(nextConfiguration(old, change([1, 1]))).toBeUndefined()
    expect(nextConfiguration(old, change([1, 2], [2]))).toBeUndefined()
    expect(nextConfiguration(old, change([2, 1], [3]))).toBeUndefined()
    expect(nextConfiguration(joint, change([1]))).toBeUndefined()
  })
})

describe('history', () => {
  test('truncation rolls back; what is committed is not kept twice', () => {
    const history = new ConfigurationHistory({ index: index(0), configuration: configurationOf([1]) }, [])
    history.append(index(3), configurationOf([1, 2]))
    history.append(index(7), configurationOf([1, 2, 3]))
    expect(history.truncate(index(8))).toBe(false)
    expect(history.truncate(index(5))).toBe(true)
    expect(history.current).toEqual(configurationOf([1, 2]))
    expect(history.currentIndex).toBe(3)
    history.append(index(9), configurationOf([2]))
    expect(history.mayVote(idOf(1))).toBe(true)
    history.committed(index(9))
    expect(history.mayVote(idOf(1))).toBe(false)
    expect(history.current).toEqual(configurationOf([2]))
    expect(history.at(index(2))).toEqual(configurationOf([1]))
    expect(history.at(index(3))).toEqual(configurationOf([1, 2]))
    history.compact(index(5))
    expect(history.at(index(5))).toEqual(configurationOf([1, 2]))
    history.compact(index(9))
    expect(history.at(index(20))).toEqual(configurationOf([2]))
  })
})

describe('majorities', () => {
  test('what a majority has reached: by definition', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 9 }), values => {
        const reached = majorityReached([...values])
        const needed = Math.floor(values.length / 2) + 1
        expect(values.filter(value => value >= reached).length).toBeGreaterThanOrEqual(needed)
        expect(values.filter(value => value > reached).length).toBeLessThan(needed)
      }),
    )
    expect(majorityReached([])).toBe(Number.POSITIVE_INFINITY)
  })

  test('votes: won, lost or open, by definition', () => {
    const votes = fc.array(fc.constantFrom(true, false, undefined), { minLength: 1, maxLength: 7 })
    fc.assert(
      fc.property(votes, given => {
        const half = given.map((_, i) => i)
        const map = new Map(given.flatMap((vote, i) => (vote === undefined ? [] : [[i, vote] as const])))
        const yes = given.filter(vote => vote === true).length
        const open = given.filter(vote => vote === undefined).length
        const expected = yes * 2 > given.length ? 'won' : (yes + open) * 2 > given.length ? 'pending' : 'lost'
        expect(tally(half, map)).toBe(expected)
      }),
    )
  })
})
