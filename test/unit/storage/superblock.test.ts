import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32c } from '../../../src/base/checksum.ts'
import { HarmonyError } from '../../../src/base/errors.ts'
import { clusterId, lsn, peerId } from '../../../src/base/ids.ts'
import { seededRandom } from '../../../src/base/random.ts'
import {
  decodeSuperblock,
  encodeSuperblock,
  type OpenedSuperblock,
  openSuperblock,
  type SuperblockFields,
} from '../../../src/storage/superblock.ts'
import { FakePages } from './fake-pages.ts'

function open(pages: FakePages): OpenedSuperblock | HarmonyError {
  let outcome: OpenedSuperblock | HarmonyError | undefined
  openSuperblock(pages, result => {
    outcome = result.ok ? result.value : result.error
  })
  pages.settle()
  if (outcome === undefined) throw new Error('open did not complete')
  return outcome
}

function mustOpen(pages: FakePages): OpenedSuperblock {
  const outcome = open(pages)
  if (outcome instanceof HarmonyError) throw outcome
  return outcome
}

function fields(n: number, clean = false): SuperblockFields {
  const identitySeed = new Uint8Array(32).fill(n)
  return { identitySeed, peerId: peerId(n.toString(16).padStart(32, '0')), durableLsn: lsn(n * 1000), clean }
}

function write(pages: FakePages, n: number, clean = false): void {
  const { store } = mustOpen(pages)
  let done = false
  store.write(fields(n, clean), error => {
    expect(error).toBeUndefined()
    done = true
  })
  pages.settle()
  expect(done).toBe(true)
}

const code = (outcome: OpenedSuperblock | HarmonyError): string | undefined =>
  outcome instanceof HarmonyError ? outcome.code : undefined

describe('superblock', () => {
  it('a new file has none; what was written last is there again, the page size is kept', () => {
    const pages = new FakePages()
    expect(mustOpen(pages).current).toBeUndefined()
    for (let n = 1; n <= 5; n++) {
      write(pages, n, n % 2 === 0)
      const reopened = new FakePages(pages.durable, { pageBytesPreferred: 16384 })
      expect(mustOpen(reopened).current).toEqual({
        ...fields(n, n % 2 === 0),
        epoch: n,
        pageBytes: 8192,
        sectorBytes: 512,
      })
    }
  })

  it('the cluster that a peer shares with others is kept until another is written, also by checkpoints', () => {
    const pages = new FakePages()
    const company = clusterId('c'.repeat(32))
    const { store } = mustOpen(pages)
    store.write({ ...fields(1), company }, () => {})
    expect(store.company).toBe(company)
    store.writeRoot({ checkpoint: 1, sector: 20, sectors: 2, crc: 7 }, () => {})
    pages.settle()
    expect(mustOpen(new FakePages(pages.durable)).current).toMatchObject({ company, root: { checkpoint: 1 } })
    store.write(fields(2), () => {})
    expect(store.company).toBeUndefined()
    pages.settle()
    expect(mustOpen(new FakePages(pages.durable)).current?.company).toBeUndefined()
  })

  it('sectors may be larger than the stride', () => {
    const pages = new FakePages(undefined, { sectorBytes: 16384 })
    for (let n = 1; n <= 3; n++) write(pages, n)
    expect(mustOpen(new FakePages(pages.durable, { sectorBytes: 16384 })).current).toMatchObject({ epoch: 3 })
    expect(pages.durable.length).toBe(2 * 16384)
  })

  it('a crash at any moment of a write leaves the old one or the new one', () => {
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        let pages = new FakePages()
        let durable = 0
        for (let n = 1; n <= 8; n++) {
          const { current, store } = mustOpen(pages)
          const found = current === undefined ? 0 : current.durableLsn / 1000
          expect([durable, n - 1]).toContain(found)
          expect(found).toBeGreaterThanOrEqual(durable)
          durable = found
          store.write(fields(n), error => {
            if (error === undefined) durable = n
          })
          pages.settle(random.below(3))
          if (random.chance(0.7)) pages = pages.crash(random)
          else {
            // The process died, what it wrote stands in the system's cache.
            pages = pages.forked()
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  it('writes that wait for one under way are taken together, the newest counts, all complete in order', () => {
    const pages = new FakePages()
    const { store } = mustOpen(pages)
    const syncs = pages.syncs
    const order: number[] = []
    for (let n = 1; n <= 5; n++) store.write(fields(n), error => order.push(error === undefined ? n : -n))
    pages.settle()
    expect(order).toEqual([1, 2, 3, 4, 5])
    expect(pages.syncs - syncs).toBe(2)
    expect(store.current).toMatchObject({ durableLsn: 5000, epoch: 2 })
  })

  it('pitfall 18: after a failed sync every write fails, and the old block stays the current one', () => {
    const pages = new FakePages()
    write(pages, 1)
    const { store } = mustOpen(pages)
    pages.failSync = pages.syncs + 1
    const codes: (string | undefined)[] = []
    for (let n = 2; n <= 3; n++) store.write(fields(n), error => codes.push(error?.code))
    pages.settle()
    store.write(fields(4), error => codes.push(error?.code))
    pages.settle()
    expect(codes).toEqual(['STORAGE_LOST', 'STORAGE_LOST', 'STORAGE_LOST'])
    expect(store.current).toMatchObject({ epoch: 1 })
    expect(mustOpen(new FakePages(pages.durable)).current).toMatchObject({ epoch: 1 })
  })

  it('pitfall 44: a flip at any byte of one of two costs that one only, and takes "closed in order" with it', () => {
    const pages = new FakePages()
    for (let n = 1; n <= 2; n++) write(pages, n, true)
    for (let at = 0; at < 8192; at++) {
      const bytes = pages.durable.slice()
      const inBlock = at % 4096 < 256
      bytes[at]! ^= 1 << (at % 8)
      const { current } = mustOpen(new FakePages(bytes))
      // Epoch 1 stands in the first place, epoch 2 in the second.
      const epoch = inBlock && at >= 4096 ? 1 : 2
      expect(current, `byte ${at}`).toMatchObject({ epoch, durableLsn: epoch * 1000, clean: !inBlock })
    }
  })

  it('pitfall 44: a flip at any byte of the only one is CORRUPT', () => {
    const pages = new FakePages()
    write(pages, 1)
    for (let at = 0; at < 256; at++) {
      const bytes = pages.durable.slice()
      bytes[at]! ^= 0x10
      expect(code(open(new FakePages(bytes))), `byte ${at}`).toBe('CORRUPT')
    }
  })

  it('pitfall 44: truncated at any length it is the newest that is left, or CORRUPT, or a new file', () => {
    const pages = new FakePages()
    for (let n = 1; n <= 2; n++) write(pages, n)
    const whole = pages.durable
    for (let length = 0; length <= whole.length; length++) {
      const outcome = open(new FakePages(whole.slice(0, length)))
      // The last bytes of a block are zeros: the missing ones read as such.
      if (length === 0) expect(outcome).toMatchObject({ current: undefined })
      else if (length < 110) expect(['CORRUPT', 1], `length ${length}`).toContain(code(outcome) ?? mustEpoch(outcome))
      else if (length <= 4096) expect(mustEpoch(outcome), `length ${length}`).toBe(1)
      else expect([1, 2], `length ${length}`).toContain(mustEpoch(outcome))
    }
    expect(mustEpoch(open(new FakePages(whole)))).toBe(2)
  })

  it('a foreign file is CORRUPT and says so; data behind empty superblocks too', () => {
    const foreign = new Uint8Array(20_000).fill(0x20)
    const outcome = open(new FakePages(foreign))
    expect(outcome).toMatchObject({ code: 'CORRUPT' })
    expect((outcome as HarmonyError).message).toContain('not a HarmonyDB file')
    const headless = new Uint8Array(20_480)
    headless[16_000] = 1
    expect(code(open(new FakePages(headless)))).toBe('CORRUPT')
    expect(mustOpen(new FakePages(new Uint8Array(8192))).current).toBeUndefined()
  })

  it('a newer format is VERSION_MISMATCH, also where an older block stands beside it', () => {
    const pages = new FakePages()
    for (let n = 1; n <= 2; n++) write(pages, n)
    const bytes = pages.durable.slice()
    const block = bytes.subarray(4096, 4096 + 256)
    block[8] = 4
    block.fill(0, 12, 16)
    new DataView(bytes.buffer).setUint32(4096 + 12, crc32c(block), true)
    expect(code(open(new FakePages(bytes)))).toBe('VERSION_MISMATCH')
  })

  it('decoding is total, and encoding its inverse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), bytes => {
        expect(['empty', 'foreign', 'damaged', 'newer', 'valid']).toContain(decodeSuperblock(bytes).state)
      }),
    )
    const block = { ...fields(7, true), epoch: Number.MAX_SAFE_INTEGER, pageBytes: 65536, sectorBytes: 512 }
    expect(decodeSuperblock(encodeSuperblock(block))).toEqual({ state: 'valid', block })
  })
})

function mustEpoch(outcome: OpenedSuperblock | HarmonyError): number | undefined {
  if (outcome instanceof HarmonyError) throw outcome
  return outcome.current?.epoch
}
