/** One test for each pitfall of consensus that has a name (numbers as in the project's list). Stories as traces: test/golden/raft. */
import { describe, expect, test, vi } from 'vitest'
import { index, term } from '../../../src/base/ids.ts'
import type { Message } from '../../../src/raft/types.ts'
import { Group } from './group.ts'
import { idOf } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

const to =
  (n: number) =>
  (message: Message): boolean =>
    message.to === idOf(n)

describe('membership', () => {
  test('pitfall 1: a leader changes nothing before it has committed an entry of its own term', () => {
    const group = new Group({ voters: [1, 2, 3, 4], waiting: [5] })
    group.elect(1)
    // Cut off, 1 appends a configuration that nobody else gets.
    group.cut(1)
    expect(group.change(1, [1, 2, 3, 4, 5])).toBe('ok')
    // 2 is elected by 3 and 4, but its first entry is not committed yet.
    for (const n of [2, 3, 4]) group.tick(n, 10)
    group.node(2).raft.campaign()
    group.settleUntil(() => group.status(2).role === 'leader')
    expect(group.change(2, [2, 3, 4])).toBe('pending')
    group.settle()
    expect(group.change(2, [2, 3, 4])).toBe('ok')
    group.settle()
    // 1 and 5 alone could never have made a majority of 1…5 against it; healed, 1's change is gone.
    group.heal()
    group.tick(1, 20)
    group.settle()
    expect(group.status(1).commit).toBeLessThanOrEqual(group.status(2).commit)
    expect(group.voters(2)).toBe('2 3 4')
    expect(group.status(2).role).toBe('leader')
  })

  test('pitfall 1: one change at a time, joint ones until they are left', () => {
    const group = new Group({ voters: [1, 2, 3], waiting: [4, 5] })
    group.elect(1)
    expect(group.change(1, [1, 4, 5])).toBe('ok')
    expect(group.change(1, [1, 2])).toBe('pending')
    expect(group.status(1).changePending).toBe(true)
    // Committed, but the entry that leaves it is not.
    group.settleUntil(() => group.voters(1) === '1 4 5')
    expect(group.status(1).changePending).toBe(true)
    expect(group.change(1, [1, 4])).toBe('pending')
    group.settle()
    expect(group.status(1).changePending).toBe(false)
    expect(group.change(1, [1, 4])).toBe('ok')
  })

  test('pitfall 2: a configuration is in force from its append on, and rolled back when its entry is cut', () => {
    const group = new Group({ voters: [1, 2, 3], waiting: [4] })
    group.elect(1)
    group.cut(1, 2)
    expect(group.change(1, [1, 2, 3, 4])).toBe('ok')
    expect(group.voters(1)).toBe('1 2 3 4')
    // 2 has it and obeys it, although it is not committed: two of four are no majority.
    group.settle()
    expect(group.voters(2)).toBe('1 2 3 4')
    expect(group.status(1).changePending).toBe(true)
    // 1 and 2 crash and lose nothing; 2's log is longer than 3's, so take 2 back by a leader that cuts it off.
    group.cut(1)
    group.node(2).restart()
    group.node(2).disk.entries.pop()
    group.node(2).restart()
    expect(group.voters(2)).toBe('1 2 3')
    group.tick(2, 10)
    group.tick(3, 10)
    group.node(3).raft.campaign()
    group.settle()
    expect(group.status(3).role).toBe('leader')
    group.heal()
    group.tick(3)
    group.settle()
    expect(group.voters(1)).toBe('1 2 3')
    expect(group.status(1).changePending).toBe(false)
    expect(group.change(3, [1, 2])).toBe('ok')
  })

  test('pitfall 2: the leader dies right after a change of an even group is committed; the others go on', () => {
    // etcd #12359: with an even number of voters, a change that only applies later could leave nobody to elect.
    const group = new Group({ voters: [1, 2] })
    group.elect(1)
    expect(group.change(1, [2])).toBe('ok')
    for (const message of group.take(to(2))) group.receive(message)
    group.cut(1)
    group.take(() => true)
    // 2 has the configuration that names it alone, and need not know that it is committed.
    group.tick(2, 1)
    group.settle()
    expect(group.status(2).role).toBe('follower')
    group.tick(2, 12)
    group.settle()
    expect(group.status(2).role).toBe('leader')
    expect(group.status(2).commit).toBe(group.status(2).lastIndex)
  })

  test('thesis 4.2.2: who is left out of an uncommitted configuration still stands for election, without its own vote', () => {
    const group = new Group({ voters: [1, 2] })
    group.elect(1)
    // The removal of 1 is on 1's disk alone: 2, with the shorter log, cannot be elected by 1.
    expect(group.change(1, [2])).toBe('ok')
    group.take(() => true)
    group.node(1).restart()
    group.tick(2, 12)
    group.settle()
    expect(group.status(2).role).not.toBe('leader')
    group.tick(2, 10)
    group.tick(1, 11)
    group.settle()
    group.tickAll(30)
    expect(group.status(2).role).toBe('leader')
    expect(group.voters(2)).toBe('2')
    expect(group.voters(1)).toBe('2')
  })

  test('pitfall 3: the leader is killed after every message of a joint change; whoever is left finishes or undoes it', () => {
    let steps = 0
    const outcomes = new Set<string>()
    for (let done = false; !done; steps++) {
      const group = new Group({ voters: [1, 2, 3], waiting: [4, 5] })
      group.elect(1)
      group.propose(1, 'a')
      group.settle()
      expect(group.change(1, [1, 4, 5])).toBe('ok')
      for (let i = 0; i < steps && group.network.length > 0; i++) group.receive(group.network.shift()!)
      done = group.network.length === 0
      group.cut(1)
      group.network = group.network.filter(message => message.from !== idOf(1) && message.to !== idOf(1))
      group.settle()
      group.tickAll(60)
      const leaders = [2, 3, 4, 5].filter(n => group.status(n).role === 'leader')
      // While a majority of 1, 4 and 5 may be needed and 4, 5 do not know of it, nobody may lead; else exactly one does.
      expect(leaders.length, `killed after ${steps} messages`).toBe(1)
      const leader = leaders[0]!
      group.propose(leader, 'b')
      group.settle()
      expect(group.status(leader).changePending).toBe(false)
      expect(group.commands(leader)).toEqual(['a', 'b'])
      outcomes.add(group.voters(leader))
      group.heal()
      group.tickAll(60)
      expect(group.voters(1), `killed after ${steps} messages`).toBe(group.voters(leader))
    }
    expect(steps).toBeGreaterThan(10)
    expect([...outcomes].sort()).toEqual(['1 2 3', '1 4 5'])
  })

  test('pitfall 3: a voter that is being demoted counts in the half in which it votes, and only there', () => {
    // Joint: incoming 1 4 5, outgoing 1 2 3. 2 stands: it needs 1 or 3 beside itself, and two of 1, 4, 5 without itself.
    const group = new Group({ voters: [1, 2, 3], learners: [4, 5] })
    group.elect(1)
    expect(group.change(1, [1, 4, 5], [2, 3])).toBe('ok')
    for (const message of group.take(({ type }) => type === 'append')) group.receive(message)
    group.take(() => true)
    expect(group.voters(2)).toBe('1 4 5 & 1 2 3')
    group.cut(2, 3, 4)
    for (const n of [3, 4]) group.tick(n, 10)
    group.take(() => true)
    group.node(2).raft.campaign()
    group.settle()
    // 2, 3 and 4 said yes: a majority of the old voters, one of three new ones.
    expect(group.status(2).role).toBe('preCandidate')
    group.cut(2, 3, 4, 5)
    group.tick(5, 10)
    group.take(() => true)
    group.node(2).raft.campaign()
    group.settle()
    // It led until the configuration without it was committed.
    group.tickAll(40)
    expect(group.voters(4)).toBe('1 4 5')
    expect(group.status(2).role).toBe('follower')
    expect([4, 5].filter(n => group.status(n).role === 'leader')).toHaveLength(1)
  })

  test('pitfall 4: a removed leader steps down once that is committed, does not count itself, and does not come back', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    expect(group.change(1, [2, 3])).toBe('ok')
    for (const message of group.take(to(2))) group.receive(message)
    for (const message of group.take(to(1))) group.receive(message)
    // 1 and 2 have it, but of the new voters that is only 2.
    expect(group.status(1).commit).toBeLessThan(group.status(1).lastIndex)
    expect(group.status(1).role).toBe('leader')
    group.settle()
    expect(group.status(1).role).toBe('follower')
    expect(group.status(2).role).toBe('leader')
    const before = group.status(2).term
    group.tick(1, 100)
    group.settle()
    expect(group.status(1).role).toBe('follower')
    expect(group.status(2).term).toBe(before)
  })

  test('pitfall 4: a removed peer that does not know it cannot disturb who hears a leader', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.cut(3)
    expect(group.change(1, [1, 2])).toBe('ok')
    group.settle()
    group.heal()
    const { term: before } = group.status(1)
    for (let i = 0; i < 100; i++) {
      group.tick(3)
      group.tick(1)
      group.settle()
    }
    expect(group.status(3).role).toBe('preCandidate')
    expect(group.status(1)).toMatchObject({ role: 'leader', term: before })
    // Not even with a real vote request of a later term.
    group.receive({
      type: 'vote',
      from: idOf(3),
      to: idOf(2),
      term: term(before + 5),
      lastIndex: index(100),
      lastTerm: before,
      transfer: false,
    })
    expect(group.status(2).term).toBe(before)
  })

  test('pitfall 5: a learner answers votes; without that a group with a freshly promoted voter could be stuck', () => {
    const group = new Group({ voters: [1, 2, 3], learners: [4] })
    group.elect(1)
    expect(group.change(1, [1, 2, 3, 4])).toBe('ok')
    for (const message of group.take(to(2))) group.receive(message)
    group.take(() => true)
    // 1 dies. Of four voters 2 needs three: 3, and 4 who believes to be a learner.
    group.cut(1)
    for (const n of [3, 4]) group.tick(n, 10)
    group.tick(2, 12)
    group.settle()
    expect(group.status(2).role).toBe('leader')
    expect(group.voters(4)).toBe('1 2 3 4')
  })

  test('a learner neither campaigns nor counts', () => {
    const group = new Group({ voters: [1, 2], learners: [3] })
    group.elect(1)
    group.cut(1, 3)
    group.propose(1, 'x')
    group.settle()
    expect(group.status(3).lastIndex).toBe(group.status(1).lastIndex)
    expect(group.commands(1)).toEqual([])
    group.cut(3)
    group.tick(3, 100)
    expect(group.status(3)).toMatchObject({ role: 'follower', leader: undefined })
  })
})

describe('commit', () => {
  test('a joint configuration is not left before it is committed itself', () => {
    const group = new Group({ voters: [1, 2, 3], learners: [4, 5], limits: { messageBytesMax: 1 } })
    group.elect(1)
    group.propose(1, 'x')
    expect(group.change(1, [1, 4, 5])).toBe('ok')
    const { lastIndex } = group.status(1)
    // Everyone has x; nobody else has the change.
    for (const message of group.take(({ type }) => type === 'append')) {
      if (message.type === 'append' && message.prevIndex === lastIndex - 2) group.receive(message)
    }
    for (const message of group.take(to(1))) group.receive(message)
    expect(group.status(1).commit).toBe(lastIndex - 1)
    expect(group.voters(1)).toBe('1 4 5 & 1 2 3')
    group.tick(1)
    group.settle()
    expect(group.voters(1)).toBe('1 4 5')
  })

  test('pitfall 6: an entry of an older term is not committed because a majority has it (figure 8)', () => {
    const group = new Group({ voters: [1, 2, 3], limits: { messageBytesMax: 1 } })
    group.elect(1)
    group.cut(1)
    group.propose(1, 'x')
    const { lastIndex } = group.status(1)
    group.take(() => true)
    // 1 leads again, in a later term; only its old entry reaches 2.
    group.heal()
    group.tick(1, 10)
    group.tick(2, 10)
    group.tick(3, 10)
    group.take(() => true)
    group.node(1).raft.campaign()
    const held: Message[] = []
    const { term: old } = group.status(1)
    // Its newer entry is refused by who lacks the old one, and held back from who has it.
    const isNew = (message: Message): boolean =>
      message.type === 'append' && message.prevIndex === lastIndex && message.entries.length > 0
    for (let rounds = 0; rounds < 20; rounds++) {
      group.node(1).settle()
      for (const message of group.take(to(1))) group.receive(message)
      if (group.status(2).lastIndex === lastIndex) held.push(...group.take(isNew))
      for (const message of group.take(to(2))) group.receive(message)
      group.take(to(3))
    }
    const progress = group.status(1).progress.find(({ id }) => id === idOf(2))
    expect(group.status(1)).toMatchObject({ role: 'leader', term: old + 1 })
    expect(progress?.match).toBe(lastIndex)
    expect(group.status(1).commit).toBe(lastIndex - 1)
    // Its own entry carries the old one along.
    for (const message of held) group.receive(message)
    group.tick(1)
    group.settle()
    expect(group.status(1).commit).toBe(lastIndex + 1)
    expect(group.commands(1)).toEqual(['x'])
  })
})

describe('reads', () => {
  test('pitfall 7: a read right after an election waits for the first commit of the term', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.propose(1, 'x')
    group.settle()
    // 2 has x but does not know that it is committed.
    group.propose(1, 'y')
    for (const message of group.take(to(2))) group.receive(message)
    for (const message of group.take(to(1))) group.receive(message)
    const acknowledged = group.status(1).commit
    group.cut(1)
    group.take(() => true)
    group.tick(3, 10)
    group.tick(2, 12)
    group.settleUntil(() => group.status(2).role === 'leader')
    expect(group.status(2).commit).toBeLessThan(acknowledged)
    group.node(2).raft.readIndex(1)
    group.node(2).settle()
    expect(group.reads.get(2)).toEqual([])
    group.settle()
    expect(group.reads.get(2)).toEqual([{ context: 1, index: group.status(2).commit }])
    expect(group.status(2).commit).toBeGreaterThan(acknowledged)
  })

  test('pitfall 7: a leader that is paused in the middle of a round never answers with its old commit index', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.node(1).raft.readIndex(1)
    group.node(1).settle()
    const round = group.take(() => true)
    // While 1 is paused, 2 is elected and commits.
    group.cut(1)
    group.tick(3, 10)
    group.tick(2, 12)
    group.settle()
    group.propose(2, 'x')
    group.settle()
    group.heal()
    for (const message of round) group.receive(message)
    group.settle()
    expect(group.reads.get(1)).toEqual([{ context: 1, index: undefined }])
  })

  test('pitfall 7: answers to a round confirm no question that was asked after it began (etcd #20418)', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.node(1).raft.readIndex(1)
    group.node(1).settle()
    for (const message of group.take(() => true)) group.receive(message)
    const early = group.take(({ type }) => type === 'heartbeatReply')
    expect(early).toHaveLength(2)
    group.node(1).raft.readIndex(2)
    group.node(1).settle()
    const second = group.take(() => true)
    for (const message of early) group.receive(message)
    expect(group.reads.get(1)?.map(({ context }) => context)).toEqual([1])
    for (const message of second) group.receive(message)
    group.settle()
    expect(group.reads.get(1)?.map(({ context }) => context)).toEqual([1, 2])
  })

  test('a batch of questions shares one round', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    for (let context = 1; context <= 100; context++) group.node(1).raft.readIndex(context)
    group.node(1).settle()
    expect(group.network).toHaveLength(2)
    group.settle()
    expect(group.reads.get(1)).toHaveLength(100)
  })

  test('questions beyond the bound are refused at once, at the leader and at a follower', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    for (const n of [1, 2]) {
      for (let context = 1; context <= 20_000; context++) group.node(n).raft.readIndex(context)
      group.node(n).settle()
      const refused = group.reads.get(n)?.filter(read => read.index === undefined).length ?? 0
      expect(refused).toBe(20_000 - 16_384)
      group.take(() => true)
    }
  })

  test('a round that waits for a peer is over when the configuration no longer needs that peer', () => {
    const group = new Group({ voters: [1, 2] })
    group.elect(1)
    group.cut(2)
    group.node(1).raft.readIndex(1)
    group.node(1).settle()
    expect(group.reads.get(1)).toEqual([])
    expect(group.change(1, [1])).toBe('ok')
    expect(group.reads.get(1)).toEqual([{ context: 1, index: 1 }])
  })
})
