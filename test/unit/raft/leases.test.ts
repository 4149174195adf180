/** What a leader may conclude from a read round, and the promise of its voters that this rests on. What the owner makes of it: `src/shard/lease.ts`. */
import { describe, expect, test } from 'vitest'
import { index, term } from '../../../src/base/ids.ts'
import { Group } from './group.ts'
import { idOf } from './model-node.ts'

describe('leases', () => {
  test('pitfall 15: a restarted voter keeps its vote back until a lease that it may have confirmed is over', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.cut(1)
    // 2 crashes and forgets that it heard a leader a moment ago.
    group.node(2).restart()
    group.tick(2, 9)
    group.tick(3, 13)
    group.settle()
    expect(group.status(3).role).toBe('preCandidate')
    group.tick(2)
    group.tick(3, 13)
    group.settle()
    expect(group.status(3).role).toBe('leader')
    group.propose(3, 'x')
    group.settle()
    // The old leader still believes to lead, but a question to it needs a majority that it does not get.
    expect(group.status(1).role).toBe('leader')
    group.node(1).raft.readIndex(1)
    group.tick(1, 9)
    expect(group.reads.get(1)).toEqual([])
    group.tick(1)
    expect(group.reads.get(1)).toEqual([{ context: 1, index: undefined }])
  })

  test('pitfall 15: a later term that a voter hears of does not end its promise either', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.cut(1)
    // A late answer of somebody who was a candidate once.
    const answer = { type: 'readIndexReply', from: idOf(3), to: idOf(2), context: 1, index: index(0) } as const
    group.receive({ ...answer, term: term(5) })
    expect(group.status(2)).toMatchObject({ term: 5, leader: undefined })
    group.tick(2, 9)
    group.receive({
      type: 'vote',
      from: idOf(3),
      to: idOf(2),
      term: term(6),
      lastIndex: index(9),
      lastTerm: term(5),
      transfer: false,
    })
    expect(group.status(2).term).toBe(5)
  })

  test('a lease is drawn from a round of a majority of the configuration in force, and from none after a transfer was begun', () => {
    const group = new Group({ voters: [1, 2, 3], leases: true })
    group.elect(1)
    const { raft } = group.node(1)
    expect(raft.leaseRound).toBe(0)
    group.tick(1)
    const [toTwo, toThree] = group.take(({ type }) => type === 'heartbeat')
    expect(toTwo).toMatchObject({ to: idOf(2), context: 1 })
    expect(raft.leaseRound).toBe(0)
    group.receive(toTwo!)
    group.settle()
    expect(raft.leaseRound).toBe(1)
    expect(group.change(1, [1, 3])).toBe('ok')
    // 2 has no say any more, and 3 has heard of no round yet.
    expect(raft.leaseRound).toBe(0)
    group.receive(toThree!)
    group.tick(1)
    group.settle()
    expect(raft.leaseRound).toBe(2)
    // Pitfall 9: the one that was asked may campaign whenever it hears of it.
    raft.transferLeadership(idOf(3))
    group.node(1).settle()
    expect(group.take(({ type }) => type === 'timeoutNow')).toHaveLength(1)
    for (let i = 0; i < 10; i++) {
      group.tick(1)
      group.settle()
    }
    expect(group.status(1)).toMatchObject({ role: 'leader', transferee: undefined })
    expect(raft.leaseRound).toBe(0)
  })

  test('what the owner confirms by its lease is answered without a round, and not before the leader knows what is committed', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.tick(2, 10)
    group.node(1).raft.campaign()
    group.settleUntil(() => group.status(1).role === 'leader')
    const { raft } = group.node(1)
    raft.readIndex(1)
    raft.confirmReads()
    group.node(1).settle()
    expect(group.reads.get(1)).toEqual([])
    group.settle()
    expect(group.reads.get(1)).toEqual([{ context: 1, index: 1 }])
    group.cut(1)
    raft.readIndex(2)
    raft.confirmReads()
    group.node(1).settle()
    expect(group.reads.get(1)?.at(-1)).toEqual({ context: 2, index: 1 })
    expect(group.network).toEqual([])
  })
})
