import { describe, expect, test } from 'vitest'
import { type Known, type Situation, situationOf } from '../../../demo/situation.ts'
import type { ClusterStatus, Health } from '../../../src/database/types.ts'

const status = (health: Health): ClusterStatus => ({
  health,
  self: 'a'.repeat(32),
  clusterId: 'c'.repeat(32),
  room: 'demo',
  role: 'follower',
  leader: undefined,
  term: 1,
  commitIndex: 1,
  appliedIndex: 1,
  lastIndex: 1,
  lag: 0,
})
const say = (known: Partial<Known>): Situation =>
  situationOf({ phase: 'member', cut: false, status: status('ok'), problem: '', ...known })
const works = ({ local, linearizable, writes }: Situation): string => `${local} ${linearizable} ${writes}`

describe('what the page says of this tab', () => {
  test('a healthy member needs no banner and everything works', () => {
    const healthy = say({})
    expect(healthy.title).toBeUndefined()
    expect(works(healthy)).toBe('yes yes yes')
  })

  test('cut off or without a quorum, only local reads work, and the banner says so', () => {
    for (const situation of [say({ cut: true }), say({ status: status('no-quorum') })]) {
      expect(works(situation)).toBe('yes no no')
      expect(situation.title).toBeTruthy()
      expect(situation.text).toContain('NO_QUORUM')
    }
  })

  test('while electing, writes wait', () => {
    expect(works(say({ status: status('electing') }))).toBe('yes wait wait')
  })

  test('a dead peer does nothing, whatever was last heard of it', () => {
    const dead = say({ phase: 'dead', status: status('ok'), cut: true })
    expect(dead.name).toBe('dead')
    expect(works(dead)).toBe('no no no')
  })

  test('one that left is told apart from one that is cut off', () => {
    expect(say({ status: status('left'), cut: true }).name).toBe('left')
  })
})
