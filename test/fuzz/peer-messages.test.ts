/** What peers say to each other: there and back for whole messages, and total for whatever else arrives. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { crc32c } from '../../src/base/checksum.ts'
import { clusterId, groupId, index, term } from '../../src/base/ids.ts'
import { keyText } from '../../src/base/key-map.ts'
import { lockOutcomes } from '../../src/cluster/lock-wire.ts'
import {
  decodePeerMessage,
  encodePeerMessage,
  type PeerMessage,
  returnReasons,
  wishes,
} from '../../src/cluster/wire.ts'
import { packRows, unpackRows } from '../../src/shard/snapshot-wire.ts'
import { MemoryEngine } from '../../src/storage/memory-engine.ts'
import { deadlockPolicies, lockModes } from '../../src/txn/lock-table.ts'
import { damaged } from '../damaged.ts'
import { anyConfiguration, anyMessage, anyPeer } from '../unit/raft/arbitrary.ts'

const id = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 })
const bytes = fc.uint8Array({ maxLength: 60 })
const group = fc.constant(groupId(0))
const optional = fc.option(bytes, { nil: undefined })
const base = fc.record({
  index: fc.integer({ min: 1, max: 2 ** 40 }).map(index),
  term: fc.integer({ min: 1, max: 2 ** 40 }).map(term),
  configuration: anyConfiguration,
})
const message: fc.Arbitrary<PeerMessage> = fc.oneof(
  fc.record({ type: fc.constant('raft' as const), group, message: anyMessage(anyPeer, anyPeer) }),
  fc.record({ type: fc.constant('forward' as const), group, session: id, serial: fc.nat(), body: bytes }),
  fc.record({
    type: fc.constant('returned' as const),
    session: id,
    serial: fc.nat(),
    reason: fc.constantFrom(...returnReasons),
  }),
  fc.record({ type: fc.constant('admit' as const), wish: fc.constantFrom(...wishes) }),
  fc.record({ type: fc.constant('depart' as const), remove: fc.boolean() }),
  fc.constant({ type: 'departed' as const }),
  fc.constant({ type: 'dismissed' as const }),
  fc.record({
    type: fc.constant('lock' as const),
    transaction: fc.maxSafeNat(),
    request: fc.nat(),
    mode: fc.constantFrom(...lockModes),
    policy: fc.constantFrom(...deadlockPolicies),
    age: fc.maxSafeNat(),
    spans: fc.array(fc.record({ from: bytes.map(keyText), to: fc.option(bytes.map(keyText), { nil: undefined }) })),
  }),
  fc.record({
    type: fc.constant('locked' as const),
    transaction: fc.maxSafeNat(),
    request: fc.nat(),
    age: fc.maxSafeNat(),
    outcome: fc.constantFrom(...lockOutcomes),
    why: fc.string(),
  }),
  fc.record({ type: fc.constant('unlock' as const), transaction: fc.maxSafeNat() }),
  fc.record({ type: fc.constant('locking' as const), transactions: fc.array(fc.maxSafeNat()) }),
  fc.record({
    type: fc.constant('order' as const),
    order: fc.constantFrom('promote' as const, 'remove' as const),
    id: anyPeer,
  }),
  fc.record({
    type: fc.constant('state' as const),
    group,
    mark: fc.record({ index: fc.nat().map(index), fingerprint: fc.nat(), keys: fc.nat(), bytes: fc.maxSafeNat() }),
  }),
  fc.record({
    type: fc.constant('snapshotAsk' as const),
    group,
    ask: fc.record({ snapshot: fc.nat(0xffff_ffff), after: optional }),
  }),
  fc.record({
    type: fc.constant('snapshotPiece' as const),
    group,
    piece: fc.record({
      snapshot: fc.integer({ min: 1, max: 0xffff_ffff }),
      base,
      after: optional,
      last: fc.boolean(),
      note: optional,
      rows: bytes,
      crc: fc.nat(0xffff_ffff),
    }),
  }),
)
const cluster = clusterId('c'.repeat(32))

describe('messages between peers', () => {
  test('come back as they were', () => {
    fc.assert(
      fc.property(message, sent => {
        expect(decodePeerMessage(encodePeerMessage(cluster, sent))).toEqual({
          ok: true,
          value: { cluster, message: sent },
        })
      }),
      { numRuns: 500 },
    )
  })

  test('pitfall 43: the decoder is total, for random bytes and for changed valid ones', () => {
    const changed = damaged(message, sent => encodePeerMessage(cluster, sent))
    fc.assert(
      fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 })), given => {
        const decoded = decodePeerMessage(given)
        if (!decoded.ok) expect(decoded.error.code).toBe('CORRUPT')
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the rows of a state', () => {
  test('in pieces of any size are all of them, each once, in order', () => {
    const row = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 8 }), bytes)
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), fc.integer({ min: 1, max: 200 }), (rows, bytesMax) => {
        const engine = new MemoryEngine()
        const changes = rows.map(([key, value]) => ({ key: Uint8Array.of(1, ...key), value }))
        engine.update(
          () => ({ changes, result: undefined }),
          index(1),
          () => {},
        )
        const copy = new MemoryEngine()
        let after: Uint8Array | undefined
        for (let last = false; !last; ) {
          let piece: Uint8Array = new Uint8Array(0)
          engine.read(packRows(after, bytesMax), packed => {
            if (!packed.ok) throw packed.error
            piece = packed.value.rows
            last = packed.value.last
            expect(packed.value.crc).toBe(crc32c(piece))
          })
          const unpacked = unpackRows(piece)!
          copy.load(unpacked, error => expect(error).toBeUndefined())
          expect(unpacked.length > 0 || last).toBe(true)
          after = unpacked.at(-1)?.key
        }
        const all = (from: MemoryEngine): string[] => {
          const found: string[] = []
          from.read(
            view =>
              view.scan(undefined, undefined, false, ({ key, keyBytes, value, valueFrom, valueTo }) => {
                found.push(`${key.subarray(0, keyBytes).join()}=${value.subarray(valueFrom, valueTo).join()}`)
                return true
              }),
            () => {},
          )
          return found
        }
        expect(all(copy)).toEqual(all(engine))
      }),
    )
  })

  test('are refused if they are malformed, or touch what no user can write', () => {
    fc.assert(
      fc.property(bytes, given => {
        const rows = unpackRows(given)
        for (const { key } of rows ?? []) expect(key[0]).toBeGreaterThan(0)
      }),
    )
    expect(unpackRows(Uint8Array.of(1, 0, 0))).toBeUndefined()
    expect(unpackRows(Uint8Array.of(5, 1))).toBeUndefined()
  })
})
