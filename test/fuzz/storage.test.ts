/** Decoders of everything that storage reads from disk: any bytes in, a value or a typed error out (pitfall 44). */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { HarmonyError } from '../../src/base/errors.ts'
import { lsn } from '../../src/base/ids.ts'
import { type SeededRandom, seededRandom } from '../../src/base/random.ts'
import { decodeSuperblock, encodeSuperblock } from '../../src/storage/superblock.ts'
import { checkHead, decodeRecord, encodeRecord, readRecord, sealRecords } from '../../src/storage/wal-record.ts'
import type { WalRecord } from '../../src/storage/wal-types.ts'
import { FakeLog } from '../unit/storage/fake-log.ts'
import { mustOpen, openLog, randomRecord, show } from '../unit/storage/wal-kit.ts'

function encoded(record: WalRecord, at: number): Uint8Array {
  const writer = new ByteWriter()
  encodeRecord(writer, record, lsn(at))
  const bytes = writer.finish()
  sealRecords(bytes, lsn(Math.floor(at / 2)))
  return bytes
}

/** Flips, cuts, repeats and zeros, a few at a time. */
function mutate(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  let mutated = bytes.slice()
  for (let changes = 1 + random.below(3); changes > 0 && mutated.length > 0; changes--) {
    const at = random.below(mutated.length)
    const length = random.below(Math.min(mutated.length - at, random.chance(0.5) ? 4 : 600)) + 1
    switch (random.below(5)) {
      case 0:
        mutated[at]! ^= 1 << random.below(8)
        break
      case 1:
        random.fill(mutated.subarray(at, at + length))
        break
      case 2:
        mutated.fill(0, at, at + length)
        break
      case 3:
        mutated = mutated.slice(0, at)
        break
      case 4:
        mutated.copyWithin(at, random.below(mutated.length), mutated.length)
        break
    }
  }
  return mutated
}

describe('fuzz: storage decoders', () => {
  it('log records: what decodes encodes to the same bytes again; no other bytes decode', () => {
    fc.assert(
      fc.property(fc.nat(), fc.maxSafeNat(), (seed, at) => {
        const random = seededRandom(seed)
        const record = randomRecord(random)
        const bytes = encoded(record, at)
        expect(show([readRecord(bytes, lsn(at))!])).toEqual(show([record]))
        expect(readRecord(bytes, lsn(at === 0 ? 1 : at - 1))).toBeUndefined()
        const mutated = mutate(bytes, random)
        const same = mutated.length === bytes.length && mutated.every((byte, i) => byte === bytes[i])
        if (!same) expect(readRecord(mutated, lsn(at))).toBeUndefined()
        // Past the checksum, as if it had been forged.
        const forged = decodeRecord(mutated, 0, mutated.length)
        if (forged === undefined) return
        const again = encoded(forged, at)
        expect(again.subarray(24)).toEqual(mutated.subarray(24))
      }),
      { numRuns: 3000 },
    )
  })

  it('log records and heads from nothing but noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(300), fc.nat(300), (bytes, at, length) => {
        expect(readRecord(bytes, lsn(at))).toBeUndefined()
        decodeRecord(bytes, at, length)
        expect(checkHead(bytes)).toBe('foreign')
      }),
      { numRuns: 2000 },
    )
  })

  it('whole logs: a damaged one replays a prefix of the truth or is refused', () => {
    let refused = 0
    let cut = 0
    const run = (seed: number): void => {
      const random = seededRandom(seed)
      const log = new FakeLog()
      const { wal } = mustOpen(log)
      const truth: WalRecord[] = []
      for (let batches = random.below(5); batches > 0; batches--) {
        for (let records = 1 + random.below(5); records > 0; records--) {
          const record = randomRecord(random)
          truth.push(record)
          wal.append(record)
        }
        wal.flush(() => undefined)
        log.settle()
      }
      const outcome = openLog(new FakeLog(mutate(log.durable, random)))
      if (outcome instanceof HarmonyError) {
        expect(['CORRUPT', 'VERSION_MISMATCH']).toContain(outcome.code)
        refused++
        return
      }
      expect(show(outcome.records)).toEqual(show(truth.slice(0, outcome.records.length)))
      if (outcome.records.length < truth.length) cut++
    }
    fc.assert(fc.property(fc.nat(), run), { numRuns: 600 })
    expect(Math.min(refused, cut)).toBeGreaterThan(30)
  })

  it('superblocks: one that is valid encodes to the same bytes again', () => {
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        const identitySeed = new Uint8Array(32)
        random.fill(identitySeed)
        const peerId = 'ab'.repeat(16) as Parameters<typeof encodeSuperblock>[0]['peerId']
        const clean = random.chance(0.5)
        const pageBytes = 1 + random.below(1 << 20)
        const bytes = encodeSuperblock({
          identitySeed,
          peerId,
          clean,
          pageBytes,
          sectorBytes: 512 << random.below(8),
          epoch: 1 + random.below(99),
          durableLsn: lsn(5),
        })
        expect(decodeSuperblock(bytes).state).toBe('valid')
        const mutated = mutate(bytes, random)
        const decoded = decodeSuperblock(mutated)
        if (decoded.state === 'valid') expect(encodeSuperblock(decoded.block)).toEqual(mutated.slice(0, 256))
      }),
      { numRuns: 2000 },
    )
  })
})
