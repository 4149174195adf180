import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { equalBytes } from '../../../src/base/bytes.ts'
import { crc32c } from '../../../src/base/checksum.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { compress, compressedBytesMax, decompress } from '../../../src/storage/compression.ts'
import { decodeExtent, ExtentEncoder, kinds } from '../../../src/storage/extent-format.ts'
import { ExtentTable } from '../../../src/storage/extent-table.ts'
import type { PageId } from '../../../src/storage/page-source.ts'
import type { PageStore } from '../../../src/storage/page-store.ts'
import { compact } from '../../../src/storage/page-store-compact.ts'
import { decodeRoot } from '../../../src/storage/page-store-load.ts'
import type { Finding, VerifySummary } from '../../../src/storage/page-store-verify.ts'
import { checkpoint, content, mustOpenStore, openStore, readPage, someMeta, TestPages } from './store-kit.ts'

const pageBytes = 512

/** Three checkpoints, some pages changed and freed, no two superblocks alike. */
function sample(count = 40): {
  readonly pages: TestPages
  readonly store: PageStore
  readonly model: Map<number, number>
} {
  const pages = new TestPages()
  const { store } = mustOpenStore(pages)
  const model = new Map<number, number>()
  const ids = Array.from({ length: count }, () => store.allocate())
  let seed = 1
  for (let round = 1; round <= 3; round++) {
    for (const page of ids) {
      if (round > 1 && (page + round) % 3 !== 0) continue
      store.write(page, content(seed), 'current')
      model.set(page, seed++)
    }
    const freed = ids.splice(round * 3, 2)
    for (const page of freed) {
      store.free(page)
      model.delete(page)
    }
    checkpoint(pages, store, someMeta(round))
  }
  return { pages, store, model }
}

function verify(pages: TestPages, store: PageStore): { readonly findings: Finding[]; readonly summary: VerifySummary } {
  const findings: Finding[] = []
  let summary: VerifySummary | undefined
  store.verify(
    finding => findings.push(finding),
    result => {
      if (!result.ok) throw result.error
      summary = result.value
    },
  )
  pages.settle()
  if (summary === undefined) throw new Error('verify did not complete')
  return { findings, summary }
}

/** 'same': every page reads as it should. 'detected': a typed error, on opening or on reading a page, and `verify` finds it too. */
function look(bytes: Uint8Array, model: ReadonlyMap<number, number>): 'same' | 'detected' | string {
  const pages = TestPages.holding(bytes)
  const opened = openStore(pages)
  if (opened === undefined) return 'hangs'
  if (opened instanceof Error) return opened.code === 'CORRUPT' ? 'detected' : opened.code
  const { store } = opened
  const ids: number[] = []
  store.forEachPage(page => ids.push(page))
  if (ids.join() !== [...model.keys()].sort((a, b) => a - b).join()) return 'other pages'
  let damaged = 0
  for (const [page, seed] of model) {
    const read = readPage(pages, store, page as never)
    if (read instanceof Error) {
      if (read.code !== 'CORRUPT' || !read.message.includes(`page ${page} `)) return `reads ${read.message}`
      damaged++
    } else if (!equalBytes(read, content(seed))) return 'wrong data'
  }
  const found = verify(pages, store).findings.filter(({ kind }) => kind === 'damage').length
  if (found !== damaged) return `verify found ${found} of ${damaged}`
  return damaged === 0 ? 'same' : 'detected'
}

describe('page store, damage', () => {
  it('verify of a sound store finds nothing and has read everything, also while it changes', () => {
    const { pages, store, model } = sample()
    const { findings, summary } = verify(pages, store)
    expect(findings).toEqual([])
    expect(summary.pages).toBe(model.size)
    expect(summary.bytes).toBe(store.stats.usedBytes - 8192)
    store.write(store.allocate(), content(900), 'current')
    store.beginCheckpoint()
    store.write([...model.keys()][0] as never, content(901), 'current')
    store.write([...model.keys()][0] as never, content(902), 'closing')
    expect(verify(pages, store).findings).toEqual([])
  })

  it('pitfall 44: a flipped bit in any byte of live extents is detected, elsewhere it changes nothing', () => {
    const { pages, store, model } = sample(20)
    const whole = pages.copy()
    let detected = 0
    let tried = 0
    for (let at = 0; at < whole.length; at++) {
      // Superblocks and headers byte by byte, content now and then.
      if (at < 8192 ? at % 4096 > 256 : at % 512 > 24 && at % 7 > 0) continue
      tried++
      const bytes = whole.slice()
      bytes[at] = (bytes[at] as number) ^ (1 << ((at * 5) % 8))
      const seen = look(bytes, model)
      if (seen === 'detected') detected++
      expect(['same', 'detected'], `byte ${at}: ${seen}`).toContain(seen)
      // Either superblock can be lost: the other one names the same checkpoint.
      if (at < 8192) expect(seen, `byte ${at}`).toBe('same')
      else if (!store.taken(Math.floor(at / 512))) expect(seen).toBe('same')
      // What is taken and may change unseen are the zeros that fill up an extent's last sector.
      else if (seen === 'same') expect(whole.subarray(at, (at | 511) + 1).every(byte => byte === 0)).toBe(true)
    }
    expect(tried).toBeGreaterThan(3000)
    expect(detected).toBeGreaterThan(800)
  }, 60_000)

  it('pitfall 44: cut at any sector the store does not open, or is whole', () => {
    const { pages, store, model } = sample()
    const whole = pages.copy()
    let end = whole.length / 512
    while (!store.taken(end - 1)) end--
    for (let sectors = 1; sectors * 512 <= whole.length; sectors++) {
      const seen = look(whole.slice(0, sectors * 512), model)
      expect(seen, `${sectors} sectors`).toBe(sectors < end ? 'detected' : 'same')
    }
  })

  it('an extent of another page, and an older one of the same page, are detected: misdirected and lost writes', () => {
    const { pages, model } = sample()
    const whole = pages.copy()
    const headers: number[] = []
    for (let at = 8192; at + 512 <= whole.length; at += 512) {
      const view = new DataView(whole.buffer, at)
      const stored = view.getUint32(20, true)
      if (
        stored <= 1024 &&
        whole[at + 12] === kinds.page &&
        crc32c(whole, 0, at + 4, at + 24 + stored) === view.getUint32(0, true)
      ) {
        headers.push(at)
      }
    }
    expect(headers.length).toBeGreaterThan(20)
    let detected = 0
    for (const from of headers) {
      for (const to of headers) {
        if (from === to) continue
        const bytes = whole.slice()
        bytes.copyWithin(to, from, from + 512)
        const seen = look(bytes, model)
        expect(['same', 'detected']).toContain(seen)
        if (seen === 'detected') detected++
      }
      if (detected > 300) break
    }
    expect(detected).toBeGreaterThan(100)
  }, 30_000)

  it('verify names each damaged page and its place', () => {
    const { pages, model } = sample()
    const whole = pages.copy()
    const { store } = mustOpenStore(TestPages.holding(whole))
    const places = new Map<number, number>()
    store.verify(() => {}, () => {}) // biome-ignore format: nothing is wrong yet
    for (const page of [...model.keys()].slice(3, 6)) {
      const target = new TestPages({}, pages.stored)
      const seen = new Uint8Array(pageBytes)
      let at = -1
      const read = target.read.bind(target)
      target.read = (offset, length, done) => {
        at = offset
        read(offset, length, done)
      }
      const spied = mustOpenStore(target).store
      spied.read(page as never, seen, () => {})
      places.set(page, at)
    }
    for (const at of places.values()) whole[at + 30] = (whole[at + 30] as number) ^ 4
    const damaged = TestPages.holding(whole)
    const { findings } = verify(damaged, mustOpenStore(damaged).store)
    const found = findings.map(({ kind, page, offset }) => [kind, page, offset])
    expect(found).toEqual([...places].map(([page, at]) => ['damage', page, at]))
  })
})

describe('page store, decoders are total', () => {
  it('decompression of anything gives exactly the length asked, or false', () => {
    const into = new Uint8Array(300)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), bytes => {
        decompress(bytes, into)
      }),
      { numRuns: 500 },
    )
  })

  it('compression is undone by decompression, for every kind of content and length', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(5000), (seed, length) => {
        const random = seededRandom(seed)
        const bytes = new Uint8Array(length)
        const values = 1 + random.below(256)
        for (let i = 0; i < length; i++) {
          bytes[i] = i > 8 && random.chance(0.7) ? (bytes[i - 1 - random.below(8)] as number) : random.below(values)
        }
        const into = new Uint8Array(compressedBytesMax(length))
        const stored = into.subarray(0, compress(bytes, into))
        const out = new Uint8Array(length)
        expect(decompress(stored, out)).toBe(true)
        expect(equalBytes(out, bytes)).toBe(true)
        if (length > 0) expect(decompress(stored, new Uint8Array(length - 1))).toBe(false)
        expect(decompress(stored, new Uint8Array(length + 1))).toBe(false)
        expect(decompress(stored.subarray(0, Math.max(0, stored.length - 1)), out)).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  it('compressed bytes, changed anywhere: no hang, no overrun', () => {
    const guarded = new Uint8Array(4096).fill(0xaa)
    const out = guarded.subarray(1024, 1024 + 2048)
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        const scratch = new Uint8Array(compressedBytesMax(2048))
        const stored = scratch.slice(0, compress(content(1 + random.below(50), 2048), scratch))
        for (let i = 1 + random.below(4); i > 0; i--) stored[random.below(stored.length)] = random.below(256)
        decompress(stored, out)
        expect(guarded[1023]).toBe(0xaa)
        expect(guarded[1024 + 2048]).toBe(0xaa)
      }),
      { numRuns: 500 },
    )
  })

  it('a literal of negative length, on which the package goes round for ever, is refused', () => {
    const out = new Uint8Array(64)
    for (const tag of [62 << 2, 63 << 2]) {
      expect(decompress(new Uint8Array([64, tag, 0xfa, 0xff, 0xff, 0xff, 0, 0, 0, 0]), out)).toBe(false)
    }
  })

  it('extents with a right checksum and any other content: a value or a text', () => {
    const encoder = new ExtentEncoder(512, true)
    fc.assert(
      fc.property(fc.nat(), seed => {
        const random = seededRandom(seed)
        const { bytes } = encoder.encode(kinds.page, 5, 2, content(1 + random.below(99), 2048))
        for (let i = random.below(6); i >= 0; i--) {
          bytes[random.chance(0.5) ? random.below(24) : random.below(bytes.length)] = random.below(256)
        }
        const view = new DataView(bytes.buffer)
        view.setUint32(4, 5, true)
        view.setUint32(8, 2, true)
        const end = Math.min(bytes.length, 24 + view.getUint32(20, true))
        const crc = crc32c(bytes, 0, 4, end)
        view.setUint32(0, crc, true)
        const extent = { sector: 16, sectors: bytes.length / 512, crc, epoch: 2 }
        const decoded = decodeExtent(bytes, { kind: kinds.page, id: 5, extent }, 2048)
        if (typeof decoded !== 'string') expect(decoded.length).toBeLessThanOrEqual(2048)
      }),
      { numRuns: 500 },
    )
  })

  it('roots and pieces of tables', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        decodeRoot(bytes, 512)
        const padded = new Uint8Array(512)
        padded.set(bytes)
        const table = new ExtentTable(32)
        const sound = table.decodePiece(3, padded, ({ sectors }) => sectors < 1000)
        if (sound && table.encodePiece(3) !== undefined) expect(table.encodePiece(3)).toEqual(padded)
        expect(table.decodePiece(0, bytes, () => true)).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('page store, pins', () => {
  it('a pinned checkpoint reads as it was, however much changes, and gives its space back when it is released', () => {
    const { pages, store, model } = sample()
    const pin = store.pin()
    if (pin === undefined) throw new Error('nothing to pin')
    const again = store.pin()
    const ids = [...model.keys()]
    for (let round = 4; round < 10; round++) {
      for (const page of ids) store.write(page as never, content(page * round), 'current')
      if (round === 7) for (const page of ids.splice(0, 10)) store.free(page as never)
      checkpoint(pages, store, someMeta(round))
    }
    const seen: number[] = []
    pin.forEachPage(page => seen.push(page))
    expect(seen).toEqual([...model.keys()].sort((a, b) => a - b))
    expect(pin.checkpoint).toBe(3)
    expect(pin.meta).toEqual(someMeta(3))
    expect(verify(pages, store).findings).toEqual([])
    pin.release()
    pin.release()
    for (const [page, seed] of model) expect(readPage(pages, again as never, page as never)).toEqual(content(seed))
    const pinned = store.stats.usedBytes
    again?.release()
    expect(store.stats.usedBytes).toBeLessThan(pinned)
    expect(store.stats.usedBytes).toBe(mustOpenStore(pages.reopened()).store.stats.usedBytes)
  })

  it('there is nothing to pin before the first checkpoint', () => {
    expect(mustOpenStore(new TestPages()).store.pin()).toBeUndefined()
  })
})

describe('page store, compact', () => {
  function compacted(pages: TestPages, store: PageStore, pagesPerRoundMax: number): void {
    let outcome: unknown
    let metas = 100
    compact(
      store,
      {
        pagesPerRoundMax,
        checkpoint: done => {
          store.beginCheckpoint()
          store.finishCheckpoint(someMeta(metas++), done)
        },
      },
      result => {
        outcome = result
      },
    )
    pages.settle()
    expect(outcome).toMatchObject({ ok: true })
  }

  it.each([{ later: false }, { later: true }])(
    'the file shrinks to what is used, and every page is whole ($later)',
    shape => {
      const pages = new TestPages(shape)
      const { store } = mustOpenStore(pages)
      const model = new Map<number, number>()
      for (let i = 1; i <= 600; i++) {
        const page = store.allocate()
        store.write(page, content(i), 'current')
        model.set(page, i)
      }
      checkpoint(pages, store, someMeta(1))
      for (const page of [...model.keys()]) {
        if (page % 7 === 0 || page > 550) continue
        store.free(page as never)
        model.delete(page)
      }
      checkpoint(pages, store, someMeta(2))
      const before = pages.bytes
      compacted(pages, store, 20)
      expect(pages.bytes).toBeLessThan(before / 2)
      expect(pages.bytes).toBeLessThan(store.stats.usedBytes * 1.1 + 2048)
      for (const at of [store, mustOpenStore(TestPages.holding(pages.copy())).store]) {
        const where = at === store ? pages : new TestPages(shape, pages.stored)
        for (const [page, seed] of model) expect(readPage(where, at, page as never)).toEqual(content(seed))
      }
      expect(verify(pages, store).findings).toEqual([])
    },
  )

  it('the power goes at every write, cut and sync of it: every page is whole', () => {
    const prepared = (powerUntil: number): { pages: TestPages; store: PageStore; model: Map<number, number> } => {
      const pages = new TestPages()
      const { store } = mustOpenStore(pages)
      const model = new Map<number, number>()
      for (let i = 1; i <= 60; i++) model.set(store.allocate(), i)
      for (const [page, seed] of model) store.write(page as never, content(seed), 'current')
      checkpoint(pages, store, someMeta(1))
      for (let page = 1; page <= 40; page++) {
        if (page % 4 === 0) continue
        store.free(page as never)
        model.delete(page)
      }
      checkpoint(pages, store, someMeta(2))
      pages.powerUntil = pages.operations + powerUntil
      return { pages, store, model }
    }
    const whole = prepared(1e9)
    const start = whole.pages.operations
    compacted(whole.pages, whole.store, 5)
    const operations = whole.pages.operations - start
    expect(operations).toBeGreaterThan(30)
    const every = process.env.DEEP !== '1' ? 4 : 1
    for (let at = 1; at <= operations; at += every) {
      const { pages, store, model } = prepared(at)
      compact(
        store,
        {
          pagesPerRoundMax: 5,
          checkpoint: done => {
            store.beginCheckpoint()
            store.finishCheckpoint(someMeta(3), done)
          },
        },
        () => {},
      )
      pages.settle()
      const next = pages.crashed(seededRandom(at))
      const again = mustOpenStore(next).store
      for (const [page, seed] of model) expect(readPage(next, again, page as never)).toEqual(content(seed))
      expect(verify(next, again).findings).toEqual([])
    }
  }, 60_000)

  it('a page moves only while no checkpoint is under way', () => {
    const pages = new TestPages()
    const { store } = mustOpenStore(pages)
    const ids = Array.from({ length: 12 }, () => store.allocate())
    for (const page of ids) store.write(page, content(page), 'current')
    checkpoint(pages, store, someMeta(1))
    for (const page of ids.slice(0, 10)) store.free(page)
    checkpoint(pages, store, someMeta(2))
    const last = ids[11] as PageId
    const move = (): boolean | undefined => {
      let moved: boolean | undefined
      store.moveDown(last, result => {
        moved = result.ok && result.value
      })
      return moved
    }
    store.beginCheckpoint()
    expect(move()).toBe(false)
    let over = false
    store.finishCheckpoint(someMeta(3), () => {
      over = true
    })
    expect(over).toBe(true)
    expect(move()).toBe(true)
    expect(readPage(pages, store, last)).toEqual(content(last))
  })
})
