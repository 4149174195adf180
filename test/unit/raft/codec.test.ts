import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { equalBytes } from '../../../src/base/bytes.ts'
import { index, type PeerId, peerId, term } from '../../../src/base/ids.ts'
import { decodeConfiguration, encodeConfiguration } from '../../../src/raft/configuration.ts'
import { decodeMessage, encodeMessage } from '../../../src/raft/message-codec.ts'
import type { Configuration, Message } from '../../../src/raft/types.ts'
import { anyMessage } from './arbitrary.ts'
import { idOf } from './model-node.ts'

// A busy machine is no reason to fail.
vi.setConfig({ testTimeout: 30_000 })

const hexId = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map(n => peerId(n.toString(16).padStart(32, '0')))
const message = anyMessage(hexId, hexId)

function decoded(bytes: Uint8Array): Message {
  const result = decodeMessage(bytes)
  if (!result.ok) throw result.error
  return result.value
}

describe('messages as bytes', () => {
  test('every message comes back as it was', () => {
    fc.assert(
      fc.property(message, original => {
        expect(decoded(encodeMessage(original))).toEqual(original)
      }),
      { numRuns: 1000 },
    )
  })

  test('a message that is cut short or followed by anything is refused', () => {
    fc.assert(
      fc.property(message, original => {
        const bytes = encodeMessage(original)
        for (let length = 0; length < bytes.length; length++) {
          expect(decodeMessage(bytes.subarray(0, length)).ok).toBe(false)
        }
        expect(decodeMessage(new Uint8Array([...bytes, 0])).ok).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  test('any bytes are a message or a CORRUPT error, and what is a message has these bytes only', () => {
    const flipped = fc.tuple(message, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([original, at, mask]) => {
      const bytes = encodeMessage(original)
      bytes[at % bytes.length]! ^= mask
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 120 }), flipped), bytes => {
        const result = decodeMessage(bytes)
        if (!result.ok) expect(result.error.code).toBe('CORRUPT')
        else expect(equalBytes(encodeMessage(result.value), bytes)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })

  test('a message that announces more entries than it can hold allocates nothing for them', () => {
    const { from, to } = { from: idOf(1), to: idOf(2) }
    const empty = encodeMessage({ ...decoded(encodeMessage(sample(from, to))), entries: [] } as Message)
    // The count is the last byte of an append without entries.
    const lying = new Uint8Array([...empty.subarray(0, empty.length - 1), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f])
    expect(decodeMessage(lying).ok).toBe(false)
  })

  test('entries do not pin the frame that brought them', () => {
    const frame = new Uint8Array(1 << 16)
    const bytes = encodeMessage(sample(idOf(1), idOf(2)))
    frame.set(bytes, 1000)
    const result = decoded(frame.subarray(1000, 1000 + bytes.length))
    if (result.type !== 'append') throw new Error('an append was encoded')
    frame.fill(0)
    expect(result.entries[0]!.data).toEqual(new Uint8Array([7, 8, 9]))
    expect(result.entries[0]!.data.buffer.byteLength).toBeLessThan(100)
  })
})

function sample(from: PeerId, to: PeerId): Message {
  const entry = { index: index(5), term: term(2), kind: 'command', data: new Uint8Array([7, 8, 9]) } as const
  const prev = { prevIndex: index(4), prevTerm: term(2), commit: index(3) }
  return { type: 'append', from, to, term: term(2), entries: [entry], ...prev }
}

describe('configurations as bytes', () => {
  const ids = (max: number): fc.Arbitrary<Configuration['voters']> =>
    fc.uniqueArray(hexId, { maxLength: max }).map(list => list.sort())
  const configuration = fc
    .record({ voters: ids(5), outgoing: ids(5), learners: ids(4), learnersNext: ids(3) })
    .filter(({ voters }) => voters.length > 0)
    .map(({ voters, outgoing, learners, learnersNext }) => ({
      voters,
      outgoing: [...new Set([...outgoing, ...learnersNext])].sort().filter(id => !voters.includes(id)),
      learners: learners.filter(id => !voters.includes(id) && !outgoing.includes(id) && !learnersNext.includes(id)),
      learnersNext: learnersNext.filter(id => !voters.includes(id)),
    }))

  test('every configuration comes back as it was; so does the one that names nobody', () => {
    const nobody = { voters: [], outgoing: [], learners: [], learnersNext: [] }
    fc.assert(
      fc.property(fc.oneof(configuration, fc.constant(nobody)), original => {
        expect(decodeConfiguration(encodeConfiguration(original))).toEqual({ ok: true, value: original })
      }),
    )
  })

  test('any bytes are a configuration or an error, and a configuration has these bytes only', () => {
    const flipped = fc.tuple(configuration, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([original, at, mask]) => {
      const bytes = encodeConfiguration(original)
      bytes[at % bytes.length]! ^= mask
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), flipped), bytes => {
        const result = decodeConfiguration(bytes)
        if (result.ok) expect(equalBytes(encodeConfiguration(result.value), bytes)).toBe(true)
        else expect(['CORRUPT', 'VERSION_MISMATCH']).toContain(result.error.code)
      }),
      { numRuns: 1000 },
    )
  })

  test.each<[string, Partial<Configuration>]>([
    ['someone twice', { voters: [idOf(1), idOf(1)] }],
    ['voters out of order', { voters: [idOf(2), idOf(1)] }],
    ['a learner that votes', { learners: [idOf(1)] }],
    ['a learner that votes in the outgoing half', { outgoing: [idOf(3)], learners: [idOf(3)] }],
    ['a next learner that did not vote', { outgoing: [idOf(3)], learnersNext: [idOf(4)] }],
    ['a next learner that goes on voting', { outgoing: [idOf(1)], learnersNext: [idOf(1)] }],
    ['learners without voters', { voters: [], learners: [idOf(3)] }],
    ['an outgoing half without voters', { voters: [], outgoing: [idOf(3)] }],
  ])('%s is refused', (_, parts) => {
    const bytes = encodeConfiguration({ voters: [idOf(1)], outgoing: [], learners: [], learnersNext: [], ...parts })
    expect(decodeConfiguration(bytes)).toMatchObject({ ok: false, error: { code: 'CORRUPT' } })
  })

  test('another format version is told apart from damage', () => {
    const bytes = encodeConfiguration({ voters: [idOf(1)], outgoing: [], learners: [], learnersNext: [] })
    bytes[0] = 2
    expect(decodeConfiguration(bytes)).toMatchObject({ ok: false, error: { code: 'VERSION_MISMATCH' } })
  })
})
