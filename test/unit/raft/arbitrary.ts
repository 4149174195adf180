/** Anything that a decoder could hand out, with a liking for small numbers and for the ends of their range. */
import fc from 'fast-check'
import { index, type PeerId, term } from '../../../src/base/ids.ts'
import { encodeConfiguration } from '../../../src/raft/configuration.ts'
import type { Entry, Message } from '../../../src/raft/types.ts'
import { configurationOf, idOf } from './model-node.ts'

const natural = fc.oneof(
  { weight: 8, arbitrary: fc.nat({ max: 12 }) },
  { weight: 1, arbitrary: fc.maxSafeNat() },
  { weight: 1, arbitrary: fc.constantFrom(127, 128, 2 ** 31, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1) },
)
export const anyIndex = natural.map(index)
export const anyTerm = natural.map(term)
const flag = fc.boolean()

export const anyConfiguration = fc
  .uniqueArray(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 4 })
  .map(numbers => configurationOf(numbers.sort((a, b) => a - b)))
const configurationData = anyConfiguration.map(encodeConfiguration)

const entryBody = fc.oneof(
  fc.record({ kind: fc.constantFrom('noop', 'command'), data: fc.uint8Array({ maxLength: 8 }) }),
  fc.record({
    kind: fc.constant('configuration'),
    data: fc.oneof(configurationData, fc.uint8Array({ maxLength: 40 })),
  }),
) as fc.Arbitrary<Pick<Entry, 'kind' | 'data'>>

const bodies = fc.array(fc.record({ of: anyTerm, body: entryBody }), { maxLength: 4 })

/** A message whose entries have the indexes that the codec gives them. */
export function anyMessage(from: fc.Arbitrary<PeerId>, to: fc.Arbitrary<PeerId>): fc.Arbitrary<Message> {
  const common = { from, to, term: anyTerm }
  const request = { lastIndex: anyIndex, lastTerm: anyTerm, transfer: flag }
  const type = <T extends Message['type']>(name: T): { type: fc.Arbitrary<T> } => ({ type: fc.constant(name) })
  const append = fc
    .record({ ...type('append'), ...common, prevIndex: anyIndex, prevTerm: anyTerm, commit: anyIndex, bodies })
    .map(({ bodies: drawn, ...rest }) => {
      const fit = drawn.slice(0, Math.min(drawn.length, Number.MAX_SAFE_INTEGER - rest.prevIndex))
      const entries = fit.map(({ of, body }, i) => ({ index: index(rest.prevIndex + 1 + i), term: of, ...body }))
      return { ...rest, entries }
    })
  const reply = { ok: flag, match: anyIndex, rejected: anyIndex, hintIndex: anyIndex, hintTerm: anyTerm }
  return fc.oneof(
    fc.record({ ...type('preVote'), ...common, ...request }),
    fc.record({ ...type('vote'), ...common, ...request }),
    fc.record({ ...type('preVoteReply'), ...common, granted: flag }),
    fc.record({ ...type('voteReply'), ...common, granted: flag }),
    append,
    fc.record({ ...type('appendReply'), ...common, ...reply }),
    fc.record({ ...type('heartbeat'), ...common, commit: anyIndex, context: natural }),
    fc.record({ ...type('heartbeatReply'), ...common, context: natural }),
    fc.record({ ...type('readIndex'), ...common, context: natural }),
    fc.record({ ...type('readIndexReply'), ...common, context: natural, index: anyIndex }),
    fc.record({ ...type('timeoutNow'), ...common }),
    fc.record({ ...type('snapshot'), ...common, index: anyIndex }),
    fc.record({ ...type('rest'), ...common, commit: anyIndex }),
    fc.record({ ...type('wake'), ...common }),
  )
}

export const anyPeer = fc.integer({ min: 1, max: 6 }).map(idOf)
