/** One test for each pitfall of consensus that has a name (numbers as in the project's list). Stories as traces: test/golden/raft. */
import { describe, expect, test, vi } from 'vitest'
import { index, term } from '../../../src/base/ids.ts'
import type { Message } from '../../../src/raft/types.ts'
import { Group } from './group.ts'
import { configurationOf, data, idOf, limits, ModelNode } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

const to =
  (n: number) =>
  (message: Message): boolean =>
    message.to === idOf(n)

describe('elections', () => {
  test('paper 5.4.1: nobody votes for a log that lacks what it has itself', () => {
    const ask = (lastIndex: number, lastTerm: number): boolean => {
      const sent: Message[] = []
      const node = new ModelNode({
        id: 1,
        birth: configurationOf([1, 2, 3]),
        random: () => 0,
        send: message => sent.push(message),
      })
      for (const [i, of] of [1, 1, 3].entries()) {
        node.disk.entries.push({ index: index(i + 1), term: term(of), kind: 'noop', data: data('') })
      }
      node.disk.hardState = { term: term(3), vote: undefined, commit: index(0) }
      node.restart()
      for (let i = 0; i < limits.electionTicks; i++) node.raft.tick()
      const log = { lastIndex: index(lastIndex), lastTerm: term(lastTerm) }
      node.raft.step({ type: 'vote', from: idOf(2), to: idOf(1), term: term(9), transfer: false, ...log })
      node.settle()
      const reply = sent[sent.length - 1]
      return reply?.type === 'voteReply' && reply.granted
    }
    expect(ask(3, 3)).toBe(true)
    expect(ask(4, 3)).toBe(true)
    expect(ask(1, 4)).toBe(true)
    expect(ask(2, 3)).toBe(false)
    expect(ask(9, 2)).toBe(false)
    expect(ask(0, 0)).toBe(false)
  })

  test('pitfall 8: a peer that comes back with a higher term is not stuck outside', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.cut(3)
    group.receive({ type: 'timeoutNow', from: idOf(1), to: idOf(3), term: group.status(3).term })
    expect(group.status(3)).toMatchObject({ role: 'candidate', term: 2 })
    group.heal()
    group.tickAll(40)
    const leaders = [1, 2, 3].filter(n => group.status(n).role === 'leader')
    expect(leaders).toHaveLength(1)
    expect(group.status(3).leader).toBe(idOf(leaders[0]!))
    expect(group.status(3).term).toBe(group.status(leaders[0]!).term)
  })

  test('pitfall 8: an asymmetric partition neither deposes the leader nor raises terms', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    for (let i = 0; i < 200; i++) {
      for (const n of [1, 2, 3]) group.tick(n)
      // 3 is heard but hears nothing.
      group.take(to(3))
      for (const message of group.take(() => true)) group.receive(message)
    }
    expect(group.status(1)).toMatchObject({ role: 'leader', term: 1 })
    expect(group.status(3)).toMatchObject({ role: 'preCandidate', term: 1 })
  })

  test('pitfall 9: a transfer stops proposals at once, and is given up when timeoutNow is lost', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    expect(group.node(1).raft.transferLeadership(idOf(2))).toBe(true)
    expect(group.node(1).raft.propose(data('x'))).toEqual({ ok: false, reason: 'transferring' })
    expect(group.change(1, [1, 2])).toBe('transferring')
    expect(group.take(({ type }) => type === 'timeoutNow')).toHaveLength(1)
    for (let i = 0; i < 10; i++) {
      expect(group.status(1).transferee).toBe(idOf(2))
      group.tick(1)
      group.settle()
    }
    expect(group.status(1)).toMatchObject({ role: 'leader', transferee: undefined })
    group.propose(1, 'y')
    group.settle()
    expect(group.commands(3)).toEqual(['y'])
  })

  test('a group of one elects itself with the first tick, and commits when its disk has the entry', () => {
    const group = new Group({ voters: [1] })
    const node = group.node(1)
    node.raft.tick()
    while (node.process()) {}
    expect(group.status(1).role).toBe('candidate')
    node.completeAppend()
    expect(group.status(1).role).toBe('leader')
    while (node.process()) {}
    expect(group.status(1).commit).toBe(0)
    node.completeAppend()
    expect(group.status(1).commit).toBe(1)
  })

  test('timeouts are spread over electionTicks + 1 … 2 · electionTicks - 1: nobody asks within the lease of another whose ticks come a little later', () => {
    const timeouts = new Set<number>()
    for (let i = 0; i < 200; i++) {
      const random = (): number => Math.floor((i / 200) * 0x1_0000_0000)
      const node = new ModelNode({ id: 1, birth: configurationOf([1, 2]), random, send: () => {} })
      let ticks = 0
      while (node.raft.status().role === 'follower') {
        node.raft.tick()
        ticks++
      }
      timeouts.add(ticks)
    }
    expect([...timeouts].sort((a, b) => a - b)).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19])
  })
})

describe('persistence', () => {
  test('pitfall 10: nothing that a restart must not take back leaves before it is durable', () => {
    const sent: Message[] = []
    const node = new ModelNode({ id: 1, birth: configurationOf([1, 2, 3]), random: () => 0, send: m => sent.push(m) })
    const common = { from: idOf(2), to: idOf(1) }
    const vote = {
      ...common,
      type: 'vote',
      term: term(1),
      lastIndex: index(0),
      lastTerm: term(0),
      transfer: false,
    } as const
    node.raft.step(vote)
    while (node.process()) {}
    expect(sent).toEqual([])
    // A crash here takes the vote back; nobody knows of it.
    node.restart()
    node.raft.step({ ...vote, from: idOf(3) })
    while (node.process()) {}
    node.completeAppend()
    expect(sent.splice(0)).toMatchObject([{ type: 'voteReply', to: idOf(3), granted: true }])
    // From now on it is remembered.
    node.restart()
    node.raft.step(vote)
    node.settle()
    expect(sent.splice(0)).toMatchObject([{ type: 'voteReply', to: idOf(2), granted: false }])
    const entries = [{ index: index(1), term: term(1), kind: 'command', data: data('x') }] as const
    const prev = { prevIndex: index(0), prevTerm: term(0), commit: index(0) }
    node.raft.step({ ...common, from: idOf(3), type: 'append', term: term(1), entries, ...prev })
    while (node.process()) {}
    expect(sent).toEqual([])
    node.completeAppend()
    expect(sent).toMatchObject([{ type: 'appendReply', ok: true, match: 1 }])
  })

  test('pitfall 10: a late completion does not vouch for the entries that replaced its own (ABA)', () => {
    const sent: Message[] = []
    const node = new ModelNode({ id: 1, birth: configurationOf([1, 2, 3]), random: () => 0, send: m => sent.push(m) })
    const append = (from: number, inTerm: number, texts: readonly string[]): void => {
      const entries = texts.map((text, i) => ({
        index: index(i + 1),
        term: term(inTerm),
        kind: 'command' as const,
        data: data(text),
      }))
      const prev = { prevIndex: index(0), prevTerm: term(0), commit: index(0) }
      node.raft.step({ type: 'append', from: idOf(from), to: idOf(1), term: term(inTerm), entries, ...prev })
      while (node.process()) {}
    }
    append(2, 1, ['a', 'b', 'c'])
    append(3, 2, ['A'])
    append(2, 3, ['x', 'y', 'z'])
    expect(node.pending).toHaveLength(3)
    // The first completes: its entries 1…3 are gone from the log, whose entries 1…3 are others.
    node.completeAppend()
    node.completeAppend()
    expect(sent.filter(message => message.type === 'appendReply' && message.term === 3)).toEqual([])
    node.completeAppend()
    expect(sent[sent.length - 1]).toMatchObject({ type: 'appendReply', term: 3, ok: true, match: 3 })
  })

  test('pitfall 10: a completion that is reported twice, or after a later one, changes nothing', () => {
    const group = new Group({ voters: [1] })
    group.tick(1)
    const { raft } = group.node(1)
    const { lastIndex, commit } = group.status(1)
    raft.propose(data('x'))
    const { append } = raft.ready()
    if (append === undefined) throw new Error('nothing to append')
    raft.appended({ ...append, sequence: append.sequence - 1 })
    expect(group.status(1).commit).toBe(commit)
    raft.appended(append)
    raft.appended(append)
    expect(group.status(1).commit).toBe(lastIndex + 1)
  })

  test('a commit index beyond a torn log is cut back, not believed', () => {
    const node = new ModelNode({ id: 1, birth: configurationOf([1]), random: () => 0, send: () => {} })
    node.disk.hardState = { term: term(4), vote: undefined, commit: index(7) }
    node.disk.entries.push({ index: index(1), term: term(4), kind: 'noop', data: data('') })
    node.restart()
    expect(node.raft.status()).toMatchObject({ commit: 1, lastIndex: 1, term: 4 })
  })
})

describe('what others send', () => {
  test('pitfall 13: an old append that comes late takes nothing away', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.propose(1, 'a')
    const late = group.take(to(2)).filter(({ type }) => type === 'append')
    expect(late).toHaveLength(1)
    group.tick(1)
    group.settle()
    group.propose(1, 'b')
    group.propose(1, 'c')
    group.settle()
    const { lastIndex } = group.status(2)
    for (const message of late) group.receive(message)
    expect(group.status(2).lastIndex).toBe(lastIndex)
    expect(group.commands(2)).toEqual(['a', 'b', 'c'])
  })

  test('pitfall 13: an old append cuts nothing that agrees with it, committed or not', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.cut(1, 2)
    group.propose(1, 'a')
    const early = group.take(to(2))
    for (const message of early) group.receive(message)
    group.take(to(1))
    group.propose(1, 'b')
    for (const message of group.take(to(2))) group.receive(message)
    const { lastIndex, commit } = group.status(2)
    expect(commit).toBe(lastIndex - 2)
    for (const message of early) group.receive(message)
    expect(group.status(2).lastIndex).toBe(lastIndex)
  })

  test('pitfall 13: a committed entry is never cut, whatever a peer says', () => {
    const group = new Group({ voters: [1, 2, 3] })
    group.elect(1)
    group.propose(1, 'a')
    group.propose(1, 'b')
    group.settle()
    const { commit, lastIndex } = group.status(2)
    const lie = (prevIndex: number, prevTerm: number, count: number): void => {
      const entries = Array.from({ length: count }, (_, i) => ({
        index: index(prevIndex + 1 + i),
        term: term(9),
        kind: 'command' as const,
        data: data('lie'),
      }))
      const prev = { prevIndex: index(prevIndex), prevTerm: term(prevTerm), commit: index(prevIndex + count) }
      group.receive({ type: 'append', from: idOf(3), to: idOf(2), term: term(9), entries, ...prev })
    }
    lie(0, 0, 1)
    lie(1, 1, 1)
    lie(1, 1, 5)
    lie(0, 0, 10)
    expect(group.status(2)).toMatchObject({ commit, lastIndex })
    expect(group.commands(2)).toEqual(['a', 'b'])
  })
})
