/** Whatever a decoder lets through: the core never throws, and never takes back what it committed. */
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { index, term } from '../../../src/base/ids.ts'
import { decodeMessage, encodeMessage } from '../../../src/raft/message-codec.ts'
import type { Entry, Message } from '../../../src/raft/types.ts'
import { anyMessage, anyPeer } from './arbitrary.ts'
import { configurationOf, data, idOf, ModelNode } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

type Input =
  | { readonly do: 'message'; readonly message: Message }
  | { readonly do: 'tick' | 'propose' | 'read' | 'process' | 'durable' | 'change' | 'transfer' | 'restart' }

const input: fc.Arbitrary<Input> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('message' as const), message: anyMessage(anyPeer, fc.constant(idOf(1))) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('tick' as const, 'propose', 'read', 'process', 'durable', 'change', 'transfer', 'restart'),
    }),
  },
)

/** What peers would really answer, so that this one gets to lead. */
function assent(message: Message): Message | undefined {
  const { from: to, to: from, term: of } = message
  if (message.type === 'preVote') return { type: 'preVoteReply', from, to, term: of, granted: true }
  if (message.type === 'vote') return { type: 'voteReply', from, to, term: of, granted: true }
  if (message.type !== 'append') return undefined
  const match = index(message.prevIndex + message.entries.length)
  const nothing = { rejected: index(0), hintIndex: index(0), hintTerm: term(0) }
  return { type: 'appendReply', from, to, term: of, ok: true, match, ...nothing }
}

const ticks = Array.from({ length: 40 }, () => ({ do: 'tick' }) as const)

test('arbitrary messages never crash the core, and nothing that is applied is ever replaced', () => {
  const roles = new Set<string>()
  const birth = fc.constantFrom(
    configurationOf([1, 2, 3]),
    configurationOf([1]),
    configurationOf([2], [1]),
    configurationOf([]),
  )
  fc.assert(
    fc.property(birth, fc.boolean(), fc.array(input, { maxLength: 80 }), (from, helpful, inputs) => {
      const answers: Message[] = []
      const applied = new Map<number, Entry>()
      let context = 1
      const node: ModelNode = new ModelNode({
        id: 1,
        birth: from,
        random: () => 0,
        limits: { electionTicks: 2, cacheBytesMax: 0, messageBytesMax: 40, applyBytesMax: 40, inflightMessagesMax: 2 },
        send: message => {
          // Whatever leaves can be encoded.
          if (!decodeMessage(encodeMessage(message)).ok) throw new Error(`undecodable ${message.type}`)
          const answer = helpful ? assent(message) : undefined
          if (answer !== undefined) answers.push(answer)
        },
        onApply: entry => {
          const before = applied.get(entry.index)
          if (before !== undefined && before.term !== entry.term) throw new Error(`entry ${entry.index} was replaced`)
          applied.set(entry.index, entry)
        },
      })
      for (const next of inputs) {
        switch (next.do) {
          case 'message':
            node.raft.step(next.message)
            break
          case 'tick':
            node.raft.tick()
            break
          case 'propose':
            node.raft.propose(data('x'))
            break
          case 'read':
            node.raft.readIndex(context++)
            break
          case 'process':
            for (let i = 0; i < 20 && node.process(); i++) node.completeFetch()
            break
          case 'durable':
            node.settle()
            break
          case 'change':
            node.raft.proposeConfiguration({ voters: [idOf(1), idOf(2)], learners: [idOf(4)] })
            break
          case 'transfer':
            node.raft.transferLeadership()
            break
          case 'restart':
            // What was applied before it was durable here may be anything that a majority never had.
            node.settle()
            node.restart()
            break
        }
        while (answers.length > 0) node.raft.step(answers.shift()!)
        const status = node.raft.status()
        const { applied: through, commit, lastIndex, role, leader } = status
        if (through > commit || commit > lastIndex) throw new Error(`indexes ${through} ${commit} ${lastIndex}`)
        if ((role === 'leader') !== (leader === idOf(1))) throw new Error(`a ${role} led by ${leader}`)
        roles.add(status.role)
      }
      node.settle()
      expect(node.raft.hasReady()).toBe(false)
    }),
    // By chance alone nobody is elected in one of sixty runs of this, and nobody asks for an election in most.
    {
      numRuns: 1000,
      examples: [
        [configurationOf([1]), true, [...ticks, { do: 'process' }, { do: 'durable' }]],
        [configurationOf([1, 2, 3]), false, ticks],
      ],
    },
  )
  expect([...roles].sort()).toEqual(['candidate', 'follower', 'leader', 'preCandidate'])
})
